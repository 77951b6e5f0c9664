"""Look-ups by what people know: texts of heads, Runs by key and generation, and documents of the other system."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from counterfoil.core.canonical import searched_texts
from counterfoil.core.money import Money
from tests.contract.store import samples as s
from tests.contract.store.test_documents import admitted


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


async def test_a_bound_look_up_counts_rows_of_its_entities_alone(store: Any) -> None:
    """A number of another company neither fills the list nor leads to anything of one's own."""
    for entity in ("de", "us"):
        fact = replace(s.event(entity, f"k-{entity}", 1, data={"number": "N-1"}), legal_entity=entity)
        shown = s.observation(f"obs-{entity}", f"of-{entity}", entity=entity, document=f"CN-{entity}")
        await admitted(
            store,
            entity,
            heads=(replace(s.head(fact), entity=entity),),
            foils=(s.foil(f"foil-{entity}", f"of-{entity}", entity=entity),),
            observations=(shown,),
        )
    assert await store.named(["N-1"], 1) == ["k-de"]
    assert await store.named(["N-1"], 1, ("us",)) == ["k-us"]
    assert await store.named(["N-1"], 1, ("fr",)) == []
    keys = ["of-de", "of-us"]
    assert await store.foils_of(["credits"], keys, 1, ("de",)) == ["foil-de"]
    assert await store.foils_of(["credits"], keys, 1, ("us",)) == ["foil-us"]
    assert await store.foils_of(["credits"], ["foil-us"], 1, ("de",)) == []
    assert await store.foils_shown_as(["CN-us"]) == ["foil-us"]
    assert await store.foils_shown_as(["CN-us"], ("us",)) == ["foil-us"]
    assert await store.foils_shown_as(["CN-us"], ("de",)) == []
    runs = {await s.born(store, key, entity=key) for key in ("de", "us")}
    assert set(await store.runs_of(["w1"], ["de", "us"], 10)) == runs
    (run,) = await store.runs_of(["w1"], ["de", "us"], 1, ("us",))
    assert (await store.load(run)).run.entity == "us"


async def test_the_beginnings_of_words_name_an_object(store: Any) -> None:
    await head(store, 1, number="CN-2026-00005", legal_name="Königsberg Øre, Inc.")
    for words in (["konigs"], ["ore", "konig"], ["2026", "00005", "cn"]):
        assert await store.objects_with_words(words, 10) == [("invoice", "k1")], words
    for words in ([], ["nigsberg"], ["konigs", "absent"], ["co"]):
        assert await store.objects_with_words(words, 10) == [], words
    assert await store.near_words("konigsbreg", 5) == ["konigsberg"]
    assert await store.near_words("absent", 5) == []
    await head(store, 2, number="CN-2026-00005", legal_name="Other")
    assert await store.objects_with_words(["konigs"], 10) == []
    assert await store.near_words("konigsbreg", 5) == []
    assert await store.objects_with_words(["other"], 10) == [("invoice", "k1")]


async def test_rows_are_read_by_their_largest_amount(store: Any) -> None:
    for name, minor, currency in (
        ("a", 9_790, "USD"),
        ("b", 9_790, "EUR"),
        ("c", -9_790, "USD"),
        ("d", 5, "USD"),
    ):
        legs = {"gross": Money(minor, currency), "tax": Money(4, currency)}
        await admitted(
            store,
            name,
            foils=(s.foil(f"foil-{name}", name, legs=legs, entity=currency),),
            observations=(s.observation(f"obs-{name}", f"other-{name}", legs=legs, entity=currency),),
        )
    usd, both = [Money(9_790, "USD")], [Money(9_790, "USD"), Money(9_790, "EUR")]
    assert set(await store.with_amount("foil", usd, 10)) == {"foil-a", "foil-c"}
    assert set(await store.with_amount("foil", both, 10)) == {"foil-a", "foil-b", "foil-c"}
    assert await store.with_amount("foil", both, 10, ("EUR",)) == ["foil-b"]
    assert len(await store.with_amount("foil", both, 2)) == 2
    assert set(await store.with_amount("observation", usd, 10)) == {"obs-a", "obs-c"}
    assert await store.with_amount("foil", [Money(4, "USD")], 10) == []
    assert await store.items_of(["credits"], ["other-a", "absent"], 10) == ["obs-a"]
    assert await store.items_of(["credits"], ["other-a"], 10, ("EUR",)) == []


async def test_near_words_of_another_entity_are_not_suggested(store: Any) -> None:
    for entity in ("de", "us"):
        fact = replace(
            s.event(entity, f"k-{entity}", 1, data={"name": f"Northwind{entity}"}), legal_entity=entity
        )
        await admitted(store, entity, heads=(replace(s.head(fact), entity=entity),))
    assert await store.near_words("northwinde", 5, ("us",)) == []
    assert await store.near_words("northwinus", 5, ("us",)) == ["northwindus"]
    assert await store.objects_with_words(["northwind"], 5, ("us",)) == [("invoice", "k-us")]
    assert len(await store.objects_with_words(["northwind"], 5)) == 2


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
