"""Suggestions: the planted counterfoil comes first, with its reasons, and impossible ones never come."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from counterfoil.core.foil import Foil, Observation
from counterfoil.core.money import Money
from counterfoil.core.remembered import PairedKey
from counterfoil.core.suggestions import MAX_SUGGESTIONS, MIN_POINTS, suggestions
from counterfoil.core.terms import Terms

AT = datetime(2026, 11, 30, tzinfo=UTC)


def foil(number: str, minor: int = 12000, **more: Any) -> Foil:
    fields: dict[str, Any] = {
        "id": f"foil_{number}", "rule": "r", "key": f"k-{number}", "document": number, "object": "invoice", "left": "billing",
        "right": "erp", "legs": {"gross": Money(minor, "USD")}, "due": AT, "effective": "2026-11-30", "entity": "us",
        "residual": {"gross": minor}, "created_at": AT, "known_from": AT,
    }  # fmt: skip
    return Foil(**fields | more)


def item(minor: int = 12000, **more: Any) -> Observation:
    fields: dict[str, Any] = {
        "id": "obs_1", "rule": "r", "key": "SI-1", "document": "SI-1", "version": 1, "system": "erp", "event": "evt_1",
        "legs": {"gross": Money(minor, "USD")}, "effective": "2026-11-30", "entity": "us", "since": AT, "at": AT,
    }  # fmt: skip
    return Observation(**fields | more)


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=20, unique=True), st.data())
def test_the_counterfoil_with_the_same_amount_comes_first(amounts: list[int], data: Any) -> None:
    planted = data.draw(st.sampled_from(amounts))
    foils = [foil(f"INV-{n}", minor) for n, minor in enumerate(amounts)]
    first, *rest = suggestions(item(planted), foils)
    assert first.foil == f"foil_INV-{amounts.index(planted)}"
    assert first.reasons == ("the same amount", "the same day")
    assert all(s.score < first.score for s in rest)
    assert len(rest) < MAX_SUGGESTIONS


@pytest.mark.parametrize(
    "other",
    [
        {"legs": {"gross": Money(12000, "EUR")}},
        {"entity": "de"},
        {"legs": {"gross": Money(-12000, "USD")}, "residual": {"gross": -12000}},
        {"rule": "another"},
        {"legs": {"gross": Money(99000, "USD")}, "residual": {"gross": 99000}},
    ],
)
def test_what_cannot_belong_together_is_not_suggested(other: dict[str, Any]) -> None:
    assert suggestions(item(), [foil("INV-1", **other)]) == []


def test_a_number_and_a_name_speak_for_a_pair_with_another_amount() -> None:
    by_number, by_name = foil("INV-01533", 12100), foil("INV-9", 12000)
    ranked = suggestions(item(12050, key="paid 1533", names=("INV-9",)), [by_number, by_name])
    assert [(s.foil, s.score) for s in ranked] == [("foil_INV-9", 70), ("foil_INV-01533", 50)]
    assert ranked[1].reasons == ("amounts differ by 0.50 USD", "both have the number 1533", "the same day")


def test_dates_beyond_the_window_give_no_points_and_say_so() -> None:
    far = foil("INV-1", effective="2026-11-26", terms=Terms(window=3))
    (near,), (beyond,) = (suggestions(item(), [one]) for one in (replace(far, terms=Terms()), far))
    assert near.reasons == ("the same amount", "4 days apart")
    assert beyond.reasons == ("the same amount", "4 days apart, beyond the window of 3 days")
    assert beyond.score < near.score
    (edge,) = suggestions(item(), [replace(far, terms=Terms(window=4))])
    assert edge == near


def test_keys_that_persons_paired_before_speak_for_a_pair_and_a_conflict_for_less() -> None:
    before = PairedKey(right="Initech Ltd", left="CUST-7", count=3, persons=("ann", "bob"), is_conflict=False)
    mine, other = foil("INV-1", key="CUST-7"), foil("INV-2", key="CUST-8")
    wire = item(key="Initech Ltd")
    first, second = suggestions(wire, [other, mine], [before])
    assert (first.foil, second.foil) == ("foil_INV-1", "foil_INV-2")
    assert "paired 3 times before by ann, bob" in first.reasons
    (conflict, *_) = suggestions(wire, [mine], [replace(before, is_conflict=True)])
    assert "paired 3 times before by ann, bob, but also with another key" in conflict.reasons
    assert first.score > conflict.score > second.score
    # The keys that the documents have by rule count, on whichever match they are.
    moved = replace(wire, key="CUST-9", own_key="Initech Ltd")
    assert suggestions(moved, [replace(mine, key="CUST-9", own_key="CUST-7")], [before]) == [first]
    assert suggestions(item(key="Globex"), [mine], [before]) == suggestions(item(key="Globex"), [mine])


def test_former_pairs_alone_suggest_nothing_and_no_score_is_above_100() -> None:
    before = PairedKey(right="Initech Ltd", left="CUST-7", count=9, persons=("ann",), is_conflict=False)
    far = foil("INV-1", 990_000, key="CUST-7", effective="2026-01-01")
    assert suggestions(item(key="Initech Ltd"), [far], [before]) == []
    both = foil("INV-1", key="CUST-7", names=("SI-1",))
    (best,) = suggestions(item(key="Initech Ltd"), [both], [before])
    assert best.score == 100


def test_years_and_short_numbers_are_no_document_numbers() -> None:
    far = foil("INV-2026-12", 990000, effective="2026-01-01")
    assert suggestions(item(key="2026-12"), [far]) == []


def test_no_more_than_a_few_are_suggested_and_each_has_enough_points() -> None:
    ranked = suggestions(item(), [foil(f"INV-{n}") for n in range(9)])
    assert len(ranked) == MAX_SUGGESTIONS
    assert all(s.score >= MIN_POINTS for s in ranked)
    assert [s.foil for s in ranked] == sorted(s.foil for s in ranked)


@pytest.mark.parametrize(
    "key",
    [
        "8e2f7a10-3301-4c2a-9b1e-aa0000000001",
        "in_1PzK2eLkdIwHu7ix3301",
        "paid 20260131",
        "aabbccdd33013301ff",
    ],
)
def test_ids_of_machines_and_dates_are_no_document_numbers(key: str) -> None:
    numbers = ("8e2f7a10-3301-4c2a-9b1e-aa0000000002", "3301", "20260131")
    assert suggestions(item(500, key=key), [foil("INV", 99999, names=numbers)]) == []
