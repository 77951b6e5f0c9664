"""Undo: taking back what was confirmed, last first, under the same rules as everything else.

It starts once nothing is sending or unknown. A refused undo is a Case: a person says whether to try again,
to accept it as done, or to close the Run as it is.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from counterfoil.core import ids
from counterfoil.core.case import Choice
from counterfoil.core.case_reasons import UNDO_PREFIX
from counterfoil.core.effect import IN_FLIGHT, EffectState
from counterfoil.core.errors import ErrorClass
from counterfoil.core.run import Direction, RunStatus
from counterfoil.model.definition import Call, Record, UndoChoice
from counterfoil.rules.templates import fill, truth
from counterfoil.rules.workflow import cancel, guards, retry
from counterfoil.rules.workflow.commands import PlanEffect, ReverseFoils, SendAgain
from counterfoil.rules.workflow.context import FAULTS, DecisionContext, digest
from counterfoil.rules.workflow.state import ConfirmedEffect, StepState, UndoState

AGAIN = frozenset({ErrorClass.TRANSIENT, ErrorClass.THROTTLED, ErrorClass.CONFLICT})


def begin(d: DecisionContext, cause: str) -> bool:
    """Turn round: what is planned is dropped, what is under way is waited for."""
    if d.s.undo is not None:
        return True
    cancel.abandon(d)
    cancel.close_open_approvals(d)
    d.direction = Direction.UNDO
    d.s.undo = UndoState(queue=[], cause=cause, position=-1)
    d.s.frames = []
    d.s.back = d.s.refresh = ""
    return True


def advance(d: DecisionContext) -> bool:
    """One move of the way back. False: it must wait."""
    u = d.s.undo
    assert u is not None
    if u.position < 0 or u.position >= len(u.queue):
        if d.under_way():
            cancel.ask_what_happened(d)
            return False
        u.position = max(u.position, 0)
        left = [c.effect for c in reversed(d.s.confirmed) if c.effect not in u.queue]
        u.queue += left
        if not left:
            guards.give_back(d, list(d.s.reserved))
            d.finish(RunStatus.UNDONE, "undone")
        return True
    confirmed = next(c for c in d.s.confirmed if c.effect == u.queue[u.position])
    key = f"undo:{confirmed.key}"
    st = d.s.steps.setdefault(key, StepState(entered=d.now))
    try:
        return _take_back(d, u, confirmed, key, st)
    except FAULTS as error:
        return _case(d, key, st, "invalid", str(error))


def _take_back(d: DecisionContext, u: UndoState, confirmed: ConfirmedEffect, key: str, st: StepState) -> bool:
    outcome, _, detail = st.outcome.partition(":")
    match st.phase:
        case "new":
            return _plan(d, u, confirmed, key, st)
        case "backoff":
            if st.retry_at is not None and st.retry_at > d.now:
                return False
            return _again(d, confirmed, key, st)
        case "planned" if outcome == "confirmed":
            d.commands.append(ReverseFoils(confirmed.effect))
            return _next(u, st)
        case "planned" if outcome == "absent":
            st.gen += 1
            st.phase, st.outcome = "new", ""
            return True
        case "planned" if outcome == "refused":
            if detail == ErrorClass.ALREADY_DONE:
                d.commands.append(ReverseFoils(confirmed.effect))
                return _next(u, st)
            return _refused(d, key, st, detail)
        case "planned" if outcome == "unknown":
            return _unknown(d, key, st)
        case _:
            return False


def _unknown(d: DecisionContext, key: str, st: StepState) -> bool:
    """Look-ups are under way; a person is asked when they cannot tell, or when none exists."""
    operation = d.definition.operations[d.effects[st.effect or ""].operation]
    if st.until is None and operation.repeat != "blind":
        st.until = d.now + timedelta(seconds=operation.horizon) + cancel.LOOKUP_GRACE
    if st.until is not None and st.until > d.now:
        return False
    return _case(d, key, st, "unknown", st.detail)


def _next(u: UndoState, st: StepState) -> bool:
    st.phase = "done"
    u.position += 1
    return True


def _step(d: DecisionContext, confirmed: ConfirmedEffect) -> Call | None:
    path = confirmed.path.split("~")[0]
    for block in d.blocks.values():
        for step in block.steps:
            if isinstance(step, Call) and step.path == path:
                return step
    return None


def _way_back(d: DecisionContext, confirmed: ConfirmedEffect) -> tuple[str, Any] | str | None:
    """The operation that takes an effect back and its input, chosen by what is observed now. None: it is
    irreversible. A text: why there is none."""
    step = _step(d, confirmed)
    if step is None:
        return f"{confirmed.path} is not in the workflow"
    given, result = d.s.inputs.get(confirmed.effect), d.s.results.get(confirmed.effect)
    scope = d.s.scopes.get(confirmed.effect, {})
    names = {**d.names(), **scope, "input": given, "result": result}
    choice = next((c for c in step.undo if truth(c.when, names, d.lookup)), None)
    if choice is not None:
        return choice.operation, _input(d, choice, names, given, result)
    if step.irreversible:
        return None
    return f"nothing takes back {confirmed.operation} as it stands now"


def _plan(d: DecisionContext, u: UndoState, confirmed: ConfirmedEffect, key: str, st: StepState) -> bool:
    way = _way_back(d, confirmed)
    if way is None:
        return _next(u, st)
    if isinstance(way, str):
        return _case(d, key, st, "no_undo", way)
    operation, value = way
    effect = ids.effect_id(d.run.id, f"{confirmed.path}/undo", confirmed.item, st.gen)
    unrendered = d.live.unrendered.get(effect)
    if unrendered is not None:
        return _case(d, key, st, "invalid", unrendered.message)
    st.effect, st.phase, st.outcome, st.until = effect, "planned", "", None
    st.input = digest([operation, value])
    d.s.inputs[effect] = value
    d.planned.add(effect)
    d.commands.append(
        PlanEffect(
            effect=effect,
            path=f"{confirmed.path}/undo",
            item=confirmed.item,
            gen=st.gen,
            undoes=confirmed.effect,
            operation=operation,
            input=value,
            dates={"document": d.today, "posting": d.today, "revenue": d.today},
            approvals=(),
        )
    )
    return False


def _input(d: DecisionContext, choice: UndoChoice, names: dict[str, Any], given: Any, result: Any) -> Any:
    """The undo's input: as written, or else the fields that its operation takes, from result, then input."""
    if not (isinstance(choice.input, Record) and not choice.input.fields):
        return fill(choice.input, names, d.lookup)
    known: dict[str, Any] = {}
    for values in (given, result):
        if isinstance(values, dict):
            known.update(values)
    wanted = d.definition.operations[choice.operation].input_schema.get("properties", {})
    assert isinstance(wanted, dict)
    return {name: known[name] for name in wanted if name in known}


