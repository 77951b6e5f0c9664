"""Specification of votes, decisions on Cases, persons and tokens."""

from __future__ import annotations

from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.case import Choice
from counterfoil.store.memory.cases import open_break_after, release_held, resolve_case
from counterfoil.store.memory.documents import carry_out
from counterfoil.store.memory.effects import conclude
from counterfoil.store.memory.refusals import refuse
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.runs import append, put_todo
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.documents import decision_of
from counterfoil.store.port.people import (
    VOTE_RESULTS,
    Decide,
    DecideResult,
    PutPerson,
    PutToken,
    Resolve,
    ResolveResult,
)


@memory(Decide)
def decide(db: Tables, t: Decide) -> DecideResult:
    approval = db.approvals.get(t.approval)
    if approval is None:
        return DecideResult(verdict="not_found")
    delegation = db.delegations.get(t.delegation)
    giver = None if delegation is None else db.persons.get(delegation.giver)
    votes = [v for v in db.votes.values() if v.approval == t.approval]
    refusal = t.refusal(approval, db.persons.get(t.person), votes, delegation, giver)
    if refusal is not None:
        refuse(db, t.refused(refusal, approval.run))
        return DecideResult(verdict=refusal)
    vote = t.vote(delegation)
    db.put(db.votes, (t.approval, t.person), vote)
    state = t.state_after(approval, sum(v.approve for v in (*votes, vote)))
    if state is not approval.state:
        db.put(db.approvals, approval.id, replace(approval, state=state))
        if approval.run:
            append(db, t.stimulus(approval, state), t.at)
        elif state is ApprovalState.GRANTED and carry_out(db, decision_of(approval), t.at) != "done":
            db.put(db.approvals, approval.id, replace(approval, state=ApprovalState.STALE))
    db.leaf("decided", approval.id, t.at, f"person:{t.person}", t.body(vote), run=approval.run)
    return DecideResult(verdict=VOTE_RESULTS[state])


@memory(Resolve)
def resolve(db: Tables, t: Resolve) -> ResolveResult:
    case = db.cases.get(t.case)
    if case is None:
        return ResolveResult(verdict="not_found")
    if (refusal := t.refusal(case, db.persons.get(t.person))) is not None:
        refuse(db, t.refused(refusal, case.run))
        return ResolveResult(verdict=refusal)
    resolve_case(db, replace(case, choice=t.choice), t.at, t.person, t.note)
    if t.choice is Choice.RETRY and case.receipt is not None:
        put_todo(db, "receipt", str(case.receipt))
    elif t.choice is Choice.RETRY and case.event is not None:
        put_todo(db, "event", case.event)
    elif case.run is None:
        for kind, ref in (("receipt", case.receipt), ("event", case.event)):
            if ref is not None:
                db.drop(db.todos, (kind, str(ref)))
    if case.run is None:
        release_held(db, case.id, retry=t.choice is Choice.RETRY)
    else:
        append(db, t.stimulus(case, case.run), t.at)
    body = wire.dumps({"choice": str(t.choice), "note": t.note})
    db.leaf("case.resolved", case.id, t.at, f"person:{t.person}", body, run=case.run)
    if t.evidence is not None:
        conclude(db, t.evidence)
    open_break_after(db, case, t.at)
    return ResolveResult(verdict="resolved")


@memory(PutPerson)
def put_person(db: Tables, t: PutPerson) -> bool:
    new = t.person.id not in db.persons
    db.put(db.persons, t.person.id, t.person)
    for digest, token in list(db.tokens.items()):
        if not t.person.active and token.person == t.person.id:
            db.drop(db.tokens, digest)
    body = wire.dumps(t.leaf_body())
    db.leaf("person", t.person.id, t.at, t.actor, body)
    return new


@memory(PutToken)
def put_token(db: Tables, t: PutToken) -> bool:
    for digest, token in list(db.tokens.items()):
        if t.alone and (token.person, token.kind) == (t.token.person, t.token.kind):
            db.drop(db.tokens, digest)
    db.put(db.tokens, t.token.digest, t.token)
    return True
