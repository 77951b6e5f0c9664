"""Every connector against the conformance suite, each on a real system: one line each in `CONNECTORS`.

A line names a function that runs the system and yields (connector, samples); it may skip with a true reason.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from counterfoil.connectors.conformance import Samples, conform, failures
from counterfoil.connectors.sdk import Connector
from tests.contract.trial_files import files_in_a_folder
from tests.contract.trial_http import http_ledger
from tests.contract.trial_query import BOOKS, query_on_postgres, query_on_sqlite
from tests.contract.trial_roundup import roundup_desk
from tests.contract.trial_stripe import stripe_twin

Trial = Callable[[Path], AbstractAsyncContextManager[tuple[Connector, Samples]]]

CONNECTORS: dict[str, Trial] = {
    "files": files_in_a_folder,
    "http": http_ledger,
    "query": query_on_sqlite,
    "roundup": roundup_desk,
    "stripe": stripe_twin,
}


@pytest.mark.parametrize("name", CONNECTORS)
async def test_connector_conforms(name: str, tmp_path: Path) -> None:
    async with CONNECTORS[name](tmp_path) as (connector, samples):
        try:
            results = await conform(connector, samples)
        finally:
            await connector.close()
    assert failures(results) == []
    assert {result.where.partition(",")[0] for result in results} >= {*samples.operations, *connector.feeds}


async def test_queries_conform_on_postgresql_too(postgres_dsn: str) -> None:
    async with query_on_postgres(postgres_dsn) as (connector, samples):
        try:
            results = await conform(connector, samples)
        finally:
            await connector.close()
    assert failures(results) == []
    assert {result.where for result in results} >= set(BOOKS)
