"""Undo: taking back what was confirmed, last first, under the same rules as everything else.

It starts once nothing is sending or unknown. A refused undo is a Case: a person says whether to try again,
to accept it as done, or to close the Run as it is.
"""

from __future__ import annotations

from typing import Any

from counterfoil.core import ids
from counterfoil.core.case import Choice
from counterfoil.core.effect import IN_FLIGHT, EffectState
from counterfoil.core.errors import ErrorClass
from counterfoil.core.run import Direction, RunStatus
from counterfoil.expr import BudgetExceeded, EvaluationError
from counterfoil.model.definition import Call, Record, UndoChoice
from counterfoil.rules import calls, retry
from counterfoil.rules.commands import Drop, Plan, ReleaseGuards, ReverseFoils, Send
from counterfoil.rules.deciding import Deciding, Unusable
from counterfoil.rules.state import Confirmed, StepState, UndoState
from counterfoil.rules.templates import fill, truth

AGAIN = frozenset({ErrorClass.TRANSIENT, ErrorClass.THROTTLED, ErrorClass.CONFLICT})


def begin(d: Deciding, cause: str) -> bool:
    """Turn round: what is planned is dropped, what is under way is waited for."""
    if d.s.undo is not None:
        return True
    d.direction = Direction.UNDO
    d.s.undo = UndoState(queue=[], cause=cause, position=-1)
    d.s.frames = []
    d.s.items = {}
    for effect in list(d.planned):
        calls.drop(d, effect)
    for held in d.effects.values():
        if held.state is EffectState.PLANNED:
            d.commands.append(Drop(held.id))
    for st in d.s.steps.values():
        if st.phase != "done":
            st.phase = "done"
            st.until = st.retry_at = None
    return True


def advance(d: Deciding) -> bool:
    """One move of the way back. False: it must wait."""
    u = d.s.undo
    assert u is not None
    if u.position < 0:
        if any(e.state in IN_FLIGHT for e in d.effects.values()):
            return False
        u.queue = [c.effect for c in reversed(d.s.confirmed)]
        u.position = 0
    if u.position >= len(u.queue):
        if d.s.reserved:
            d.commands.append(ReleaseGuards(tuple(d.s.reserved)))
            d.s.reserved = []
        d.finish(RunStatus.UNDONE, "undone")
        return True
    confirmed = next(c for c in d.s.confirmed if c.effect == u.queue[u.position])
    key = f"undo:{confirmed.key}"
    st = d.s.steps.setdefault(key, StepState(entered=d.now))
    try:
        return _take_back(d, u, confirmed, key, st)
    except (EvaluationError, BudgetExceeded, Unusable) as error:
        return _case(d, key, st, "invalid", str(error))


def _take_back(d: Deciding, u: UndoState, confirmed: Confirmed, key: str, st: StepState) -> bool:
    outcome, _, detail = st.outcome.partition(":")
    match st.phase:
        case "new":
            return _plan(d, u, confirmed, key, st)
        case "backoff":
            if st.retry_at is not None and st.retry_at > d.now:
                return False
            return _again(d, st)
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
        case "planned" if outcome == "unknown" and _blind(d, st):
            return _case(d, key, st, "unknown", st.detail)
        case _:
            return False


def _blind(d: Deciding, st: StepState) -> bool:
    held = d.effects.get(st.effect or "")
    return held is not None and held.repeat == "blind"


def _next(u: UndoState, st: StepState) -> bool:
    st.phase = "done"
    u.position += 1
    return True


def _step(d: Deciding, confirmed: Confirmed) -> Call | None:
    path = confirmed.path.split("~")[0]
    for block in d.blocks.values():
        for step in block.steps:
            if isinstance(step, Call) and step.path == path:
                return step
    return None


def _plan(d: Deciding, u: UndoState, confirmed: Confirmed, key: str, st: StepState) -> bool:
    step = _step(d, confirmed)
    if step is None:
        return _case(d, key, st, "no_undo", f"{confirmed.path} is not in the workflow")
    given, result = d.s.inputs.get(confirmed.effect), d.s.results.get(confirmed.effect)
    names = {**d.names(), "input": given, "result": result}
    choice = next((c for c in step.undo if truth(c.when, names, d.lookup)), None)
    if choice is None:
        if step.irreversible:
            return _next(u, st)
        return _case(d, key, st, "no_undo", f"nothing takes back {confirmed.operation} as it stands now")
    value = _input(d, choice, names, given, result)
    effect = ids.effect_id(d.run.id, f"{confirmed.path}/undo", confirmed.item, st.gen)
    unrendered = d.live.unrendered.get(effect)
    if unrendered is not None:
        return _case(d, key, st, "invalid", unrendered.message)
    st.effect, st.phase, st.outcome = effect, "planned", ""
    d.s.inputs[effect] = value
    d.planned.add(effect)
    d.commands.append(
        Plan(
            effect=effect,
            path=f"{confirmed.path}/undo",
            item=confirmed.item,
            gen=st.gen,
            undoes=confirmed.effect,
            operation=choice.operation,
            input=value,
            dates={"document": d.today, "posting": d.today, "revenue": d.today},
            approvals=(),
        )
    )
    return False


def _input(d: Deciding, choice: UndoChoice, names: dict[str, Any], given: Any, result: Any) -> Any:
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


def _refused(d: Deciding, key: str, st: StepState, error_class: str) -> bool:
    if error_class in AGAIN:
        st.tries += 1
        policy = d.definition.failure.retry
        st.retry_at = retry.next_try(policy, st.tries, f"{d.run.id}/{key}", d.now, st.retry_after)
        if st.retry_at is not None:
            st.phase = "backoff"
            return True
    return _case(d, key, st, error_class, st.detail)


def _case(d: Deciding, key: str, st: StepState, reason: str, message: str) -> bool:
    st.phase = "parked"
    choices = (Choice.RETRY, Choice.CONTINUE, Choice.CLOSE)
    d.open_case(
        key,
        st,
        f"undo_{reason}",
        f"taking back {key.removeprefix('undo:')}: {message}",
        choices,
        "Take it back by hand in the other system, then continue; or correct the cause and retry",
        effect=st.effect,
    )
    return False


def _again(d: Deciding, st: StepState) -> bool:
    held = d.effects.get(st.effect or "")
    st.retry_at = None
    if held is not None and held.state is EffectState.REFUSED:
        d.commands.append(Send(held.id))
        d.planned.add(held.id)
        st.phase, st.outcome = "planned", ""
        return False
    st.gen += 1 if held is not None else 0
    st.phase, st.outcome = "new", ""
    return True


def absorb_case(d: Deciding, case: str, choice: Choice) -> str | None:
    u = d.s.undo
    assert u is not None
    st = next((s for s in d.s.steps.values() if s.case == case), None)
    if st is None or st.phase != "parked":
        return "no step waits for it"
    st.case = None
    match choice:
        case Choice.RETRY:
            st.phase, st.retry_at, st.tries = "backoff", d.now, 0
        case Choice.CONTINUE:
            _next(u, st)
        case Choice.CLOSE:
            if any(e.state in IN_FLIGHT for e in d.effects.values()):
                st.case = case
                return "a call is still in flight"
            d.finish(RunStatus.CLOSED, "closed")
        case _:
            return f"{choice} decides nothing here"
    return None
