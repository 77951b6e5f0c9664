"""turn: claim a due Run, decide, commit. One short piece of work, never a call to the outside.

What `decide` asks for is answered from the store within the turn; requests are rendered here, so that an
effect is committed with the bytes that will be sent. A refused commit is decided again with what refused it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.case import Case
from counterfoil.core.clock import micros
from counterfoil.core.effect import Effect
from counterfoil.core.foil import Foil, FoilState
from counterfoil.core.run import Run
from counterfoil.expr import BudgetExceeded, EvaluationError
from counterfoil.flow.lookups import Lookups
from counterfoil.flow.releases import Releases
from counterfoil.model import Model
from counterfoil.model.definition import Definition
from counterfoil.rules import commands as c
from counterfoil.rules import mapping, routing
from counterfoil.rules.decide import Decision, Live, Stimulus, decide
from counterfoil.rules.mapping import Failed, Needs, Unresolved
from counterfoil.rules.values import head_names, plain
from counterfoil.store.store import (
    Loaded,
    Reserve,
    RunStart,
    Send,
    Store,
    Turn,
    WaitOn,
)
from counterfoil.store.store import Stimulus as Appended

MAX_ROUNDS = 200
"""Look-ups, renderings and refused commits that one turn may go through before it gives the Run back."""


class Turner:
    """Turns Runs. `worker` names this process; sends are left to `act` by the rows that a turn commits."""

    def __init__(self, store: Store, releases: Releases, worker: str) -> None:
        self._store = store
        self._releases = releases
        self._worker = worker

    async def turn(self, run_id: str, now: datetime) -> Turn | None:
        """One turn of one Run: what was committed, for the calls that follow from it. None when the Run is
        gone, waits for its serial key, or changed too often meanwhile (its due time brings it back)."""
        for _ in range(MAX_ROUNDS):
            loaded = await self._store.load(run_id)
            if loaded is None:
                return None
            model = await self._releases.model(loaded.run.pin)
            decision, lookups, requests = await self._decide(model, loaded, now)
            transition = await self._transition(model, loaded, decision, lookups, requests, now)
            turned = await self._store.apply(transition)
            if turned.verdict == "done":
                return transition
            if turned.verdict == "held":
                return None
            now = max(now, await self._store.now())
        return None

    # ------------------------------------------------------------------ deciding

    async def _decide(
        self, model: Model, loaded: Loaded, now: datetime
    ) -> tuple[Decision, Lookups, dict[str, bytes]]:
        """Decide until no answer and no request is missing. Late-bound answers come from the present model."""
        run = loaded.run
        definition = self._late_bound(model, run.workflow)
        lookups = Lookups(self._store, self._releases.present, now)
        stimuli = [
            Stimulus(kind=i.kind, ref=i.ref, seq=i.seq, at=i.at, body=wire.loads(i.body))
            for i in loaded.inbox
        ]
        unrendered: dict[str, c.Unrendered] = {}
        requests: dict[str, bytes] = {}
        while True:
            live = Live(
                effects=loaded.effects,
                approvals=loaded.approvals,
                foils=loaded.foils,
                answers=lookups.answers,
                unrendered=unrendered,
            )
            decision = decide(definition, run, stimuli, now, live)
            if decision.looks:
                await lookups.answer((look.name, look.args) for look in decision.looks)
                continue
            missing = await self._render(model, run, decision, lookups, requests)
            if not missing:
                return decision, lookups, requests
            unrendered.update(missing)

    def _late_bound(self, model: Model, workflow: str) -> Definition:
        """The pinned workflow with the present release's matrices and limits: who may agree to what is today's
        matter, what happens is the matter of the day it began."""
        definition, present = model.workflow(workflow), self._releases.present
        if present is model or workflow not in present.workflows:
            return definition
        now = present.workflow(workflow)
        return dataclasses.replace(
            definition,
            approvals={n: now.approvals.get(n, p) for n, p in definition.approvals.items()},
            limits={n: now.limits.get(n, p) for n, p in definition.limits.items()},
        )

    async def _render(
        self, model: Model, run: Run, decision: Decision, lookups: Lookups, requests: dict[str, bytes]
    ) -> dict[str, c.Unrendered]:
        """Requests for the planned effects; those that cannot be rendered, with the reason."""
        missing = {}
        for plan in decision.commands:
            if not isinstance(plan, c.Plan) or plan.effect in requests:
                continue
            outbound = model.outbound(plan.operation)
            if outbound is None:
                requests[plan.effect] = wire.write_json(plain(dict(plan.input)))
                continue
            about = {"id": run.id, "key": run.bkey, "generation": run.generation, "workflow": run.workflow}
            while True:
                result = mapping.render(outbound, plan.input, plan.dates, about, plan.effect, lookups.answers)
                if not isinstance(result, Needs):
                    break
                await lookups.answer(result.looks)
            match result:
                case Unresolved():
                    missing[plan.effect] = c.Unrendered(
                        message=f"{result.object} {result.id} has no id in {result.system}",
                        object=result.object,
                        canonical=result.id,
                        system=result.system,
                    )
                case Failed(message):
                    missing[plan.effect] = c.Unrendered(message=message)
                case _:
                    requests[plan.effect] = result.body
        return missing

    # ------------------------------------------------------------------ committing

    async def _transition(
        self,
        model: Model,
        loaded: Loaded,
        decision: Decision,
        lookups: Lookups,
        requests: Mapping[str, bytes],
        now: datetime,
    ) -> Turn:
        run = loaded.run
        made = _Made(model, run, decision, now, self._worker, requests, loaded.effects)
        starts = [
            s
            for command in decision.commands
            if isinstance(command, c.StartSync) and (s := await self._sync(command)) is not None
        ]
        leaf = {
            "stimuli": [f"{i.kind}:{i.ref}" for i in loaded.inbox],
            "commands": [_name(command) for command in decision.commands],
            "ignored": list(decision.ignored),
            "state": decision.state,
            "answers": wire.digest(
                [[name, list(args), value] for (name, args), value in lookups.answers.items()]
            ),
        }
        return Turn(
            run=run.id,
            version=run.version,
            at=now,
            status=decision.status,
            direction=decision.direction,
            state=decision.state,
            due=decision.due,
            consumed=decision.consumed,
            ctx=decision.ctx,
            hold=decision.hold,
            unhold=not decision.hold,
            reserve=made.of(c.ReserveGuard, made.reserve),
            release=tuple(p for x in decision.commands if isinstance(x, c.ReleaseGuards) for p in x.paths),
            plan=made.of(c.Plan, made.effect),
            send=made.of(c.Send, made.send),
            drop=made.of(c.Drop, lambda x: x.effect),
            foils=made.of(c.WriteFoil, made.foil),
            reverse=made.of(c.ReverseFoils, lambda x: x.effect),
            approvals=made.of(c.Ask, made.approval),
            close_approvals=made.of(c.CloseApproval, lambda x: (x.approval, x.state)),
            waits=tuple(WaitOn(topic=w.topic, since=w.since) for w in decision.waits),
            cases=made.of(c.OpenCase, made.case),
            events=made.of(c.EmitEvent, made.event),
            starts=tuple(starts),
            leaf=wire.dumps(leaf),
            actor=f"worker:{self._worker}",
        )

    async def _sync(self, command: c.StartSync) -> RunStart | None:
        """The Run that carries a missing object over; None while nothing is known of the object itself."""
        model = self._releases.present
        kind = model.objects.get(command.object)
        head = await self._store.head(command.object, command.canonical)
        if kind is None or kind.sync is None or head is None:
            return None
        definition = model.workflow(kind.sync)
        try:
            start = routing.sync_start(definition, command.object, head_names(head), None)
        except (EvaluationError, BudgetExceeded):
            return None
        stimulus = Appended(
            run=start.run,
            kind="start",
            ref=f"sync:{command.object}:{command.canonical}",
            body=wire.dumps(start.names),
        )
        return RunStart(
            run=start.run,
            workflow=start.workflow,
            bkey=start.key,
            generation=start.generation,
            pin=model.digest,
            state="started",
            stimulus=stimulus,
            only_birth=True,
        )


class _Made:
    """Commands made into rows."""

    def __init__(
        self,
        model: Model,
        run: Run,
        decision: Decision,
        now: datetime,
        worker: str,
        requests: Mapping[str, bytes],
        effects: Sequence[Effect],
    ) -> None:
        self.model = model
        self.run = run
        self.decision = decision
        self.now = now
        self.worker = worker
        self.requests = requests
        self.effects = {e.id: e for e in effects}

    def of(self, kind: type[Any], make: Any) -> tuple[Any, ...]:
        return tuple(make(command) for command in self.decision.commands if isinstance(command, kind))

    def effect(self, plan: c.Plan) -> Effect:
        operation = self.model.workflow(self.run.workflow).operations[plan.operation]
        return Effect(
            id=plan.effect,
            run=self.run.id,
            path=plan.path,
            item=plan.item,
            gen=plan.gen,
            undoes=plan.undoes,
            operation=plan.operation,
            system=operation.system,
            repeat=operation.repeat,
            request=self.requests[plan.effect],
            input=wire.dumps(dict(plan.input)),
            approvals=plan.approvals,
            created_at=self.now,
        )

    def send(self, command: c.Send) -> Send:
        held = self.effects[command.effect]
        operation = self.model.workflow(self.run.workflow).operations[held.operation]
        return times(held.id, held.attempt + 1, self.worker, self.now, operation.timeout, operation.horizon)

    def reserve(self, r: c.ReserveGuard) -> Reserve:
        return Reserve(scope=r.scope, key=r.key, path=r.path, amount=r.amount, limit=r.limit, seen=r.seen)

    def foil(self, f: c.WriteFoil) -> Foil:
        return Foil(
            id=f.foil,
            rule=f.rule,
            key=f.key,
            object=f.object,
            left=f.left,
            right=f.right,
            legs=f.legs,
            due=f.due,
            state=FoilState.PROVISIONAL,
            tolerance=f.tolerance,
            exact=f.exact,
            run=self.run.id,
            effect=f.effect,
            cause=f.effect,
            owner=f.owner,
            created_at=self.now,
        )

    def approval(self, a: c.Ask) -> Approval:
        return Approval(
            id=a.approval,
            run=self.run.id,
            path=a.path,
            policy=a.policy,
            subject=a.subject,
            covers=wire.dumps(dict(a.covers)),
            amount=a.amount,
            roles=a.roles,
            quorum=a.quorum,
            requester=a.requester,
            state=ApprovalState.GRANTED if a.automatic else ApprovalState.OPEN,
            expires=a.expires,
            created_at=self.now,
            automatic=a.automatic,
        )

    def case(self, x: c.OpenCase) -> Case:
        exposed = {
            (leg.currency, leg.minor): leg
            for command in self.decision.commands
            if isinstance(command, c.WriteFoil)
            for leg in command.legs.values()
        }
        return Case(
            id=x.case,
            reason=x.reason,
            message=x.message[:4000],
            owner=x.owner,
            deadline=self.now + timedelta(seconds=x.within),
            next_action=x.next_action,
            choices=x.choices,
            run=self.run.id,
            path=x.path,
            effect=x.effect,
            exposure=tuple(exposed.values()),
            created_at=self.now,
        )

    def event(self, e: c.EmitEvent) -> CanonicalEvent:
        kind = self.model.events[e.type]
        key = (
            str(e.data.get(kind.key or f"{kind.object}_id", self.run.bkey)) if kind.object else self.run.bkey
        )
        return CanonicalEvent(
            id=e.event,
            type=e.type,
            system="counterfoil",
            object=kind.object or "",
            key=key,
            version=micros(self.now),
            data=dict(e.data),
            occurred_at=self.now,
            effective_at=self.now,
            received_at=self.now,
            cause=self.run.id,
            correlation=self.run.id,
        )


def times(effect: str, attempt: int, worker: str, now: datetime, timeout: float, horizon: float) -> Send:
    """When a call may begin, until when it may take, and when a look-up may say that nothing happened."""
    send_by = now + timedelta(seconds=min(timeout, 30.0))
    call_until = send_by + timedelta(seconds=timeout)
    return Send(
        effect=effect,
        attempt=attempt,
        worker=worker,
        send_by=send_by,
        call_until=call_until,
        conclude_at=send_by + timedelta(seconds=horizon),
    )


def _name(command: c.Command) -> str:
    for field in ("effect", "approval", "foil", "case", "event", "canonical", "scope"):
        if field in command.__struct_fields__:
            return f"{type(command).__name__}:{getattr(command, field)}"
    return f"{type(command).__name__}:{wire.digest([str(v) for v in msgspec.structs.astuple(command)])[:12]}"
