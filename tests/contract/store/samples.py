"""Short builders of records and transitions for the store's contract: one customer of one company."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from counterfoil.core import ids, wire
from counterfoil.core.approval import Approval
from counterfoil.core.book_checkpoint import BookCheckpoint
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.case import Case, Choice
from counterfoil.core.case_edits import CaseEdit
from counterfoil.core.delegation import Delegation
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.link import Link
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.notice import NewNotice, NoticeKind
from counterfoil.core.people import Person
from counterfoil.core.run import Direction, RunStatus
from counterfoil.core.sweep import Sweep
from counterfoil.core.terms import Terms
from counterfoil.store.port.case_edits import EditCase
from counterfoil.store.port.delegations import Delegate
from counterfoil.store.port.documents import (
    DecideMatch,
    Decision,
    Pair,
    Unpair,
    Waive,
    covers_of,
    seen_of,
)
from counterfoil.store.port.effects import Conclude, Intent, SendAttempt
from counterfoil.store.port.intake import Admit, Receive
from counterfoil.store.port.people import Decide, PutPerson, Resolve
from counterfoil.store.port.records import NewInboxItem, RunStart
from counterfoil.store.port.store import Store
from counterfoil.store.port.turns import Turn

T0 = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
DAY = timedelta(days=1)
PARTS = Terms(shape="n:m")


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def receipt(ext_id: str = "r1", identity: str = "i", **more: Any) -> Receipt:
    fields = {
        "system": "billing",
        "ext_id": ext_id,
        "type": "invoice",
        "identity": identity,
        "sha256": "0" * 64,
        "door": "webhook",
        "headers": {"content-type": "application/json"},
        "body": b'{"id":1}',
        "received_at": T0,
    }
    return Receipt(**{**fields, **more})


def sweep(id_: str = "swp_1", **more: Any) -> Sweep:
    fields = {"system": "billing", "book": "invoices", "requested_at": T0, "requested_by": "ann"}
    return Sweep(id=id_, **{**fields, **more})


def book_checkpoint(id_: str = "bcp_1", **more: Any) -> BookCheckpoint:
    fields = {
        "rule": "credits",
        "entity": "",
        "at": "2026-01-31",
        "known": T0,
        "digest": "d1",
        "content": b"{}",
        "prepared_at": T0,
        "prepared_by": "ann",
        "reported": T0,
    }
    return BookCheckpoint(id=id_, **{**fields, **more})


def case(id_: str = "case_1", **more: Any) -> Case:
    fields = {
        "id": id_,
        "reason": "mapping_failed",
        "message": "it failed",
        "owner": "finance",
        "deadline": T0 + DAY,
        "next_action": "look",
        "choices": (Choice.RETRY, Choice.DISMISS),
        "created_at": T0,
    }
    return Case(**{**fields, **more})


def edit_case(edit: CaseEdit, id_: str = "case_1", who: str = "ann", **more: Any) -> EditCase:
    return EditCase(case=id_, person=who, edit=edit, **{"at": T0, **more})


def new_notice(subject: str = "case_1", **more: Any) -> NewNotice:
    fields = {
        "kind": NoticeKind.CASE,
        "cause": "refused",
        "entity": "",
        "reason": "refused",
        "persons": ("ann",),
    }
    return NewNotice(**{**fields, "subject": subject, "due": T0 + DAY, **more})


def decide(
    decision: Decision, id_: str = "", when: datetime = T0, automatic: bool = True, **more: Any
) -> DecideMatch:
    """A person's decision on a match: done at once, or requested where it is not automatic."""
    covers = covers_of(decision)
    fields = {"covers": covers, "subject": wire.digest(covers.decode()), "requester": decision.person}
    row = approval(id_ or f"apr_{wire.digest(covers.decode())[:12]}", "", **{**fields, **more})
    return DecideMatch(decision=decision, approval=replace(row, automatic=automatic), at=when)


def pair(foil: Foil, shown: Observation, who: str = "ann") -> Pair:
    seen = seen_of(foil, shown)
    return Pair(foil=foil.id, observation=shown.id, seen=seen, note="the same", person=who)


