"""Consequences of a settled match row, the same in every store: leaves, Cases and items for Runs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from counterfoil.core import ids, wire
from counterfoil.core.case import Case
from counterfoil.core.cases import case_of_break, case_of_unmatched
from counterfoil.core.clock import micros
from counterfoil.core.foil import NEEDS_CASE, Foil, Observation
from counterfoil.core.homes import own_key
from counterfoil.core.matching import FoilState
from counterfoil.store.port.records import NewInboxItem

_SILENT = frozenset({FoilState.OPEN, FoilState.VOID})
"""States that a Run learns from its own outcomes."""


class FoilConsequences(msgspec.Struct, frozen=True):
    """Consequences of one foil's change, beside its row."""

    leaf: tuple[str, bytes] | None
    """Kind and body; None where only the reason or the residual changed."""
    ends_cases: bool
    """Its open Cases are about something that is so no longer."""
    case: Case | None
    tells_run: bool

    def stimulus(self, foil: Foil, number: int) -> NewInboxItem:
        """Return the item for its Run; `number` tells repeats of a state apart."""
        body = wire.dumps(
            {"foil": foil.id, "rule": foil.rule, "state": str(foil.state), "effect": foil.effect}
        )
        ref = f"{foil.id}:{foil.state}:{number}"
        return NewInboxItem(run=foil.run or "", kind="foil", ref=ref, body=body)


def consequences(before: Foil, after: Foil, at: datetime) -> FoilConsequences:
    """Return what follows from the settled row of a foil."""
    moved = after.state is not before.state
    other = moved or after.reason != before.reason or after.residual != before.residual
    body = {"reason": after.reason, "cause": after.cause, "version": after.version}
    return FoilConsequences(
        leaf=(f"foil.{after.state}", wire.dumps(body)) if moved else None,
        ends_cases=other,
        case=case_of_break(after, at) if other and after.state in NEEDS_CASE else None,
        tells_run=moved and after.run is not None and after.state not in _SILENT,
    )


CLOSED_NOTES = {
    FoilState.MATCHED: "matched by a later observation",
    FoilState.WAIVED: "the difference was accepted",
    FoilState.REVERSED: "nothing is owed any more",
    FoilState.VOID: "nothing is owed any more",
}


def closed_note(state: FoilState) -> str:
    """Return why an open Case about a foil ends by itself."""
    return CLOSED_NOTES.get(state, "the documents changed")


class DocumentVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one document, as history keeps it. `known_to` closes it; a late older version is closed at once."""

    side: str
    rule: str
    document: str
    key: str
    """Its key by rule: its match may be that of what it reverses or one that a person's pair gave it."""
    version: int
    known_from: datetime
    known_to: datetime | None
    stood: bool
    """By this version the document stood, with an outcome."""
    reverses: str
    """The document of the same side that it reverses."""
    body: bytes
    """The row of the foil or observation, in stored form."""


def version_of(row: Foil | Observation, known_from: datetime, known_to: datetime | None) -> DocumentVersion:
    return DocumentVersion(
        side="left" if isinstance(row, Foil) else "right",
        rule=row.rule,
        document=row.document,
        key=own_key(row),
        version=row.version,
        known_from=known_from,
        known_to=known_to,
        stood=row.stands and not (isinstance(row, Foil) and row.provisional),
        reverses=row.reverses,
        body=msgspec.json.encode(row),
    )


def users_by_cap(foils: Iterable[Foil]) -> dict[tuple[str, str], tuple[Foil, ...]]:
    """Return the foils that use up the total of a match, by its rule and key, in their order."""
    users: dict[tuple[str, str], tuple[Foil, ...]] = {}
    for foil in foils:
        for match in foil.caps - {(foil.rule, foil.key)}:
            users[match] = (*users.get(match, ()), foil)
    return users


def row_of(version: DocumentVersion) -> Foil | Observation:
    """Return the foil or observation of a stored version."""
    if version.side == "left":
        return msgspec.json.decode(version.body, type=Foil)
    return msgspec.json.decode(version.body, type=Observation)


def case_of_item(item: Observation, at: datetime) -> Case:
    """Return the Case of an unmatched item whose grace is over. One for each grace: an item may become unmatched again."""
    case = case_of_unmatched(item, at)
    grace = micros(item.case_at or at)
    return msgspec.structs.replace(case, id=ids.derive("case", "unmatched", item.id, item.version, grace))


def is_accounted_for(item: Observation) -> bool:
    """Report whether an item is no longer one that a Case must ask about."""
    return item.state != "unmatched" and not (item.state == "over" and item.foil is None)


def with_grace(before: Observation, after: Observation, at: datetime) -> Observation:
    """Return an item with the time at which its Case opens.

    One that is unmatched once more has a new grace, since its former Case is resolved. A surplus waits for nothing.
    """
    if is_accounted_for(after):
        return after
    is_asked_for = after.case_at is None and not is_accounted_for(before)
    case_at = after.case_at or at + GRACE
    if after.state == "over":
        case_at = min(case_at, at)
    return after if is_asked_for else msgspec.structs.replace(after, case_at=case_at)


GRACE = timedelta(days=1)
"""How long an unmatched item may wait for its assertion before a Case opens."""
