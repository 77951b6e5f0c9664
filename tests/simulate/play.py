"""One seed, played: the real pump, admission, turns and calls on the memory store, between simulated systems, persons
and faults, until everything has come to rest and been judged."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec

from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.case import Case, CaseState, Choice
from counterfoil.core.effect import EffectState
from counterfoil.core.errors import CounterfoilError, TryAgain
from counterfoil.core.people import Person
from counterfoil.core.run import TERMINAL
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.receive import receive_webhook
from counterfoil.flow.runs import person_decisions
from counterfoil.flow.worker.worker import Worker
from counterfoil.store.port.people import PutPerson
from tests.simulate.judge import Judge
from tests.simulate.plan import (
    BOUND,
    LENGTH,
    PERSONS,
    SYSTEMS,
    AtCommit,
    Attends,
    AtWire,
    Jumps,
    NewFact,
    Plan,
    Resolves,
    Strikes,
    Votes,
)
from tests.simulate.processes import OWNER, Dead, PlayedWorker, SimStore, Web, company
from tests.simulate.snapshots import SnapshotCheck
from tests.simulate.systems import FAMILIES, Fact, Line, System
from tests.simulate.world import VirtualLoop, World

HOUR = 3600.0
ROUNDS = 40
"""Rounds in which persons decide everything that is open, at the end."""
log = logging.getLogger("counterfoil.worker")


@dataclass(frozen=True)
class Played:
    """Result of a played seed."""

    plan: Plan
    violations: tuple[str, ...]
    timeline: tuple[tuple[float, str, str], ...]
    commits: int
    seconds: float
    """Of simulated time."""


class Play:
    """A seed while it is played."""

    def __init__(self, plan: Plan, loop: VirtualLoop) -> None:
        self.plan = plan
        self.world = World(plan.seed, loop)
        model = company()
        horizons: dict[str, float] = {}
        for name in model.workflows:
            for o in model.workflow(name).operations.values():
                if o.writes:
                    horizons[o.system] = min(horizons.get(o.system, 1e9), o.horizon)
        self.systems = {
            name: System(name, self.world, plan, horizons.get(FAMILIES.get(name, name), 10.0), self._deliver)
            for name in SYSTEMS
        }
        for own, system in FAMILIES.items():
            self.systems[own].counterpart = self.systems[system]
            self.systems[system].counterpart = self.systems[own]
        self.judge = Judge(self.world, model, self.systems)
        self.snapshots = SnapshotCheck(self.world.store, self.judge.say)
        items = [item for _, item in plan.items]
        self.at_commit = {i.nth: i for i in items if isinstance(i, AtCommit)}
        self.at_wire = {i.nth: i for i in items if isinstance(i, AtWire)}
        self.items = items
        self.commits = self.sends = self.lags = 0
        self.workers: dict[int, PlayedWorker] = {}
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.background: list[asyncio.Task[Any]] = []
        self.web = Web(self, "web/1")
        self.web_store: Any = SimStore(self.web)
        self.releases = Releases(self.web_store, model)
        lines: Any = {name: Line(system, self.web) for name, system in self.systems.items()}
        self.lines = lines
        self.reconciler = Worker(self.web_store, self.releases, lines, "web/1").reconciler
        self.decided: dict[str, int] = {}

    # ------------------------------------------------------------------ beginning

    def begin(self, slot: int, life: int) -> None:
        self.workers[slot] = PlayedWorker(self, slot, life)
        self.workers[slot].begin()

    def factory(self, loop: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> asyncio.Task[Any]:
        """Tasks are known by the process that began them, so that they end with it."""
        task = asyncio.Task(coro, loop=loop, **more)
        owner = OWNER.get()
        tasks = self.tasks if owner is None else owner.tasks
        if owner is not None and owner.dead:
            task.cancel()
        tasks[task] = None
        task.add_done_callback(lambda t: tasks.pop(t, None))
        return task

    def failed(self, context: dict[str, Any]) -> None:
        """Report an error of a task that is not awaited: the simulator or the engine is wrong."""
        self.judge.say(f"0: {context.get('message')}: {context.get('exception')!r}")

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        self.world.loop.create_task(work)

    def look(self) -> None:
        self.judge.rows()

    async def whole(self) -> None:
        """Play the whole plan, from the first fact to the last check."""
        store = self.world.store
        now = self.world.now()
        await Releases(store, company()).publish(now, "sim")
        for id_, roles in PERSONS.items():
            bound = BOUND.get(id_, ())
            person = Person(id=id_, name=id_.title(), email=f"{id_}@sim.example", roles=roles, entities=bound)
            await store.apply(PutPerson(person=person, at=now, actor="sim"))
        for item in self.items:
            at = getattr(item, "at", None)
            if at is not None:
                self.world.after(at, functools.partial(self._happens, item))
        for slot in range(self.plan.workers):
            self.begin(slot, 1)
        for _ in range(3):
            await self.world.sleep(LENGTH / 3)
            self.look()
            if self.judge.found:
                return
        # No fault comes any more: what is open now must be settled or owned within the hour.
        self.at_commit, self.at_wire = {}, {}
        await self._activate_persons()
        await self.world.sleep(HOUR)
        self.judge.settled()
        ended = False
        for nth in range(ROUNDS):
            if self.judge.found:
                return
            await self._decide_everything(nth)
            await self.world.sleep(20.0 if nth % 4 else 700.0)
            ended = all(run.status in TERMINAL for run in store.tables.runs.values())
            if ended and not self._open_cases() and not any(t is None for t in store.tables.todos.values()):
                break
        await self.world.sleep(60.0)
        self.judge.over(self.systems, ended)

    # ------------------------------------------------------------------ items of the plan

    def _happens(self, item: Any) -> None:
        match item:
            case NewFact():
                self.world.note(item.system, f"{item.type} {dict(item.body)['id']}")
                self.systems[item.system].tell(item.type, dict(item.body), item.arrives)
            case Votes():
                self.spawn(self._vote(item.person, item.approve))
            case Resolves():
                self.spawn(self._resolve(item.person))
            case Attends():
                self.spawn(self._attend(item.person, item.active))
            case Strikes():
                worker = self.workers.get(item.slot)
                if worker is not None and not worker.dead:
                    worker.crash(item.seconds) if item.kind == "crash" else worker.pause(item.seconds)
            case Jumps():
                self.world.offset += item.seconds
                self.world.note("clock", f"jumps by {item.seconds:g} s")
                self.world.changed()

    def _deliver(self, system: System, fact: Fact) -> None:
        self.spawn(self._post(system, fact))

    async def _post(self, system: System, fact: Fact) -> None:
        """Send a delivery until it is acknowledged."""
        for _ in range(20):
            try:
                now = await self.web_store.now()
                line = self.lines[system.name]
                await receive_webhook(self.web_store, company(), line, system.name, {}, fact.body, now)
                return
            except (TryAgain, Dead):
                await self.world.sleep(2.0)

    # ------------------------------------------------------------------ what persons do

    async def _try(self, what: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await what
        except (TryAgain, Dead) as error:
            return repr(error)

    def _approvals(self) -> list[Approval]:
        return [a for a in self.world.store.tables.approvals.values() if a.state is ApprovalState.OPEN]

    def _open_cases(self) -> list[Case]:
        return [c for c in self.world.store.tables.cases.values() if c.state is CaseState.OPEN]

    async def _vote(self, person: str, approve: bool) -> None:
        for a in self._approvals():
            if self.world.chance("votes", person, a.id, self.world.loop.moment) < 0.8:
                verdict = await self._try(
                    person_decisions.decide_approval(
                        self.web_store, self.releases.present, a.id, a.subject, person, approve, ""
                    )
                )
                self.world.note(
                    person, f"{'approves' if approve else 'rejects'} {a.path} of {a.run[-6:]}: {verdict}"
                )

    async def _resolve(self, person: str) -> None:
        cases = self._open_cases()
        if cases:
            pick = int(self.world.chance("case", person, self.world.loop.moment) * len(cases))
            await self._decide_case(cases[pick], person)

    async def _attend(self, person: str, active: bool) -> None:
        row = self.world.store.tables.persons[person]
        changed = msgspec.structs.replace(row, active=active)
        now = self.world.now()
        await self._try(self.web_store.apply(PutPerson(person=changed, at=now, actor="sim")))

    async def _decide_case(self, case: Case, person: str) -> None:
        """Decide as a careful person would: state the outcome of a call only after a look, and not too early."""
        choice = self._choice(case)
        if choice is None:
            return
        self.decided[case.id] = self.decided.get(case.id, 0) + 1
        verdict = await self._try(
            person_decisions.resolve_case(
                self.web_store, self.releases.present, self.reconciler, case.id, person, choice, "sim", True
            )
        )
        about = f"{case.reason} of {(case.run or '')[-6:]}"
        self.world.note(person, f"decides {choice} on {about} {case.path or ''}: {verdict}")

    def _choice(self, case: Case) -> Choice | None:
        effect = self.world.store.tables.effects.get(case.effect or "")
        is_open = effect is not None and effect.state in (EffectState.UNKNOWN, EffectState.ACCEPTED)
        if effect is not None and is_open and {Choice.RETRY, Choice.CONTINUE} <= set(case.choices):
            system = self.systems[effect.system]
            if (
                effect.conclude_at is None
                or self.world.now() < effect.conclude_at
                or system.pending.get(effect.id)
            ):
                return None
            return Choice.CONTINUE if effect.id in system.done else Choice.RETRY
        nth = sum(c.run == case.run and c.path == case.path for c in self.world.store.tables.cases.values())
        if Choice.RETRY in case.choices and nth <= 2:
            return Choice.RETRY
        open_to = [c for c in case.choices if c is not Choice.RETRY or nth <= 4]
        return open_to[int(self.world.chance("choice", case.id) * len(open_to))]

    async def _activate_persons(self) -> None:
        for id_ in PERSONS:
            await self._attend(id_, True)

    async def _decide_everything(self, nth: int) -> None:
        for a in self._approvals():
            for person, roles in PERSONS.items():
                if set(roles) & set(a.roles):
                    approve = self.world.chance("at last", a.id) < 0.8
                    verdict = await person_decisions.decide_approval(
                        self.web_store, self.releases.present, a.id, a.subject, person, approve, ""
                    )
                    self.world.note(
                        person, f"{'approves' if approve else 'rejects'} {a.path} of {a.run[-6:]}: {verdict}"
                    )
        for case in self._open_cases():
            await self._decide_case(case, "fred")


class _LogWatch(logging.Handler):
    """Turns errors in the worker's log into violations: an engine must not swallow its own errors."""

    def __init__(self, play: Play) -> None:
        super().__init__(logging.WARNING)
        self._play = play

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        errors = [a for a in record.args or () if isinstance(a, CounterfoilError)]
        if error is None and (record.levelno < logging.ERROR or all(isinstance(e, TryAgain) for e in errors)):
            return
        self._play.judge.say(
            f"0: the engine failed: {record.getMessage()}" + (f": {error!r}" if error else "")
        )


def play(plan: Plan) -> Played:
    """Play a plan to its end. Nothing outside of it is touched; the same plan gives the same timeline."""
    loop = VirtualLoop()
    running = Play(plan, loop)
    loop.set_task_factory(running.factory)
    loop.set_exception_handler(lambda _, context: running.failed(context))
    watch = _LogWatch(running)
    before = log.handlers, log.propagate, log.level
    log.handlers, log.propagate = [watch], False
    try:
        whole = loop.create_task(running.whole())
        loop.run_until_complete(whole)
    finally:
        tasks = [t for w in running.workers.values() for t in w.tasks] + [*running.tasks]
        for worker in running.workers.values():
            worker.dead = True
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()
        log.handlers, log.propagate = before[0], before[1]
    return Played(
        plan=plan,
        violations=tuple(dict.fromkeys(running.judge.found)),
        timeline=tuple(running.world.timeline),
        commits=running.commits,
        seconds=loop.moment,
    )
