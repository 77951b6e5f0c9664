"""Plans turns: decides what a due Run does next, as one transition to commit. It never calls another system.

Look-ups that `decide` asks for are answered from the store. Requests are rendered here, so an effect is committed with
the bytes that will be sent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from msgspec import structs

from counterfoil.core import wire
from counterfoil.core.run import Run
from counterfoil.flow.context.deprecations import DeprecationUsage
from counterfoil.flow.context.lookups import Lookups
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.dispatch.limiter import Slot
from counterfoil.flow.runs.outcomes import EffectContext
from counterfoil.flow.runs.snapshot import OverlayScope, RunSnapshot, from_rows, run_start, with_scope
from counterfoil.flow.runs.turn_rows import SlotSource, TurnRows, command_name
from counterfoil.model import Model
from counterfoil.model.definition import Definition
from counterfoil.rules import routing
from counterfoil.rules.json_values import head_names, run_names
from counterfoil.rules.lookup import LookupsNeeded
from counterfoil.rules.templates import FAULTS
from counterfoil.rules.workflow import commands as c
from counterfoil.rules.workflow.decide import Decision, LateBoundInput, decide
from counterfoil.rules.workflow.records import fault_ahead, request_of
from counterfoil.rules.workflow.state import RunState, load
from counterfoil.store.port.audited import digests
from counterfoil.store.port.effects import Conclude
from counterfoil.store.port.records import RunStart
from counterfoil.store.port.store import Store
from counterfoil.store.port.turns import Turn, WaitOn

MAX_ROUNDS = 200
"""Refused commits after which a turn gives the Run back."""


@dataclass(frozen=True, slots=True)
class PlannedTurn:
    """A decided turn, ready to be committed."""

    transition: Turn
    state: RunState | None
    """Decoded `transition.ctx`."""
    scope: OverlayScope
    slots: dict[str, Slot]
    """Slots of the calls that start with the turn, by effect."""
    definition: Definition
    entity: str
    """Legal entity of the Run."""

    def context(self, operation: str) -> EffectContext:
        """Return the context of a call that this turn plans or sends again."""
        called = self.definition.operations[operation]
        return EffectContext(self.scope.model, self.definition, called, self.entity)


class TurnPlanner:
    """Plans turns. `worker` names this process in the rows."""

    def __init__(
        self, store: Store, releases: Releases, worker: str, uses: DeprecationUsage | None = None
    ) -> None:
        self._store, self._releases, self._worker = store, releases, worker
        self._uses = uses if uses is not None else DeprecationUsage(store, lambda: releases.present)

    async def turn(self, run_id: str, now: datetime) -> Turn | None:
        """Plan and commit one turn without starting its calls; return what was committed.

        None if the Run does not exist, waits for its serial key, or was changed too often by other writers.
        """
        for _ in range(MAX_ROUNDS):
            rows = await self._store.load(run_id)
            if rows is None:
                return None
            planned = await self.propose(from_rows(rows), now)
            turned = await self._store.apply(planned.transition)
            if turned.verdict == "done":
                return planned.transition
            if turned.verdict == "held":
                return None
            now = max(now, await self._store.now())
        return None

    async def propose(
        self,
        snapshot: RunSnapshot,
        now: datetime,
        take_slot: SlotSource | None = None,
        outcome: Conclude | None = None,
    ) -> PlannedTurn:
        """Plan the Run's next turn.

        Calls for which `take_slot` returns a slot start with the turn. `outcome` is recorded in the turn's audit leaf
        when both are committed together.
        """
        release = await self._releases.model(snapshot.run.pin)
        snapshot = with_scope(snapshot, release, self._releases.present)
        decision, lookups, requests = await self.decide(snapshot, now)
        return await self._build_turn(snapshot, decision, lookups, requests, now, take_slot, outcome)

    # ------------------------------------------------------------------ deciding

    async def decide(
        self, snapshot: RunSnapshot, now: datetime
    ) -> tuple[Decision, Lookups, dict[str, bytes]]:
        """Decide until no answer and no request is missing. Late-bound answers come from the active Release.

        The snapshot has its scope. Nothing is written.
        """
        assert snapshot.scope is not None
        model, active = snapshot.scope.model, snapshot.scope.active(self._releases.present, now)
        run, state = snapshot.run, snapshot.state
        memo = state.memo if state is not None else {}
        definition = _late_bound(model, active, run.workflow)
        lookups = Lookups(self._store, active, now)
        unrendered: dict[str, c.Unrendered] = {}
        requests: dict[str, bytes] = {}

        def attempt() -> Decision:
            nonlocal state
            live = LateBoundInput(
                effects=snapshot.effects,
                approvals=snapshot.approvals,
                foils=snapshot.foils,
                answers=lookups.answers,
                unrendered=unrendered,
            )
            loaded, state = state, None  # a decision changes the state that it is given
            if loaded is None and memo:
                loaded = load(run.ctx, memo)
            decision = decide(definition, run, snapshot.stimuli, now, live, loaded)
            if decision.looks:
                raise LookupsNeeded(tuple((look.name, look.args) for look in decision.looks))
            return decision

        while True:
            decision = await lookups.complete(attempt)
            missing = await self._render(model, run, decision, lookups, requests)
            if not missing:
                return decision, lookups, requests
            unrendered.update(missing)

    async def _render(
        self, model: Model, run: Run, decision: Decision, lookups: Lookups, requests: dict[str, bytes]
    ) -> dict[str, c.Unrendered]:
        """Render the planned effects, and later calls dry. Return those that cannot be rendered, with the reason."""
        missing: dict[str, c.Unrendered] = {}
        for plan in decision.commands:
            if not isinstance(plan, c.PlanEffect) or plan.effect in requests:
                continue
            outbound = model.outbound(plan.operation)
            names = run_names(run, decision.state, decision.direction)
            request = await lookups.complete(partial(request_of, plan, outbound, names, lookups.answers))
            if isinstance(request, c.Unrendered):
                missing[plan.effect] = request
            else:
                requests[plan.effect] = request
        if missing:
            return missing
        for call in decision.ahead:
            names = run_names(run, decision.state, decision.direction)
            work = partial(fault_ahead, call, model.outbound(call.operation), names, lookups.answers)
            fault = await lookups.complete(work)
            if fault is not None:
                missing[call.name] = fault
        return missing

    # ------------------------------------------------------------------ committing

    async def _build_turn(
        self,
        snapshot: RunSnapshot,
        decision: Decision,
        lookups: Lookups,
        requests: Mapping[str, bytes],
        now: datetime,
        take_slot: SlotSource | None,
        outcome: Conclude | None,
    ) -> PlannedTurn:
        run, scope = snapshot.run, snapshot.scope
        assert scope is not None
        rows = TurnRows(scope.model, snapshot, decision, now, self._worker, requests)
        starts = [await self._sync(command) for command in rows.commands.get(c.StartSync, ())]
        slots = rows.take_slots(take_slot) if take_slot is not None else {}
        again = [x.effect for x in rows.commands.get(c.SendAgain, ()) if x.effect not in slots]
        leaf: dict[str, Any] = {
            "stimuli": [f"{i.kind}:{i.ref}" for i in snapshot.stimuli],
            "commands": [command_name(command) for command in decision.commands],
            "state": decision.state,
        }
        if decision.ignored:
            leaf["ignored"] = list(decision.ignored)
        if lookups.answers:
            answers = [[name, list(args), value] for (name, args), value in lookups.answers.items()]
            leaf["answers"] = wire.digest(answers)
        if slots:
            leaf["sending"] = list(slots)
        if outcome is not None:
            leaf["outcome"] = outcome.leaf_body()
        transition = Turn(
            run=run.id,
            version=run.version,
            at=now,
            status=decision.status,
            direction=decision.direction,
            state=decision.state,
            due=decision.due,
            consumed=decision.consumed,
            ctx=decision.ctx,
            hold=tuple(s for s in decision.hold if s not in snapshot.holds),
            unhold=() if decision.hold else snapshot.holds,
            reserve=rows.of(c.ReserveGuard, rows.reserve),
            release=tuple(path for x in rows.commands.get(c.ReleaseGuards, ()) for path in x.paths),
            plan=rows.of(c.PlanEffect, rows.effect),
            send=rows.sends(slots),
            again=tuple(again),
            drop=rows.of(c.DropEffect, lambda x: x.effect),
            foils=rows.of(c.WriteFoil, rows.foil),
            reverse=rows.of(c.ReverseFoils, lambda x: x.effect),
            approvals=rows.of(c.AskApproval, rows.approval),
            close_approvals=rows.of(c.CloseApproval, lambda x: (x.approval, x.state)),
            waits=tuple(WaitOn(topic=w.topic, since=w.since) for w in decision.waits),
            cases=rows.of(c.OpenCase, rows.case),
            close_cases=rows.of(c.CloseCase, lambda x: (x.case, x.note)),
            events=rows.events(),
            starts=tuple(start for start in starts if start is not None),
            leaf=b"",
            actor=f"worker:{self._worker}",
        )
        written = digests((*transition.plan, *transition.approvals, *transition.events))
        leaf |= {"ctx": wire.digest(transition.ctx)[:32]} | ({"rows": written} if written else {})
        transition = structs.replace(transition, leaf=wire.dumps(leaf))
        for effect in transition.plan:
            self._uses.note(effect.operation, "calls", f"workflow:{run.workflow}", now)
        return PlannedTurn(transition, decision.after, scope, slots, rows.definition, run.entity)

    async def _sync(self, command: c.StartSync) -> RunStart | None:
        """Return the Run that syncs a missing object; None if the object is not known or has no sync workflow."""
        model = self._releases.present
        kind = model.objects.get(command.object)
        head = await self._store.head(command.object, command.canonical)
        if kind is None or kind.sync is None or head is None:
            return None
        definition = model.workflow(kind.sync)
        try:
            start = routing.sync_start(definition, command.object, head_names(head), None)
        except FAULTS:
            return None
        return run_start(model, start, f"sync:{command.object}:{command.canonical}", only_birth=True)


def _late_bound(pinned: Model, active: Model, workflow: str) -> Definition:
    """Return the pinned workflow with the matrices and limits of the active Release.

    Who may approve is decided by today's rules; what happens, by those of the day the Run began.
    """
    definition = pinned.workflow(workflow)
    if active is pinned or workflow not in active.workflows:
        return definition
    current = active.workflow(workflow)
    return dataclasses.replace(
        definition,
        approvals={n: current.approvals.get(n, p) for n, p in definition.approvals.items()},
        limits={n: current.limits.get(n, p) for n, p in definition.limits.items()},
    )
