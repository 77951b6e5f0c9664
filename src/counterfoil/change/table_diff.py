"""Row-by-row comparison of two states of a table, with the days on which each row applies.

A row applies from its first day until the next row of its key begins. A look-up reads the row of its own day. So a
past row only documents earlier look-ups, and no look-up reads it again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, TypeAlias

from counterfoil.model import kinds
from counterfoil.model.tables import key_text, valid_from

Standing: TypeAlias = Literal["past", "today", "later", "unknown"]
Key: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RowChange:
    """A change of one row. It applies from `begins` to before `ends`; None means no limit.

    `standing`: `today` if it applies today, `later` if it starts later, `past` if it has ended.
    """

    key: Key
    change: Literal["added", "removed", "changed"]
    begins: date | None
    ends: date | None
    old: Any
    new: Any
    standing: Standing
    beside: tuple[str, ...] = ()
    """Changed columns that no look-up reads."""
    table: str = ""
    """The table whose rows an overlay replaces; empty where the document is the table itself."""


@dataclass(frozen=True, slots=True)
class InForce:
    """A key with another value today. None: the key has no value."""

    key: Key
    old: Any
    new: Any


_Row: TypeAlias = dict[str, Any]
_Rows: TypeAlias = dict[tuple[Key, date], _Row]


def row_changes(old: kinds.Table, new: kinds.Table, today: date | None) -> list[RowChange]:
    """Return the changed rows of two tables with the same key columns, by key and first day."""
    before, after = _by_key(old), _by_key(new)
    ends_before, ends_after = _ends(before), _ends(after)
    changes = []
    for key, begins in sorted(before.keys() | after.keys()):
        was, now = before.get((key, begins)), after.get((key, begins))
        ends = (ends_after if now is not None else ends_before)[key, begins]
        if was is None or now is None:
            beside: tuple[str, ...] = ()
            old_value, new_value = _value(old, was), _value(new, now)
        else:
            old_value, new_value = _value(old, was), _value(new, now)
            named = {*old.key, *new.key, old.value, new.value, old.valid_from, new.valid_from}
            others = sorted((was.keys() | now.keys()) - named)
            beside = tuple(name for name in others if was.get(name) != now.get(name))
            if _same(old_value, new_value) and not beside:
                continue
        changes.append(
            RowChange(
                key,
                "added" if was is None else "removed" if now is None else "changed",
                None if begins == date.min else begins,
                ends,
                old_value,
                new_value,
                _standing(begins, ends, today),
                beside,
            )
        )
    return changes


def in_force(old: kinds.Table, new: kinds.Table, today: date) -> list[InForce]:
    """Return the keys whose value on this day differs."""
    before, after = _timelines(old), _timelines(new)
    changes = []
    for key in sorted(before.keys() | after.keys()):
        was, now = _on(before.get(key, []), today), _on(after.get(key, []), today)
        if not _same(was, now):
            changes.append(InForce(key, was, now))
    return changes


def _by_key(table: kinds.Table) -> _Rows:
    return {
        (tuple(key_text(row[name]) for name in table.key), valid_from(table, row)): row
        for row in table.rows or []
    }


def _ends(rows: _Rows) -> dict[tuple[Key, date], date | None]:
    """Return the day on which the next row of the same key begins."""
    ordered = sorted(rows)
    after = [*ordered[1:], None] if ordered else []
    return {
        this: following[1] if following is not None and following[0] == this[0] else None
        for this, following in zip(ordered, after, strict=True)
    }


def _timelines(table: kinds.Table) -> Mapping[Key, list[tuple[date, Any]]]:
    timelines: dict[Key, list[tuple[date, Any]]] = {}
    for (key, begins), row in sorted(_by_key(table).items(), key=lambda item: item[0]):
        timelines.setdefault(key, []).append((begins, row[table.value]))
    return timelines


def _on(timeline: list[tuple[date, Any]], day: date) -> Any:
    position = bisect_right(timeline, day, key=lambda entry: entry[0])
    return timeline[position - 1][1] if position else None


def _value(table: kinds.Table, row: _Row | None) -> Any:
    return None if row is None else row[table.value]


def _same(old: Any, new: Any) -> bool:
    """Compare value and type: to a formula, the text "1" differs from the number 1."""
    return type(old) is type(new) and bool(old == new)


def _standing(begins: date, ends: date | None, today: date | None) -> Standing:
    if today is None:
        return "unknown"
    if today < begins:
        return "later"
    return "today" if ends is None or today < ends else "past"
