"""The beginning of a Run: its start date and serial keys; and the reads of facts that another system must answer.

A fact is read when a formula uses it first, in `context`. It is read again when the Run goes back to its start or a person
retries it. Until the first call is confirmed, facts with `recheck` are read again before each call.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

from counterfoil.core import ids
from counterfoil.core.case_choices import FACT_CHOICES
from counterfoil.core.run import RunStatus
from counterfoil.model.definition import Fact
from counterfoil.rules.templates import FAULTS, UnusableValue, fill
from counterfoil.rules.workflow import step_cases
from counterfoil.rules.workflow.commands import PlanEffect
from counterfoil.rules.workflow.context import DecisionContext, NameFault
from counterfoil.rules.workflow.state import RunState, StepState

PLACE = "facts"
"""State key of the Case about facts that cannot be read."""


def ready(context: DecisionContext) -> bool:
    """Prepare the next step: forget what must be read again, and begin the Run. False: it must wait, or has ended."""
    st = context.state.steps.setdefault(PLACE, StepState(entered=context.now))
    if st.phase == "parked":
        return False
    if context.state.refresh:
        context.forget(only_recheck=context.state.refresh == "recheck")
        context.state.refresh = ""
    try:
        if not context.state.started and not _due(context):
            return False
        if not context.state.started:
            context.state.serials = _serials(context)
    except FAULTS as error:
        return _park(context, st, error)
    if not context.state.started:
        context.state.started = True
        context.push("", "main", "")
    st.phase = "new"
    return True


def _park(context: DecisionContext, st: StepState, error: Exception) -> bool:
    st.phase = "parked"
    message = f"The facts of the Run cannot be read: {error}"
    step_cases.open_case(context, PLACE, st, "invalid", message, {}, FACT_CHOICES)
    return False


def takes_back_beginning(context: DecisionContext) -> bool:
    """Return True if the Run cannot evaluate its first step yet: it has not begun, so a newer start replaces its event."""
    state = context.state
    if (
        len(state.frames) != 1
        or state.frames[0].index
        or state.round
        or context.run.state != context.business
    ):
        return False
    step = context.step_at(state.frames[0])
    st = state.steps.get(context.key(step)) if step is not None else None
    if step is None or st is None or st.phase != "new" or st.effect or st.asked or st.reactions or st.tries:
        return False
    del state.steps[context.key(step)]
    state.started, state.frames = False, []
    return True


def read_now(context: DecisionContext, fact: Fact) -> bool:
    """Read the fact that a formula needs from its system. False: the Run must wait for the answer."""
    takes_back_beginning(context)
    _read_from_system(context, fact)
    return False


def without_facts(context: DecisionContext, error: Exception) -> bool:
    """Open the Case of a Run whose first step reads a fact or let that has no value. False if the Run has begun.

    A `read` takes the beginning back before its input is computed, so the input may lack a value too.
    """
    no_value = isinstance(error.__cause__, NameFault)
    if context.state.started and not (no_value and takes_back_beginning(context)):
        return False
    _park(context, context.state.steps[PLACE], error)
    return True


def refresh_all(context: DecisionContext) -> None:
    """Read all facts again before the next step, including those that come from other systems."""
    context.state.refresh = "all"
    context.state.reads += 1


def _due(context: DecisionContext) -> bool:
    """Return True once the start date of the Run has come.

    A Run whose object has another key or generation by then, or whose `when` is false, is superseded. Not before: until then
    the object may change back.
    """
    start = context.definition.start
    if start.due_object is None:
        return True
    head = context.lookup("head", (start.due_object, context.state.names.get("object_key", context.run.bkey)))
    if head is not None:
        context.state.names["object"] = head
    if head is None or not _is_of_its_object(context):
        if context.state.starts_at is None or context.state.starts_at <= context.now:
            context.finish(RunStatus.DONE, "superseded")
        return False
    context.state.starts_at = moment(context.value(start.due_at))
    return context.state.starts_at <= context.now


def _is_of_its_object(context: DecisionContext) -> bool:
    """Report whether the object, as it is now, still starts this Run."""
    start, run = context.definition.start, context.run
    if str(context.value(start.key)) != run.bkey:
        return False
    if start.generation is not None and context.value(start.generation) != run.generation:
        return False
    is_successor = start.generation_where is not None and run.generation > 0
    return is_successor or start.when is None or context.value(start.when) is True


def _serials(context: DecisionContext) -> list[str]:
    """Return the serial keys. A formula whose value is a list gives several."""
    keys: set[str] = set()
    for expression in context.definition.serial:
        value = context.value(expression)
        keys |= {str(v) for v in value} if isinstance(value, list) else {context.key_of(expression)}
    return sorted(keys)


def moment(value: Any) -> datetime:
    """Return a timestamp as it is, and a date as its first instant in UTC. Raises UnusableValue for other values."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time(), tzinfo=UTC)
    raise UnusableValue(f"{value!r} is not a date or timestamp")


# ------------------------------------------------------------------ facts of other systems


def _read_from_system(context: DecisionContext, fact: Fact) -> None:
    key = context.place_of(fact)
    st = context.state.steps.setdefault(key, StepState(entered=context.now))
    outcome, _, detail = st.outcome.partition(":")
    if st.phase == "planned" and outcome in ("refused", "absent"):
        _retry_read(context, fact, key, st, detail or outcome)
    is_due = st.retry_at is not None and st.retry_at <= context.now
    # A read that was given up, by `again` or undo, is made again.
    if st.phase in ("new", "done") or (st.phase == "backoff" and is_due):
        st.gen += 1 if st.effect is not None else 0
        _ask(context, fact, key, st)


def answer_read(state: RunState, effect: str, result: Any) -> None:
    """Bind the answer to a planned read of a fact, for a decision that is not committed."""
    (st,) = [st for st in state.steps.values() if st.effect == effect]
    st.outcome, state.results[effect] = "confirmed", result


def _retry_read(context: DecisionContext, fact: Fact, key: str, st: StepState, why: str) -> None:
    """Retry a failed read within the retry budget; then open a Case."""
    st.tries += 1
    policy = context.definition.failure.retry
    st.retry_at = context.next_try(policy, st, key)
    st.phase = "backoff" if st.retry_at is not None else "parked"
    if st.phase == "parked":
        message = f"{fact.target}: {why}" + (f": {st.detail}" if st.detail else "")
        step_cases.open_case(context, key, st, why, message, {"operation": fact.target}, FACT_CHOICES)


def _ask(context: DecisionContext, fact: Fact, key: str, st: StepState) -> None:
    value = fill(fact.input, context.names(), context.lookup) if fact.input is not None else {}
    effect = ids.effect_id(context.run.id, key, "", st.gen)
    unrendered = context.live.unrendered.get(effect)
    if unrendered is not None:
        raise UnusableValue(f"{fact.target}: {unrendered.message}")
    st.effect, st.phase, st.outcome = effect, "planned", ""
    context.planned.add(effect)
    context.commands.append(
        PlanEffect(
            effect=effect,
            path=key,
            item="",
            gen=st.gen,
            undoes=None,
            operation=fact.target,
            input=value,
            dates={},
            approvals=(),
        )
    )
