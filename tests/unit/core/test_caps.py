"""Caps across matches: the documents that use up a total are together at most that total."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from counterfoil.core.document import Within
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.foil_versions import next_foil
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.roll_forward import roll_forward
from counterfoil.core.settle import MatchRows, settle
from counterfoil.core.terms import Terms

T0 = datetime(2026, 11, 20, tzinfo=UTC)
LATE = T0 + timedelta(days=9)
CREDIT = Within("credit", "CM-1")


def foil(
    minor: int, document: str = "CM-1", rule: str = "credit", currency: str = "EUR", **more: Any
) -> Foil:
    row = Foil(
        id=f"{rule}/{document}", rule=rule, key=document, document=document, object=rule, left="billing", right="erp",
        legs={"total": Money(minor, currency)}, due=T0 + timedelta(days=2), created_at=T0, known_from=T0,
    )  # fmt: skip
    return replace(row, **more)


def use(minor: int, document: str = "APP-1", **more: Any) -> Foil:
    """A document that uses up the total of the credit."""
    return foil(minor, document, more.pop("rule", "application"), **{"within": (CREDIT,), **more})


def shown(minor: int, document: str = "ERP-1") -> Observation:
    return Observation(
        id=document, rule="credit", key="CM-1", document=document, version=1, system="erp",
        legs={"total": Money(minor, "EUR")}, event="e", since=T0, at=T0,
    )  # fmt: skip


def judged(row: Foil, *users: Foil, items: tuple[Observation, ...] = (), now: datetime = T0) -> Foil:
    settled = settle(MatchRows([row], items, users=users), now)
    return settled.foils[0] if settled.foils else row


@pytest.mark.parametrize(
    ("total", "uses", "is_broken"),
    [
        (4000, [], False),
        (4000, [use(4000)], False),
        (4000, [use(4001)], True),
        (4000, [use(2500), use(1501, "APP-2")], True),
        (4000, [use(8000), use(-4000, "REF-1", rule="refund")], False),
        (4000, [use(8000), use(-3999, "REF-1", rule="refund")], True),
        (4000, [use(-5000, "REF-1", rule="refund")], False),
        (-4000, [use(-4000)], False),
        (-4000, [use(-4001)], True),
        (-4000, [use(8000)], False),
        (-4000, [use(4000, within=(Within("credit", "CM-1", negate=True),))], False),
        (-4000, [use(4001, within=(Within("credit", "CM-1", negate=True),))], True),
        (4000, [use(8000, stands=False)], False),
        (4000, [use(8000, stands=False, legs={})], False),
        (4000, [use(8000, within=(Within("credit", "CM-2"),))], False),
        (4000, [use(100, currency="USD")], True),
        (0, [use(1)], True),
        (0, [use(1), use(-1, "REF-1")], False),
    ],
)
def test_what_uses_up_a_total_is_at_most_that_total(total: int, uses: list[Foil], is_broken: bool) -> None:
    after = judged(foil(total), *uses, items=(shown(total),))
    assert (after.state, after.reason.startswith("cap: ")) == (
        (FoilState.BROKEN, True) if is_broken else (FoilState.MATCHED, False)
    )
    assert after.residual == {"total": 0}


def test_the_reason_has_both_amounts() -> None:
    after = judged(foil(4000), use(8000), items=(shown(4000),))
    assert after.reason == "cap: other documents use 80.00 EUR of it, more than the 40.00 EUR asserted"
    after = judged(foil(4000), use(100, currency="USD"), items=(shown(4000),))
    assert after.reason == "cap: other documents use 1.00 USD of it, more than the 0.00 USD asserted"


def test_one_document_of_the_match_shows_what_is_used_beyond_the_total() -> None:
    users = [use(-9000), use(-50, "APP-2", currency="USD")]
    rows = MatchRows([foil(-4000), foil(-3000, "CM-2", key="CM-1")], [], users=users)
    settled = settle(rows, T0).foils
    assert [f.excess for f in settled] == [{"EUR": 2000, "USD": 50}, {}]
    assert settled[0].excess_money == (Money(2000, "EUR"), Money(50, "USD"))
    again = settle(replace(rows, foils=settled, users=[]), T0).foils
    assert [f.excess for f in again] == [{}, {}]


def test_a_number_without_a_currency_is_capped_too() -> None:
    seats = foil(0, legs={"seats": 5})
    assert judged(seats, use(0, legs={"seats": 5})).state is FoilState.OPEN
    assert judged(seats, use(0, legs={"seats": 6})).reason == (
        "cap: other documents use 6 of it, more than the 5 asserted"
    )


def test_a_use_that_a_document_reverses_counts_with_its_reversal() -> None:
    flagged = use(8000, stands=False)
    reversal = use(-8000, "APP-2", reverses="APP-1")
    assert judged(foil(4000), flagged, reversal, use(4000, "APP-3")).state is FoilState.OPEN
    assert judged(foil(4000), flagged, reversal, use(4001, "APP-3")).state is FoilState.BROKEN


def test_a_total_that_is_reissued_lower_breaks() -> None:
    former = judged(foil(8000), use(8000), items=(shown(8000),))
    lower = next_foil(former, foil(4000, version=1))
    assert lower is not None
    assert judged(lower, use(8000), items=(shown(4000),)).reason.startswith("cap: ")


def test_a_withdrawn_total_that_is_still_used_breaks() -> None:
    withdrawn = foil(4000, stands=False)
    assert judged(withdrawn, use(4000)).reason == (
        "cap: other documents use 40.00 EUR of it, more than the 0.00 EUR asserted"
    )
    assert judged(foil(4000, stands=False, stood=False), use(4000)).state is FoilState.VOID


def test_what_is_missing_too_has_one_reason_at_all_times() -> None:
    early, late = judged(foil(4000), use(8000)), judged(foil(4000), use(8000), now=LATE)
    assert (early.state, early.reason, early.residual) == (late.state, late.reason, late.residual)


def test_a_lasting_difference_is_named_after_the_cap() -> None:
    after = judged(foil(4000), use(8000), items=(shown(3000),))
    assert after.reason.endswith("asserted; amount: total less by 10.00 EUR")
    assert judged(foil(4000), use(8000), items=(shown(4000), shown(4000, "ERP-2"))).state is FoilState.BROKEN


def test_the_documents_that_use_up_a_total_are_not_changed() -> None:
    assert judged(use(8000), foil(1)).state is FoilState.OPEN


def test_all_documents_of_a_match_make_its_total() -> None:
    rows = MatchRows(
        [foil(4000), foil(3000, "CM-2", key="CM-1")],
        [shown(4000), shown(3000, "ERP-2")],
        users=[use(7000)],
    )
    assert {f.state for f in settle(rows, T0).foils} == {FoilState.MATCHED}
    over = replace(rows, users=[use(7001)])
    assert [f.reason[:4] for f in settle(over, T0).foils] == ["cap:", "cap:"]


def test_the_identity_holds_and_counts_the_residual_as_broken() -> None:
    near = foil(4000, terms=Terms(tolerance=10))
    rows = MatchRows([near], [shown(3995)], users=[use(8000)])
    (line,) = roll_forward([("credit", rows)], T0, None, None)
    assert line.balanced
    assert (line.columns["broken"], line.columns["absorbed"]) == (5, 0)
    surplus = replace(rows, observations=[shown(3995), shown(500, "ERP-2")])
    assert all(found.balanced for found in roll_forward([("credit", surplus)], T0, None, None))


def test_a_use_dated_after_the_cut_off_does_not_count() -> None:
    near = foil(4000, terms=Terms(tolerance=10))
    rows = MatchRows([near], [shown(3995)], users=[use(8000, effective="2026-12-01")])
    (line,) = roll_forward([("credit", rows)], T0, None, date(2026, 11, 30))
    assert (line.columns["broken"], line.columns["absorbed"]) == (0, 5)


def test_a_withdrawal_without_content_keeps_the_caps() -> None:
    gone = next_foil(use(8000), use(0, version=1, stands=False, legs={}, within=()))
    assert gone is not None
    assert gone.within == (CREDIT,)
