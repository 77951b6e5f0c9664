"""A small company for API and pages: a real store with rows that real transitions wrote, and its server."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import multiprocessing
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import argon2
import msgspec

from counterfoil.change.ports import ChangePorts
from counterfoil.change.service import ChangeService
from counterfoil.connectors import signature
from counterfoil.connectors.sdk import OperationSpec, Repeat
from counterfoil.core import wire
from counterfoil.core.canonical import Receipt
from counterfoil.core.case import Choice
from counterfoil.core.case_edits import CaseEdit
from counterfoil.core.delegation import Delegation
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.event import Event
from counterfoil.core.people import Person
from counterfoil.flow.context.deprecations import DeprecationUsage
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.gateway.gateway import Gateway
from counterfoil.flow.gateway.system_reads import SystemReader
from counterfoil.flow.intake.load_shedding import Intake
from counterfoil.flow.intake.receive import receipts_of
from counterfoil.flow.intake.sender_scope import check_sender
from counterfoil.flow.intake.usage import UsageAnswer, UsageIntake
from counterfoil.flow.runs import case_edits, match_decisions, person_decisions
from counterfoil.flow.runs.match_decisions import MatchAnswer
from counterfoil.flow.runs.reconciler import OutcomeReconciler
from counterfoil.flow.worker.book_checkpoints import BookCheckpoints
from counterfoil.flow.worker.sweep_requests import SweepRequests
from counterfoil.model import Model
from counterfoil.store.port.case_edits import EditVerdict
from counterfoil.store.port.delegations import Delegate, EndDelegation
from counterfoil.store.port.intake import Receive
from counterfoil.store.port.people import PutPerson, PutToken
from counterfoil.store.port.views import CaseRow
from counterfoil.store.sql.sqlite import SqliteStore
from counterfoil.store.sql.store import SqlStore
from counterfoil.store.visible import VisibleStore
from counterfoil.web.http import server
from counterfoil.web.http.identity import Passwords, new_token
from counterfoil.web.http.permissions import Permission, granted
from tests.companies.base import acme_model, listening
from tests.companies.limiter import AskingLimiter
from tests.companies.web_matches import fill_matches
from tests.companies.web_rows import case_of, fill
from tests.patience import PATIENCE_SECONDS

ERRORS = "errors.log"
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
ZONES = {"leo": "Asia/Tokyo"}
"""Zones in the people file."""


class Answer(msgspec.Struct, frozen=True):
    verdict: str
    receipt: int
    type: str = "t"


class EmptyLedger:
    """A ledger that has nothing on any account."""

    operations: Mapping[str, OperationSpec] = MappingProxyType(
        {"erp.account.balance": OperationSpec("erp.account.balance", Repeat.READ)}
    )

    async def read(self, operation: str, arguments: Mapping[str, Any], timeout: float) -> Any:
        return {"balances": []}


class TrialApp:
    """The application behind API and pages, on one SQL store."""

    def __init__(self, store: SqlStore, model: Model) -> None:
        self.store = store
        self.records = store
        self.mask = None
        self._whole = store
        self.views = store
        self.model = model
        self.intake = Intake(store)
        self.uses = DeprecationUsage(store, lambda: self.model)
        gate = AskingLimiter(store, model)
        releases = Releases(store, model)
        self.gateway = Gateway(store, releases, {}, gate, self.intake)
        self._usage = UsageIntake(self.intake, store, self.uses)
        self.connectors: dict[str, Any] = {name: EmptyLedger() for name in ("erp", "erp-de")}
        self.sweeps = SweepRequests(store, self.connectors)
        reader = SystemReader(store, self.connectors, gate)
        self.checkpoints = BookCheckpoints(store, store, releases, self.connectors, reader)
        self.ready = True
        self.scope = EntityScope()
        self.failing: Exception | None = None
        self.changes = ChangeService(
            store, store, ChangePorts(self._release, _no_traffic, _no_connectors, self._take_up)
        )

    async def _release(self, digest: str) -> Model:
        """Return a published model; the present one for the Releases that the rows name and no test published."""
        release = await self.store.release(digest)
        return self.model if release is None else Model.from_json(release[1])

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

    async def receive_events(self, events: Sequence[Event], sender: str) -> list[Answer]:
        if isinstance(self.records, VisibleStore):
            receipts = receipts_of(self.model, events, await self.now(), sender)
            await check_sender(self.records, self._whole, self.model, self.scope, events, receipts)
        rows = [(event.id, wire.dumps({"type": event.type}), "events") for event in events]
        return await self._keep("billing", rows, await self.now())

    async def receive_usage(self, body: bytes, content_type: str, sender: str) -> UsageAnswer:
        heads = None if self.scope.everything else self.records
        now = await self.now()
        return await self._usage.receive(self.model, body, content_type, sender, now, heads, self.scope)

    async def _keep(self, system: str, rows: Sequence[tuple[str, bytes, str]], now: datetime) -> list[Answer]:
        receipts = tuple(
            Receipt(
                system=system, ext_id=ext_id, type="t", identity=hashlib.sha256(body).hexdigest(),
                sha256=hashlib.sha256(body).hexdigest(), door=door, headers={}, body=body, received_at=now,
            )
            for ext_id, body, door in rows
        )  # fmt: skip
        clashes = tuple(
            case_of(f"case_clash_{r.ext_id}", "clash", "finance-operations", now) for r in receipts
        )
        result = await self.intake.apply(Receive(receipts=receipts, clashes=clashes, at=now, actor=system))
        return [Answer(v, n) for v, n in zip(result.verdicts, result.numbers, strict=True)]

    async def resolve_case(self, case_id: str, person: str, choice: Choice, note: str) -> str:
        who = await self.store.person(person)
        override = who is not None and self._may_resolve_any(who)
        no_calls = cast(
            OutcomeReconciler, None
        )  # the rows have no call that a person's choice is evidence for
        return await person_decisions.resolve_case(
            self.records, self.model, no_calls, case_id, person, choice, note, override
        )

    async def edit_case(self, case_id: str, person: str, edit: CaseEdit) -> EditVerdict:
        return await case_edits.edit_case(
            self.records, self.model, case_id, person, edit, self._may_resolve_any
        )

    async def assignable(self, row: CaseRow) -> list[Person]:
        persons = await self.store.persons()
        return case_edits.assignable(self.model, row, persons, self._may_resolve_any)

    def _may_resolve_any(self, person: Person) -> bool:
        return Permission.CASES_ANY_RESOLVE in granted(person, self.model)

    async def decide_approval(
        self, approval_id: str, subject: str, person: str, approve: bool, comment: str
    ) -> str:
        return await person_decisions.decide_approval(
            self.records, self.model, approval_id, subject, person, approve, comment
        )

    async def delegate(self, delegation: Delegation) -> str:
        return (await self.store.apply(Delegate(delegation=delegation, at=delegation.created_at))).verdict

    async def end_delegation(self, id_: str, giver: str) -> str:
        return (
            await self.store.apply(EndDelegation(delegation=id_, giver=giver, at=await self.now()))
        ).verdict

    async def pair(self, foil: str, observation: str, person: str, note: str) -> MatchAnswer:
        return await match_decisions.pair(self.records, self.model, foil, observation, person, note)

    async def pair_several(
        self, foils: Sequence[str], observations: Sequence[str], person: str, note: str
    ) -> MatchAnswer:
        return await match_decisions.pair_several(self.records, self.model, foils, observations, person, note)

    async def unpair(self, foil: str, observation: str, person: str, note: str) -> MatchAnswer:
        return await match_decisions.unpair(self.records, self.model, foil, observation, person, note)

    async def waive(self, foil: str, person: str, note: str) -> MatchAnswer:
        return await match_decisions.waive(self.records, self.model, foil, person, note)

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
    """Build no connectors: the tests call no system."""


class Company:
    """The running company, with its address and the tokens of its people."""

    def __init__(self, app: TrialApp, url: str, tokens: dict[str, str]) -> None:
        self.app = app
        self.url = url
        self.tokens = tokens

    def bearer(self, person: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens[person]}"}


def cheap_passwords() -> Passwords:
    """Return argon2 with its lowest cost, because tests check the result and not the cost."""
    return Passwords(argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Company]:
    """Run a company in `folder`, with rows, behind a real socket on a free port."""
    store = await SqliteStore.open(folder / "company.db")
    passwords = cheap_passwords()
    try:
        app, tokens = await trial(store, passwords)
        async with listening(server.build(app, passwords)) as url:
            yield Company(app, url, tokens)
    finally:
        await store.close()


async def trial(store: SqlStore, passwords: Passwords) -> tuple[TrialApp, dict[str, str]]:
    """Fill an empty store, and return the application over it with the tokens of its people."""
    model = acme_model()
    tokens = await people(store, passwords)
    await fill(store)
    await fill_matches(store)
    return TrialApp(store, model), tokens


async def people(store: SqlStore, passwords: Passwords) -> dict[str, str]:
    now = await store.now()
    secret = passwords.hash(PASSWORD)
    tokens = {}
    for id_, (name, roles) in PEOPLE.items():
        person = Person(
            id=id_,
            name=name,
            email=f"{id_}@acme.example",
            roles=tuple(roles),
            secret=secret,
            zone=ZONES.get(id_, ""),
        )
        await store.apply(PutPerson(person=person, at=now, actor="test"))
        tokens[id_], token = new_token(id_, now + timedelta(days=1))
        await store.apply(PutToken(token=token, at=now))
    return tokens


# ------------------------------------------------------------------ as a process of its own


_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.companies.web_forked"])


class Process:
    """The company in another process, so that a test can measure its memory and cannot block its event loop.

    It is the fork of a process that has imported everything, since a start takes three seconds otherwise.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ERRORS).touch()
        self._pipe, end = _FORKS.Pipe()
        self._child = _FORKS.Process(target=_serve, args=(folder, end))
        self._child.start()
        end.close()
        try:
            address = self._pipe.recv()
        except EOFError:
            raise RuntimeError(self.stop()) from None
        self.url: str = address["url"]
        self.port = int(self.url.rpartition(":")[2])
        self.tokens: dict[str, str] = address["tokens"]

    def bearer(self, person: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens[person]}"}

    def memory(self) -> int:
        """Return the resident memory in bytes."""
        status = Path(f"/proc/{self._child.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def stop(self) -> str:
        """End the process and return its standard error."""
        self._pipe.close()
        self._child.join(PATIENCE_SECONDS)
        assert self._child.exitcode is not None, "the company does not end"
        return (self.folder / ERRORS).read_text("utf-8")


def signed(body: bytes) -> dict[str, str]:
    """Return the headers that the billing system would send with this body now."""
    return signature.sign("standard-webhooks-v1", SECRET, body, datetime.now(UTC))


def _serve(folder: Path, pipe: Connection) -> None:
    """Serve the company until the other end of the pipe is closed. What it writes to standard error goes into a file."""
    with (folder / ERRORS).open("wb") as errors:
        os.dup2(errors.fileno(), sys.stderr.fileno())
    asyncio.run(_serve_until_closed(folder, pipe))


async def _serve_until_closed(folder: Path, pipe: Connection) -> None:
    async with running(folder) as company:
        pipe.send({"url": company.url, "tokens": company.tokens})
        with contextlib.suppress(EOFError):
            await asyncio.to_thread(pipe.recv)
