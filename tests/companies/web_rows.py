"""The rows of the company for API and pages, written by transitions of the store port."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Any

from counterfoil.core import ids, wire
from counterfoil.core.approval import Approval
from counterfoil.core.audit import Checkpoint
from counterfoil.core.canonical import CanonicalEvent, Receipt
from counterfoil.core.case import Case, Choice
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.errors import ErrorClass
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.link import Link
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.run import Direction, RunStatus
from counterfoil.store.port.effects import Conclude, Intent, SendAttempt
from counterfoil.store.port.intake import Admit, Receive
from counterfoil.store.port.maintenance import ExpireFoils, OpenCases, PutCheckpoint, Seal
from counterfoil.store.port.people import Decide
from counterfoil.store.port.records import NewInboxItem, RunStart
from counterfoil.store.port.releases import PutFirstRelease
from counterfoil.store.port.turns import Turn
from counterfoil.store.sql.store import SqlStore
from tests.companies.base import acme_model

GERMAN = "acme-de"
"""Legal entity of the rows whose keys begin with `DE-`. All others belong to the default one, `acme-us`."""


def run_of(key: str, workflow: str = "support-credit-to-erp") -> str:
    return ids.run_id(workflow, key, 0)


def approval_of(key: str) -> str:
    return ids.derive("appr", run_of(key), "approve")


def entity_of(key: str) -> str:
    """Return the legal entity of rows with this key or document: those that begin with `DE-` are German."""
    return GERMAN if key.startswith("DE-") else ""


def customer_of(key: str) -> str:
    return "DE-cust_77" if entity_of(key) else "cust_42"


@cache
def first_release() -> tuple[str, bytes]:
    """Return the digest and the body of the first Release, which is read once."""
    model = acme_model()
    return model.digest, model.to_json()


async def fill(store: SqlStore) -> None:
    """Write the first Release, the credits of the default entity, and a Case that belongs to no entity."""
    digest, body = first_release()
    await store.apply(PutFirstRelease(digest=digest, body=body, at=await store.now(), actor="test"))
    await fill_credits(store, "")
    await _unrouted(store)
    await seal(store)


async def fill_credits(store: SqlStore, prefix: str) -> None:
    """Write credits: one matched, one broken with its Case, three awaiting approval, one in flight, one undone."""
    await _matched(store, f"{prefix}CR-1001", f"{prefix}CM-7001", 12_000)
    await _broken(store, f"{prefix}CR-1002", f"{prefix}CM-7002", 84_050)
    await _waiting(store, f"{prefix}CR-1003", 250_000)
    await _waiting(store, f"{prefix}CR-1006", 99_900, requester="fay")
    await _waiting(store, f"{prefix}CR-1007", 31_000)
    await _in_flight(store, f"{prefix}CR-1004", f"{prefix}CM-7004", 6_500)
    await _undone(store, f"{prefix}CR-1005", 4_400)


async def seal(store: SqlStore) -> None:
    """Seal the audit leaves written so far, under a checkpoint."""
    sealed = await store.apply(Seal(at=await store.now()))
    text = f"counterfoil.test\n{sealed.size}\n"
    checkpoint = Checkpoint(size=sealed.size, root=sealed.root, at=await store.now(), text=text)
    await store.apply(PutCheckpoint(checkpoint=checkpoint))


async def _begin(store: SqlStore, key: str, minor: int, minutes: int) -> tuple[str, datetime]:
    """Write the receipt, event and Run of a ticket that requests a credit. Return the Run and its time."""
    now = await store.now()
    at = now - timedelta(minutes=minutes)
    run = run_of(key)
    body = wire.dumps({"ticket": key})
    receipt = Receipt(
        system="support", ext_id=f"t:{key}", type="ticket", identity=wire.digest(key), sha256=wire.digest(body),
        door="webhook", headers={}, body=body, received_at=at,
    )  # fmt: skip
    clash = case_of(f"case_{key}", "clash", "finance-operations", at)
    received = await store.apply(
        Receive(receipts=(receipt,), clashes=(clash,), at=at, actor="system:support")
    )
    event = CanonicalEvent(
        id=ids.event_id("support", "ticket", key, "1", "support.credit_requested.v1"),
        type="support.credit_requested.v1", system="support", object="ticket", key=key, version=1,
        data={
            "credit_id": key, "customer_id": customer_of(key), "amount": Money(minor, "USD"), "requested_by": "ava",
        },
        legal_entity=entity_of(key),
        occurred_at=at - timedelta(seconds=2), effective_at=at, received_at=at, receipt=received.numbers[0],
    )  # fmt: skip
    stimulus = NewInboxItem(run=run, kind="start", ref=event.id, body=wire.dumps({"event": event.id}))
    start = RunStart(
        run=run, workflow="support-credit-to-erp", bkey=key, generation=0, pin="d" * 64, state="requested",
        stimulus=stimulus, entity=entity_of(key),
    )  # fmt: skip
    links = ()
    if key.endswith("CR-1001"):
        links = (_link("customer", customer_of(key), "billing", f"{entity_of(key)}cus_Q1w2", "event:x", at),)
    await store.apply(
        Admit(
            todo=("receipt", str(received.numbers[0])), events=(event,), starts=(start,), links=links, at=at,
            actor="worker:t",
        )
    )  # fmt: skip
    return run, at


async def _turn(
    store: SqlStore, run: str, at: datetime, state: str, status: RunStatus = RunStatus.WAITING, **more: Any
) -> None:
    loaded = await store.load(run)
    assert loaded is not None
    turned = await store.apply(
        Turn(
            run=run, version=loaded.run.version, at=at, status=status,
            direction=more.pop("direction", Direction.FORWARD), state=state,
            due=None if status is not RunStatus.WAITING else at + timedelta(days=2),
            consumed=loaded.run.inbox_n, ctx=b"{}", actor="worker:t", **more,
        )
    )  # fmt: skip
    assert turned.verdict == "done"


def _effect(run: str, key: str, path: str, operation: str, at: datetime, minor: int, **more: Any) -> Effect:
    return Effect(
        id=ids.effect_id(run, path, "", 0), run=run, path=path, operation=operation,
        system=operation.split(".")[0], repeat="key", created_at=at,
        input=wire.dumps({"amount": Money(minor, "USD"), "customer_id": customer_of(key)}), **more,
    )  # fmt: skip


async def _call(
    store: SqlStore, run: str, key: str, path: str, operation: str, at: datetime, minor: int,
    result: dict[str, Any] | None, becomes: str, foils: tuple[Foil, ...] = (), **more: Any,
) -> None:  # fmt: skip
    """Plan, intend and conclude: the three commits of an outward write."""
    effect = _effect(run, key, path, operation, at, minor)
    await _turn(store, run, at, becomes, plan=(effect,), foils=foils)
    sent = SendAttempt(
        effect=effect.id, attempt=1, worker="w/1", send_by=at + timedelta(seconds=5),
        call_until=at + timedelta(seconds=30), conclude_at=at + timedelta(seconds=90), request=b"{}",
    )  # fmt: skip
    intended = await store.apply(Intent(send=sent, at=at + timedelta(milliseconds=40), actor="worker:t"))
    assert intended.verdict == "sending"
    if result is None and not more:
        return
    done = at + timedelta(milliseconds=310)
    links: tuple[Link, ...] = ()
    if result is not None:
        links = (_link("credit", key, effect.system, str(result["id"]), f"effect:{effect.id}", done),)
    state = more.pop("state", EffectState.CONFIRMED)
    concluded = await store.apply(
        Conclude(
            effect=effect.id, attempt=1, state=state, at=done, actor="worker:t", links=links,
            result=None if result is None else wire.dumps(result), **more,
        )
    )  # fmt: skip
    assert concluded.verdict == "won"


def _foil(run: str, key: str, minor: int, at: datetime, due: timedelta) -> Foil:
    return Foil(
        id=ids.derive("foil", key), rule="credit-memo", key=key, document=key, object="credit", left="billing", right="erp",
        legs={"net": Money(minor, "USD"), "tax": Money(0, "USD")}, due=at + due, state=FoilState.PROVISIONAL,
        run=run, effect=ids.effect_id(run, "memo", "", 0), cause=ids.effect_id(run, "memo", "", 0),
        owner="finance-operations", created_at=at, known_from=at, provisional=True, stood=False, entity=entity_of(key),
    )  # fmt: skip


async def _observe(store: SqlStore, key: str, minor: int, at: datetime) -> None:
    """Write the receipt and observation of a memo that the ERP shows as posted."""
    body = wire.dumps({"document": key})
    receipt = Receipt(
        system="erp", ext_id=f"d:{key}", type="document", identity=wire.digest(key), sha256=wire.digest(body),
        door="poll", headers={}, body=body, received_at=at,
    )  # fmt: skip
    clash = case_of(f"case_d_{key}", "clash", "finance-operations", at)
    received = await store.apply(Receive(receipts=(receipt,), clashes=(clash,), at=at, actor="system:erp"))
    event = CanonicalEvent(
        id=ids.event_id("erp", "credit", key, "1", "erp.credit_memo_posted.v1"),
        type="erp.credit_memo_posted.v1", system="erp", object="credit", key=key, version=1,
        data={"credit_id": key, "amount": Money(minor, "USD")}, legal_entity=entity_of(key), occurred_at=at, effective_at=at,
        received_at=at, receipt=received.numbers[0],
    )  # fmt: skip
    observation = Observation(
        id=ids.derive("obs", key), rule="credit-memo", key=key, document=f"memo {key}", version=1, since=at,
        legs={"net": Money(minor, "USD"), "tax": Money(0, "USD")}, event=event.id, at=at, entity=entity_of(key),
    )  # fmt: skip
    await store.apply(
        Admit(
            todo=("receipt", str(received.numbers[0])),
            events=(event,),
            observations=(observation,),
            at=at,
            actor="worker:t",
        )
    )


async def _approved(store: SqlStore, run: str, key: str, at: datetime, minor: int) -> None:
    await _turn(store, run, at, "eligible", approvals=(_approval(run, key, at, minor),))
    decided = await store.apply(
        Decide(
            approval=approval_of(key), subject=f"subject-{key}", person="leo", approve=True,
            comment="Outage confirmed by the status page", at=at + timedelta(seconds=20),
        )
    )  # fmt: skip
    assert decided.verdict == "granted"


def _approval(
    run: str, key: str, at: datetime, minor: int, role: str = "support-lead", requester: str = "ava"
) -> Approval:
    covers = {"amount": Money(minor, "USD"), "invoice_id": f"INV-{key[3:]}", "customer_id": customer_of(key)}
    return Approval(
        id=approval_of(key), run=run, path="approve", policy="service-credit", subject=f"subject-{key}",
        covers=wire.dumps(covers), amount=Money(minor, "USD"), roles=(role,), quorum=1, requester=requester,
        expires=at + timedelta(days=3), created_at=at, entity=entity_of(key),
    )  # fmt: skip


async def _matched(store: SqlStore, key: str, memo: str, minor: int) -> None:
    run, at = await _begin(store, key, minor, minutes=64)
    await _approved(store, run, key, at + timedelta(seconds=1), minor)
    at += timedelta(minutes=2)
    foil = _foil(run, key, minor, at, timedelta(days=2))
    await _call(
        store, run, key, "memo", "billing.credit_memo.issue", at, minor, {"id": f"{entity_of(key)}cn_8Tq2", "number": memo},
        "billed", (foil,),
    )  # fmt: skip
    at += timedelta(seconds=1)
    await _call(
        store, run, key, "post", "erp.credit_memo.post", at, minor, {"id": f"{entity_of(key)}account.move,311", "number": f"{entity_of(key)}NC/31"},
        "posted",
    )  # fmt: skip
    at += timedelta(seconds=4)
    await _observe(store, key, minor, at)
    await _turn(store, run, at + timedelta(seconds=1), "reconciled", RunStatus.DONE)


async def _broken(store: SqlStore, key: str, memo: str, minor: int) -> None:
    run, at = await _begin(store, key, minor, minutes=200)
    await _approved(store, run, key, at + timedelta(seconds=1), minor)
    at += timedelta(minutes=1)
    foil = _foil(run, key, minor, at, timedelta(hours=1))
    await _call(
        store, run, key, "memo", "billing.credit_memo.issue", at, minor, {"id": f"{entity_of(key)}cn_4Zk9", "number": memo},
        "billed", (foil,),
    )  # fmt: skip
    await _call(
        store, run, key, "post", "erp.credit_memo.post", at + timedelta(seconds=2), minor, None, "billed",
        state=EffectState.REFUSED, error_class=ErrorClass.PERIOD_CLOSED, error="period 2026-10 is closed",
    )  # fmt: skip
    now = await store.now()
    await store.apply(ExpireFoils(foils=(foil.id,), at=now))


async def _waiting(store: SqlStore, key: str, minor: int, requester: str = "ava") -> None:
    run, at = await _begin(store, key, minor, minutes=12)
    approval = _approval(run, key, at, minor, "finance-operations", requester)
    await _turn(store, run, at + timedelta(seconds=1), "eligible", approvals=(approval,))


async def _in_flight(store: SqlStore, key: str, memo: str, minor: int) -> None:
    run, at = await _begin(store, key, minor, minutes=3)
    await _approved(store, run, key, at + timedelta(seconds=1), minor)
    at += timedelta(minutes=1)
    foil = _foil(run, key, minor, at, timedelta(days=2))
    await _call(
        store, run, key, "memo", "billing.credit_memo.issue", at, minor, {"id": f"{entity_of(key)}cn_9Pp1", "number": memo},
        "billed", (foil,),
    )  # fmt: skip
    await _call(
        store, run, key, "post", "erp.credit_memo.post", at + timedelta(seconds=1), minor, None, "billed"
    )


async def _undone(store: SqlStore, key: str, minor: int) -> None:
    run, at = await _begin(store, key, minor, minutes=90)
    await _turn(store, run, at + timedelta(seconds=1), "refused", RunStatus.UNDONE, direction=Direction.UNDO)


async def _unrouted(store: SqlStore) -> None:
    now = await store.now()
    case = case_of(
        "case_unrouted_1", "mapping_failed", "controller", now - timedelta(minutes=30),
        message="billing: <script>alert(1)</script> is no known invoice status", choices=(Choice.DISMISS,),
    )  # fmt: skip
    await store.apply(OpenCases(cases=(case,), at=now, actor="worker:t"))


def case_of(id_: str, reason: str, owner: str, at: datetime, **more: Any) -> Case:
    values: dict[str, Any] = {
        "message": "the same id came with another content", "deadline": at + timedelta(days=2),
        "next_action": "Ask the sender which one is right", "choices": (Choice.DISMISS,),
    }  # fmt: skip
    return Case(id=id_, reason=reason, owner=owner, created_at=at, **(values | more))


def _link(object_: str, canonical: str, system: str, ext_id: str, by: str, at: datetime) -> Link:
    return Link(
        object=object_, canonical=canonical, system=system, account="", ext_id=ext_id, established_by=by,
        valid_from=at, legal_entity=entity_of(canonical),
    )  # fmt: skip
