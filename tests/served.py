"""Counterfoil inside a test: the application with its worker, and its HTTP server on the company's port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from counterfoil.application import Application
from counterfoil.bootstrap import application, read_model
from counterfoil.core.approval import Approval
from counterfoil.core.case import Case, CaseState
from counterfoil.core.run import Run
from counterfoil.store import check
from counterfoil.store.dump import Dump
from counterfoil.web.http import server as web
from tests.companies.acme import Company
from tests.companies.base import listening
from tests.outside import outside_truth
from tests.patience import PATIENCE_SECONDS

T = TypeVar("T")
CREDIT = "support-credit-to-erp"
INVOICE = "invoice-to-erp"
CUSTOMER = "customer-sync"
SECONDS = PATIENCE_SECONDS
LOOK_SECONDS = 0.2
"""Interval between looks. Most read the whole store, which takes a tenth of this time."""


async def until(
    what: str,
    look: Callable[[], Awaitable[T | None]],
    seconds: float = SECONDS,
    state: Callable[[], Awaitable[str]] | None = None,
) -> T:
    """Call `look` until it returns something, and return that. Raises AssertionError after `seconds`, with `state`."""
    deadline = time.monotonic() + seconds
    while True:
        result = await look()
        if result:
            return result
        if time.monotonic() > deadline:
            seen = f"\n{await state()}" if state is not None else ""
            raise AssertionError(f"{what}: not within {seconds:.0f} s{seen}")
        await asyncio.sleep(LOOK_SECONDS)


class Served:
    """A running application with the queries of the tests."""

    def __init__(self, company: Company, app: Application, folder: Path) -> None:
        self.company = company
        self.app = app
        self.folder = folder

    async def dump(self) -> Dump:
        return await self.app.store.dump()  # type: ignore[attr-defined,no-any-return]

    async def runs(self, workflow: str) -> list[Run]:
        return [run for run in (await self.dump()).runs if run.workflow == workflow]

    async def run_at(self, workflow: str, state: str, count: int = 1, seconds: float = SECONDS) -> list[Run]:
        """Wait for `count` Runs of a workflow in a business state or terminal status, and return them."""

        async def look() -> list[Run] | None:
            runs = await self.runs(workflow)
            matches = [run for run in runs if state in (run.state, str(run.status))]
            return matches if len(matches) >= count else None

        return await until(f"{count} {workflow} at {state}", look, seconds, self.report)

    async def case(self, reason: str, state: CaseState = CaseState.OPEN, seconds: float = SECONDS) -> Case:
        """Wait for the only Case with this reason in this state, and return it."""

        async def look() -> list[Case] | None:
            return [
                case for case in (await self.dump()).cases if case.reason == reason and case.state is state
            ]

        cases = await until(f"a {state} Case {reason}", look, seconds, self.report)
        assert len(cases) == 1, cases
        return cases[0]

    async def open_approval(self, seconds: float = SECONDS) -> Approval:
        """Wait for the only open approval, and return it."""

        async def look() -> list[Approval] | None:
            return [a for a in (await self.dump()).approvals if a.state == "open"]

        approvals = await until("an open approval", look, seconds, self.report)
        assert len(approvals) == 1, approvals
        return approvals[0]

    async def vote(self, approval: Approval, person: str, approve: bool = True) -> str:
        return await self.app.decide_approval(approval.id, approval.subject, person, approve, "as discussed")

    async def change(self, requester: str = "admin") -> None:
        """Put the folder in force: plan it as the requester, approve it as other persons, and apply it."""
        changes = self.app.changes
        report = await changes.planner.plan(read_model(self.folder), requester, days=0)
        approvals = {a.path: a for a in (await self.dump()).approvals if a.run == report.digest}
        for required in report.approvals:
            for person in required.could[: required.quorum]:
                assert await self.vote(approvals[required.name], person) in ("counted", "granted")
        await changes.applier.apply(report.digest, requester, "as discussed")

    async def quiet(self, seconds: float = SECONDS) -> None:
        """Wait until nothing is left to admit, turn or send now."""

        async def look() -> bool:
            dump = await self.dump()
            waiting = any(parked is None for _, _, parked in dump.todos)
            moving = any(e.state in ("planned", "sending", "unknown") for e in dump.effects)
            unread = any(
                run.inbox_n > run.consumed for run in dump.runs if run.status in ("ready", "waiting")
            )
            return not (waiting or moving or unread)

        await until("quiet", look, seconds, self.report)

    async def sound(self) -> None:
        """Fail unless store and outside systems agree and every invariant holds."""
        await self.quiet()
        problems = await check.check(self.app.store, await self.app.now(), irreversible(self.app))  # type: ignore[arg-type]
        problems += await outside_truth(self.company, await self.dump())
        assert not problems, "\n".join([*problems, await self.report()])

    async def report(self) -> str:
        """Return the rows of the store as text, for a failing test."""
        return report(await self.dump())


def report(dump: Dump) -> str:
    """Return the rows of a store as text, for a failing test."""
    lines = [f"run {r.workflow} {r.bkey} {r.status} {r.state} {r.direction} due {r.due}" for r in dump.runs]
    lines += [f"effect {e.operation} {e.state} {e.attempt} {e.error} look {e.look_at}" for e in dump.effects]
    lines += [f"approval {a.policy} {a.state} {a.amount} {a.roles}" for a in dump.approvals]
    lines += [f"foil {f.rule} {f.key} {f.state} {f.reason}" for f in dump.foils]
    lines += [f"case {c.reason} {c.state} {c.message}" for c in dump.cases]
    lines += [f"todo {todo}" for todo in dump.todos]
    lines += [f"queue {queue}" for queue in dump.queues]
    return "\n".join(lines)


def irreversible(app: Application) -> set[str]:
    return {name for name, operation in app.model.operations.items() if operation.irreversible}


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the length of the context."""
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
    """Run the application over a governance folder; without `doors` it has no HTTP server for webhooks."""
    with environment(company.environment()):
        async with (
            application(folder, store or f"sqlite:{folder.parent / 'store.sqlite'}", company.home) as app,
            listening(web.build(app), company.port) if doors else contextlib.nullcontext(),
        ):
            yield Served(company, app, folder)
