"""Versions of documents: what a newer version, an outcome, an undo or a person's decision does to the row of one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from counterfoil.core import ids
from counterfoil.core.document import Side, content_rank
from counterfoil.core.effect import EffectState
from counterfoil.core.foil import Foil, Observation, Waiver
from counterfoil.core.homes import own_key
from counterfoil.core.settle import content, left_document, right_document

R = TypeVar("R", Foil, Observation)


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Documents that one version of an object shows, some of them by `each`: all others of the object are withdrawn."""

    object: str
    key: str
    types: tuple[str, ...]
    """Events of the object that show such documents: one event in all its versions."""
    documents: tuple[str, ...]


class Withdrawal(msgspec.Struct, frozen=True, kw_only=True):
    """A document that a newer version takes out of its match. One that was never shown is not affected."""

    side: Side
    rule: str
    document: str
    """Empty with `split`."""
    version: int
    cause: str
    split: Split | None = None

    def of(self, documents: Iterable[str]) -> list[Withdrawal]:
        """Return the withdrawals of those documents of the object that this version does not show."""
        listed = frozenset(self.split.documents if self.split is not None else ())
        others = sorted(set(documents) - listed)
        return [msgspec.structs.replace(self, document=document, split=None) for document in others]

    def foil(self, before: Foil, at: datetime) -> Foil:
        """Return the version of the foil that withdraws it."""
        return msgspec.structs.replace(
            before,
            version=self.version,
            legs={},
            stands=False,
            provisional=False,
            cause=self.cause,
            known_from=at,
        )

    def observation(self, before: Observation, at: datetime) -> Observation:
        return msgspec.structs.replace(
            before, version=self.version, legs={}, stands=False, event=self.cause, at=at
        )


def withdrawal_of(row: Foil | Observation) -> Withdrawal:
    """Return the withdrawal of a document at its present version."""
    left = isinstance(row, Foil)
    cause = row.cause if isinstance(row, Foil) else row.event
    return Withdrawal(
        side="left" if left else "right",
        rule=row.rule,
        document=row.document,
        version=row.version,
        cause=cause,
    )


def gives_way(other: Foil | Observation, row: Foil | Observation) -> bool:
    """Report whether the row of a document may be replaced by another row of the same document, which is as new."""
    by_call = isinstance(other, Foil) and (other.run is not None or other.effect is not None)
    return not by_call and other.version <= row.version


def next_foil(before: Foil | None, new: Foil, *, reread: bool = False) -> Foil | None:
    """Return the row of a document after one more version of it; None if that version changes nothing.

    An intent's version is provisional: every version of the left system's own replaces it. An older version changes
    nothing. Of two contents with one version the withdrawal stays, then the larger content; but where events are read
    again (`reread`), the present reading of an event replaces its former one.
    """
    if before is None:
        return new
    if new.provisional:
        new = _on_match_of(before, new)
        # The call of a further generation, or of a document that its own system has shown already.
        if not before.stands:
            return msgspec.structs.replace(
                new,
                id=before.id,
                created_at=before.created_at,
                version=before.version,
                stood=before.stood,
                state=before.state,
            )
        return msgspec.structs.replace(before, run=new.run, effect=new.effect) if before.run is None else None
    new = _on_match_of(before, msgspec.structs.replace(new, **_withdrawn(before, new)))
    if (
        not before.provisional
        and _rank(new) <= _rank(before)
        and not (reread and _reads_otherwise(before, new))
    ):
        return None
    return msgspec.structs.replace(
        new,
        id=before.id,
        run=before.run or new.run,
        effect=before.effect,
        due=before.due,
        owner=new.owner or before.owner,
        stood=new.stands or before.stood,
        state=before.state,
        reason=before.reason,
        residual=before.residual,
        excess=before.excess,
        partners=before.partners,
        created_at=before.created_at,
        settled_at=before.settled_at,
    )


def next_observation(
    before: Observation | None, new: Observation, *, reread: bool = False
) -> Observation | None:
    """Return the row of a document after one more version of it, as `next_foil` does."""
    if before is None:
        return new
    new = _on_match_of(before, msgspec.structs.replace(new, **_withdrawn(before, new)))
    if _rank(new) <= _rank(before) and not (reread and _reads_otherwise(before, new)):
        return None
    return msgspec.structs.replace(
        new,
        id=before.id,
        stood=new.stands or before.stood,
        state=before.state,
        foil=before.foil,
        since=before.since,
        case_at=before.case_at,
    )


