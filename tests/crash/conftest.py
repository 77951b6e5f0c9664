"""What the rounds on the fast company share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.forked import Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """One per test process."""
    made = Nursery()
    yield made
    made.close()
