"""People: votes, decisions on Cases, persons and tokens."""

from __future__ import annotations

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.case import Case, Choice
from counterfoil.core.clock import micros
from counterfoil.core.delegation import Delegation
from counterfoil.core.people import Person
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
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.break_cases import open_break_after
from counterfoil.store.sql.match_locks import KEYS_OF_EFFECTS
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.transaction import Tx
from counterfoil.store.sql.verbs import documents, effects
from counterfoil.store.sql.verbs.refusals import refuse

APPROVAL = f"{t.APPROVAL.select} where id = $1"
CASE = f"{t.CASE.select} where id = $1"
FOIL = f"{t.FOIL.select} where id = $1"


async def person(x: Tx, id_: str) -> Person | None:
    """Return a person, locked against changes while their decision is recorded."""
    row = await x.one(f"{t.PERSON.select} where id = $1 for share", id_)
    return None if row is None else t.PERSON.read(row)


@sql(Decide)
async def decide(x: Tx, d: Decide) -> DecideResult:
    """Record one vote. The Run is locked before the approval, as turns do."""
    row = await x.one(APPROVAL, d.approval)
    if row is None:
        return DecideResult(verdict="not_found")
    if not row[1]:
        await documents.lock(x, decision_of(t.APPROVAL.read(row)))
    await x.rows("select 1 from run where id = $1 for no key update", row[1])
    row = await x.one(f"{APPROVAL} for update", d.approval)
    assert row is not None
    approval = t.APPROVAL.read(row)
    delegation = await _delegation(x, d.delegation) if d.delegation else None
    giver = None if delegation is None else await person(x, delegation.giver)
    votes = [t.VOTE.read(row) for row in await x.rows(f"{t.VOTE.select} where approval = $1", d.approval)]
    refusal = d.refusal(approval, await person(x, d.person), votes, delegation, giver)
    if refusal is not None:
        await refuse(x, d.refused(refusal, approval.run))
        return DecideResult(verdict=refusal)
    vote = d.vote(delegation)
    await x.insert(t.VOTE, [t.VOTE.row(vote)])
    state = d.state_after(approval, sum(v.approve for v in (*votes, vote)))
    if state is not approval.state:
        await x.rows("update approval set state = $2 where id = $1", approval.id, str(state))
        if approval.run:
            await x.append(d.stimulus(approval, state), d.at)
        elif state is ApprovalState.GRANTED:
            verdict = await documents.carry_out(x, decision_of(approval), d.at)
            if verdict != "done":
                await x.rows("update approval set state = 'stale' where id = $1", approval.id)
    x.leaf("decided", approval.id, d.at, f"person:{d.person}", d.body(vote), run=approval.run)
    return DecideResult(verdict=VOTE_RESULTS[state])


async def _delegation(x: Tx, id_: str) -> Delegation | None:
    """Return a delegation, locked against its end while the decision is recorded."""
    row = await x.one(f"{t.DELEGATION.select} where id = $1 for share", id_)
    return None if row is None else t.DELEGATION.read(row)


@sql(Resolve)
async def resolve(x: Tx, r: Resolve) -> ResolveResult:
    row = await x.one(CASE, r.case)
    if row is None:
        return ResolveResult(verdict="not_found")
    case = t.CASE.read(row)
    await _lock(x, r, case)
    row = await x.one(f"{CASE} for update", r.case)
    assert row is not None
    case = t.CASE.read(row)
    if (refusal := r.refusal(case, await person(x, r.person))) is not None:
        await refuse(x, r.refused(refusal, case.run))
        return ResolveResult(verdict=refusal)
    statement = """
    update case_ set state = 'resolved', resolved_at = $2, resolved_by = $3, choice = $4, note = $5
    where id = $1
    """
    await x.rows(statement, case.id, micros(r.at), r.person, str(r.choice), r.note)
    about = [("receipt", None if case.receipt is None else str(case.receipt)), ("event", case.event)]
    todos = [(kind, ref) for kind, ref in about if ref is not None]
    if r.choice is Choice.RETRY and todos:
        statement = """
        insert into todo (kind, ref, parked, wake_topic) values ($1, $2, false, '')
        on conflict (kind, ref) do update set parked = false, wake_topic = ''
        """
        await x.rows(statement, *todos[0])
    elif case.run is None:
        for kind, ref in todos:
            await x.rows("delete from todo where kind = $1 and ref = $2", kind, ref)
    if case.run is None:
        await x.release_held(case.id, retry=r.choice is Choice.RETRY)
    else:
        await x.append(r.stimulus(case, case.run), r.at)
    body = wire.dumps({"choice": str(r.choice), "note": r.note})
    x.leaf("case.resolved", case.id, r.at, f"person:{r.person}", body, run=case.run)
    if r.evidence is not None:
        await effects.record_and_append(x, r.evidence)
    await open_break_after(x, case, r.at)
    return ResolveResult(verdict="resolved")


async def _lock(x: Tx, r: Resolve, case: Case) -> None:
    """Lock the match rows of the foil and of the effect, then the Runs that get an item."""
    if x.dialect == "sqlite":
        return
    foils = []
    if case.foil is not None:
        foils += await x.rows("select rule, key from foil where id = $1", case.foil)
    if r.evidence is not None:
        foils += await x.rows(KEYS_OF_EFFECTS, [r.evidence.effect])
    matches = [(rule, key) for rule, key in foils]
    await x.lock_matches(matches)
    await x.lock_runs([] if case.run is None else [case.run], (), matches)
    if case.run is not None:
        await x.rows("select 1 from run where id = $1 for no key update", case.run)


@sql(PutPerson)
async def put_person(x: Tx, p: PutPerson) -> bool:
    row = t.PERSON.row(p.person)
    new = await x.insert(t.PERSON, [row], ignore=True, returning="id")
    if not new:
        statement = """
        update person set
          name = $2, email = $3, roles = $4, secret = $5, active = $6, aliases = $7, entities = $8, zone = $9
        where id = $1
        """
        await x.rows(statement, *row)
    if not p.person.active:
        await x.rows("delete from token where person = $1", p.person.id)
    body = wire.dumps(p.leaf_body())
    x.leaf("person", p.person.id, p.at, p.actor, body)
    return bool(new)


@sql(PutToken)
async def put_token(x: Tx, p: PutToken) -> bool:
    if p.alone:
        await x.rows("delete from token where person = $1 and kind = $2", p.token.person, p.token.kind)
    statement = """
    insert into token (digest, person, kind, expires) values ($1, $2, $3, $4)
    on conflict (digest) do update set
      person = excluded.person, kind = excluded.kind, expires = excluded.expires
    """
    await x.rows(statement, *t.TOKEN.row(p.token))
    return True
