"""Words of a comparison, the same in every report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from counterfoil.core.plural import counted

CAUSES = {
    "missing_right": "only on the left",
    "missing_left": "only on the right",
    "amount": "other amount",
    "sign": "other sign",
    "duplicate_left": "twice on the left",
    "duplicate_right": "twice on the right",
    "currency": "other currency",
    "entity": "other entity",
    "period": "other month",
    "rounding": "rounding",
    "tax": "tax on one side",
    "fee": "fee deducted",
}
_SHAPES = {"1:1": "one to one", "1:n": "one to several", "n:1": "several to one", "n:m": "several to several"}


def warnings(report: Mapping[str, Any]) -> list[str]:
    """Return what a reader of the totals must know: notes, totals that the files state, and rows that were left out."""
    left_out = [
        f"{u['side']}, {u['place']}: the amount {u['amount']!r} is no number; the row is left out."
        for u in report["unreadable"]
    ]
    return [*report["notes"], *report["stated_totals"], *left_out]


def headline(report: Mapping[str, Any]) -> str:
    """Return the result in one sentence."""
    count = len(report["differences"])
    matched = counted(report["matched"], "match", "matches")
    if report["unjudged"]:
        more = counted(report["unjudged"], "more group differs", "more groups differ")
        return f"{matched}, {counted(count, 'difference')}; {more}, without a named cause"
    return f"{matched}, no differences" if not count else f"{matched}, {counted(count, 'difference')}"


def guess_lines(report: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield role, left columns, right columns, confidence and reason of each guess."""
    for role, guess in report["guessed"].items():
        left, right = (
            ", ".join(side) if isinstance(side, list) else side for side in (guess["left"], guess["right"])
        )
        sure = f"{guess['confidence']:.0%}" if "confidence" in guess else ""
        yield role, left or "none", right or "none", sure, guess.get("why", "")


def shape_words(report: Mapping[str, Any]) -> str:
    shapes = report["matched_by_shape"].items()
    return ", ".join(f"{count} {_SHAPES[shape]}" for shape, count in shapes)


def cause_rows(report: Mapping[str, Any]) -> Iterator[tuple[str, int, dict[str, str]]]:
    """Yield each cause with its count and its sum by currency, the most frequent first."""
    from decimal import Decimal

    sums: dict[str, dict[str, Decimal]] = {}
    for difference in report["differences"]:
        of_cause = sums.setdefault(difference["cause"], {})
        for currency, amount in difference["amounts"].items():
            of_cause[currency] = of_cause.get(currency, Decimal(0)) + Decimal(amount)
    for cause, count in sorted(report["causes"].items(), key=lambda item: -item[1]):
        yield cause, count, {currency: f"{amount:f}" for currency, amount in sums[cause].items()}


def money_text(amounts: Mapping[str, str]) -> str:
    """Return amounts by currency as one text: `12.00 EUR, 3.00 USD`."""
    return ", ".join(f"{amount} {currency}" for currency, amount in amounts.items()) or "0"