def unpair(foil: Foil, shown: Observation, who: str = "ann") -> Unpair:
    seen = seen_of(foil, shown)
    return Unpair(foil=foil.id, observation=shown.id, seen=seen, note="not the same", person=who)


def waive(foil: Foil, who: str = "ann", cap: int | None = None) -> Waive:
    return Waive(foil=foil.id, seen=seen_of(foil), note="accepted", person=who, cap=cap)


def receive(*receipts: Receipt, when: datetime = T0, **more: Any) -> Receive:
    clashes = tuple(case(f"case_clash_{r.ext_id}_{r.identity}", reason="clash") for r in receipts)
    return Receive(receipts=receipts, clashes=clashes, at=when, actor="door", **more)


def event(id_: str = "evt_1", key: str = "inv-1", version: int = 1, **more: Any) -> CanonicalEvent:
    fields = {
        "id": id_,
        "type": "invoice.finalized.v1",
        "system": "billing",
        "object": "invoice",
        "key": key,
        "version": version,
        "data": {"amount": Money(12000, "USD"), "day": T0.date(), "lines": [{"n": 1}]},
        "occurred_at": T0,
        "effective_at": T0,
        "received_at": T0,
    }
    return CanonicalEvent(**{**fields, **more})


def head(e: CanonicalEvent, state: dict[str, Any] | None = None) -> Head:
    return Head(
        object=e.object,
        key=e.key,
        version=e.version,
        state=e.data if state is None else state,
        system=e.system,
        effective_at=e.effective_at,
        recorded_at=e.received_at,
        event=e.id,
        versions={e.system: e.version},
    )


def admit(no: int | str = 1, kind: str = "receipt", when: datetime = T0, **more: Any) -> Admit:
    return Admit(todo=(kind, str(no)), at=when, actor="admit", **more)


def start(key: str = "inv-1", ref: str = "evt_1", workflow: str = "w1", **more: Any) -> RunStart:
    run = ids.run_id(workflow, key, more.pop("generation", 0))
    return RunStart(
        run=run,
        workflow=workflow,
        bkey=key,
        generation=0,
        pin="release",
        state="started",
        stimulus=NewInboxItem(run=run, kind="start", ref=ref, body=wire.dumps({"event": ref})),
        **more,
    )


RUN = ids.run_id("w1", "inv-1", 0)


def turn(run: str = RUN, version: int = 0, when: datetime = T0, **more: Any) -> Turn:
    fields = {
        "status": RunStatus.WAITING,
        "direction": Direction.FORWARD,
        "state": "requested",
        "due": None,
        "consumed": 1,
        "ctx": wire.dumps({"step": 1}),
        "leaf": wire.dumps({"commands": []}),
        "actor": "worker:a",
    }
    return Turn(run=run, version=version, at=when, **{**fields, **more})


def effect(path: str = "post", run: str = RUN, gen: int = 0, item: str = "", **more: Any) -> Effect:
    fields = {
        "id": ids.effect_id(run, path, item, gen),
        "run": run,
        "path": path,
        "item": item,
        "gen": gen,
        "operation": "erp.credit_memo.post",
        "system": "erp",
        "repeat": "key",
        "created_at": T0,
    }
    return Effect(**{**fields, **more})


def send(e: Effect, attempt: int = 1, when: datetime = T0, worker: str = "a") -> SendAttempt:
    return SendAttempt(
        effect=e.id,
        attempt=attempt,
        worker=worker,
        send_by=when + timedelta(seconds=5),
        call_until=when + timedelta(seconds=30),
        conclude_at=when + timedelta(seconds=90),
        request=b"POST /memo",
    )


def intent(e: Effect, attempt: int = 1, when: datetime = T0) -> Intent:
    return Intent(send=send(e, attempt, when), at=when, actor="worker:a")


def conclude(
    e: Effect, state: EffectState = EffectState.CONFIRMED, attempt: int = 1, when: datetime = T0, **more: Any
) -> Conclude:
    return Conclude(effect=e.id, attempt=attempt, state=state, at=when, actor="worker:a", **more)