def _refused(d: DecisionContext, key: str, st: StepState, error_class: str) -> bool:
    if error_class in AGAIN:
        st.tries += 1
        policy = d.definition.failure.retry
        st.retry_at = retry.next_try(policy, st.tries, f"{d.run.id}/{key}", d.now, st.retry_after)
        if st.retry_at is not None:
            st.phase = "backoff"
            return True
    return _case(d, key, st, error_class, st.detail)


def _case(d: DecisionContext, key: str, st: StepState, reason: str, message: str) -> bool:
    st.phase = "parked"
    held = d.effects.get(st.effect or "")
    d.open_case(
        key,
        st,
        f"{UNDO_PREFIX}{reason}",
        f"taking back {key.removeprefix('undo:')}: {message}",
        {"system": held.system} if held is not None else {},
        effect=st.effect,
    )
    return False


def _again(d: DecisionContext, confirmed: ConfirmedEffect, key: str, st: StepState) -> bool:
    """The same bytes again, or, when what is observed asks for another way back, the next generation."""
    held = d.effects.get(st.effect or "")
    st.retry_at = st.until = None
    if held is not None and held.state in IN_FLIGHT:
        st.phase = "planned"
        return False
    if held is not None and held.state is EffectState.REFUSED:
        way = _way_back(d, confirmed)
        if way is not None and not isinstance(way, str) and digest(list(way)) == st.input:
            d.commands.append(SendAgain(held.id))
            d.planned.add(held.id)
            st.phase, st.outcome, st.retry_after = "planned", "", None
            return False
        cancel.drop(d, held.id)
    st.gen += 1 if held is not None else 0
    st.phase, st.outcome, st.effect = "new", "", None
    return True


def absorb_choice(d: DecisionContext, st: StepState, choice: Choice) -> str | None:
    """A person decided on a way back that is parked."""
    u = d.s.undo
    assert u is not None
    match choice:
        case Choice.RETRY:
            st.phase, st.retry_at, st.tries = "backoff", d.now, 0
        case Choice.CONTINUE:
            if st.effect is not None:
                cancel.drop(d, st.effect)
            d.commands.append(ReverseFoils(u.queue[u.position]))
            _next(u, st)
        case _:
            return f"{choice} decides nothing here"
    return None
