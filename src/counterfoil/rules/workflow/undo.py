"""Undo: takes back confirmed calls, the last one first, under the same rules as every other call.

It starts once no call is sending or unknown. If an undo is refused, a Case asks a person to retry it, to count it as
done, or to close the Run as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

from counterfoil.core import ids, wire
from counterfoil.core.case import Choice
from counterfoil.core.case_reasons import UNDO_PREFIX
from counterfoil.core.effect import IN_FLIGHT, EffectState
from counterfoil.core.errors import RETRIED_CLASSES, ErrorClass
from counterfoil.core.run import Direction, RunStatus
from counterfoil.model.definition import Call, Record, UndoChoice
from counterfoil.rules import amount_signs
from counterfoil.rules.templates import FAULTS, fill, names_with, truth
from counterfoil.rules.workflow import abandon, calls, guards, step_cases
from counterfoil.rules.workflow.commands import PlanEffect, ReverseFoils, SendAgain
from counterfoil.rules.workflow.context import DecisionContext
from counterfoil.rules.workflow.state import ConfirmedEffect, StepState, UndoState


def begin(context: DecisionContext, cause: str) -> bool:
    """Start to undo: planned calls are dropped, calls in flight are waited for."""
    if context.state.undo is not None:
        return True
    abandon.abandon(context)
    abandon.close_open_approvals(context)
    context.direction = Direction.UNDO
    context.state.undo = UndoState(queue=[], cause=cause, position=-1)
    context.state.frames = []
    context.state.back = context.state.refresh = ""
    return True


def advance(context: DecisionContext) -> bool:
    """Take one step of the undo. False: the Run must wait."""
    u = context.state.undo
    assert u is not None
    if u.position < 0 or u.position >= len(u.queue):
        if context.under_way():
            abandon.ask_what_happened(context)
            return False
        u.position = max(u.position, 0)
        left = [c.effect for c in reversed(context.state.confirmed) if c.effect not in u.queue]
        u.queue += left
        if not left:
            guards.give_back(context, list(context.state.reserved))
            context.finish(RunStatus.UNDONE, "undone")
        return True
    confirmed = next(c for c in context.state.confirmed if c.effect == u.queue[u.position])
    key = f"undo:{confirmed.key}"
    st = context.state.steps.setdefault(key, StepState(entered=context.now))
    try:
        return _take_back(context, u, confirmed, st)
    except FAULTS as error:
        return _case(context, key, st, "invalid", str(error))


def _take_back(context: DecisionContext, u: UndoState, confirmed: ConfirmedEffect, st: StepState) -> bool:
    key = f"undo:{confirmed.key}"
    outcome, _, detail = st.outcome.partition(":")
    match st.phase:
        case "new":
            return _plan(context, u, confirmed, st)
        case "backoff":
            if st.retry_at is not None and st.retry_at > context.now:
                return False
            return _again(context, confirmed, st)
        case "planned" if outcome == "confirmed":
            context.commands.append(ReverseFoils(confirmed.effect))
            return _next(u, st)
        case "planned" if outcome == "absent":
            st.gen += 1
            st.phase, st.outcome = "new", ""
            return True
        case "planned" if outcome == "refused":
            if detail == ErrorClass.ALREADY_DONE:
                context.commands.append(ReverseFoils(confirmed.effect))
                return _next(u, st)
            return _retry_or_ask(context, key, st, detail)
        case "planned" if outcome == "unknown":
            return _unknown(context, key, st)
        case _:
            return False


def _unknown(context: DecisionContext, key: str, st: StepState) -> bool:
    """Wait for look-ups. A person is asked if they find no outcome in time, or if no look-up exists."""
    operation = context.definition.operations[context.effects[st.effect or ""].operation]
    if st.until is None and operation.repeat != "blind":
        st.until = context.now + timedelta(seconds=operation.horizon) + abandon.LOOKUP_GRACE
    if st.until is not None and st.until > context.now:
        return False
    return _case(context, key, st, "unknown", st.detail)


def _next(u: UndoState, st: StepState) -> bool:
    st.phase = "done"
    u.position += 1
    return True


class _UndoCall(NamedTuple):
    """A call that takes an effect back."""

    operation: str
    input: Any
    dates: dict[str, date | None] | str
    """Or a text that names the closed period that blocks the posting."""
    digest: str


def _undo_call(context: DecisionContext, confirmed: ConfirmedEffect) -> _UndoCall | str | None:
    """Return the call that takes an effect back, chosen by present observations.

    None if the effect is irreversible. A text if the workflow has no undo for it: the reason.
    """
    path = confirmed.path.split("~")[0]
    steps = (step for block in context.blocks.values() for step in block.steps)
    step = next((step for step in steps if isinstance(step, Call) and step.path == path), None)
    if step is None:
        return f"The step {confirmed.path} is not in the workflow"
    call_input = context.state.inputs.get(confirmed.effect)
    result = context.state.results.get(confirmed.effect)
    scope = context.state.scopes.get(confirmed.effect, {})
    names = names_with(context.names(), {**scope, "input": call_input, "result": result})
    choice = next((c for c in step.undo if truth(c.when, names, context.lookup)), None)
    if choice is None and step.irreversible:
        return None
    if choice is None:
        return f"The workflow has no undo for {confirmed.operation} in its present state"
    value = _input(context, choice, names)
    rule = calls.posting_rule(step)
    if rule is None:
        today = dict.fromkeys(("document", "posting", "revenue"), context.today)
        return _UndoCall(choice.operation, value, {**today}, wire.digest([choice.operation, value]))
    dates = calls.dates_by_rule(context, rule, context.today, None)
    return _UndoCall(choice.operation, value, dates, wire.digest([choice.operation, value, dates]))


def _plan(context: DecisionContext, u: UndoState, confirmed: ConfirmedEffect, st: StepState) -> bool:
    key = f"undo:{confirmed.key}"
    way = _undo_call(context, confirmed)
    if way is None:
        return _next(u, st)
    if isinstance(way, str):
        return _case(context, key, st, "no_undo", way)
    refused = amount_signs.refused_sign(context.definition.operations[way.operation], way.input)
    if refused is not None:
        return _case(context, key, st, "invalid", refused)
    if isinstance(way.dates, str):
        return _case(context, key, st, ErrorClass.PERIOD_CLOSED, way.dates)
    effect = ids.effect_id(context.run.id, f"{confirmed.path}/undo", confirmed.item, st.gen)
    unrendered = context.live.unrendered.get(effect)
    if unrendered is not None:
        return _case(context, key, st, "invalid", unrendered.message)
    st.effect, st.phase, st.outcome, st.until = effect, "planned", "", None
    st.input = way.digest
    context.state.inputs[effect] = way.input
    context.planned.add(effect)
    context.commands.append(
        PlanEffect(
            effect=effect,
            path=f"{confirmed.path}/undo",
            item=confirmed.item,
            gen=st.gen,
            undoes=confirmed.effect,
            operation=way.operation,
            input=way.input,
            dates=way.dates,
            approvals=(),
        )
    )
    return False


def _input(context: DecisionContext, choice: UndoChoice, names: Mapping[str, Any]) -> Any:
    """Return the undo's input: as written, else the fields of its operation, from the call's result, then its input."""
    if not (isinstance(choice.input, Record) and not choice.input.fields):
        return fill(choice.input, names, context.lookup)
    fields: dict[str, Any] = {}
    for values in (names["input"], names["result"]):
        if isinstance(values, dict):
            fields.update(values)
    properties = context.definition.operations[choice.operation].input_schema.get("properties", {})
    assert isinstance(properties, dict)
    return {name: fields[name] for name in properties if name in fields}


def _retry_or_ask(context: DecisionContext, key: str, st: StepState, error_class: str) -> bool:
    if error_class in RETRIED_CLASSES:
        st.tries += 1
        policy = context.definition.failure.retry
        st.retry_at = context.next_try(policy, st, key)
        if st.retry_at is not None:
            st.phase = "backoff"
            return True
    return _case(context, key, st, error_class, st.detail)


def _case(context: DecisionContext, key: str, st: StepState, reason: str, message: str) -> bool:
    st.phase = "parked"
    effect = context.effects.get(st.effect or "")
    names = {"system": effect.system} if effect is not None else {}
    message = f"Undo of {key.removeprefix('undo:')}: {message}"
    step_cases.open_case(context, key, st, f"{UNDO_PREFIX}{reason}", message, names, effect=st.effect)
    return False


def _again(context: DecisionContext, confirmed: ConfirmedEffect, st: StepState) -> bool:
    """Retry the undo: the same bytes again, or the next generation if another undo is needed now."""
    effect = context.effects.get(st.effect or "")
    st.retry_at = st.until = None
    if effect is not None and effect.state in IN_FLIGHT:
        st.phase = "planned"
        return False
    if effect is not None and effect.state is EffectState.REFUSED:
        way = _undo_call(context, confirmed)
        if isinstance(way, _UndoCall) and way.digest == st.input:
            context.commands.append(SendAgain(effect.id))
            context.planned.add(effect.id)
            st.phase, st.outcome, st.retry_after = "planned", "", None
            return False
        abandon.drop(context, effect.id)
    st.gen += 1 if effect is not None else 0
    st.phase, st.outcome, st.effect = "new", "", None
    return True


def absorb_choice(context: DecisionContext, st: StepState, choice: Choice) -> str | None:
    """Apply a person's decision on an undo that is parked."""
    u = context.state.undo
    assert u is not None
    match choice:
        case Choice.RETRY:
            st.phase, st.retry_at, st.tries = "backoff", context.now, 0
        case Choice.CONTINUE:
            if st.effect is not None:
                abandon.drop(context, st.effect)
            context.commands.append(ReverseFoils(u.queue[u.position]))
            _next(u, st)
        case _:
            return f"{choice} is not possible here"
    return None
