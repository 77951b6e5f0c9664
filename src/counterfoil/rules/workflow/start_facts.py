"""Facts, lets and serial keys: values that a Run reads before its first step, and its start date.

Facts are read when the Run begins, and again when it goes back to its start or a person retries it. Until the first
call is confirmed, facts with `recheck` are read again before each call.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

from counterfoil.core import ids
from counterfoil.core.case_reasons import FACT_CHOICES
from counterfoil.core.money import Money, MoneyError
from counterfoil.core.run import RunStatus
from counterfoil.model.definition import Fact
from counterfoil.rules import approval_matrix as matrix
from counterfoil.rules.templates import FAULTS, UnusableValue, fill
from counterfoil.rules.workflow.commands import PlanEffect
from counterfoil.rules.workflow.context import DecisionContext
from counterfoil.rules.workflow.state import StepState

PLACE = "facts"
"""State key of the Case about facts that cannot be read."""


def ready(context: DecisionContext) -> bool:
    """Read what the next step needs. False: the Run must wait for it, or has ended."""
    st = context.state.steps.setdefault(PLACE, StepState(entered=context.now))
    if st.phase == "parked":
        return False
    try:
        if not context.state.started and not _due(context):
            return False
        if not read(context, only_recheck=context.state.refresh == "recheck"):
            return False
        if not context.state.started:
            context.state.serials = _serials(context)
    except FAULTS as error:
        st.phase = "parked"
        message = f"The facts of the Run cannot be read: {error}"
        context.open_case(PLACE, st, "invalid", message, {}, FACT_CHOICES)
        return False
    if not context.state.started:
        context.state.started = True
        context.push("", "main", "")
    context.state.refresh = ""
    st.phase = "new"
    return True


def refresh_all(context: DecisionContext) -> None:
    """Read all facts again before the next step, including those that come from other systems."""
    context.state.refresh = "all"
    context.state.reads += 1


def _due(context: DecisionContext) -> bool:
    """Return True once the start date of the Run has come.

    A Run whose object has another key by then is superseded. Not before: until then the key may change back.
    """
    start = context.definition.start
    if start.due_object is None:
        return True
    head = context.lookup("head", (start.due_object, context.state.names.get("object_key", context.run.bkey)))
    if head is not None:
        context.state.names["object"] = head
    if head is None or str(context.value(start.key)) != context.run.bkey:
        if context.state.starts_at is None or context.state.starts_at <= context.now:
            context.finish(RunStatus.DONE, "superseded")
        return False
    context.state.starts_at = moment(context.value(start.due_at))
    return context.state.starts_at <= context.now


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


# ------------------------------------------------------------------ facts and lets


def read(context: DecisionContext, only_recheck: bool) -> bool:
    """Bind facts, then lets. False while another system is being read.

    With `only_recheck`, only facts with `recheck` that come from the store are bound again, and all lets.
    """
    for fact in context.definition.facts:
        if only_recheck and (not fact.recheck or fact.source == "read"):
            continue
        if fact.source == "read":
            if not _read_from_system(context, fact):
                return False
            effect = context.state.steps[_place(context, fact)].effect
            context.state.names[fact.name] = context.state.results.get(effect or "")
            continue
        context.state.names[fact.name] = _read_from_store(context, fact)
    for name, expression in context.definition.let:
        context.state.names[name] = context.value(expression)
    return True


def _read_from_store(context: DecisionContext, fact: Fact) -> Any:
    if fact.source == "limit":
        policy = context.definition.limits[fact.target]
        row = matrix.guard_key(policy, context.names(), context.today, context.lookup)
        used = int(context.lookup("guard", (policy.name, row)))
        try:
            return Money(used, policy.currency)
        except MoneyError as error:
            raise UnusableValue(f"{fact.name}: {error}") from None
    key = str(context.value(fact.of)) if fact.of is not None else context.run.bkey
    value = context.lookup("xref" if fact.source == "xref" else "head", (fact.target, key))
    if value is None and fact.source != "period":
        raise UnusableValue(f"No {fact.target} {key} is on record")
    return value


def _place(context: DecisionContext, fact: Fact) -> str:
    return f"fact:{fact.name}" + (f"~{context.state.reads}" if context.state.reads else "")


def _read_from_system(context: DecisionContext, fact: Fact) -> bool:
    """Read a fact from its system. True once the answer has arrived."""
    key = _place(context, fact)
    st = context.state.steps.setdefault(key, StepState(entered=context.now))
    outcome, _, detail = st.outcome.partition(":")
    if outcome == "confirmed":
        st.phase = "done"
        return True
    if st.phase == "planned" and outcome in ("refused", "absent"):
        _retry_read(context, fact, key, st, detail or outcome)
    is_due = st.retry_at is not None and st.retry_at <= context.now
    if st.phase == "new" or (st.phase == "backoff" and is_due):
        st.gen += 1 if st.effect is not None else 0
        _ask(context, fact, key, st)
    return False


def _retry_read(context: DecisionContext, fact: Fact, key: str, st: StepState, why: str) -> None:
    """Retry a failed read within the retry budget; then open a Case."""
    st.tries += 1
    policy = context.definition.failure.retry
    st.retry_at = context.next_try(policy, st, key)
    st.phase = "backoff" if st.retry_at is not None else "parked"
    if st.phase == "parked":
        message = f"{fact.target}: {why}" + (f": {st.detail}" if st.detail else "")
        context.open_case(key, st, why, message, {"operation": fact.target}, FACT_CHOICES)


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
