"""The benchmark of usage does the work that its note describes."""

from __future__ import annotations

import pytest

from bench.usage import UsageSqlite

pytestmark = pytest.mark.xdist_group("web")


def test_both_sides_store_the_same_events() -> None:
    row = UsageSqlite(count=1)
    assert row.ours() > 0
    assert row.against() > 0
    assert "1 batches of 1000" in row.note()