def stood_before(before: R, older: R) -> R | None:
    """Return the row of a withdrawn document after a late older version; None if that says nothing more.

    The document stood, so it is reversed, with the legs that were withdrawn.
    """
    if before.stands or before.stood or not older.stood:
        return None
    return msgspec.structs.replace(before, stood=True, **_withdrawn(older, before))


def _on_match_of(before: R, new: R) -> R:
    """Return a version on the present match of its document, where that is not the one of its own key.

    The store moves it afterwards if it belongs elsewhere.
    """
    if before.own_key and not new.own_key:
        return msgspec.structs.replace(new, key=before.key, own_key=new.key)
    return new


def _withdrawn(before: Foil | Observation, new: Foil | Observation) -> dict[str, Any]:
    """A withdrawal says nothing about the legs: the former ones stay, and so does the match."""
    if new.stands or new.legs:
        return {}
    former: dict[str, Any] = {
        "legs": before.legs,
        "key": before.key,
        "own_key": before.own_key,
        "effective": before.effective,
    }
    return {**former, "within": before.within} if isinstance(before, Foil) else former


def _rank(row: Foil | Observation) -> tuple[int, bool, str]:
    """Return the order of a version. The match that it is moved to has no part in it."""
    if isinstance(row, Foil):
        return content_rank(left_document(msgspec.structs.replace(row, key=own_key(row))))
    return content_rank(right_document(msgspec.structs.replace(row, key=own_key(row))))


def _reads_otherwise(before: R, new: R) -> bool:
    """Report whether a row is another reading of the same event."""
    (event, *former), (same, *present) = _reading(before), _reading(new)
    return event == same and former != present


def _reading(row: Foil | Observation) -> tuple[Any, ...]:
    """Return the event of a row, and what was read from it."""
    of_both = (row.legs, row.entity, row.names, row.reverses, row.effective, row.stands)
    if isinstance(row, Foil):
        return (row.cause, row.version), own_key(row), row.within, of_both
    return (row.event, row.version), own_key(row), (), of_both


def is_recorded(history: Iterable[Foil | Observation], row: Foil | Observation) -> bool:
    """Report whether the history of a document has this version already. A withdrawal has no legs of its own."""
    if row.stands or row.legs:
        return any(_rank(former) == _rank(row) for former in history)
    return any(former.version == row.version and not former.stands for former in history)


def after_effect(foil: Foil, state: EffectState, at: datetime) -> Foil:
    """Return a foil after the outcome of its effect: confirmed, it is owed; absent, it never stood."""
    if not foil.provisional or state not in (EffectState.CONFIRMED, EffectState.ABSENT):
        return foil
    stands = state is EffectState.CONFIRMED
    stood = stands or foil.stood
    return msgspec.structs.replace(foil, provisional=False, stands=stands, stood=stood, known_from=at)


def given_up(foil: Foil, at: datetime) -> Foil:
    """Return a foil whose effect will not be sent: a provisional one does not stand."""
    if not foil.provisional:
        return foil
    return msgspec.structs.replace(foil, provisional=False, stands=False, known_from=at)


def taken_back(foil: Foil, at: datetime) -> Foil:
    """Return a foil whose effect was undone: its document stands no longer."""
    if not foil.stands:
        return foil
    stood = foil.stood or not foil.provisional
    return msgspec.structs.replace(foil, provisional=False, stands=False, stood=stood, known_from=at)


def waiver_of(foil: Foil, person: str, note: str, at: datetime) -> Waiver:
    """Return the acceptance of exactly the residual that a foil has now."""
    money = foil.difference
    return Waiver(
        id=ids.derive(
            "waiver", foil.id, content(foil.legs), *(f"{n}={v}" for n, v in sorted(foil.residual.items()))
        ),
        foil=foil.id,
        rule=foil.rule,
        residual=foil.residual,
        content=content(foil.legs),
        money=money[0] if money else None,
        entity=foil.entity,
        period=(foil.effective or foil.created_at.date().isoformat())[:7],
        person=person,
        note=note,
        at=at,
    )


def runs_of_version(before: Foil, written: Foil, newer: Foil | None) -> tuple[str, ...]:
    """Return the Runs that must read their foils again after one more version of a document that has a row.

    The Run that wrote the version took it for a new row, which may be another Run's: then nothing else would tell it
    that the document is matched. A Run keeps its rows at hand between turns.
    """
    if written.run is None:
        return ()
    if newer is not None:
        return tuple(sorted({run for run in (written.run, newer.run) if run is not None}))
    return (written.run,) if written.run != before.run else ()
