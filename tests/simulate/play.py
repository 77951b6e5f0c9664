"""One seed, played: the real pump, admission, turns and calls on the memory store, between simulated systems, persons
and faults, until everything has come to rest and been judged."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from counterfoil.connectors.sdk import Outcome, Request
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.case import Case, CaseState, Choice
from counterfoil.core.clock import JumpDetector
from counterfoil.core.effect import EffectState
from counterfoil.core.errors import CounterfoilError, TryAgain
from counterfoil.core.people import Person
from counterfoil.core.run import TERMINAL
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.receive import receive_webhook
from counterfoil.flow.runs import person_decisions
from counterfoil.flow.runs.snapshot import RunSnapshot
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model, read
from counterfoil.store.port import store as port
from counterfoil.store.port.effects import Conclude, Intent, LookAgain, ResendUnknown
from counterfoil.store.port.intake import Admit, Receive
from counterfoil.store.port.maintenance import PutCheckpoint, Seal
from counterfoil.store.port.people import PutPerson, Resolve
from counterfoil.store.port.turns import Claim, ConcludeAndTurn, ConcludeAndTurnResult, Turn, TurnResult
from counterfoil.store.port.wake import WakeKind
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
from tests.simulate.snapshots import SnapshotCheck
from tests.simulate.systems import FAMILIES, Fact, Line, System
from tests.simulate.world import VirtualLoop, World

COMPANY = Path(__file__).parent / "company"
HOUR = 3600.0
ROUNDS = 40
"""Rounds in which persons decide everything that is open, at the end."""
OWNER: contextvars.ContextVar[PlayedWorker | None] = contextvars.ContextVar("owner", default=None)
UPKEEP = (Claim, Seal, PutCheckpoint)
log = logging.getLogger("counterfoil.worker")


@functools.cache
def company() -> Model:
    """The model of the simulated company."""
    model, findings = read(COMPANY)
    assert not [f for f in findings if f.severity == "error"], findings
    return model


class Dead(Exception):
    """The process that should have answered is gone."""


@dataclass(frozen=True)
class Played:
    """Result of a played seed."""

    plan: Plan
    violations: tuple[str, ...]
    timeline: tuple[tuple[float, str, str], ...]
    commits: int
    seconds: float
    """Of simulated time."""


class Seam:
    """Boundary of one process: here it may be paused or killed."""

    deaf = False
    """It gets no wake-ups and only polls."""

    def __init__(self, play: Play, name: str) -> None:
        self.play = play
        self.world = play.world
        self.name = name
        self.dead = False
        self._paused: asyncio.Future[None] | None = None

    def note(self, what: str) -> None:
        self.world.note(self.name, what)

    async def gate(self) -> None:
        """Continue, unless this process is paused or dead."""
        while self._paused is not None:
            await self._paused
        if self.dead:
            raise asyncio.CancelledError

    def pause(self, seconds: float) -> None:
        if self._paused is not None or self.dead:
            return
        self.note(f"is stopped for {seconds:g} s")
        resumed: asyncio.Future[None] = self.world.loop.create_future()
        self._paused = resumed

        def resume() -> None:
            self._paused = None
            self.note("goes on")
            if not resumed.done():
                resumed.set_result(None)
            self.world.changed()

        self.world.after(seconds, resume)

    def crash(self, seconds: float) -> None:
        raise NotImplementedError

    # ------------------------------------------------------------------ calls

    async def before_bytes(self, system: System, request: Request) -> None:
        self.play.sends += 1
        fault = self.play.at_wire.get(self.play.sends)
        if fault is not None and not fault.after and fault.kind == "crash":
            self.note(f"is killed before {request.operation} {request.key[-6:]} leaves")
            self.crash(fault.seconds)
            await self.gate()
        self.note(f"sends {request.operation} {request.key[-6:]} to {system.name}")
        self.play.judge.bytes_leave(self.name, system.name, request)
        if fault is not None and not fault.after and fault.kind == "pause":
            self.pause(fault.seconds)

    def before_look(self, system: System, request: Request) -> None:
        self.play.judge.entities.request(system.name, request.operation, request.key)

    def before_read(self, system: System, operation: str, arguments: Mapping[str, Any]) -> None:
        self.play.judge.entities.read(system.name, operation, arguments["id"])

    async def after_answer(self, system: System, request: Request, outcome: Outcome) -> None:
        self.note(f"hears of {request.operation} {request.key[-6:]}: {_short(outcome)}")
        fault = self.play.at_wire.get(self.play.sends)
        if fault is not None and fault.after and not self.dead:
            self.crash(fault.seconds) if fault.kind == "crash" else self.pause(fault.seconds)
        await self.gate()


class SimStore:
    """The shared store as one process sees it: every commit takes time, and may be the last thing that it does."""

    def __init__(self, seam: Seam) -> None:
        self._seam = seam
        self._world = seam.world
        self._inner = seam.world.store

    def __getattr__(self, name: str) -> Any:
        read_ = getattr(self._inner, name)

        async def through(*args: Any, **more: Any) -> Any:
            await self._seam.gate()
            return await read_(*args, **more)

        setattr(self, name, through)
        return through

    async def load(self, run: str) -> port.LoadedRun | None:
        await self._seam.gate()
        loaded = await self._inner.load(run)
        await self._lag("load")
        await self._seam.gate()
        return loaded

    async def wait_for_wake(self, what: WakeKind, timeout: float) -> None:
        await self._seam.gate()
        await (asyncio.sleep(timeout) if self._seam.deaf else self._world.wake(timeout))
        await self._seam.gate()

    async def _lag(self, what: str) -> None:
        play = self._seam.play
        play.lags += 1
        await asyncio.sleep(0.0003 + 0.004 * self._world.chance(what, play.lags))

    async def apply(self, transition: Any) -> Any:
        seam, play = self._seam, self._seam.play
        await seam.gate()
        if isinstance(transition, UPKEEP):
            answer = await self._inner.apply(transition)
            if isinstance(transition, Claim) and answer:
                self._world.changed()
                await self._lag("claim")
                await seam.gate()
            return answer
        play.commits += 1
        fault = play.at_commit.get(play.commits)
        what = f"{type(transition).__name__}{_about(transition)}"
        await self._lag("commit")
        await seam.gate()
        if fault is not None and not fault.after:
            await self._strike(fault, f"before {what}")
        try:
            answer = await self._inner.apply(transition)
        except Exception as error:
            seam.note(f"{what}: {error!r}")
            raise
        seam.note(f"{what}: {_short(answer)}")
        self._world.changed()
        play.judge.committed()
        await play.snapshots.after_commit(seam.name, transition, answer)
        if fault is not None and fault.after:
            await self._strike(fault, f"after {what}")
        await self._lag("committed")
        await seam.gate()
        return answer

    async def _strike(self, fault: AtCommit, where: str) -> None:
        seam = self._seam
        if fault.kind == "again":
            seam.note(f"loses the database {where}")
            raise TryAgain("the connection was lost")
        if fault.kind == "pause":
            seam.pause(fault.seconds)
        else:
            seam.note(f"is killed {where}")
            seam.crash(fault.seconds)
        await seam.gate()


class PlayedWorker(Seam):
    """One worker process in one life."""

    def __init__(self, play: Play, slot: int, life: int) -> None:
        name = f"w{slot}/{life}" if play.plan.named[slot] else f"w{slot}.{life}/1"
        super().__init__(play, name)
        self.slot, self.life = slot, life
        self.tasks: dict[asyncio.Task[Any], None] = {}
        store: Any = SimStore(self)
        releases = Releases(store, company())
        lines: Any = {name: Line(system, self) for name, system in play.systems.items()}
        self.deaf = play.plan.deaf[slot]
        self.pump = Worker(store, releases, lines, self.name)
        reconciler = self.pump.reconciler
        settle = reconciler.jump_detector.settle
        reconciler.jump_detector = JumpDetector(settle, here=asyncio.get_running_loop().time)
        self.pump.limiter._random.seed(f"{play.plan.seed}/{self.name}")
        self._propose = self.pump.planner.propose
        self.pump.planner.propose = self.propose  # type: ignore[method-assign]

    async def propose(self, snapshot: RunSnapshot, now: Any, take_slot: Any, outcome: Any) -> Any:
        """Plan a turn, with the snapshot compared before."""
        await self.play.snapshots.before_decision(self.name, snapshot, outcome)
        planned = await self._propose(snapshot, now, take_slot, outcome)
        self.play.snapshots.remember(self.name, snapshot, planned)
        return planned

    def begin(self) -> None:
        self.note("begins")
        context = contextvars.copy_context()
        context.run(OWNER.set, self)
        context.run(self.world.loop.create_task, self._work())

    async def _work(self) -> None:
        """Run the worker. A process that cannot start is restarted later."""
        try:
            await self.pump.run()
        except TryAgain as error:
            self.note(f"could not begin: {error}")
            self.crash(5.0)

    def crash(self, seconds: float) -> None:
        if self.dead:
            return
        self.dead = True
        self.note("is dead")
        for task in [*self.tasks]:
            task.cancel()
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)
        self._paused = None
        self.world.changed()
        self.play.look()
        self.world.after(seconds, lambda: self.play.begin(self.slot, self.life + 1))


class Web(Seam):
    """The web process. A kill loses the present request, not the others."""

    def crash(self, seconds: float) -> None:
        raise Dead("the server was killed")


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


def _about(t: Any) -> str:
    match t:
        case Turn():
            parts = [f" of {t.run[-6:]} v{t.version + 1} {t.state}"]
            parts += [f"{name} {[getattr(x, 'id', getattr(x, 'effect', x))[-6:] for x in items]}"
                      for name in ("plan", "send", "drop") if (items := getattr(t, name))]  # fmt: skip
            return " ".join(parts)
        case Intent() | ResendUnknown():
            return f" of {t.send.effect[-6:]} try {t.send.attempt}"
        case ConcludeAndTurn():
            return f"{_about(t.conclude)}, then turn{_about(t.turn)}"
        case Conclude():
            return f" of {t.effect[-6:]} try {t.attempt} as {t.state} ({t.evidence})"
        case LookAgain():
            return f" of {t.effect[-6:]}"
        case Admit():
            return f" {':'.join(t.todo)} {[e.type for e in t.events]}"
        case Receive():
            return f" {[r.ext_id for r in t.receipts]}"
        case Resolve():
            return f" {t.case[-6:]} {t.choice}"
    return ""


def _short(answer: Any) -> str:
    if answer is None or isinstance(answer, bool | int | str | tuple):
        return str(answer)[:120]
    if isinstance(answer, ConcludeAndTurnResult):
        return f"{answer.concluded.verdict}, {_short(answer.turned)}"
    if isinstance(answer, TurnResult) and answer.started:
        return f"{answer.verdict}, started {[e[-6:] for e in answer.started]}"
    verdict = getattr(answer, "verdict", None)
    return str(verdict) if verdict is not None else str(answer)[:120]


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
