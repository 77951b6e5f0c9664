"""Fixtures for the tests of every folder."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests import postgres as real_postgres


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
