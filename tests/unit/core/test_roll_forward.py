"""The identity where a document has no value of the total."""

from __future__ import annotations

from datetime import UTC, datetime

from counterfoil.core.document import LegRule
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.roll_forward import roll_forward
from counterfoil.core.settle import MatchRows, judge_rows
from counterfoil.core.terms import Terms

NOW = datetime(2026, 11, 20, tzinfo=UTC)
TERMS = Terms(legs={"gross": LegRule(total=True), "fee": LegRule()})


def shown(document: str, **minor: int) -> Observation:
    return Observation(
        id=document, rule="sale", key="K", document=document, version=1, system="erp", terms=TERMS,
        legs={leg: Money(by, "EUR") for leg, by in minor.items()}, event="e", since=NOW, at=NOW,
    )  # fmt: skip


def test_a_surplus_that_a_foil_without_a_total_shows_counts_in_its_own_books() -> None:
    foil = Foil(
        id="f", rule="sale", key="K", document="S-1", object="sale", left="shop", right="erp", terms=TERMS,
        legs={"fee": Money(5, "EUR")}, due=NOW, created_at=NOW, known_from=NOW,
    )  # fmt: skip
    rows = MatchRows([foil], [shown("E-1", fee=5), shown("E-2", gross=700)])
    assert judge_rows(rows, NOW).foils["S-1"].state is FoilState.OVER
    (line,) = roll_forward([("sale", rows)], NOW, None, None)
    assert (line.observed, line.columns["over"], line.balanced) == (700, 700, True)
