"""Plays workflows to their ends: the real turn and the executable store under a clock that tests move, and
simulated systems over dictionaries whose answers a script may spoil.

Every decision is made twice and must come out the same; every commit is held to the protocol's invariants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from counterfoil.connectors import sdk
from counterfoil.core import ids, wire
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.canonical import CanonicalEvent, Head
from counterfoil.core.case import Case, CaseState, Choice
from counterfoil.core.clock import JumpDetector, micros
from counterfoil.core.effect import IN_FLIGHT, Effect, EffectState
from counterfoil.core.foil import Foil
from counterfoil.core.people import Person
from counterfoil.core.run import TERMINAL, Run
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.dispatch.limiter import ConcurrencyLimiter, Lane, Slot
from counterfoil.flow.intake.admit import Admitter
from counterfoil.flow.runs import person_decisions
from counterfoil.flow.runs.effects import EffectSender
from counterfoil.flow.runs.outcomes import OutcomeRecorder
from counterfoil.flow.runs.reconciler import OutcomeReconciler
from counterfoil.flow.runs.snapshot import RunSnapshot
from counterfoil.flow.runs.turn import TurnPlanner
from counterfoil.flow.worker.worker_cases import expire_foils
from counterfoil.model import Model
from counterfoil.model.source import parse
from counterfoil.rules import routing
from counterfoil.rules.json_values import event_names, head_names
from counterfoil.rules.workflow import commands as c
from counterfoil.rules.workflow.decide import Decision
from counterfoil.rules.workflow.state import RunState, load
from counterfoil.store.memory import MemoryStore
from counterfoil.store.port.intake import Admit
from counterfoil.store.port.people import PutPerson
from counterfoil.store.port.records import NewInboxItem, RunStart, TopicPost
from counterfoil.store.port.turns import Turn

MONDAY = datetime(2026, 1, 5, 9, tzinfo=UTC)
REQUESTERS = ("ann", "bob", "olga")
"""Persons on file with every role that requests."""
LIVE_EFFECTS = IN_FLIGHT | {EffectState.PLANNED}
REST = 3_000
"""Rounds after which a company that still works on the same moment is going round in circles."""


def model_of(*texts: str) -> Model:
    """The Model of governance texts, as they would stand in files."""
    documents = []
    for text in texts:
        sources, findings = parse(text, "text")
        assert findings == [], findings
        documents += [source.data for source in sources]
    return Model.from_documents(documents)


class System:
    """A simulated system: keeps what was done by key, answers look-ups truly, and spoils answers by script.

    A script gives, per operation, what happens to the next calls: `ok`, a `Rejected`, `lost` (done, answer
    lost), `dark` (not done, answer lost), `job` (accepted); an exception for a read.
    """

    operations: Mapping[str, sdk.OperationSpec] = {}
    feeds: Sequence[str] = ()

    def __init__(self, name: str) -> None:
        self.name = name
        self.done: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str, Any]] = []
        self.script: dict[str, list[Any]] = {}
        self.results: dict[str, Callable[[Any], Any]] = {}
        self.answers = True
        """Whether look-ups can tell."""

    def bodies(self, operation: str) -> list[Any]:
        """Bodies of the calls of an operation that took effect or were tried, in order."""
        return [body for name, _, body in self.calls if name == operation]

    def _result(self, operation: str, body: Any) -> Any:
        make = self.results.get(operation)
        return {"id": f"{operation}-{len(self.done) + 1}"} if make is None else make(body)

    def _next(self, operation: str) -> Any:
        waiting = self.script.get(operation)
        return waiting.pop(0) if waiting else "ok"

    async def send(self, request: sdk.Request, timeout: float) -> sdk.Outcome:
        body = wire.read_json(request.body)
        self.calls.append((request.operation, request.key, body))
        match self._next(request.operation):
            case sdk.Rejected() as rejected:
                return rejected
            case "dark":
                return sdk.Unknown("the line went dead")
            case "lost":
                self.done.setdefault(request.key, self._result(request.operation, body))
                return sdk.Unknown("the answer was lost")
            case "job":
                return sdk.Accepted("job-1")
        return sdk.Confirmed(self.done.setdefault(request.key, self._result(request.operation, body)))

    async def find(self, request: sdk.Request, timeout: float) -> sdk.Finding:
        if not self.answers:
            return sdk.Unknown("the look-up failed")
        result = self.done.get(request.key)
        return sdk.Absent() if result is None else sdk.Confirmed(result)

    async def read(self, operation: str, arguments: Mapping[str, Any], timeout: float) -> Any:
        self.calls.append((operation, "", dict(arguments)))
        answer = self._next(operation)
        if isinstance(answer, Exception):
            raise answer
        return self._result(operation, dict(arguments))

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> sdk.Delivery:
        raise NotImplementedError

    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> sdk.Page:
        return sdk.Page((), "")

    async def check(self, timeout: float) -> None:
        """Always there."""

    async def close(self) -> None:
        """Nothing to let go of."""


class WideGate(ConcurrencyLimiter):
    """Lets every call through: what a gate holds back has tests of its own."""

    async def enter(self, system: str, lane: Lane, retry: bool = False) -> Slot:
        return Slot(system, lane, retry, lease=0, window=0, epoch=0, paid=False)

    def leave(self, ticket: Slot, outcome: object) -> None:
        """Nothing was taken."""

    def holds(self, ticket: Slot) -> bool:
        return True


class CheckedTurner(TurnPlanner):
    """A planner that decides twice, and checks each decision before it is committed."""

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        self.planned: dict[str, c.PlanEffect] = {}
        """By the effect that each became."""

    async def decide(self, snapshot: RunSnapshot, now: datetime) -> tuple[Decision, Any, Any]:
        first = await super().decide(snapshot, now)
        second = await super().decide(msgspec.structs.replace(snapshot, state=None), now)
        both = [msgspec.structs.replace(d, after=None) for d in (first[0], second[0])]
        assert repr(both[0]) == repr(both[1]), "the same inputs gave two decisions"
        check_decision(snapshot, first[0], now)
        self.planned |= {x.effect: x for x in first[0].commands if isinstance(x, c.PlanEffect)}
        return first


def check_decision(snapshot: RunSnapshot, d: Decision, now: datetime) -> None:
    """Check what holds for every decision."""
    run = snapshot.run
    state = load(d.ctx)
    assert state.dump() == d.ctx
    assert d.consumed >= run.consumed
    assert d.consumed == max([run.consumed, *(i.seq for i in snapshot.stimuli)])
    states = {e.id: e.state for e in snapshot.effects}
    dropped = {x.effect for x in d.commands if isinstance(x, c.DropEffect)}
    after = {i: s for i, s in states.items() if not (i in dropped and s is EffectState.PLANNED)}
    for command in d.commands:
        if isinstance(command, c.PlanEffect):
            rivals = [e for e in snapshot.effects if (e.path, e.item) == (command.path, command.item)]
            assert all(after.get(e.id) not in LIVE_EFFECTS | {EffectState.CONFIRMED} for e in rivals)
            assert command.effect not in states
            after[command.effect] = EffectState.PLANNED
        if isinstance(command, c.SendAgain):
            assert after[command.effect] is EffectState.REFUSED
            after[command.effect] = EffectState.SENDING
    flying = any(s in LIVE_EFFECTS for s in after.values())
    if d.status in TERMINAL:
        assert not flying, "a Run ended with a call under way"
        assert d.due is None or run.status in TERMINAL
        assert not d.hold
        return
    assert d.due is not None
    assert d.due >= now
    assert bool(d.hold) == (flying and bool(state.serials))


class Play:
    """One company at work, in simulated time."""

    def __init__(self, model: Model, start: datetime = MONDAY) -> None:
        self.model = model
        self.now = start
        self.store = MemoryStore(clock=lambda: self.now)
        self.systems = {name: System(name) for name in model.systems}
        self.releases = Releases(self.store, model)
        self.gate = WideGate("play/1", {})
        self.steady = JumpDetector(0.0, here=lambda: self.now.timestamp())
        self.turner = CheckedTurner(self.store, self.releases, "play")
        self.recorder = OutcomeRecorder(self.store, "play/1")
        self.sender = EffectSender(
            self.store, self.releases, self.systems, "play/1", self.gate, self.recorder
        )
        self.reconciler = OutcomeReconciler(
            self.store, self.releases, self.systems, self.gate, self.sender, self.recorder, self.steady
        )
        self.admission = Admitter(self.store, self.releases, self.systems)
        self.sending = True
        """Whether planned calls are made."""
        self.turns: list[Turn] = []
        self._n = 0
        policies = [policy.approval for policy in model.policies.values() if policy.approval is not None]
        roles = tuple(sorted({role for approval in policies for role in approval.requesters}))
        for id_ in REQUESTERS:
            person = Person(id=id_, name=id_, email=f"{id_}@example.com", roles=roles)
            self.store.tables.persons[id_] = person

    # ------------------------------------------------------------------ what happens outside

    async def event(
        self, type_: str, *, system: str = "", senders: tuple[str, ...] = (), settle: bool = True, **data: Any
    ) -> str:
        """A canonical event is admitted, with all that follows from it."""
        self._n += 1
        kind = self.model.events[type_]
        key = str(data.get(kind.key or f"{kind.object}_id", self._n)) if kind.object else str(self._n)
        event = CanonicalEvent(
            id=ids.derive("evt", type_, self._n),
            type=type_,
            system=system or next(iter(self.systems)),
            object=kind.object or "",
            key=key,
            version=micros(self.now) + self._n,
            data=data,
            occurred_at=self.now,
            effective_at=self.now,
            received_at=self.now + timedelta(microseconds=self._n),
            senders=senders,
        )
        self.store.tables.events[event.id] = event
        self.store.tables.todos["event", event.id] = None
        if settle:
            await self.settle()
        return event.id

    async def head(self, object_: str, key: str, *, settle: bool = True, **state: Any) -> None:
        """An object is seen in this state; what its dates begin, begins."""
        self._n += 1
        event = CanonicalEvent(
            id=ids.derive("evt", object_, key, self._n),
            type="seen",
            system="",
            object=object_,
            key=key,
            version=micros(self.now) + self._n,
            data={},
            occurred_at=self.now,
            effective_at=self.now,
            received_at=self.now,
        )
        head = Head(
            object=object_,
            key=key,
            version=event.version,
            state=state,
            system="",
            effective_at=self.now,
            recorded_at=self.now,
            event=event.id,
        )
        starts = [
            RunStart(
                run=s.run,
                workflow=s.workflow,
                bkey=s.key,
                generation=s.generation,
                pin=self.model.digest,
                state="started",
                stimulus=NewInboxItem(run=s.run, kind="start", ref=event.id, body=wire.dumps(s.names)),
            )
            for s in routing.due_starts(self.model, object_, head_names(head), None)
        ]
        self.store.tables.todos["event", event.id] = None
        await self.store.apply(
            Admit(
                todo=("event", event.id),
                events=(event,),
                heads=(head,),
                posts=(TopicPost(event=event.id, topics=(), body=wire.dumps(event_names(event))),),
                starts=tuple(starts),
                at=self.now,
                actor="play",
            )
        )
        if settle:
            await self.settle()

    async def person(self, id_: str, *roles: str, active: bool = True) -> None:
        person = Person(id=id_, name=id_, email=f"{id_}@example.com", roles=roles, active=active)
        await self.store.apply(PutPerson(person=person, at=self.now, actor="play"))

    async def vote(self, approval: Approval, person: str, approve: bool = True) -> str:
        verdict = await person_decisions.decide_approval(
            self.store, self.model, approval.id, approval.subject, person, approve, "as seen"
        )
        await self.settle()
        return verdict

    async def resolve(self, case: Case, choice: Choice, person: str = "boss", settle: bool = True) -> str:
        if person not in self.store.tables.persons:
            await self.person(person)
        verdict = await person_decisions.resolve_case(
            self.store, self.model, self.reconciler, case.id, person, choice, "as seen", override=True
        )
        if settle:
            await self.settle()
        return verdict

    # ------------------------------------------------------------------ time

    async def settle(self) -> None:
        """Everything that is due now, until nothing is."""
        for _ in range(REST):
            if not await self._round():
                self.check()
                return
        raise AssertionError("the company does not come to rest")

    async def _round(self) -> bool:
        did = False
        for todo in await self.store.todos(100):
            await self.admission.admit(todo, self.now)
            did = True
        due = [r for r in self.store.tables.runs.values() if r.due is not None and r.due <= self.now]
        for run in sorted(due, key=lambda r: (r.due, r.arrival)):
            did = True
            turn = await self.turner.turn(run.id, self.now)
            if turn is None:
                continue
            self.turns.append(turn)
        if self.sending:
            for effect in await self.store.effects_planned(100):
                await self.sender.send_planned(effect)
                did = True
        for effect in await self.store.effects_overdue(self.now, 100):
            await self.reconciler.mark_overdue(effect)
            did = True
        for effect in await self.store.effects_to_look_up(self.now, 100):
            await self.reconciler.look_up(effect)
            did = True
        await expire_foils(self.store, self.now)
        return did

    async def advance(self, **duration: float) -> None:
        await self.until(self.now + timedelta(**duration))

    async def until(self, moment: datetime) -> None:
        """Let time pass, stopping wherever something is due."""
        await self.settle()
        for _ in range(REST):
            due = await self.store.next_due()
            if due is None or due > moment:
                break
            self.now = max(due, self.now + timedelta(microseconds=1))
            await self.settle()
        else:
            raise AssertionError("time does not pass")
        self.now = max(self.now, moment)
        await self.settle()

    # ------------------------------------------------------------------ what is seen

    def runs(self, workflow: str = "") -> list[Run]:
        runs = [r for r in self.store.tables.runs.values() if not workflow or r.workflow == workflow]
        return sorted(runs, key=lambda r: r.arrival)

    def run(self, workflow: str = "") -> Run:
        """The newest Run."""
        return self.runs(workflow)[-1]

    def state(self, run: Run | None = None) -> RunState:
        return load((run or self.run()).ctx)

    def cases(self, reason: str = "") -> list[Case]:
        return [
            k
            for k in self.store.tables.cases.values()
            if k.state is CaseState.OPEN and (not reason or k.reason == reason)
        ]

    def case(self, reason: str = "") -> Case:
        (case,) = self.cases(reason)
        return case

    def approvals(self, state: ApprovalState = ApprovalState.OPEN) -> list[Approval]:
        return [a for a in self.store.tables.approvals.values() if a.state is state]

    def approval(self) -> Approval:
        (approval,) = self.approvals()
        return approval

    def effects(self, operation: str = "") -> list[Effect]:
        rows = self.store.tables.effects.values()
        return [e for e in rows if not operation or e.operation == operation]

    def foils(self) -> list[Foil]:
        return list(self.store.tables.foils.values())

    def bodies(self, operation: str) -> list[Any]:
        return [body for s in self.systems.values() for body in s.bodies(operation)]

    def emitted(self, type_: str) -> list[CanonicalEvent]:
        return [e for e in self.store.tables.events.values() if e.type == type_ and e.system == "counterfoil"]

    def used(self, scope: str) -> int:
        return sum(used for (s, _), (used, _) in self.store.tables.guards.items() if s == scope)

    # ------------------------------------------------------------------ what always holds

    def check(self) -> None:
        """Invariants 2, 5, 8, 9, 10 and 11 of the protocol, over all rows."""
        store = self.store
        live: dict[tuple[str, str, str], int] = {}
        for e in store.tables.effects.values():
            if e.state in IN_FLIGHT or e.state is EffectState.CONFIRMED:
                place = (e.run, e.path, e.item)
                live[place] = live.get(place, 0) + 1
            if e.state in (EffectState.SENDING, EffectState.CONFIRMED) and e.attempt:
                assert all(a in store.tables.approvals for a in e.approvals)
        assert all(n == 1 for n in live.values()), "two live generations"
        for (scope, key), (used, limit) in store.tables.guards.items():
            amounts = [
                n
                for (s, k, _, _), (n, on) in store.tables.reservations.items()
                if (s, k, on) == (scope, key, True)
            ]
            assert used == sum(amounts), "a guard is not the sum of its reservations"
            assert limit is None or used <= limit
        for run in store.tables.runs.values():
            effects = [e for e in store.tables.effects.values() if e.run == run.id]
            if run.status in TERMINAL:
                assert not any(e.state in LIVE_EFFECTS for e in effects)
                assert run.due is None
                assert not any(a.run == run.id and a.state is ApprovalState.OPEN for a in _approvals(store))
                continue
            waiting_for_serial = any(r == run.id for _, r in store.tables.hold_waits)
            assert run.due is not None or waiting_for_serial, "nothing would ever wake the Run"
            self._owned(run)

    def _owned(self, run: Run) -> None:
        """A step that a person must decide on has a Case that a person can decide."""
        for key, st in load(run.ctx).steps.items():
            if st.phase == "parked":
                assert st.case is not None, key
                case = self.store.tables.cases[st.case]
                assert case.state is CaseState.OPEN, f"{key} waits for a Case that is resolved"
                assert case.choices


def _approvals(store: MemoryStore) -> list[Approval]:
    return list(store.tables.approvals.values())
