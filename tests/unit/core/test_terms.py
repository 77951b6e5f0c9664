"""Rules of a match, completed from its documents."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from counterfoil.core.document import LegKind, LegRule
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.settle import MatchRows, settle
from counterfoil.core.terms import Legs, Terms, rules_for

NOW = datetime(2026, 11, 20, tzinfo=UTC)
NAMED = [None, *LegKind]


def settled(terms: Terms, asserted: Legs, shown: Legs) -> Foil:
    foil = Foil(
        id="f", rule="sale", key="K", document="S-1", object="sale", left="shop", right="erp",
        legs=asserted, terms=terms, due=NOW, created_at=NOW, known_from=NOW,
    )  # fmt: skip
    observation = Observation(
        id="o",
        rule="sale",
        key="K",
        document="E-1",
        version=1,
        system="erp",
        legs=shown,
        event="e",
        since=NOW,
        at=NOW,
    )
    (changed,) = settle(MatchRows([foil], [observation]), NOW).foils
    return changed


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize("number", [5, Money(5, "EUR")])
@pytest.mark.parametrize("text_asserted", [True, False])
def test_text_beside_a_number_is_compared_and_not_added(
    kind: LegKind | None, number: Money | int, text_asserted: bool
) -> None:
    """A release may change the kind of a leg while documents of the former kind are on the match."""
    terms = Terms(legs={} if kind is None else {"leg": LegRule(kind=kind, total=kind is LegKind.SUM)})
    sides: tuple[Legs, Legs] = ({"leg": "five"}, {"leg": number})
    foil = settled(terms, *(sides if text_asserted else sides[::-1]))
    assert foil.state is FoilState.BROKEN
    assert isinstance(number, Money) or foil.reason.startswith("leg: asserted ")


@pytest.mark.parametrize("kind", NAMED)
def test_equal_text_agrees_whatever_the_kind(kind: LegKind | None) -> None:
    terms = Terms(legs={} if kind is None else {"leg": LegRule(kind=kind)})
    assert settled(terms, {"leg": "v7"}, {"leg": "v7"}).state is FoilState.MATCHED


def test_the_largest_number_is_the_total_where_no_leg_says_so() -> None:
    rules = rules_for(Terms(tolerance=3), [{"net": 9, "note": "x"}, {"net": 100, "gross": 30, "note": 7}])
    assert (rules.total, rules.legs["note"].kind) == ("net", LegKind.EQUAL)
    assert {rules.legs["net"].tolerance, rules.legs["gross"].tolerance} == {3}


@pytest.mark.parametrize("total", [True, False], ids=["named-total", "no-total"])
def test_the_order_of_legs_changes_no_currency(total: bool) -> None:
    """A document in euros also has an amount in dollars, and a number that has no currency of its own."""
    legs: Legs = {"gross": Money(500, "EUR"), "difference": Money(0, "USD"), "rate": 0}
    other_order: Legs = {name: legs[name] for name in sorted(legs)}
    terms = Terms(legs={"gross": LegRule(total=total), "difference": LegRule(), "rate": LegRule()})
    for sides in ((legs, other_order), (other_order, legs)):
        foil = settled(terms, *sides)
        assert (foil.state, foil.reason) == (FoilState.MATCHED, "")
