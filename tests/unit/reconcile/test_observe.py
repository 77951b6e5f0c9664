"""Pairs of books with planted causes: each is named, and none is invented, in any format and order."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from counterfoil.reconcile.observe import Observed, observe
from tests.unit.reconcile.pairs import FORMATS, HEADERS, Pair, pair, write

SEEDS = 200


def observed(made: Pair, folder: Path, seed: int) -> Observed:
    r = random.Random(seed)
    left, right = (
        write(rows, folder, name, r.choice(FORMATS), r.choice(HEADERS))
        for rows, name in ((made.left, "left"), (made.right, "right"))
    )
    return observe(str(left), str(right))


def causes(report: dict[str, Any]) -> Counter[tuple[str, str]]:
    return Counter((d["cause"], d["key"]) for d in report["differences"])


@pytest.mark.parametrize("seed", range(SEEDS))
def test_planted_causes_are_named_and_none_is_invented(seed: int, tmp_path: Path) -> None:
    made = pair(seed)
    result = observed(made, tmp_path, seed)
    report = result.data()
    assert causes(report) == Counter(made.expected), report["guessed"]
    assert report["matched"] == made.matched
    assert result.agrees is (not made.expected)
    sums: dict[str, Decimal] = {}
    for difference in report["differences"]:
        for currency, amount in difference["amounts"].items():
            sums[currency] = sums.get(currency, Decimal(0)) + Decimal(amount)
    totals = {currency: Decimal(amount) for currency, amount in report["totals"]["difference"].items()}
    assert {c: a for c, a in sums.items() if a} == {c: a for c, a in totals.items() if a}
