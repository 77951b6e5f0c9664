"""A Case: an exception with reason, owner, deadline, next action and the money exposed."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from counterfoil.core import ids
from counterfoil.core.clock import micros
from counterfoil.core.foil import Foil, FoilState
from counterfoil.core.money import Money

BREAK_WITHIN = timedelta(days=2)
ASKED_OF_PERSONS = ("unknown", "undo_unknown")
"""Reasons of Cases that ask a person what became of an effect: evidence answers them as well."""


class CaseState(StrEnum):
    OPEN = "open"
    RESOLVED = "resolved"


CASE_MOVES: dict[CaseState, frozenset[CaseState]] = {
    CaseState.OPEN: frozenset({CaseState.RESOLVED}),
    CaseState.RESOLVED: frozenset(),
}


class Choice(StrEnum):
    """What a person may decide; which are offered depends on what the Case is about."""

    RETRY = "retry"  # a Run's step, a receipt's or event's admission
    CONTINUE = "continue"  # the step counts as done
    UNDO = "undo"  # take back what was confirmed
    CLOSE = "close"  # the Run ends here, as closed
    WAIVE = "waive"  # a broken foil is accepted
    DISMISS = "dismiss"  # nothing is to be done; the reason is the note


class Case(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    reason: str
    """A short stable word: `mapping_failed`, `unrouted`, `refused`, `foil_broken`, ..."""
    message: str
    owner: str
    """The role that owns it."""
    deadline: datetime
    next_action: str
    choices: tuple[Choice, ...]
    state: CaseState = CaseState.OPEN
    run: str | None = None
    path: str | None = None
    receipt: int | None = None
    event: str | None = None
    effect: str | None = None
    foil: str | None = None
    exposure: tuple[Money, ...] = ()
    created_at: datetime
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    choice: Choice | None = None
    note: str = ""


def case_of_break(foil: Foil, state: FoilState, reason: str, at: datetime) -> Case:
    """The Case that opens in the transaction in which a foil breaks or shows too much: no break is unowned."""
    amounts = ", ".join(f"{leg} {money}" for leg, money in sorted(foil.legs.items()))
    action = (
        f"Find out what {foil.right} shows twice and take one of them back, or waive the difference"
        if state is FoilState.OVER
        else f"Find {foil.object} {foil.key} in {foil.right} and correct the side that is wrong, or waive it"
    )
    return Case(
        id=ids.derive("case", "foil", foil.id, str(state), micros(at)),
        reason=f"foil_{state}",
        message=f"{foil.left} shows {foil.object} {foil.key} ({amounts}); {foil.right}: {reason}",
        owner=foil.owner,
        deadline=at + BREAK_WITHIN,
        next_action=action,
        choices=(Choice.WAIVE, Choice.DISMISS),
        run=foil.run,
        foil=foil.id,
        exposure=(max(foil.legs.values(), key=lambda money: abs(money.minor)),) if foil.legs else (),
        created_at=at,
    )
