"""Parts of several transitions: Cases opened, and resolved by what happened since."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.case import Case, CaseState
from counterfoil.core.case_reasons import CONTRADICTIONS
from counterfoil.core.cases import case_topic, held_repeat, id_after, repeat_body, with_occurrences
from counterfoil.core.foil import Foil
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.matches import closed_note


def open_case(db: Tables, case: Case, at: datetime, actor: str) -> bool:
    """Open a Case; one with this id that was resolved stays resolved."""
    if case.id in db.cases:
        return False
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
    """Resolve Cases about a foil whose state they no longer describe."""
    for case in list(db.cases.values()):
        if case.foil == foil.id and case.state is CaseState.OPEN:
            resolve_case(db, case, at, "matching", closed_note(foil.state))


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
