"""Matching of money in minor units: reasons in the document's currency, and what a match remembers of former documents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from counterfoil.core.document import LedgerDocument, LegKind, LegRule, MatchRules, Side
from counterfoil.core.matching import FoilState, Judgement, judge
from counterfoil.core.money import Money

NOW = datetime(2026, 3, 2, 9, 15, tzinfo=UTC)
RULES = MatchRules(legs={"gross": LegRule(total=True), "version": LegRule(kind=LegKind.AT_LEAST)})


def document(side: Side, id_: str, minor: int, currency: str = "EUR", **more: Any) -> LedgerDocument:
    values: dict[str, Any] = {
        "side": side,
        "id": id_,
        "key": "INV-1",
        "version": 1,
        "legs": {"gross": Money(minor, currency)},
        "entity": "AT01",
        "currency": currency,
        "effective": "2026-03-02",
        "known_from": NOW,
        "since": NOW,
    }
    return LedgerDocument(**values | more)


def judged(*documents: LedgerDocument, shape: str = "1:1", **options: Any) -> Judgement:
    rules = msgspec.structs.replace(RULES, shape=shape)
    lefts = [d for d in documents if d.side == "left"]
    rights = [d for d in documents if d.side == "right"]
    return judge(rules, lefts, rights, NOW, **options)


def test_a_reason_shows_money_and_a_residual_minor_units() -> None:
    verdict = judged(document("left", "L", 10000), document("right", "R", 9000)).foils["L"]
    assert verdict.state is FoilState.BROKEN
    assert verdict.reason == "amount: gross less by 10.00 EUR"
    assert verdict.residual == {"gross": 1000}


def test_a_currency_without_decimals() -> None:
    verdict = judged(document("left", "L", 100, "JPY"), document("right", "R", 120, "JPY")).foils["L"]
    assert verdict.reason == "over: gross more by 20 JPY"


@pytest.mark.parametrize(("due", "state"), [(0, FoilState.BROKEN), (1, FoilState.OPEN)])
def test_past_due_includes_the_due_time(due: int, state: FoilState) -> None:
    left = document("left", "L", 10000, due=NOW + timedelta(microseconds=due))
    assert judged(left).foils["L"].state is state


def test_a_document_that_left_the_match_makes_its_observation_a_surplus() -> None:
    right = document("right", "R", 10000)
    assert judged(right).items["R"].state == "unmatched"
    assert judged(right, asserted_before=True).items["R"].state == "over"


def test_a_call_without_outcome_asserts() -> None:
    left = document("left", "L", 10000, provisional=True, stood=False)
    judgement = judged(left, document("right", "R", -500))
    assert judgement.foils["L"].state is FoilState.PROVISIONAL
    assert judgement.items["R"].state == "over"


def test_a_withdrawal_without_legs_does_not_stand_again() -> None:
    flagged = document("right", "R1", 0, legs={}, stands=False)
    reversal = document("right", "R2", -10000, reverses="R1")
    judgement = judged(document("left", "L", 10000), flagged, reversal)
    assert judgement.foils["L"].state is FoilState.OPEN
    assert judgement.items["R2"].residual == {"gross": 10000}


def test_each_member_of_a_group_is_past_due_by_its_own_due_time() -> None:
    lefts = [document("left", f"L{n}", 6000, due=NOW + timedelta(days=n)) for n in (0, 1)]
    foils = judged(*lefts, document("right", "R", 10000), shape="n:1").foils
    assert {id_: (v.state, v.residual["gross"]) for id_, v in foils.items()} == {
        "L0": (FoilState.BROKEN, 0),
        "L1": (FoilState.PARTLY, 2000),
    }
    assert "in a group of 2: L0, L1" in foils["L0"].reason
