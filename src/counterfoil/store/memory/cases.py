"""Parts of several transitions: Cases opened, and resolved by what happened since."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.case import Case, CaseState
from counterfoil.core.case_reasons import CONTRADICTIONS
from counterfoil.core.cases import (
    case_of_break,
    case_topic,
    held_repeat,
    holds_run,
    id_after,
    joined_note,
    repeat_body,
    with_occurrences,
)
from counterfoil.core.foil import NEEDS_CASE, Foil
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.matches import closed_note


def open_case(db: Tables, case: Case, at: datetime, actor: str) -> bool:
    """Open a Case; one with this id that was resolved stays resolved. A foil that is asked about already has one Case."""
    others = open_cases_of_foil(db, case.foil)
    if case.id in db.cases or (others and not holds_run(case)):
        return False
    for other in others:
        if not holds_run(other):
            resolve_case(db, other, at, "matching", joined_note(case))
    db.put(db.cases, case.id, case)
    body = wire.dumps({"reason": case.reason, "owner": case.owner, "message": case.message})
    db.leaf("case.opened", case.id, at, actor, body, run=case.run)
    return True


def count_case(db: Tables, case: Case, at: datetime, actor: str) -> Case:
    """Open a Case, or raise the count of the open one; a resolved one is followed by another. Return what is stored."""
    while not open_case(db, case, at, actor):
        former = db.cases[case.id]
        if former.state is CaseState.OPEN:
            raised = with_occurrences(former, case)
            db.put(db.cases, case.id, raised)
            db.leaf("case.repeated", case.id, at, actor, repeat_body(raised), run=case.run)
            return raised
        case = replace(case, id=id_after(case.id))
    return case


def hold_case(db: Tables, case: Case, at: datetime, actor: str) -> str:
    """Open the Case of a held delivery, or count it in the open one of the same fact.

    Return the Case whose decision it awaits if another delivery has the Case; empty if it has the Case itself.
    """
    while (former := db.cases.get(case.id)) is not None and former.state is not CaseState.OPEN:
        case = replace(case, id=id_after(case.id))
    more = case if former is None else held_repeat(former, case)
    stored = former if more is None else count_case(db, more, at, actor)
    assert stored is not None
    own = (stored.receipt, stored.event) == (case.receipt, case.event)
    return "" if own else stored.id


def release_held(db: Tables, case: str, retry: bool) -> None:
    """Put back the deliveries that wait for the decision on a Case, or drop them."""
    for todo in [todo for todo, topic in db.todos.items() if topic == case_topic(case)]:
        if retry:
            db.put(db.todos, todo, None)
        else:
            db.drop(db.todos, todo)


def resolve_case(db: Tables, case: Case, at: datetime, by: str, note: str) -> None:
    resolved = replace(case, state=CaseState.RESOLVED, resolved_at=at, resolved_by=by, note=note)
    db.put(db.cases, case.id, resolved)


def resolve_case_by_id(db: Tables, id_: str, at: datetime, by: str, note: str) -> None:
    """Resolve a Case if it is open."""
    case = db.cases.get(id_)
    if case is not None and case.state is CaseState.OPEN:
        resolve_case(db, case, at, by, note)


def resolve_cases_of_foil(db: Tables, foil: Foil, at: datetime) -> None:
    """Resolve Cases about a foil whose state they no longer describe. One that holds a Run awaits its decision."""
    for case in open_cases_of_foil(db, foil.id):
        if not holds_run(case):
            resolve_case(db, case, at, "matching", closed_note(foil.state))


def open_cases_of_foil(db: Tables, foil: str | None) -> list[Case]:
    if foil is None:
        return []
    return [case for case in db.cases.values() if case.foil == foil and case.state is CaseState.OPEN]


def open_break(db: Tables, case: Case, at: datetime) -> None:
    """Open the Case of a foil that breaks. Where a Run waits for a decision on it, that Case takes its difference."""
    cases = [other for other in open_cases_of_foil(db, case.foil) if holds_run(other)]
    for other in cases:
        db.put(db.cases, other.id, replace(other, exposure=case.exposure))
    if not cases:
        open_case(db, case, at, "matching")


def open_break_after(db: Tables, resolved: Case, at: datetime) -> None:
    """Open the Case of a foil that is still broken after the decision on the Case that a Run waited for."""
    foil = db.foils.get(resolved.foil or "")
    if holds_run(resolved) and foil is not None and foil.state in NEEDS_CASE:
        open_break(db, case_of_break(foil, at), at)


def resolve_cases_of_item(db: Tables, observation: str, at: datetime) -> None:
    """Resolve the Case of an unmatched item that is accounted for now."""
    for case in list(db.cases.values()):
        if case.observation == observation and case.state is CaseState.OPEN:
            resolve_case(db, case, at, "matching", "its assertion has arrived")


def resolve_cases_of_todo(db: Tables, todo: tuple[str, str], at: datetime) -> None:
    for case in list(db.cases.values()):
        about = ("receipt", str(case.receipt)) if case.receipt is not None else ("event", str(case.event))
        lasting = case.run is not None or case.reason in CONTRADICTIONS
        if about == todo and not lasting and case.state is CaseState.OPEN:
            resolve_case(db, case, at, "admit", "admitted later")
            release_held(db, case.id, retry=True)