def foil(id_: str = "foil_1", key: str = "cm-1", minor: int = 12000, **more: Any) -> Foil:
    fields = {
        "id": id_,
        "rule": "credits",
        "key": key,
        "document": id_,
        "known_from": T0,
        "object": "credit",
        "left": "billing",
        "right": "erp",
        "legs": {"total": Money(minor, "USD")},
        "due": T0 + DAY,
        "state": FoilState.OPEN,
        "cause": "evt_1",
        "created_at": T0,
    }
    state = more.get("state")
    if state is FoilState.PROVISIONAL:
        fields |= {"provisional": True, "stood": False}
    elif state in (FoilState.VOID, FoilState.REVERSED):
        fields |= {"stands": False, "stood": state is FoilState.REVERSED}
    return Foil(**{**fields, **more})


def observation(id_: str = "obs_1", key: str = "cm-1", minor: int = 12000, **more: Any) -> Observation:
    fields = {
        "id": id_,
        "rule": "credits",
        "key": key,
        "document": f"erp:{id_}",
        "system": "erp",
        "since": T0,
        "version": 1,
        "legs": {"total": Money(minor, "USD")},
        "event": "evt_2",
        "at": T0,
    }
    return Observation(**{**fields, **more})


def link(canonical: str = "cust-1", ext_id: str = "42", **more: Any) -> Link:
    fields = {
        "object": "customer",
        "canonical": canonical,
        "system": "erp",
        "account": "",
        "ext_id": ext_id,
        "established_by": "rule:email",
        "valid_from": T0,
    }
    return Link(**{**fields, **more})


def person(id_: str = "ann", roles: tuple[str, ...] = ("finance",), **more: Any) -> Person:
    fields = {"name": id_.title(), "email": f"{id_}@acme.test", **more}
    return Person(id=id_, roles=roles, **fields)


def put_person(p: Person) -> PutPerson:
    return PutPerson(person=p, at=T0, actor="person:root")


def approval(id_: str = "apr_1", run: str = RUN, **more: Any) -> Approval:
    fields = {
        "id": id_,
        "run": run,
        "path": "approve",
        "policy": "credits",
        "subject": "digest",
        "covers": wire.dumps({"amount": Money(12000, "USD")}),
        "amount": Money(12000, "USD"),
        "roles": ("finance", "controller"),
        "quorum": 1,
        "requester": "sam",
        "expires": T0 + DAY,
        "created_at": T0,
    }
    return Approval(**{**fields, **more})


def vote(id_: str = "apr_1", who: str = "ann", approve: bool = True, **more: Any) -> Decide:
    fields = {"subject": "digest", "comment": "seen", "at": T0}
    return Decide(approval=id_, person=who, approve=approve, **{**fields, **more})


def delegation(giver: str = "ann", receiver: str = "bob", **more: Any) -> Delegation:
    times = {"starts_at": T0, "ends_at": T0 + DAY, "created_at": T0}
    fields = {"id": f"del_{giver}_{receiver}", "giver": giver, "receiver": receiver, **times}
    return Delegation(**{**fields, **more})


def delegate(giver: str = "ann", receiver: str = "bob", when: datetime = T0, **more: Any) -> Delegate:
    return Delegate(delegation=delegation(giver, receiver, **more), at=when)


def resolve(id_: str = "case_1", who: str = "ann", choice: Choice = Choice.RETRY, **more: Any) -> Resolve:
    return Resolve(case=id_, person=who, choice=choice, note="n", at=T0, **more)


async def born(store: Store, key: str = "inv-1", **more: Any) -> str:
    """A Run of workflow w1, started by an admitted receipt of its own."""
    received = await store.apply(receive(receipt(f"start-{key}")))
    e = event(f"evt_start_{key}", key)
    s = start(key, e.id, **more)
    await store.apply(admit(received.numbers[0], events=(e,), starts=(s,)))
    return s.run


async def run_of(store: Store, run: str = RUN) -> Any:
    loaded = await store.load(run)
    assert loaded is not None
    return loaded.run


async def foil_of(store: Store, run: str, id_: str = "foil_1") -> Foil:
    loaded = await store.load(run)
    assert loaded is not None
    return next(f for f in loaded.foils if f.id == id_)
