"""Parts of several transitions: versions of documents recorded, and match rows settled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from counterfoil.core import ids
from counterfoil.core.cases import case_of_pairing
from counterfoil.core.document import Side
from counterfoil.core.foil import NEEDS_CASE, Foil, Observation, Pairing
from counterfoil.core.foil_versions import (
    Withdrawal,
    is_recorded,
    next_foil,
    next_observation,
    runs_of_version,
    stood_before,
)
from counterfoil.core.homes import at_home, own_key
from counterfoil.core.settle import MatchRows, pairing_holds, settle
from counterfoil.store.memory.cases import open_break, open_case, resolve_cases_of_foil, resolve_cases_of_item
from counterfoil.store.memory.runs import append
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.matches import (
    consequences,
    is_accounted_for,
    row_of,
    version_of,
    with_grace,
)

Match = tuple[str, str]


def put_foil(db: Tables, foil: Foil, at: datetime, *, reread: bool = False) -> set[Match]:
    """Record one version of a left document, or another reading of one; return the match rows that it touches."""
    before = next((f for f in db.foils.values() if (f.rule, f.document) == (foil.rule, foil.document)), None)
    if before is None and foil.id in db.foils:
        # A row that was renamed keeps its id.
        foil = replace(foil, id=ids.derive("foil", foil.id, foil.document))
    newer = next_foil(before, foil, reread=reread)
    after = newer
    if before is not None:
        if newer is None:
            _record(db, before, foil, at, older=True)
        after = newer or stood_before(before, foil)
        for run in runs_of_version(before, foil, newer):
            _tell(db, before, replace(after or before, run=run), at)
    if after is None:
        # The late version was asserted on its own match.
        return {(foil.rule, foil.key)} | _place(db, "left", foil.rule, foil.document, at)
    _record(db, before, after, at, older=False)
    db.put(db.foils, after.id, after)
    placed = _place(db, "left", foil.rule, foil.document, at)
    if before is None:
        return {(after.rule, after.key)} | after.caps | placed | _reversed_before(db, after)
    touched = {(before.rule, before.key), (after.rule, after.key)} | before.caps | after.caps | placed
    return touched | _check_pairings(db, after, at)


def put_observation(db: Tables, o: Observation, at: datetime, *, reread: bool = False) -> set[Match]:
    """Record one version of a right document, or another reading of one; return the match rows that it touches."""
    before = next((r for r in db.observations.values() if (r.rule, r.document) == (o.rule, o.document)), None)
    if before is None and o.id in db.observations:
        o = replace(o, id=ids.derive("obs", o.id, o.document))
    newer = next_observation(before, o, reread=reread)
    if before is not None and newer is None:
        _record(db, before, o, at, older=True)
    after = newer or (None if before is None else stood_before(before, o))
    if after is None:
        return _place(db, "right", o.rule, o.document, at)
    _record(db, before, after, at, older=False)
    db.put(db.observations, after.id, after)
    touched = {(after.rule, after.key)}
    if before is not None:
        touched |= {(before.rule, before.key)} | _check_pairings(db, after, at)
    return touched | _place(db, "right", o.rule, o.document, at)


def _place(db: Tables, side: Side, rule: str, document: str, at: datetime) -> set[Match]:
    """Put a document, and those that reverse one another with it, on their match; return the match rows touched."""
    family = _family(db, side, rule, document)
    paired = {r.id: r.key for r in family if isinstance(r, Observation) and open_pairings(db, r.id)}
    touched: set[Match] = set()
    for before, after in zip(family, at_home(family, paired), strict=True):
        if after != before:
            touched |= {(rule, before.key), (rule, after.key)}
            db.put(_table(db, side), after.id, after)
            if side == "left":
                touched |= _check_pairings(db, after, at)
    return touched


def _reversed_before(db: Tables, original: Foil) -> set[Match]:
    """Return the matches by key of all versions that reverse a foil: they asserted nothing there, now it is known."""
    name = ("left", original.rule, original.document)
    return {
        (v.rule, v.key)
        for versions in db.versions.values()
        for v in versions
        if (v.side, v.rule, v.reverses) == name
    }


def _table(db: Tables, side: Side) -> dict[str, Any]:
    return db.foils if side == "left" else db.observations


def _family(db: Tables, side: Side, rule: str, document: str) -> list[Any]:
    """Return a document, what it reverses and what reverses it, and so on, by id."""
    rows = [r for _, r in sorted(_table(db, side).items()) if r.rule == rule]
    names = {document}
    while True:
        family = [r for r in rows if r.document in names or (r.reverses and r.reverses in names)]
        wider = names | {name for r in family for name in (r.document, r.reverses) if name}
        if wider == names:
            return family
        names = wider


def withdraw(db: Tables, w: Withdrawal, at: datetime) -> set[Match]:
    """Take out a document that was shown before; return the match rows that it touches."""
    if w.split is not None:
        others = w.of(row.document for row in _table(db, w.side).values() if _is_of_split(db, w, row))
        return {match for each in others for match in withdraw(db, each, at)}
    name = (w.rule, w.document)
    if w.side == "left":
        foil = next((f for f in db.foils.values() if (f.rule, f.document) == name), None)
        return set() if foil is None else put_foil(db, w.foil(foil, at), at)
    observed = next((o for o in db.observations.values() if (o.rule, o.document) == name), None)
    return set() if observed is None else put_observation(db, w.observation(observed, at), at)


def _is_of_split(db: Tables, w: Withdrawal, row: Foil | Observation) -> bool:
    """Report whether an event of the object of a split showed a document."""
    event = db.events.get(row.cause if isinstance(row, Foil) else row.event)
    if w.split is None or event is None or row.rule != w.rule:
        return False
    return (event.object, event.key) == (w.split.object, w.split.key) and event.type in w.split.types


def _record(
    db: Tables, before: Foil | Observation | None, row: Foil | Observation, at: datetime, *, older: bool
) -> None:
    """Add a version to the history; a newer one closes its predecessor. A repeat adds nothing."""
    name = ("left" if isinstance(row, Foil) else "right", row.rule, row.document)
    history = db.versions.get(name, ())
    if older and is_recorded(map(row_of, history), row):
        return
    if before is not None and not older:
        history = tuple(replace(v, known_to=at) if v.known_to is None else v for v in history)
    db.put(db.versions, name, (*history, version_of(row, at, at if older else None)))


def assign_entity(db: Tables, rule: str, key: str, entity: str, at: datetime) -> None:
    """Give the documents of a match without a legal entity this one, as a version of their own."""
    for table in (db.foils, db.observations):
        rows: dict[str, Any] = table
        for row in [r for r in rows.values() if (r.rule, r.key, r.entity) == (rule, key, "")]:
            after = replace(row, entity=entity)
            _record(db, row, after, at, older=False)
            db.put(rows, row.id, after)


def rename(db: Tables, row: Foil | Observation, renamed: Foil | Observation, at: datetime) -> set[Match]:
    """Give a row another document id; its former name ends in the history. Return the match rows that it touches."""
    side: Side = "left" if isinstance(row, Foil) else "right"
    name = (side, row.rule, row.document)
    history = db.versions.get(name, ())
    db.put(db.versions, name, tuple(replace(v, known_to=at) if v.known_to is None else v for v in history))
    _record(db, row, renamed, at, older=False)
    db.put(_table(db, side), row.id, renamed)
    touched = {(row.rule, row.key)} | _place(db, side, row.rule, row.document, at)
    if isinstance(row, Foil) and isinstance(renamed, Foil):
        touched |= _reversed_before(db, row) | _reversed_before(db, renamed)
    return touched | _place(db, side, row.rule, renamed.document, at)


def change_foils(
    db: Tables, effect: str, change: Callable[[Foil, datetime], Foil], at: datetime
) -> set[Match]:
    """Record what an outcome or a decision says about the documents of an effect."""
    touched = set()
    for before in foils_of_effect(db, effect):
        after = change(before, at)
        if after is not before:
            _record(db, before, after, at, older=False)
            db.put(db.foils, after.id, after)
            touched |= {(after.rule, after.key)} | after.caps
    return touched


def open_pairings(db: Tables, id_: str) -> list[Pairing]:
    """Return the pairs of a foil or observation that have not ended."""
    mine = [p for p in db.pairings.values() if p.ended_at is None and id_ in (p.foil, p.observation)]
    return sorted(mine, key=lambda p: p.id)


def end_pairing(db: Tables, pairing: Pairing, by: str, at: datetime) -> set[Match]:
    """End a person's pair: without another pair the observation goes back to its own match.

    Return the match rows that it touches.
    """
    db.put(db.pairings, pairing.id, replace(pairing, ended_at=at, ended_by=by))
    observed = db.observations[pairing.observation]
    if not observed.own_key or open_pairings(db, observed.id):
        return set()
    return move(db, observed, observed.own_key, "", at)


def move(db: Tables, observed: Observation, key: str, own: str, at: datetime) -> set[Match]:
    """Put an observation on another match, with what reverses it; return the match rows that it touches."""
    db.put(db.observations, observed.id, replace(observed, key=key, own_key=own))
    touched = {(observed.rule, observed.key), (observed.rule, key)}
    return touched | _place(db, "right", observed.rule, observed.document, at)


def _check_pairings(db: Tables, row: Foil | Observation, at: datetime) -> set[Match]:
    """End the pairs of a document that has other legs now than when a person paired it; a Case says so.

    An observation follows its foil to another match, unless another foil is paired with it.
    """
    touched: set[Match] = set()
    for pairing in open_pairings(db, row.id):
        foil, observed = db.foils[pairing.foil], db.observations[pairing.observation]
        holds = pairing_holds(pairing, foil, observed)
        if holds and foil.key != observed.key and len(open_pairings(db, observed.id)) == 1:
            touched |= move(db, observed, foil.key, own_key(observed), at)
        elif not holds or foil.key != observed.key:
            touched |= {(foil.rule, foil.key)} | end_pairing(db, pairing, "matching", at)
            open_case(db, case_of_pairing(pairing, foil, observed, at), at, "matching")
    return touched


def settle_matches(db: Tables, matches: Iterable[Match], at: datetime, quiet: bool = False) -> list[str]:
    """Judge match rows; foils whose state changes append `foil` to their Run. Return the foils that moved.

    `quiet` opens no Cases: the caller opens one for all.
    """
    return [id_ for rule, key in sorted(matches) for id_ in _settle(db, rule, key, at, quiet)]


def rows_of(db: Tables, rule: str, key: str) -> MatchRows:
    foils = sorted((f for f in db.foils.values() if (f.rule, f.key) == (rule, key)), key=lambda f: f.id)
    observed = [o for o in db.observations.values() if (o.rule, o.key) == (rule, key)]
    return MatchRows(
        foils,
        sorted(observed, key=lambda o: o.id),
        [p for p in db.pairings.values() if p.rule == rule],
        [w for w in db.waivers.values() if w.rule == rule],
        db.asserted_before(rule, key),
        db.users_of_total(rule, key),
    )


def _settle(db: Tables, rule: str, key: str, at: datetime, quiet: bool) -> list[str]:
    rows = rows_of(db, rule, key)
    settled = settle(rows, at)
    db.put(db.allocations, (rule, key), settled.allocations)
    before = {f.id: f for f in rows.foils}
    for foil in settled.foils:
        db.put(db.foils, foil.id, foil)
        _follow(db, before[foil.id], foil, at, quiet)
    for o in settled.observations:
        db.put(db.observations, o.id, with_grace(db.observations[o.id], o, at))
        if is_accounted_for(o):
            resolve_cases_of_item(db, o.id, at)
    return [f.id for f in settled.foils if f.state is not before[f.id].state]


def _follow(db: Tables, before: Foil, foil: Foil, at: datetime, quiet: bool) -> None:
    follows = consequences(before, foil, at)
    if follows.leaf is not None:
        kind, body = follows.leaf
        db.leaf(kind, foil.id, at, "matching", body, run=foil.run)
    if follows.ends_cases and not (quiet and foil.state in NEEDS_CASE):
        resolve_cases_of_foil(db, foil, at)
    if follows.tells_run:
        _tell(db, before, foil, at)
    if follows.case is not None and not quiet:
        open_break(db, follows.case, at)


def _tell(db: Tables, before: Foil, foil: Foil, at: datetime) -> None:
    count = len([1 for (run, kind, _) in db.inbox_refs if run == foil.run and kind == "foil"])
    append(db, consequences(before, foil, at).stimulus(foil, count), at)


def foils_of_effect(db: Tables, effect: str) -> list[Foil]:
    return [f for f in db.foils.values() if f.effect == effect]
