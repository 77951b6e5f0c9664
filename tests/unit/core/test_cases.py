"""Money at stake on the Case of a counterfoil."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from counterfoil.core.cases import case_of_break
from counterfoil.core.document import LegKind, LegRule
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.money import Money
from counterfoil.core.settle import MatchRows, settle
from counterfoil.core.terms import Legs, Terms

NOW = datetime(2026, 11, 20, tzinfo=UTC)
TERMS = Terms(
    legs={
        "gross": LegRule(total=True),
        "net": LegRule(),
        "tax": LegRule(),
        "code": LegRule(kind=LegKind.EQUAL),
        "version": LegRule(kind=LegKind.AT_LEAST),
    }
)


def legs(gross: int, net: int, tax: int, code: str = "S", version: int = 1, currency: str = "EUR") -> Legs:
    amounts = {"gross": gross, "net": net, "tax": tax}
    return {name: Money(minor, currency) for name, minor in amounts.items()} | {
        "code": code,
        "version": version,
    }


STORIES: dict[str, tuple[Legs | None, str]] = {
    "less": (legs(90, 75, 15), "0.30 EUR"),
    "more": (legs(150, 125, 25), "0.30 EUR"),
    "nothing": (None, "1.20 EUR"),
    "net and tax swapped": (legs(120, 20, 100), "0.80 EUR"),
    "another tax": (legs(120, 97, 23), "0.03 EUR"),
    "another code": (legs(120, 100, 20, "RC"), "1.20 EUR"),
    "another code and less": (legs(90, 75, 15, "RC"), "0.30 EUR"),
    "an old version": (legs(120, 100, 20, version=0), "1.20 EUR"),
    "another currency": (legs(120, 100, 20, currency="USD"), "1.20 EUR"),
}


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_broken_counterfoil_has_its_difference_at_stake_or_its_document(name: str, sign: int) -> None:
    shown, expected = STORIES[name]
    foil = Foil(
        id="f", rule="sale", key="K", document="S-1", object="sale", left="shop", right="erp", names=("E-1",),
        legs=_signed(legs(120, 100, 20), sign), terms=TERMS, due=NOW, created_at=NOW, known_from=NOW,
    )  # fmt: skip
    items = [] if shown is None else [_observation(_signed(shown, sign))]
    (broken,) = settle(MatchRows([foil], items), NOW).foils
    assert [str(money) for money in case_of_break(broken, NOW).exposure] == [expected]


def test_a_counterfoil_without_money_has_none_at_stake() -> None:
    foil = Foil(
        id="f", rule="seats", key="K", document="S-1", object="sale", left="shop", right="product",
        legs={"version": 7}, due=NOW, created_at=NOW, known_from=NOW,
    )  # fmt: skip
    (broken,) = settle(MatchRows([foil], []), NOW).foils
    assert case_of_break(broken, NOW).exposure == ()


def _signed(amounts: Legs, sign: int) -> Legs:
    return {n: Money(v.minor * sign, v.currency) if isinstance(v, Money) else v for n, v in amounts.items()}


def _observation(shown: Legs) -> Observation:
    return Observation(
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
