"""One test, executed: the worker of the product over a store, between played systems, persons and a given clock.

Nothing runs by itself. Each step happens one second after the former one, and then all that can be done at that time is
done. `after` visits every moment in between at which something falls due.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.case import CaseState, Choice
from counterfoil.core.clock import JumpDetector
from counterfoil.core.errors import CounterfoilError, Misconfigured
from counterfoil.core.event import Event
from counterfoil.core.people import Person
from counterfoil.expr import EvaluationError, ExpressionError
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.gateway.calls import CallRefused, OperationRequest, StoredReply
from counterfoil.flow.gateway.gateway import Gateway
from counterfoil.flow.intake.load_shedding import Intake
from counterfoil.flow.intake.receive import receive_events, receive_webhook
from counterfoil.flow.runs import person_decisions
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model, kinds
from counterfoil.rules.acceptance import Ownership
from counterfoil.store.dump import Dump
from counterfoil.store.port.people import PutPerson
from counterfoil.store.port.store import Store
from counterfoil.testing.known_objects import KnownObject, put_known
from counterfoil.testing.played_loop import PlayedClock, PlayedLoop
from counterfoil.testing.played_systems import ID_HEADER, TYPE_HEADER, PlayedSystem
from counterfoil.testing.values import TestValues, with_money

STEP_SECONDS = 1.0
ADMISSION_RETRY_SECONDS = 2.0
SCAN_SECONDS = 15.0
MAX_MOMENTS = 20_000
"""Moments that one passage of time may visit."""
BEAT_SECONDS = 4.0
_QUIET = (kinds.GivenAnswer, kinds.GivenOutage)
"""Steps after which a worker has nothing to do."""
_REPLY = StoredReply(status=200, headers={}, body=b"")


class ComparedStore(Store, Protocol):
    """A store whose rows can be compared."""

    async def dump(self) -> Dump: ...


class StepFailed(CounterfoilError):
    """A step of `given` could not be done; the message says why."""


class CaseRun:
    """One test while it is executed. `store` holds the Release and the persons already."""

    def __init__(
        self, loop: PlayedLoop, clock: PlayedClock, store: ComparedStore, model: Model, test: kinds.Test
    ) -> None:
        self._loop, self._clock, self._store = loop, clock, store
        self._model, self._test = model, test
        self._systems = {name: PlayedSystem(name, model, store, clock) for name in model.systems}
        self._releases = Releases(store, model)
        self._worker = Worker(store, self._releases, self._systems, "test/1")
        reconciler = self._worker.reconciler
        reconciler.jump_detector = JumpDetector(reconciler.jump_detector.settle, here=loop.time)
        self._beat_at: float | None = None
        self._scanned_at = loop.moment
        self._gateway: Gateway | None = None

    async def play(self) -> None:
        """Do all steps. Raises StepFailed."""
        await self._releases.take_up(self._model)
        objects: list[KnownObject] = []
        for number, step in enumerate(self._test.given):
            try:
                if isinstance(step, kinds.GivenObject):
                    objects.append(KnownObject(step, await self._filled(step.state)))
                    continue
                await self._put(objects)
                await self._do(step, number)
            except StepFailed as failed:
                raise StepFailed(f"given[{number}]: {failed}") from failed
            except (EvaluationError, ExpressionError, CallRefused, Misconfigured) as error:
                raise StepFailed(f"given[{number}]: {error}") from error
            if isinstance(step, _QUIET):
                self._loop.move_to(self._loop.moment + STEP_SECONDS)
            else:
                await self._pass(STEP_SECONDS)
        await self._put(objects)
        await self._pass(0.0)

    async def _put(self, objects: list[KnownObject]) -> None:
        """Store objects that are known, all at once, and forget them."""
        if objects:
            played = self._systems[self._model.objects[objects[0].given.known].system]
            await put_known(self._store, self._model, played, objects, self._clock())
            objects.clear()
            self._loop.move_to(self._loop.moment + STEP_SECONDS)

    async def filled(self, value: Any) -> Any:
        """Return a value of `expect` with its formulas evaluated at the end. Raises StepFailed."""
        try:
            return await TestValues(self._model, self._store, self._clock()).filled(value)
        except (EvaluationError, ExpressionError, Misconfigured) as error:
            raise StepFailed(f"expect: {error}") from error

    # ------------------------------------------------------------------ steps

    async def _do(self, step: kinds.GivenStep, number: int) -> None:
        match step:
            case kinds.GivenReceipt():
                await self._receive(step)
            case kinds.GivenEvent():
                await self._send_event(step, number)
            case kinds.GivenCall():
                await self._call(step, number)
            case kinds.GivenAnswer():
                result = await self._filled(step.result)
                for system in self._model.members(self._model.operations[step.answer].system):
                    self._systems[system].state(step, result)
            case kinds.GivenOutage():
                until = self._clock() + timedelta(seconds=kinds.seconds(step.for_))
                self._systems[step.down].down_until = until
            case kinds.GivenApproval():
                await self._vote(step.approve, step.by, True, step.comment, step.refused)
            case kinds.GivenRejection():
                await self._vote(step.reject, step.by, False, step.comment, False)
            case kinds.GivenResolution():
                await self._resolve(step)
            case kinds.GivenLeave():
                person = await self._person(step.leaves)
                left = Person(
                    id=person.id, name=person.name, email=person.email, roles=person.roles, active=False
                )
                await self._store.apply(PutPerson(person=left, at=self._clock(), actor="test"))
            case kinds.GivenTime():
                await self._pass(kinds.seconds(step.after))

    async def _filled(self, value: Any) -> Any:
        return await TestValues(self._model, self._store, self._clock()).filled(value)

    async def _receive(self, step: kinds.GivenReceipt) -> None:
        body = wire.write_json(await self._filled(step.body))
        headers = {TYPE_HEADER: step.receipt, ID_HEADER: step.id}
        system = self._systems[step.from_]
        await receive_webhook(self._store, self._model, system, step.from_, headers, body, self._clock())

    async def _send_event(self, step: kinds.GivenEvent, number: int) -> None:
        data = with_money(await self._filled(step.data), self._model.schema_of_event(step.event))
        entity: dict[str, str | int | bool] = {"legalentity": step.legal_entity} if step.legal_entity else {}
        now = self._clock()
        event = Event(
            id=step.id or f"given-{number}",
            source=f"/{step.from_ or sender_of(self._model, step)}",
            type=step.event,
            time=now,
            data=data,
            extensions=entity,
        )
        await receive_events(self._store, self._model, [event], now)

    async def _call(self, step: kinds.GivenCall, number: int) -> None:
        person = await self._person(step.by)
        schema = self._model.schema_of_operation(step.operation, "input")
        value = with_money(await self._filled(step.with_), schema)
        request = OperationRequest(
            consumer=person.id, roles=person.roles, operation=step.operation, key=step.key or f"given-{number}",
            input=value, body=wire.write_json(value), headers={}, correlation=f"given-{number}", wait=0.0,
        )  # fmt: skip
        if self._gateway is None:
            limiter, connectors = self._worker.limiter, self._systems
            self._gateway = Gateway(
                self._store, self._releases, connectors, limiter, Intake(self._store, clock=self._loop.time)
            )
        await self._beat()
        call = self._loop.create_task(self._gateway.call(request, lambda _: _REPLY))
        await self._settle()
        if call.done():
            call.result()

    async def _person(self, id_: str) -> Person:
        person = await self._store.person(id_)
        if person is None:
            raise StepFailed(f"there is no person {id_}; add it to `persons`")
        return person

    async def _vote(self, policy: str, person: str, approve: bool, comment: str, refused: bool) -> None:
        dump = await self.dump()
        open_ = [a for a in dump.approvals if a.policy == policy and a.state is ApprovalState.OPEN]
        if not open_:
            states = ", ".join(f"{a.policy} is {a.state}" for a in dump.approvals) or "there is none at all"
            raise StepFailed(f"no approval of {policy} is open; {states}")
        for approval in open_:
            decide = partial(
                person_decisions.decide_approval, self._store, self._model, approval.id, approval.subject
            )
            verdict = await decide(person, approve, comment)
            accepted = verdict in ("counted", "granted", "rejected")
            if accepted == refused:
                outcome = "was accepted" if refused else f"was refused: {verdict}"
                raise StepFailed(f"the vote of {person} on {policy} {outcome}")

    async def _resolve(self, step: kinds.GivenResolution) -> None:
        dump = await self.dump()
        open_ = [c for c in dump.cases if c.reason == step.resolve and c.state is CaseState.OPEN]
        if not open_:
            reasons = ", ".join(c.reason for c in dump.cases if c.state is CaseState.OPEN) or "none"
            raise StepFailed(f"no Case {step.resolve} is open; open Cases: {reasons}")
        model, reconciler = self._releases.present, self._worker.reconciler
        for case in open_:
            verdict = await person_decisions.resolve_case(
                self._store, model, reconciler, case.id, step.by, Choice(step.choice), step.note, False
            )
            if verdict not in ("resolved", "requested"):
                raise StepFailed(f"the decision of {step.by} on {step.resolve} was refused: {verdict}")

    # ------------------------------------------------------------------ time

    async def _pass(self, seconds: float) -> None:
        """Do what can be done now, then at each moment in which something falls due."""
        end = self._loop.moment + seconds
        for _ in range(MAX_MOMENTS):
            await self._settle()
            moment = await self._next_moment()
            if moment is None or moment > end:
                self._loop.move_to(end)  # nothing is due then
                return
            self._loop.move_to(moment)
        raise StepFailed(f"more than {MAX_MOMENTS} things fall due in this time; let less pass")

    async def _next_moment(self) -> float | None:
        now = self._loop.moment
        moments = [self._loop.next_timer] if self._worker.tasks.busy else []
        due = await self._store.next_due()
        if due is not None:
            moments.append(self._clock.moment_of(due))
        if (await self._store.backlog(1, 0)).waiting:
            moments.append(now + ADMISSION_RETRY_SECONDS)
        return min((m for m in moments if m is not None and m > now), default=None)

    async def _settle(self) -> None:
        """Run the rounds of the worker until nothing is left to do at this time."""
        worker = self._worker
        await self._beat()
        if self._loop.moment - self._scanned_at >= SCAN_SECONDS:
            await self._scan()
        busy = True
        while busy:
            started = await worker.admit_once() + await worker.turn_once()
            if not started:
                started = await worker.send_once() + await worker.watch_once()
            busy = started > 0
            await self._loop.at_rest()
            if worker.limiter.heartbeat_due.is_set():
                await worker.beat_once()
                await self._loop.at_rest()

    async def _scan(self) -> None:
        """Seal the audit log, and look for what makes no progress, as a worker does every few seconds."""
        self._scanned_at = self._loop.moment
        await self._worker.seal_once()
        await self._worker.scan_once()

    async def _beat(self) -> None:
        if self._beat_at is None or self._loop.moment - self._beat_at >= BEAT_SECONDS:
            self._beat_at = self._loop.moment
            await self._worker.beat_once()

    @property
    def now(self) -> datetime:
        return self._clock()

    async def dump(self) -> Dump:
        return await self._store.dump()


def begin_of(test: kinds.Test) -> datetime:
    """Return the time of the first step."""
    return datetime.fromisoformat(test.now).astimezone(UTC)


def sender_of(model: Model, step: kinds.GivenEvent) -> str:
    """Return the system that sends an event of a test: of what it asserts, else of a mapping that emits it."""
    event = model.events[step.event]
    ownership = Ownership.of(model, step.event)
    asserted = [name for name in ownership.fields if name in step.data]
    if event.object is not None and asserted:
        return model.system_of_record(event.object, asserted[0])
    systems = [m.from_.system for m in model.producers(step.event) if m.from_ is not None]
    if systems:
        return systems[0]
    return model.objects[event.object].system if event.object else next(iter(model.systems), "")
