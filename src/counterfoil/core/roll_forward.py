"""Roll-forward: what two systems differ by, and of which items the difference consists, per entity and currency.

`opening + asserted - observed = closing = open + partly + broken + provisional + waived + absorbed - over - unmatched`.
Both sides are summed from the documents that stand at the two dates; the columns come from the states. A caller may
compare `asserted` and `observed` with the totals of the systems' own books: our rows cannot prove themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime
from typing import TypeAlias

import msgspec

from counterfoil.core.document import LegValue, Number, number
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.matching import FoilState, Judgement, standing
from counterfoil.core.money import Money
from counterfoil.core.settle import MatchRows, judge_rows, left_document, right_document, rules_of

_F = FoilState
Books: TypeAlias = tuple[str, str, str]
"""Reconciliation, entity, currency."""
COLUMNS = ("open", "partly", "broken", "provisional", "waived", "absorbed", "over", "unmatched")
"""The kinds of items that a difference consists of; `over` and `unmatched` count against it."""
_COLUMN = {
    _F.OPEN: "open",
    _F.PARTLY: "partly",
    _F.BROKEN: "broken",
    _F.PROVISIONAL: "provisional",
    _F.WAIVED: "waived",
    _F.MATCHED: "absorbed",
    _F.OVER: "over",
}


class RollForward(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the identity. All amounts are minor units of `currency`."""

    rule: str
    entity: str
    currency: str
    opening: int
    asserted: int
    observed: int
    closing: int
    columns: dict[str, int]
    absorbed: dict[tuple[str, str], int] = {}
    """What tolerances absorb in this currency, by leg and by the role that bears it. `columns` have that of the total."""

    @property
    def balanced(self) -> bool:
        """True if both ways to the closing difference agree."""
        c = self.columns
        items = sum(c[name] for name in COLUMNS[:6]) - c["over"] - c["unmatched"]
        return self.opening + self.asserted - self.observed == self.closing == items


def effective_by(rows: MatchRows, day: date | None) -> MatchRows:
    """Return the documents of a match that count up to a cut-off date."""
    if day is None:
        return rows
    last = day.isoformat()
    return MatchRows(
        [f for f in rows.foils if f.effective[:10] <= last],
        [o for o in rows.observations if o.effective[:10] <= last],
        rows.pairings,
        rows.waivers,
        users=[f for f in rows.users if f.effective[:10] <= last],
    )


def roll_forward(
    matches: Iterable[tuple[str, MatchRows]], known_at: datetime, since: date | None, until: date | None
) -> list[RollForward]:
    """Return the identity of every reconciliation, entity and currency.

    `matches` holds the newest version of each document as known at `known_at`, with the reconciliation's name. `since` is
    the first day of the period (None: everything is new), `until` its last.
    """
    before: dict[Books, Counter[str]] = {}
    after: dict[Books, Counter[str]] = {}
    absorbed: dict[Books, Counter[tuple[str, str]]] = {}
    for rule, rows in matches:
        judgement = _add(after, rule, effective_by(rows, until), known_at)
        _add_absorbed(absorbed, rule, rows, judgement)
        if since is not None:
            _add(before, rule, effective_by(rows, date.fromordinal(since.toordinal() - 1)), known_at)
    lines = []
    for books in sorted(after.keys() | before.keys()):
        old, new = before.get(books, Counter()), after.get(books, Counter())
        rule, entity, currency = books
        lines.append(
            RollForward(
                rule=rule,
                entity=entity,
                currency=currency,
                opening=old["asserted"] - old["observed"],
                asserted=new["asserted"] - old["asserted"],
                observed=new["observed"] - old["observed"],
                closing=new["asserted"] - new["observed"],
                columns={name: new[name] for name in COLUMNS},
                absorbed={
                    bearer: units for bearer, units in sorted(absorbed.get(books, {}).items()) if units
                },
            )
        )
    return lines


def _add_absorbed(
    sums: dict[Books, Counter[tuple[str, str]]], rule: str, rows: MatchRows, judgement: Judgement
) -> None:
    """Add what tolerances absorb, in the books of each foil; differences in counts are no amounts."""
    for foil in rows.foils:
        verdict = judgement.foils.get(foil.document)
        if verdict is None:
            continue
        residual = {leg: int(by) for leg, by in verdict.residual.items()}
        judged = msgspec.structs.replace(foil, state=verdict.state, residual=residual)
        for part in judged.absorbed:
            value = judged.of_leg(part.leg, part.units)
            if isinstance(value, Money):
                books = (rule, foil.entity, value.currency)
                sums.setdefault(books, Counter())[part.leg, part.owner] += part.units


def _add(sums: dict[Books, Counter[str]], rule: str, rows: MatchRows, now: datetime) -> Judgement:
    """Add the two sides of a match and its items; return how it was judged."""
    judgement = judge_rows(rows, now)
    leg = rules_of(rows).total or ""
    lefts = {f.document: _books(rule, f, leg) for f in rows.foils}
    rights = {o.document: _books(rule, o, leg) for o in rows.observations}

    def count(books: Books | None, column: str, units: Number) -> None:
        if books is not None:
            sums.setdefault(books, Counter())[column] += int(units)

    for document in standing([left_document(f) for f in rows.foils]):
        count(lefts[document.id], "asserted", _units(document.legs.get(leg)))
    for document in standing([right_document(o) for o in rows.observations]):
        count(rights[document.id], "observed", _units(document.legs.get(leg)))
    for id_, verdict in judgement.foils.items():
        column = _COLUMN.get(verdict.state)
        by = verdict.residual.get(leg, 0)
        if column is not None:
            count(lefts[id_], column, -by if column == "over" else by)
    for id_, item in judgement.items.items():
        if item.foil is None or lefts[item.foil] is None:
            count(rights[id_], item.state, -item.residual.get(leg, 0))
    for part in judgement.parts:
        if lefts[part.left] != rights[part.shown.id]:
            # It answers a foil of other books, which is owed in full; in its own books it is surplus.
            count(rights[part.shown.id], "over", part.amount)
    return judgement


def _books(rule: str, row: Foil | Observation, leg: str) -> Books | None:
    value = row.legs.get(leg)
    return (rule, row.entity, value.currency) if isinstance(value, Money) else None


def _units(value: LegValue | None) -> Number:
    return 0 if value is None else number(value)
