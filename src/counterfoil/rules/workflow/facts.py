"""What a Run reads before it goes: is it still due, its facts and lets, its serial keys.

Facts are read when the Run begins, again before each effect until the first is confirmed (those with
`recheck`), and anew when it goes back to its start or a person lets it try again.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

from counterfoil.core import ids
from counterfoil.core.case_reasons import FACT_CHOICES
from counterfoil.core.money import Money, MoneyError
from counterfoil.core.run import RunStatus
from counterfoil.model.definition import Fact
from counterfoil.rules import approval as matrix
from counterfoil.rules.templates import fill
from counterfoil.rules.workflow import retry
from counterfoil.rules.workflow.commands import PlanEffect
from counterfoil.rules.workflow.context import FAULTS, DecisionContext, UnusableValue
from counterfoil.rules.workflow.state import StepState

PLACE = "facts"
"""Where the Case stands when the facts cannot be read."""


def ready(d: DecisionContext) -> bool:
    """Read what is to be read before the next step. False: the Run must wait for it, or has ended."""
    st = d.s.steps.setdefault(PLACE, StepState(entered=d.now))
    if st.phase == "parked":
        return False
    try:
        if not d.s.started and not _due(d):
            return False
        if not read(d, only_recheck=d.s.refresh == "recheck"):
            return False
        if not d.s.started:
            d.s.serials = _serials(d)
    except FAULTS as error:
        st.phase = "parked"
        d.open_case(
            PLACE,
            st,
            "invalid",
            f"the facts cannot be read: {error}",
            {},
            FACT_CHOICES,
        )
        return False
    if not d.s.started:
        d.s.started = True
        d.push("", "main", "")
    d.s.refresh = ""
    st.phase = "new"
    return True


def anew(d: DecisionContext) -> None:
    """All facts are read before the next step, those that a system must be asked for included."""
    d.s.refresh = "all"
    d.s.reads += 1


def _due(d: DecisionContext) -> bool:
    """Has the date come that begins the Run? One whose object speaks of another key now is superseded when
    its own date comes: until then the date may move back."""
    start = d.definition.start
    if start.due_object is None:
        return True
    head = d.lookup("head", (start.due_object, d.s.names.get("object_key", d.run.bkey)))
    if head is not None:
        d.s.names["object"] = head
    if head is None or str(d.value(start.key)) != d.run.bkey:
        if d.s.starts_at is None or d.s.starts_at <= d.now:
            d.finish(RunStatus.DONE, "superseded")
        return False
    d.s.starts_at = moment(d.value(start.due_at))
    return d.s.starts_at <= d.now


def _serials(d: DecisionContext) -> list[str]:
    """The serial keys; a formula that gives a list gives several."""
    found: set[str] = set()
    for expression in d.definition.serial:
        value = d.value(expression)
        found |= {str(v) for v in value} if isinstance(value, list) else {d.key_of(expression)}
    return sorted(found)


def moment(value: Any) -> datetime:
    """A timestamp as it is; a date as its first instant in UTC. Raises Unusable for anything else."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time(), tzinfo=UTC)
    raise UnusableValue(f"{value!r} is not a moment")


# ------------------------------------------------------------------ facts and lets


def read(d: DecisionContext, only_recheck: bool) -> bool:
    """Bind facts, then lets. With `only_recheck`, those that are read again before each effect. False while
    a fact that only a system can tell is being asked for."""
    for fact in d.definition.facts:
        if only_recheck and (not fact.recheck or fact.source == "read"):
            continue
        if fact.source == "read":
            if not _asked(d, fact):
                return False
            d.s.names[fact.name] = d.s.results.get(d.s.steps[_place(d, fact)].effect or "")
            continue
        d.s.names[fact.name] = _held(d, fact)
    for name, expression in d.definition.let:
        d.s.names[name] = d.value(expression)
    return True


def _held(d: DecisionContext, fact: Fact) -> Any:
    if fact.source == "limit":
        policy = d.definition.limits[fact.target]
        used = int(d.lookup("guard", (policy.name, matrix.guard_key(policy, d.names(), d.today, d.lookup))))
        try:
            return Money(used, policy.currency)
        except MoneyError as error:
            raise UnusableValue(f"{fact.name}: {error}") from None
    key = str(d.value(fact.of)) if fact.of is not None else d.run.bkey
    value = d.lookup("xref" if fact.source == "xref" else "head", (fact.target, key))
    if value is None and fact.source != "period":
        raise UnusableValue(f"no {fact.target} {key} is known")
    return value


def _place(d: DecisionContext, fact: Fact) -> str:
    return f"fact:{fact.name}" + (f"~{d.s.reads}" if d.s.reads else "")


def _asked(d: DecisionContext, fact: Fact) -> bool:
    """Ask for a fact that only a system can tell. True once its answer is there."""
    key = _place(d, fact)
    st = d.s.steps.setdefault(key, StepState(entered=d.now))
    outcome, _, detail = st.outcome.partition(":")
    if outcome == "confirmed":
        st.phase = "done"
        return True
    if st.phase == "planned" and outcome in ("refused", "absent"):
        _failed(d, fact, key, st, detail or outcome)
    if st.phase == "new" or (st.phase == "backoff" and st.retry_at is not None and st.retry_at <= d.now):
        st.gen += 1 if st.effect is not None else 0
        _ask(d, fact, key, st)
    return False


def _failed(d: DecisionContext, fact: Fact, key: str, st: StepState, why: str) -> None:
    """A read may be repeated at will: it is tried again within the budget, then a person is asked."""
    st.tries += 1
    policy = d.definition.failure.retry
    st.retry_at = retry.next_try(policy, st.tries, f"{d.run.id}/{key}", d.now, st.retry_after)
    st.phase = "backoff" if st.retry_at is not None else "parked"
    if st.phase == "parked":
        message = f"{fact.target}: {why}" + (f": {st.detail}" if st.detail else "")
        d.open_case(key, st, why, message, {"operation": fact.target}, FACT_CHOICES)


def _ask(d: DecisionContext, fact: Fact, key: str, st: StepState) -> None:
    value = fill(fact.input, d.names(), d.lookup) if fact.input is not None else {}
    effect = ids.effect_id(d.run.id, key, "", st.gen)
    unrendered = d.live.unrendered.get(effect)
    if unrendered is not None:
        raise UnusableValue(f"{fact.target}: {unrendered.message}")
    st.effect, st.phase, st.outcome = effect, "planned", ""
    d.planned.add(effect)
    d.commands.append(
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
