"""turn: claim a due Run, decide, commit. One short piece of work, never a call to the outside.

What `decide` asks for is answered from the store within the turn; requests are rendered here, so that an
effect is committed with the bytes that will be sent. A refused commit is decided again with what refused it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from counterfoil.core import wire
from counterfoil.core.run import Run
from counterfoil.expr import BudgetExceeded, EvaluationError
from counterfoil.flow.context.deprecations import DeprecationUsage
from counterfoil.flow.context.lookups import Lookups
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.dispatch.limiter import Slot
from counterfoil.flow.runs import snapshot as known
from counterfoil.flow.runs.run_start import run_start
from counterfoil.flow.runs.scope import RunScope
from counterfoil.flow.runs.snapshot import RunSnapshot
from counterfoil.flow.runs.turn_rows import Slots, TurnRows, name_of
from counterfoil.model import Model
from counterfoil.model.definition import Definition
from counterfoil.rules import mapping, routing
from counterfoil.rules.lookup import LookupsNeeded
from counterfoil.rules.mapping import MappingFailed, UnresolvedLink
from counterfoil.rules.values import head_names, plain
from counterfoil.rules.workflow import commands as c
from counterfoil.rules.workflow.decide import Decision, LiveContext, decide
from counterfoil.rules.workflow.state import RunState
from counterfoil.store.port.store import Store
from counterfoil.store.port.transitions import Conclude, RunStart, Turn, WaitOn

MAX_ROUNDS = 200
"""Look-ups, renderings and refused commits that one turn may go through before it gives the Run back."""


@dataclass(frozen=True, slots=True)
class PlannedTurn:
    """What one turn decided, to be committed. `tickets` are the slots of the calls that it starts."""

    transition: Turn
    after: RunState | None
    tickets: dict[str, Slot]


class TurnPlanner:
    """Decides turns. `worker` names this process in the rows that they leave."""

    def __init__(
        self, store: Store, releases: Releases, worker: str, uses: DeprecationUsage | None = None
    ) -> None:
        self._store = store
        self._uses = uses if uses is not None else DeprecationUsage(store, lambda: releases.present)
        self._releases = releases
        self._worker = worker

    async def turn(self, run_id: str, now: datetime) -> Turn | None:
        """One turn of one Run, its calls left as planned: what was committed. None when the Run is gone, waits
        for its serial key, or changed too often meanwhile (its due time brings it back)."""
        for _ in range(MAX_ROUNDS):
            held = await self._store.load(run_id)
            if held is None:
                return None
            proposal = await self.propose(known.loaded(held), now)
            turned = await self._store.apply(proposal.transition)
            if turned.verdict == "done":
                return proposal.transition
            if turned.verdict == "held":
                return None
            now = max(now, await self._store.now())
        return None

    async def propose(
        self, run: RunSnapshot, now: datetime, slots: Slots | None = None, told: Conclude | None = None
    ) -> PlannedTurn:
        """What the Run does next, as a transition that commits it. Calls start with it as far as `slots` gives
        any; `told` is the outcome that its audit leaf is to witness as well."""
        model = await self._releases.model(run.run.pin)
        decision, lookups, requests = await self._decide(model, run, now)
        return await self._proposal(model, run, decision, lookups, requests, now, slots, told)

    # ------------------------------------------------------------------ deciding

    async def _decide(
        self, model: Model, known: RunSnapshot, now: datetime
    ) -> tuple[Decision, Lookups, dict[str, bytes]]:
        """Decide until no answer and no request is missing. Late-bound answers come from the present model."""
        placed = RunScope(known, model, self._releases.present, now)
        run, state, model = known.run, placed.state, placed.pinned
        definition = _late_bound(model, placed.present, run.workflow)
        lookups = Lookups(self._store, placed.present, now)
        unrendered: dict[str, c.Unrendered] = {}
        requests: dict[str, bytes] = {}

        def attempt() -> Decision:
            nonlocal state
            live = LiveContext(
                effects=known.effects,
                approvals=known.approvals,
                foils=known.foils,
                answers=lookups.answers,
                unrendered=unrendered,
            )
            loaded, state = state, None  # a decision changes the state that it is given
            decision = decide(definition, run, known.stimuli, now, live, loaded)
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
        """Requests for the planned effects; those that cannot be rendered, with the reason."""
        missing = {}
        for plan in decision.commands:
            if not isinstance(plan, c.PlanEffect) or plan.effect in requests:
                continue
            outbound = model.outbound(plan.operation)
            if outbound is None:
                requests[plan.effect] = wire.write_json(plain(dict(plan.input)))
                continue
            about = {"id": run.id, "key": run.bkey, "generation": run.generation, "workflow": run.workflow}
            result = await lookups.complete(
                partial(
                    mapping.render, outbound, plan.input, plan.dates, about, plan.effect, lookups.answers
                )
            )
            match result:
                case UnresolvedLink():
                    missing[plan.effect] = c.Unrendered(
                        message=f"{result.object} {result.id} has no id in {result.system}",
                        object=result.object,
                        canonical=result.id,
                        system=result.system,
                    )
                case MappingFailed(message):
                    missing[plan.effect] = c.Unrendered(message=message)
                case _:
                    requests[plan.effect] = result.body
        return missing

    # ------------------------------------------------------------------ committing

    async def _proposal(
        self,
        model: Model,
        known: RunSnapshot,
        decision: Decision,
        lookups: Lookups,
        requests: Mapping[str, bytes],
        now: datetime,
        slots: Slots | None,
        told: Conclude | None,
    ) -> PlannedTurn:
        run = known.run
        made = TurnRows(model, known, decision, now, self._worker, requests)
        starts = [
            s
            for command in decision.commands
            if isinstance(command, c.StartSync) and (s := await self._sync(command)) is not None
        ]
        tickets = made.tickets(slots) if slots is not None else {}
        leaf: dict[str, Any] = {
            "stimuli": [f"{i.kind}:{i.ref}" for i in known.stimuli],
            "commands": [name_of(command) for command in decision.commands],
            "state": decision.state,
        }
        if decision.ignored:
            leaf["ignored"] = list(decision.ignored)
        if lookups.answers:
            answers = [[name, list(args), value] for (name, args), value in lookups.answers.items()]
            leaf["answers"] = wire.digest(answers)
        if tickets:
            leaf["sending"] = list(tickets)
        if told is not None:
            leaf["outcome"] = told.kept()
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
            hold=tuple(s for s in decision.hold if s not in known.holds),
            unhold=() if decision.hold else known.holds,
            reserve=made.of(c.ReserveGuard, made.reserve),
            release=tuple(p for x in decision.commands if isinstance(x, c.ReleaseGuards) for p in x.paths),
            plan=made.of(c.PlanEffect, made.effect),
            send=made.sends(tickets),
            again=tuple(
                x.effect for x in decision.commands if isinstance(x, c.SendAgain) and x.effect not in tickets
            ),
            drop=made.of(c.DropEffect, lambda x: x.effect),
            foils=made.of(c.WriteFoil, made.foil),
            reverse=made.of(c.ReverseFoils, lambda x: x.effect),
            approvals=made.of(c.AskApproval, made.approval),
            close_approvals=made.of(c.CloseApproval, lambda x: (x.approval, x.state)),
            waits=tuple(WaitOn(topic=w.topic, since=w.since) for w in decision.waits),
            cases=made.of(c.OpenCase, made.case),
            events=made.of(c.EmitEvent, made.event),
            starts=tuple(starts),
            leaf=wire.dumps(leaf),
            actor=f"worker:{self._worker}",
        )
        for effect in transition.plan:
            self._uses.note(effect.operation, "calls", f"workflow:{run.workflow}", now)
        return PlannedTurn(transition, decision.after, tickets)

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
        return run_start(model, start, f"sync:{command.object}:{command.canonical}", only_birth=True)


def _late_bound(pinned: Model, present: Model, workflow: str) -> Definition:
    """The pinned workflow with the present release's matrices and limits: who may agree to what is today's
    matter, what happens is the matter of the day it began."""
    definition = pinned.workflow(workflow)
    if present is pinned or workflow not in present.workflows:
        return definition
    now = present.workflow(workflow)
    return dataclasses.replace(
        definition,
        approvals={n: now.approvals.get(n, p) for n, p in definition.approvals.items()},
        limits={n: now.limits.get(n, p) for n, p in definition.limits.items()},
    )
