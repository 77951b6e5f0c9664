"""Fixtures for the tests of ports and of the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.companies.web import Process
from tests.erp_system import Erp, running


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Run the small company in a process of its own, for one module. Its log must have no traceback at the end."""
    process = Process(tmp_path_factory.mktemp("company"))
    yield process
    errors = process.stop()
    assert "Traceback" not in errors, errors


@pytest.fixture(scope="session")
def erp() -> Iterator[Erp]:
    """Serve one ERP per test process, for the tests of its connector. Their customers and documents have fresh ids."""
    with running() as system:
        yield system
