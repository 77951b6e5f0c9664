"""A small company for the doors and pages: a real store with rows that real transitions wrote, and its server."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import argon2
import msgspec
import uvicorn

from counterfoil.change.ports import ChangePorts
from counterfoil.change.service import ChangeService
from counterfoil.connectors import signature
from counterfoil.core import ids, wire
from counterfoil.core.approval import Approval
from counterfoil.core.audit import Checkpoint
from counterfoil.core.canonical import CanonicalEvent, Receipt
from counterfoil.core.case import Case, Choice
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.errors import ErrorClass
from counterfoil.core.event import Event
from counterfoil.core.foil import Foil, FoilState, Observation
from counterfoil.core.link import Link
from counterfoil.core.money import Money
from counterfoil.core.people import Person
from counterfoil.core.run import Direction, RunStatus
from counterfoil.flow.context.deprecations import DeprecationUsage
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.dispatch.limiter import ConcurrencyLimiter, caps_of
from counterfoil.flow.gateway.gateway import Gateway
from counterfoil.flow.intake.load_shedding import Intake
from counterfoil.flow.intake.usage import UsageAnswer, UsageIntake
from counterfoil.model import Model, read
from counterfoil.store.port.effects import Conclude, Intent, Send
from counterfoil.store.port.intake import Admit, Receive
from counterfoil.store.port.maintenance import Expire, OpenCases, PutCheckpoint, Seal
from counterfoil.store.port.people import Decide, PutPerson, PutToken, Resolve
from counterfoil.store.port.records import RunStart, NewInboxItem
from counterfoil.store.port.releases import PutRelease
from counterfoil.store.port.turns import Turn
from counterfoil.store.sql.sqlite import SqliteStore
from counterfoil.web.http import server
from counterfoil.web.http.identity import Passwords, new_token
from counterfoil.web.http.permissions import Permission, granted
from tests.source import ROOT

PASSWORD = "correct horse battery staple"
SECRET = "whsec_c2VjcmV0LW9mLXRoZS1iaWxsaW5nLXN5c3RlbQ=="
PEOPLE = {
    "ava": ("Ava Agent", ["support-agent"]),
    "leo": ("Leo Lead", ["support-lead"]),
    "fay": ("Fay Finance", ["finance-operations"]),
    "cory": ("Cory Controller", ["controller"]),
    "ada": ("Ada Admin", ["administrator"]),
    "nil": ("Nil Norole", []),
}


class Answer(msgspec.Struct, frozen=True):
    verdict: str
    receipt: int
    type: str = "t"


class TrialApp:
    """The application that doors and pages are given, on one SQLite file."""

    def __init__(self, store: SqliteStore, model: Model) -> None:
        self.store = store
        self.views = store
        self.model = model
        self.intake = Intake(store)
        self.uses = DeprecationUsage(store, lambda: self.model)
        gate = ConcurrencyLimiter("trial/1", caps_of(model.systems))
        self.gateway = Gateway(store, Releases(store, model), {}, gate, self.intake)
        self._usage = UsageIntake(self.intake, self.uses)
        self.ready = True
        self.failing: Exception | None = None
        self.changes = ChangeService(
            store, store, ChangePorts(self._release, _no_traffic, _no_connectors, self._take_up)
        )

    async def _release(self, digest: str) -> Model:
        held = await self.store.release(digest)
        assert held is not None
        return Model.from_json(held[1])

    async def _take_up(self) -> None:
        digest = await self.store.active_release()
        assert digest is not None
        self.model = await self._release(digest)

    async def now(self) -> datetime:
        return await self.store.now()

    async def receive(self, system: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if self.failing is not None:
            raise self.failing
        now = await self.now()
        signature.verify("standard-webhooks-v1", SECRET, headers, body, now)
        content = wire.read_json(body)
        if not isinstance(content, dict) or "id" not in content:
            raise wire.WireRefused("a delivery has an id", "$.id")
        return (await self._keep(system, [(str(content["id"]), body, "webhook")], now))[0]

    async def receive_events(self, events: Sequence[Event]) -> list[Answer]:
        rows = [(event.id, wire.dumps({"type": event.type}), "events") for event in events]
        return await self._keep("billing", rows, await self.now())

    async def receive_usage(self, body: bytes, content_type: str, sender: str) -> UsageAnswer:
        return await self._usage.receive(self.model, body, content_type, sender, await self.now())

    async def _keep(self, system: str, rows: Sequence[tuple[str, bytes, str]], now: datetime) -> list[Answer]:
        receipts = tuple(
            Receipt(
                system=system, ext_id=ext_id, type="t", identity=hashlib.sha256(body).hexdigest(),
                sha256=hashlib.sha256(body).hexdigest(), door=door, headers={}, body=body, received_at=now,
            )
            for ext_id, body, door in rows
        )  # fmt: skip
        clashes = tuple(_case(f"case_clash_{r.ext_id}", "clash", "finance-operations", now) for r in receipts)
        kept = await self.intake.apply(Receive(receipts=receipts, clashes=clashes, at=now, actor=system))
        return [Answer(v, n) for v, n in zip(kept.verdicts, kept.numbers, strict=True)]

    async def resolve_case(self, case_id: str, person: str, choice: Choice, note: str) -> str:
        who = await self.store.person(person)
        override = who is not None and Permission.CASES_ANY_RESOLVE in granted(who, self.model)
        resolved = await self.store.apply(
            Resolve(
                case=case_id, person=person, choice=choice, note=note, at=await self.now(), override=override
            )
        )
        verdict: str = resolved.verdict
        return verdict

    async def decide_approval(
        self, approval_id: str, subject: str, person: str, approve: bool, comment: str
    ) -> str:
        decided = await self.store.apply(
            Decide(
                approval=approval_id, subject=subject, person=person, approve=approve, comment=comment,
                at=await self.now(),
            )
        )  # fmt: skip
        verdict: str = decided.verdict
        return verdict

    async def health(self) -> dict[str, Any]:
        now = await self.now()
        return {
            "ready": self.ready,
            "store": "sqlite",
            "feeds": {
                "billing.events": {"last": now.isoformat(), "error": ""},
                "erp.documents": {"last": now.isoformat(), "error": "connection refused"},
            },
            "lag_seconds": 0.0,
        }


async def _no_traffic(old: Model, new: Model, since: datetime, until: datetime) -> None:
    return None


async def _no_connectors(model: Model, names: Sequence[str]) -> None:
    """Nothing is called from here."""


class Company:
    """The running company: where it answers, and what its people carry."""

    def __init__(self, app: TrialApp, url: str, tokens: dict[str, str]) -> None:
        self.app = app
        self.url = url
        self.tokens = tokens

    def bearer(self, person: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens[person]}"}


def cheap_passwords() -> Passwords:
    """argon2 with the least cost that it takes: tests prove the way, not the price."""
    return Passwords(argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Company]:
    """A company in `folder`, with rows, behind a real socket on a free port."""
    store = await SqliteStore.open(folder / "company.db")
    model, findings = read(ROOT / "examples" / "acme")
    assert [f for f in findings if f.severity == "error"] == []
    app = TrialApp(store, model)
    passwords = cheap_passwords()
    try:
        tokens = await people(store, passwords)
        await fill(store)
        sock = server.listen("127.0.0.1", 0)
        asgi = server.build(app, passwords)
        process = uvicorn.Server(server.config(asgi, port=0))
        process.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
        task = asyncio.create_task(process.serve(sockets=[sock]))
        while not process.started:
            await asyncio.sleep(0.01)
        try:
            yield Company(app, f"http://127.0.0.1:{sock.getsockname()[1]}", tokens)
        finally:
            process.should_exit = True
            await task
            _close(sock)
    finally:
        await store.close()


def _close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.close()


async def people(store: SqliteStore, passwords: Passwords) -> dict[str, str]:
    now = await store.now()
    secret = passwords.hash(PASSWORD)
    tokens = {}
    for id_, (name, roles) in PEOPLE.items():
        person = Person(id=id_, name=name, email=f"{id_}@acme.example", roles=tuple(roles), secret=secret)
        await store.apply(PutPerson(person=person, at=now, actor="test"))
        tokens[id_], token = new_token(id_, now + timedelta(days=1))
        await store.apply(PutToken(token=token, at=now))
    return tokens


# ------------------------------------------------------------------ rows, by the transitions of the port


def run_of(key: str, workflow: str = "support-credit-to-erp") -> str:
    return ids.run_id(workflow, key, 0)


def approval_of(key: str) -> str:
    return ids.derive("appr", run_of(key), "approve")


async def fill(store: SqliteStore) -> None:
    """Credits: one matched, one broken with its Case, three to be approved, one on its way, one taken back."""
    model, _ = read(ROOT / "examples" / "acme", checks=False)
    now = await store.now()
    await store.apply(PutRelease(digest=model.digest, body=model.to_json(), at=now, actor="test"))
    await _matched(store, "CR-1001", "CM-7001", 12_000)
    await _broken(store, "CR-1002", "CM-7002", 84_050)
    await _waiting(store, "CR-1003", 250_000)
    await _waiting(store, "CR-1006", 99_900, requester="fay")
    await _waiting(store, "CR-1007", 31_000)
    await _in_flight(store, "CR-1004", "CM-7004", 6_500)
    await _undone(store, "CR-1005", 4_400)
    await _unrouted(store)
    sealed = await store.apply(Seal(at=await store.now()))
    text = f"counterfoil.test\n{sealed.size}\n"
    checkpoint = Checkpoint(size=sealed.size, root=sealed.root, at=await store.now(), text=text)
    await store.apply(PutCheckpoint(checkpoint=checkpoint))


async def _begin(store: SqliteStore, key: str, minor: int, minutes: int) -> tuple[str, datetime]:
    """A ticket asks for a credit: receipt, event, Run."""
    now = await store.now()
    at = now - timedelta(minutes=minutes)
    run = run_of(key)
    body = wire.dumps({"ticket": key})
    receipt = Receipt(
        system="support", ext_id=f"t:{key}", type="ticket", identity=wire.digest(key), sha256="0" * 64,
        door="webhook", headers={}, body=body, received_at=at,
    )  # fmt: skip
    clash = _case(f"case_{key}", "clash", "finance-operations", at)
    kept = await store.apply(Receive(receipts=(receipt,), clashes=(clash,), at=at, actor="system:support"))
    event = CanonicalEvent(
        id=ids.event_id("support", "ticket", key, "1", "support.credit_requested.v1"),
        type="support.credit_requested.v1", system="support", object="ticket", key=key, version=1,
        data={"credit_id": key, "customer_id": "cust_42", "amount": Money(minor, "USD"), "requested_by": "ava"},
        occurred_at=at - timedelta(seconds=2), effective_at=at, received_at=at, receipt=kept.numbers[0],
    )  # fmt: skip
    stimulus = NewInboxItem(run=run, kind="start", ref=event.id, body=wire.dumps({"event": event.id}))
    start = RunStart(
        run=run, workflow="support-credit-to-erp", bkey=key, generation=0, pin="d" * 64, state="requested",
        stimulus=stimulus,
    )  # fmt: skip
    links = (_link("customer", "cust_42", "billing", "cus_Q1w2", "event:x", at),) if key == "CR-1001" else ()
    await store.apply(
        Admit(
            todo=("receipt", str(kept.numbers[0])), events=(event,), starts=(start,), links=links, at=at,
            actor="worker:t",
        )
    )  # fmt: skip
    return run, at


async def _turn(
    store: SqliteStore, run: str, at: datetime, state: str, status: RunStatus = RunStatus.WAITING, **more: Any
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


def _effect(run: str, path: str, operation: str, at: datetime, minor: int, **more: Any) -> Effect:
    return Effect(
        id=ids.effect_id(run, path, "", 0), run=run, path=path, operation=operation,
        system=operation.split(".")[0], repeat="key", created_at=at,
        input=wire.dumps({"amount": Money(minor, "USD"), "customer_id": "cust_42"}), **more,
    )  # fmt: skip


async def _call(
    store: SqliteStore, run: str, key: str, path: str, operation: str, at: datetime, minor: int,
    result: dict[str, Any] | None, becomes: str, foils: tuple[Foil, ...] = (), **more: Any,
) -> None:  # fmt: skip
    """Plan, intend, conclude: the three commits of an outward write."""
    effect = _effect(run, path, operation, at, minor)
    await _turn(store, run, at, becomes, plan=(effect,), foils=foils)
    sent = Send(
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
        id=ids.derive("foil", key), rule="credit-memo", key=key, object="credit", left="billing", right="erp",
        legs={"net": Money(minor, "USD"), "tax": Money(0, "USD")}, due=at + due, state=FoilState.PROVISIONAL,
        run=run, effect=ids.effect_id(run, "memo", "", 0), cause=ids.effect_id(run, "memo", "", 0),
        owner="finance-operations", created_at=at,
    )  # fmt: skip


async def _observe(store: SqliteStore, key: str, minor: int, at: datetime) -> None:
    """The ERP shows a posted memo."""
    body = wire.dumps({"document": key})
    receipt = Receipt(
        system="erp", ext_id=f"d:{key}", type="document", identity=wire.digest(key), sha256="0" * 64,
        door="poll", headers={}, body=body, received_at=at,
    )  # fmt: skip
    clash = _case(f"case_d_{key}", "clash", "finance-operations", at)
    kept = await store.apply(Receive(receipts=(receipt,), clashes=(clash,), at=at, actor="system:erp"))
    event = CanonicalEvent(
        id=ids.event_id("erp", "credit", key, "1", "erp.credit_memo_posted.v1"),
        type="erp.credit_memo_posted.v1", system="erp", object="credit", key=key, version=1,
        data={"credit_id": key, "amount": Money(minor, "USD")}, occurred_at=at, effective_at=at,
        received_at=at, receipt=kept.numbers[0],
    )  # fmt: skip
    seen = Observation(
        id=ids.derive("obs", key), rule="credit-memo", key=key, subject=f"memo {key}", version=1,
        legs={"net": Money(minor, "USD"), "tax": Money(0, "USD")}, event=event.id, at=at,
    )  # fmt: skip
    await store.apply(
        Admit(
            todo=("receipt", str(kept.numbers[0])),
            events=(event,),
            observations=(seen,),
            at=at,
            actor="worker:t",
        )
    )


async def _approved(store: SqliteStore, run: str, key: str, at: datetime, minor: int) -> None:
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
    covers = {"amount": Money(minor, "USD"), "invoice_id": f"INV-{key[3:]}", "customer_id": "cust_42"}
    return Approval(
        id=approval_of(key), run=run, path="approve", policy="service-credit", subject=f"subject-{key}",
        covers=wire.dumps(covers), amount=Money(minor, "USD"), roles=(role,), quorum=1, requester=requester,
        expires=at + timedelta(days=3), created_at=at,
    )  # fmt: skip


async def _matched(store: SqliteStore, key: str, memo: str, minor: int) -> None:
    run, at = await _begin(store, key, minor, minutes=64)
    await _approved(store, run, key, at + timedelta(seconds=1), minor)
    at += timedelta(minutes=2)
    foil = _foil(run, key, minor, at, timedelta(days=2))
    await _call(
        store, run, key, "memo", "billing.credit_memo.issue", at, minor, {"id": "cn_8Tq2", "number": memo},
        "billed", (foil,),
    )  # fmt: skip
    at += timedelta(seconds=1)
    await _call(
        store, run, key, "post", "erp.credit_memo.post", at, minor, {"id": "account.move,311", "number": "NC/31"},
        "posted",
    )  # fmt: skip
    at += timedelta(seconds=4)
    await _observe(store, key, minor, at)
    await _turn(store, run, at + timedelta(seconds=1), "reconciled", RunStatus.DONE)


async def _broken(store: SqliteStore, key: str, memo: str, minor: int) -> None:
    run, at = await _begin(store, key, minor, minutes=200)
    await _approved(store, run, key, at + timedelta(seconds=1), minor)
    at += timedelta(minutes=1)
    foil = _foil(run, key, minor, at, timedelta(hours=1))
    await _call(
        store, run, key, "memo", "billing.credit_memo.issue", at, minor, {"id": "cn_4Zk9", "number": memo},
        "billed", (foil,),
    )  # fmt: skip
    await _call(
        store, run, key, "post", "erp.credit_memo.post", at + timedelta(seconds=2), minor, None, "billed",
        state=EffectState.REFUSED, error_class=ErrorClass.PERIOD_CLOSED, error="period 2026-10 is closed",
    )  # fmt: skip
    now = await store.now()
    await store.apply(Expire(foils=(foil.id,), at=now))


async def _waiting(store: SqliteStore, key: str, minor: int, requester: str = "ava") -> None:
    run, at = await _begin(store, key, minor, minutes=12)
    approval = _approval(run, key, at, minor, "finance-operations", requester)
    await _turn(store, run, at + timedelta(seconds=1), "eligible", approvals=(approval,))


async def _in_flight(store: SqliteStore, key: str, memo: str, minor: int) -> None:
    run, at = await _begin(store, key, minor, minutes=3)
    await _approved(store, run, key, at + timedelta(seconds=1), minor)
    at += timedelta(minutes=1)
    foil = _foil(run, key, minor, at, timedelta(days=2))
    await _call(
        store, run, key, "memo", "billing.credit_memo.issue", at, minor, {"id": "cn_9Pp1", "number": memo},
        "billed", (foil,),
    )  # fmt: skip
    await _call(
        store, run, key, "post", "erp.credit_memo.post", at + timedelta(seconds=1), minor, None, "billed"
    )


async def _undone(store: SqliteStore, key: str, minor: int) -> None:
    run, at = await _begin(store, key, minor, minutes=90)
    await _turn(store, run, at + timedelta(seconds=1), "refused", RunStatus.UNDONE, direction=Direction.UNDO)


async def _unrouted(store: SqliteStore) -> None:
    now = await store.now()
    case = _case(
        "case_unrouted_1", "mapping_failed", "controller", now - timedelta(minutes=30),
        message="billing: <script>alert(1)</script> is no known invoice status", choices=(Choice.DISMISS,),
    )  # fmt: skip
    await store.apply(OpenCases(cases=(case,), at=now, actor="worker:t"))


def _case(id_: str, reason: str, owner: str, at: datetime, **more: Any) -> Case:
    values: dict[str, Any] = {
        "message": "the same id came with another content", "deadline": at + timedelta(days=2),
        "next_action": "Ask the sender which one is right", "choices": (Choice.DISMISS,),
    }  # fmt: skip
    return Case(id=id_, reason=reason, owner=owner, created_at=at, **(values | more))


def _link(object_: str, canonical: str, system: str, ext_id: str, by: str, at: datetime) -> Link:
    return Link(
        object=object_, canonical=canonical, system=system, account="", ext_id=ext_id, established_by=by,
        valid_from=at,
    )  # fmt: skip


# ------------------------------------------------------------------ as a process of its own


class Process:
    """The company in another process, so that its memory can be watched and its loop is its own."""

    def __init__(self, folder: Path) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.web_company", str(folder)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(self.stop())
        told = json.loads(line)
        self.url: str = told["url"]
        self.port = int(self.url.rpartition(":")[2])
        self.tokens: dict[str, str] = told["tokens"]

    def bearer(self, person: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens[person]}"}

    def memory(self) -> int:
        """Resident bytes now."""
        status = Path(f"/proc/{self._child.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def stop(self) -> str:
        """End it; what it wrote to standard error."""
        _, errors = self._child.communicate(b"", timeout=30)
        return errors.decode()


def signed(body: bytes) -> dict[str, str]:
    """The headers that the billing system would send with this body now."""
    return signature.sign("standard-webhooks-v1", SECRET, body, datetime.now(UTC))


async def _serve(folder: Path) -> None:
    async with running(folder) as company:
        sys.stdout.write(json.dumps({"url": company.url, "tokens": company.tokens}) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
