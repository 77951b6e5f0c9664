"""Processes of the simulated company: the workers and the web server, each with its own view of the shared store.

A process may be paused or killed at each commit, at each call, and at any moment.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterfoil.connectors.sdk import Outcome, Request
from counterfoil.core.clock import JumpDetector
from counterfoil.core.errors import TryAgain
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.runs.snapshot import RunSnapshot
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model, read
from counterfoil.store.port import store as port
from counterfoil.store.port.effects import Conclude, Intent, LookAgain, ResendUnknown
from counterfoil.store.port.intake import Admit, Receive
from counterfoil.store.port.maintenance import PutCheckpoint, Seal
from counterfoil.store.port.people import Resolve
from counterfoil.store.port.turns import Claim, ConcludeAndTurn, ConcludeAndTurnResult, Turn, TurnResult
from counterfoil.store.port.wake import WakeKind
from tests.simulate.plan import AtCommit
from tests.simulate.systems import Line, System

if TYPE_CHECKING:
    from tests.simulate.play import Play

COMPANY = Path(__file__).parent / "company"
OWNER: contextvars.ContextVar[PlayedWorker | None] = contextvars.ContextVar("owner", default=None)
UPKEEP = (Claim, Seal, PutCheckpoint)


@functools.cache
def company() -> Model:
    """The model of the simulated company."""
    model, findings = read(COMPANY)
    assert not [f for f in findings if f.severity == "error"], findings
    return model


class Dead(Exception):
    """The process that should have answered is gone."""


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
