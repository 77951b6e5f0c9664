"""Counterfoil running inside a test: the application with its worker, and its doors on the company's port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import uvicorn

from counterfoil.application import Application
from counterfoil.bootstrap import application, read_model
from counterfoil.core.approval import Approval
from counterfoil.core.case import Case, CaseState
from counterfoil.core.run import Run
from counterfoil.store import check
from counterfoil.store.dump import Dump
from counterfoil.web.http import server as web
from tests.company import Company
from tests.outside import outside_truth

T = TypeVar("T")
CREDIT = "support-credit-to-erp"
INVOICE = "invoice-to-erp"
CUSTOMER = "customer-sync"
SECONDS = 60.0


async def until(what: str, look: Callable[[], Awaitable[T | None]], seconds: float = SECONDS) -> T:
    """What `look` finds, asked until it finds something. Raises AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = await look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        await asyncio.sleep(0.1)


class Served:
    """A running application, and what tests ask of it."""

    def __init__(self, company: Company, app: Application, folder: Path) -> None:
        self.company = company
        self.app = app
        self.folder = folder

    async def dump(self) -> Dump:
        return await self.app.store.dump()  # type: ignore[attr-defined,no-any-return]

    async def runs(self, workflow: str) -> list[Run]:
        return [run for run in (await self.dump()).runs if run.workflow == workflow]

    async def run_at(self, workflow: str, state: str, count: int = 1, seconds: float = SECONDS) -> list[Run]:
        """The Runs of a workflow, once `count` of them are in a business state or terminal status."""

        async def look() -> list[Run] | None:
            runs = await self.runs(workflow)
            there = [run for run in runs if state in (run.state, str(run.status))]
            return there if len(there) >= count else None

        try:
            return await until(f"{count} {workflow} at {state}", look, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{await self.told()}") from error

    async def case(self, reason: str, state: CaseState = CaseState.OPEN, seconds: float = SECONDS) -> Case:
        """The one Case with this reason in this state, once there is one."""

        async def look() -> list[Case] | None:
            cases = (await self.dump()).cases
            return [case for case in cases if case.reason == reason and case.state is state]

        try:
            found = await until(f"a {state} Case {reason}", look, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{await self.told()}") from error
        assert len(found) == 1, found
        return found[0]

    async def open_approval(self, seconds: float = SECONDS) -> Approval:
        """The one open approval, once there is one."""

        async def look() -> list[Approval] | None:
            return [a for a in (await self.dump()).approvals if a.state == "open"]

        try:
            found = await until("an open approval", look, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{await self.told()}") from error
        assert len(found) == 1, found
        return found[0]

    async def vote(self, approval: Approval, person: str, approve: bool = True) -> str:
        return await self.app.decide_approval(approval.id, approval.subject, person, approve, "as discussed")

    async def change(self, asked_by: str = "admin") -> None:
        """Bring the folder into force: planned by one person, approved by others who may, applied."""
        changes = self.app.changes
        report = await changes.planner.plan(read_model(self.folder), asked_by, days=0)
        asked = {a.path: a for a in (await self.dump()).approvals if a.run == report.digest}
        for one in report.approvals:
            for person in one.could[: one.quorum]:
                assert await self.vote(asked[one.name], person) in ("counted", "granted")
        await changes.applier.apply(report.digest, asked_by, "as discussed")

    async def quiet(self, seconds: float = SECONDS) -> None:
        """Return when nothing is left to be admitted, turned or sent now."""

        async def look() -> bool:
            dump = await self.dump()
            waiting = any(parked is None for _, _, parked in dump.todos)
            moving = any(e.state in ("planned", "sending", "unknown") for e in dump.effects)
            unread = any(
                run.inbox_n > run.consumed for run in dump.runs if run.status in ("ready", "waiting")
            )
            return not (waiting or moving or unread)

        await until("quiet", look, seconds)

    async def sound(self) -> None:
        """Fail unless store and outside systems agree and every invariant holds."""
        await self.quiet()
        found = await check.check(self.app.store, await self.app.now(), irreversible(self.app))  # type: ignore[arg-type]
        found += await outside_truth(self.company, await self.dump())
        assert not found, "\n".join([*found, await self.told()])

    async def told(self) -> str:
        """What the store holds, for a failing test."""
        dump = await self.dump()
        lines = [
            f"run {r.workflow} {r.bkey} {r.status} {r.state} {r.direction} due {r.due}" for r in dump.runs
        ]
        lines += [f"effect {e.operation} {e.state} {e.attempt} {e.error}" for e in dump.effects]
        lines += [f"approval {a.policy} {a.state} {a.amount} {a.roles}" for a in dump.approvals]
        lines += [f"foil {f.rule} {f.key} {f.state} {f.reason}" for f in dump.foils]
        lines += [f"case {c.reason} {c.state} {c.message}" for c in dump.cases]
        lines += [f"todo {todo}" for todo in dump.todos]
        return "\n".join(lines)


def irreversible(app: Application) -> set[str]:
    return {name for name, operation in app.model.operations.items() if operation.irreversible}


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """The process's environment with these, as long as the context lasts."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.asynccontextmanager
async def served(
    company: Company, folder: Path, store: str | None = None, doors: bool = True
) -> AsyncIterator[Served]:
    """The application over a governance folder; without `doors` nobody hears its company's webhooks."""
    with environment(company.environment()):
        async with (
            application(folder, store or f"sqlite:{folder.parent / 'store.sqlite'}", company.home) as app,
            _doors(app, company.port) if doors else contextlib.nullcontext(),
        ):
            yield Served(company, app, folder)


@contextlib.asynccontextmanager
async def _doors(app: Any, port: int) -> AsyncIterator[None]:
    server = uvicorn.Server(web.config(web.build(app)))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    sock = web.listen("127.0.0.1", port)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        while not server.started:
            assert not serving.done(), "the doors did not open"
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await serving
        sock.close()
