"""Match rows as they were known at a time: states recomputed from the versions of documents.

Pure. A store reads the versions, pairs and waivers; nothing here decides or writes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from counterfoil.core.document import Side
from counterfoil.core.foil import Foil, Observation, Pairing, Waiver
from counterfoil.core.homes import at_home
from counterfoil.core.settle import settle
from counterfoil.store.port.matches import DocumentVersion, row_of, users_by_cap
from counterfoil.store.port.views import MatchRow

R = TypeVar("R", Foil, Observation)


class AsOf(msgspec.Struct, frozen=True):
    """The two dates of a question: what was known at a time, of documents dated up to a day."""

    known: datetime
    effective_by: date | None = None


class KnownMatches(msgspec.Struct, frozen=True, kw_only=True):
    """Selection of match rows at a time: those of documents of one side, or those with a key."""

    known: datetime
    side: Side
    documents: tuple[tuple[str, str], ...] = ()
    """Rule and document."""
    key: str | None = None
    """Every match with this key, in all rules."""


def is_current(version: DocumentVersion, at: datetime) -> bool:
    """Report whether this version of a document was the current one at a time."""
    return version.known_from <= at and (version.known_to is None or version.known_to > at)


def in_force(decision: Pairing | Waiver, at: datetime) -> bool:
    return decision.at <= at and (decision.ended_at is None or decision.ended_at > at)


def assemble(
    versions: Iterable[DocumentVersion],
    pairings: Iterable[Pairing],
    waivers: Iterable[Waiver],
    asserted: Collection[tuple[str, str]],
    at: datetime,
    users: Iterable[DocumentVersion] = (),
) -> list[MatchRow]:
    """Return the match rows of the versions that were current, each document on its match of then.

    `asserted` are the matches on which a left document stood by a version that was closed then; `users` are versions of
    documents of other matches that use up a total.
    """
    rows = {(v.side, v.rule, v.document): row_of(v) for v in versions if is_current(v, at)}
    using = {(v.side, v.rule, v.document): row_of(v) for v in users if is_current(v, at)}
    lefts = at_home([row for row in {**using, **rows}.values() if isinstance(row, Foil)], {})
    by_cap = users_by_cap(
        f for f in sorted(lefts, key=lambda f: (f.rule, f.document)) if ("left", f.rule, f.document) in using
    )
    foils = {f.id: f for f in lefts if ("left", f.rule, f.document) in rows}
    pairs = [replace(p, ended_at=None) for p in pairings if in_force(p, at) and p.foil in foils]
    key_of_pair = {p.observation: foils[p.foil].key for p in pairs}
    items = at_home([row for row in rows.values() if isinstance(row, Observation)], key_of_pair)
    accepted = [replace(w, ended_at=None) for w in waivers if in_force(w, at)]
    matches = {(f.rule, f.key) for f in foils.values()} | {(o.rule, o.key) for o in items}
    return [
        MatchRow(
            rule=rule,
            key=key,
            foils=tuple(f for f in foils.values() if (f.rule, f.key) == (rule, key)),
            observations=tuple(o for o in items if (o.rule, o.key) == (rule, key)),
            allocations=(),
            asserted_before=(rule, key) in asserted,
            pairings=tuple(p for p in pairs if (p.rule, foils[p.foil].key) == (rule, key)),
            waivers=tuple(
                w for w in accepted if w.foil in foils and (w.rule, foils[w.foil].key) == (rule, key)
            ),
            users=by_cap.get((rule, key), ()),
        )
        for rule, key in sorted(matches)
    ]


def settle_as_of(row: MatchRow, at: AsOf) -> MatchRow:
    """Return a match row with the states of that time, without documents dated after the cut-off.

    `settled_at` is not recomputed, and None.
    """
    foils = [replace(f, settled_at=None) for f in row.foils if _dated_by(f, at.effective_by)]
    items = [o for o in row.observations if _dated_by(o, at.effective_by)]
    users = tuple(f for f in row.users if _dated_by(f, at.effective_by))
    dated = replace(row, foils=tuple(foils), observations=tuple(items), users=users)
    settled = settle(dated.rows, at.known)
    return replace(
        row,
        foils=_merged(foils, [replace(f, settled_at=None) for f in settled.foils]),
        observations=_merged(items, settled.observations),
        allocations=settled.allocations,
    )


def _merged(rows: Sequence[R], changes: Sequence[R]) -> tuple[R, ...]:
    newer = {row.id: row for row in changes}
    return tuple(newer.get(row.id, row) for row in rows)


def _dated_by(row: Foil | Observation, day: date | None) -> bool:
    """Report whether a document is dated up to a day; one without a date counts by the day it was first known."""
    first = row.created_at if isinstance(row, Foil) else row.since
    return day is None or (row.effective or first.date().isoformat())[:10] <= day.isoformat()
