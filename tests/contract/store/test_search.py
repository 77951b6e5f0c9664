"""Look-ups by what people know: texts of heads, Runs by key and generation, and documents of the other system."""

from __future__ import annotations

from typing import Any

import pytest

from counterfoil.core.canonical import searched_texts
from tests.contract.store import samples as s


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, places: s.Places) -> Any:
    """Memory has no lists."""
    return await places(request.param)


async def head(store: Any, version: int, **state: Any) -> None:
    received = await store.apply(s.receive(s.receipt(f"h{version}")))
    event = s.event(f"h{version}", "k1", version, data=state)
    await store.apply(s.admit(received.numbers[0], events=(event,), heads=(s.head(event),)))


async def test_an_object_is_found_by_its_present_texts_only(store: Any) -> None:
    await head(store, 1, number="CN-2026-00005", name="Straße Ümlaut", customer_id="cust_1", amount=5)
    for text in ("CN-2026-00005", "cn-2026-00005", "straße ümlaut", "cust_1"):
        assert await store.named([text], 10) == ["k1"], text
    assert await store.named(["5", "CN-2026"], 10) == []
    await head(store, 2, number="CN-2026-00006", name="Straße Ümlaut", customer_id="cust_1")
    assert await store.named(["CN-2026-00006"], 10) == ["k1"]
    assert await store.named(["CN-2026-00005"], 10) == []


async def test_runs_are_found_by_key_in_every_generation(store: Any) -> None:
    run = await s.born(store, "k1")
    row = (await store.load(run)).run
    assert await store.runs_of(["no", row.workflow], ["k0", "k1"], 10) == [run]
    assert await store.runs_of([row.workflow], ["k0"], 10) == []


@pytest.mark.parametrize(
    ("state", "texts"),
    [
        ({"number": "A-1", "x": "y"}, {"number": "a-1"}),
        ({"name": "", "title": "t" * 201, "legal_name": 5}, {}),
        ({"customer_id": "cust_1", "ids": ["a"]}, {"customer_id": "cust_1"}),
    ],
)
def test_only_names_and_named_ids_are_searched(state: dict[str, Any], texts: dict[str, str]) -> None:
    assert searched_texts(state) == texts
