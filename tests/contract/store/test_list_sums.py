"""Rows of lists counted and summed by the store: filters, legal entities, currencies, and where it stops."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from counterfoil.core.money import INT64_MAX, Money
from counterfoil.store.port.views import ItemFilter, ListFilter, ListSums
from tests.contract.store import samples as s
from tests.contract.store.test_documents import admitted


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, places: s.Places) -> Any:
    """Memory has no lists."""
    return await places(request.param)


async def _documents(store: Any) -> None:
    for name, entity, money in (
        ("a", "us", Money(INT64_MAX - 1, "USD")),
        ("b", "us", Money(-300, "USD")),
        ("c", "de", Money(500, "JPY")),
        ("d", "de", Money(700, "USD")),
    ):
        foil = replace(s.foil(f"foil-{name}", f"k-{name}", entity=entity), legs={"gross": money})
        item = replace(s.observation(f"obs-{name}", f"x-{name}", entity=entity), legs={"gross": money})
        await admitted(store, name, foils=(foil,), observations=(item,))


async def test_documents_are_counted_and_summed_by_currency(store: Any) -> None:
    await _documents(store)
    whole = ListSums(rows=4, more=False, minor={"USD": INT64_MAX - 1 - 300 + 700, "JPY": 500})
    assert await store.list_sums("foil", ListFilter(), 10, 10) == whole
    assert await store.list_sums("observation", ItemFilter(), 10, 10) == whole
    assert await store.list_sums("foil", ListFilter(limit=1, cursor="5.x"), 10, 10) == whole


async def test_filters_and_entities_bound_the_sums(store: Any) -> None:
    await _documents(store)
    german = ListSums(rows=2, more=False, minor={"USD": 700, "JPY": 500})
    assert await store.list_sums("foil", ListFilter(entities=("de",)), 10, 10) == german
    assert await store.list_sums("observation", ItemFilter(entities=("de",)), 10, 10) == german
    one = ListSums(rows=1, more=False, minor={"JPY": 500})
    assert await store.list_sums("foil", ListFilter(key="k-c"), 10, 10) == one
    none = ListSums(rows=0, more=False, minor={})
    assert await store.list_sums("foil", ListFilter(entities=("de",), key="k-a"), 10, 10) == none


async def test_the_store_stops_to_sum_and_then_to_count(store: Any) -> None:
    await _documents(store)
    assert await store.list_sums("foil", ListFilter(), 4, 3) == ListSums(rows=4, more=False)
    assert await store.list_sums("foil", ListFilter(), 3, 3) == ListSums(rows=3, more=True)


async def test_runs_are_counted_alone(store: Any) -> None:
    for key in ("k1", "k2"):
        await s.born(store, key)
    assert await store.list_sums("run", ListFilter(), 10, 10) == ListSums(rows=2, more=False)
    assert await store.list_sums("run", ListFilter(key="k1"), 10, 10) == ListSums(rows=1, more=False)
