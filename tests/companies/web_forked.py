"""What each process of the company needs, made once, in the process that forks them: modules, model, schema and routes."""

from __future__ import annotations

import asyncio
import gc
import tempfile
from pathlib import Path

from counterfoil.store.sql.sqlite import SqliteStore
from tests.companies.base import acme_model
from tests.companies.web_rows import first_release
from tests.schema_copy import copy_schemas
from tests.shared_routes import registered, share_routes


async def _make_schema() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = await SqliteStore.open(Path(folder) / "schema.db")
        await store.close()


copy_schemas()
share_routes()
acme_model()
first_release()
registered()
asyncio.run(_make_schema())
gc.freeze()  # no fork need search it for garbage, or copy its pages
