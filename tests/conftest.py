"""Fixtures for the tests of every folder."""

from __future__ import annotations

import functools
import gc
import os
from collections.abc import AsyncIterator, Iterator

import httpcore2
import pytest

from tests import postgres as real_postgres
from tests.patching import replace_attribute
from tests.schema_copy import copy_schemas
from tests.shared_routes import share_routes

GARBAGE_OBJECTS = 10_000
"""New objects after which the collector runs: fourteen times as many as by default."""

# A client without settings reads the authorities of the machine, which takes 20 ms; tests build thousands of clients.
replace_attribute(httpcore2, "default_ssl_context", functools.cache(httpcore2.default_ssl_context))
copy_schemas()
share_routes()


def pytest_collection_finish() -> None:
    """Keep the collector of garbage away from the modules of all tests, which it would search again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS, 20, 20)


@pytest.fixture(scope="session")
def postgres() -> Iterator[real_postgres.Cluster]:
    """Run one PostgreSQL per test process. COUNTERFOIL_TEST_FSYNC=off trades durability for speed."""
    with real_postgres.running(fsync=os.environ.get("COUNTERFOIL_TEST_FSYNC", "on") != "off") as cluster:
        yield cluster


@pytest.fixture
async def postgres_dsn(postgres: real_postgres.Cluster) -> AsyncIterator[str]:
    """Create an empty database for one test and remove it afterwards. Yield its address."""
    name = await postgres.create()
    yield postgres.dsn(name)
    await postgres.drop(name)
