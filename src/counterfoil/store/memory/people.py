"""Specification of votes, decisions on Cases, persons and tokens."""

from __future__ import annotations

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState, Vote
from counterfoil.core.case import CaseState, Choice
from counterfoil.core.foil import FoilState
from counterfoil.store.memory.effects import conclude
from counterfoil.store.memory.foils import move_foil, settle_match
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.runs import append, put_todo
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.people import (
    VOTE_RESULTS,
    Decide,
    DecideResult,
    PutPerson,
    PutToken,
    Resolve,
    ResolveResult,
)
from counterfoil.store.port.records import NewInboxItem


@memory(Decide)
def decide(db: Tables, t: Decide) -> DecideResult:
    approval = db.approvals.get(t.approval)
    person = db.persons.get(t.person)
    if approval is None:
        return DecideResult(verdict="not_found")
    if approval.state is not ApprovalState.OPEN:
        return DecideResult(verdict="closed")
    if approval.expires <= t.at:
        return DecideResult(verdict="expired")
    if approval.subject != t.subject:
        return DecideResult(verdict="subject")
    if person is None or not person.active:
        return DecideResult(verdict="inactive")
    if approval.requester in (person.id, person.email):
        return DecideResult(verdict="requester")
    if not set(approval.roles) & set(person.roles):
        return DecideResult(verdict="role")
    if (t.approval, t.person) in db.votes:
        return DecideResult(verdict="voted")
    vote = Vote(approval=t.approval, person=t.person, approve=t.approve, comment=t.comment, at=t.at)
    db.put(db.votes, (t.approval, t.person), vote)
    votes = [v for v in db.votes.values() if v.approval == t.approval and v.approve]
    state: ApprovalState = approval.state
    if not t.approve:
        state = ApprovalState.REJECTED
    elif len(votes) >= approval.quorum:
        state = ApprovalState.GRANTED
    if state is not approval.state:
        db.put(db.approvals, approval.id, msgspec.structs.replace(approval, state=state))
        body = wire.dumps(
            {
                "approval": approval.id,
                "path": approval.path,
                "state": str(state),
                "by": t.person,
                "comment": t.comment,
            }
        )
        append(db, NewInboxItem(run=approval.run, kind="approval", ref=approval.id, body=body), t.at)
    body = wire.dumps({"approve": t.approve, "subject": t.subject, "comment": t.comment})
    db.leaf("decided", approval.id, t.at, f"person:{t.person}", body, run=approval.run)
    return DecideResult(verdict=VOTE_RESULTS[state])


@memory(Resolve)
def resolve(db: Tables, t: Resolve) -> ResolveResult:
    case = db.cases.get(t.case)
    person = db.persons.get(t.person)
    if case is None:
        return ResolveResult(verdict="not_found")
    if case.state is not CaseState.OPEN:
        return ResolveResult(verdict="closed")
    if t.choice not in case.choices:
        return ResolveResult(verdict="choice")
    if person is None or not person.active:
        return ResolveResult(verdict="inactive")
    if case.owner not in person.roles and not t.override:
        return ResolveResult(verdict="role")
    resolved = msgspec.structs.replace(
        case, state=CaseState.RESOLVED, resolved_at=t.at, resolved_by=t.person, choice=t.choice, note=t.note
    )
    db.put(db.cases, case.id, resolved)
    if case.foil is not None and t.choice is Choice.WAIVE:
        foil = db.foils[case.foil]
        move_foil(db, foil, FoilState.WAIVED, t.note, t.at)
        settle_match(db, foil.rule, foil.key, t.at)  # a waived foil takes no observation
    if t.choice is Choice.RETRY and case.receipt is not None:
        put_todo(db, "receipt", str(case.receipt))
    elif t.choice is Choice.RETRY and case.event is not None:
        put_todo(db, "event", case.event)
    elif case.run is None:
        for kind, ref in (("receipt", case.receipt), ("event", case.event)):
            if ref is not None:
                db.drop(db.todos, (kind, str(ref)))
    if case.run is not None:
        body = wire.dumps(
            {"case": case.id, "path": case.path, "choice": str(t.choice), "by": t.person, "note": t.note}
        )
        append(db, NewInboxItem(run=case.run, kind="case", ref=case.id, body=body), t.at)
    body = wire.dumps({"choice": str(t.choice), "note": t.note})
    db.leaf("case.resolved", case.id, t.at, f"person:{t.person}", body, run=case.run)
    if t.evidence is not None:
        conclude(db, t.evidence)
    return ResolveResult(verdict="resolved")


@memory(PutPerson)
def put_person(db: Tables, t: PutPerson) -> bool:
    new = t.person.id not in db.persons
    db.put(db.persons, t.person.id, t.person)
    body = wire.dumps({"roles": list(t.person.roles), "active": t.person.active})
    db.leaf("person", t.person.id, t.at, t.actor, body)
    return new


@memory(PutToken)
def put_token(db: Tables, t: PutToken) -> bool:
    for digest, token in list(db.tokens.items()):
        if t.alone and (token.person, token.kind) == (t.token.person, t.token.kind):
            db.drop(db.tokens, digest)
    db.put(db.tokens, t.token.digest, t.token)
    return True
