"""Answers of a workflow on paper: what it would decide about an event, up to its first call that writes.

The workflow's own checks, amounts, limits and approval matrix give the answer, so a preview cannot differ from the Run.
Nothing is written: no Run, no reservation, no approval.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

import msgspec

from counterfoil.connectors.sdk import Confirmed
from counterfoil.connectors.sdk import Outcome as CallOutcome
from counterfoil.core import ids, wire
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.clock import micros
from counterfoil.flow.context.lookups import Lookups
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.gateway.calls import CallInProgress
from counterfoil.flow.gateway.results import BadOutput
from counterfoil.flow.runs.snapshot import RunSnapshot, from_start, run_start, with_scope
from counterfoil.flow.runs.turn import TurnPlanner
from counterfoil.model import kinds
from counterfoil.rules import mapping, routing
from counterfoil.rules.contract import violations
from counterfoil.rules.json_values import typed
from counterfoil.rules.lookup import lookup_in
from counterfoil.rules.mapping import MappingFailed
from counterfoil.rules.templates import FAULTS
from counterfoil.rules.workflow import commands as c
from counterfoil.rules.workflow.context import NameFault, names_at
from counterfoil.rules.workflow.start_facts import answer_read
from counterfoil.rules.workflow.state import RunState
from counterfoil.store.port.store import Store

MAX_READS = 20
"""Reads of other systems that one preview may make."""
Ask: TypeAlias = Callable[[kinds.Operation, bytes], Awaitable[CallOutcome]]
"""Send a read to its system."""


class WorkflowPreviewer:
    """Decides on paper, in the active Release."""

    def __init__(self, store: Store, releases: Releases) -> None:
        self._store = store
        self._planner = TurnPlanner(store, releases, "preview")

    async def preview(
        self, context: CallInProgress, entity: str, workflow: str, request: bytes, ask: Ask
    ) -> CallOutcome:
        """Return what the workflow would decide about the event whose data is `request`. Raises BadOutput."""
        snapshot = await self._begin(context, entity, workflow, request)
        if snapshot is None:
            return Confirmed(
                result={"values": {}, "approval": None, "refusal": "The workflow does not start."}
            )
        for _ in range(MAX_READS):
            decision, _, requests = await self._planner.decide(snapshot, context.at)
            assert decision.after is not None
            planned = [x for x in decision.commands if isinstance(x, c.PlanEffect)]
            reads = [x for x in planned if context.model.operations[x.operation].repeat == "read"]
            if not reads:
                values = await self._values(context, snapshot, decision.after)
                return Confirmed(result=_answer(decision, values, entity))
            for plan in reads:
                operation = context.model.operations[plan.operation]
                answer = await ask(operation, requests[plan.effect])
                if not isinstance(answer, Confirmed):
                    return answer
                answer_read(decision.after, plan.effect, await self._result(context, plan, answer))
            snapshot = msgspec.structs.replace(snapshot, stimuli=(), state=decision.after)
        raise BadOutput(f"{workflow} reads more than {MAX_READS} facts from other systems")

    async def _begin(
        self, context: CallInProgress, entity: str, workflow: str, request: bytes
    ) -> RunSnapshot | None:
        """Return the Run as it would begin; None if the workflow does not start with this event."""
        model = context.model
        type_ = model.workflow(workflow).start.event or ""
        schema = model.schema_of_event(type_)
        data = typed(wire.read_json(request), schema)
        if faults := violations(data, schema):
            raise BadOutput(f"the event {type_} of the preview breaks its contract: {'; '.join(faults)}")
        event = CanonicalEvent(
            id=ids.derive("evt", "preview", context.receipt),
            type=type_,
            system=model.operations[context.served.by].system,
            object="",
            key=str(context.receipt),
            version=micros(context.at),
            data=data,
            legal_entity=entity,
            occurred_at=context.at,
            effective_at=context.at,
            received_at=context.at,
        )
        lookups = Lookups(self._store, model, context.at)
        lookup = lookup_in(lookups.answers)
        try:
            starts = await lookups.complete(lambda: routing.starts(model, event, lookup))
        except FAULTS as error:
            raise BadOutput(f"{workflow} cannot start with this input: {error}") from error
        start = next((s for s in starts if s.workflow == workflow), None)
        if start is None:
            return None
        row = msgspec.structs.replace(
            run_start(model, start, event.id), run=ids.derive("run", "preview", context.receipt)
        )
        return with_scope(from_start(row, context.at, ()), model, model)

    async def _values(
        self, context: CallInProgress, snapshot: RunSnapshot, state: RunState
    ) -> dict[str, Any]:
        """Return all facts and lets that have a value, whether or not a step has read them."""
        definition = context.model.workflow(snapshot.run.workflow)
        lookups = Lookups(self._store, context.model, context.at)
        names = {fact.name for fact in definition.facts} | {name for name, _ in definition.let}

        def value_of(name: str) -> Any:
            return names_at(definition, snapshot.run, state, context.at, lookups.answers)[name]

        values = {}
        for name in sorted(names):
            with suppress(NameFault, KeyError, *FAULTS):
                values[name] = await lookups.complete(partial(value_of, name))
        return values

    async def _result(self, context: CallInProgress, plan: c.PlanEffect, answer: Confirmed) -> Any:
        lookups = Lookups(self._store, context.model, context.at)
        outbound, result = context.model.outbound(plan.operation), dict(answer.result)
        mapped = await lookups.complete(
            lambda: mapping.take_result(outbound, plan.input, result, lookups.answers)
        )
        if isinstance(mapped, MappingFailed):
            raise BadOutput(mapped.message)
        return mapped.result


def _answer(decision: c.Decision, values: dict[str, Any], entity: str) -> dict[str, Any]:
    """Return the decision as formulas of the operation's mapping read it."""
    request = next((x for x in decision.commands if isinstance(x, c.AskApproval)), None)
    refusal = "" if request is not None else _refusal(decision)
    approval = None
    if request is not None:
        approval = {
            "policy": request.policy,
            "automatic": request.automatic,
            "roles": list(request.roles),
            "quorum": request.quorum,
            "amount": request.amount,
        }
    return {
        "values": values,
        "approval": approval,
        "refusal": refusal,
        "legal_entity": entity,
    }


def _refusal(decision: c.Decision) -> str:
    """Return why no approval is asked for: the Case that the Run would open, or the step that fails."""
    assert decision.after is not None
    case = next((x.message for x in decision.commands if isinstance(x, c.OpenCase)), "")
    return case or next((st.detail for st in decision.after.steps.values() if st.detail), "")
