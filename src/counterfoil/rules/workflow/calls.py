"""Calls: planning an outward call, and what its outcomes lead to.

A call is sent again under the same key only with the same bytes; with a changed request, or once a look-up
proved that nothing happened, it goes out as the next generation.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

from counterfoil.core import ids
from counterfoil.core.approval import ApprovalState
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.link import link_topic
from counterfoil.core.money import Money
from counterfoil.model.definition import Approve, Call, FoilDefinition, Literal, Template
from counterfoil.rules.posting import posting_date
from counterfoil.rules.templates import fill, truth
from counterfoil.rules.templates import key as key_of
from counterfoil.rules.versions import CastFailed, cast
from counterfoil.rules.workflow import cancel, facts, steps
from counterfoil.rules.workflow.commands import (
    PlanEffect,
    SendAgain,
    StartSync,
    Stimulus,
    WriteFoil,
)
from counterfoil.rules.workflow.context import DecisionContext, UnusableValue, digest
from counterfoil.rules.workflow.state import ConfirmedEffect, StepState
from counterfoil.rules.workflow.step_result import DONE, MOVED, WAITING, StepOutcome, StepResult

_OF_PERIOD = frozenset({"start", "end", "state"})
RULES = frozenset({"reject", "first_open", "current", "hold_for_reopen", "accrue_and_true_up"})


def call(d: DecisionContext, step: Call, st: StepState) -> StepResult:
    """Plan the call, or go on from its outcome."""
    if st.phase == "unlinked":
        if st.until is not None and st.until <= d.now:
            return StepOutcome("not_found", f"no link arrived: {st.topic}")
        return WAITING
    if st.phase == "new":
        return _plan(d, step, st)
    return _outcome(d, step, st)


# ------------------------------------------------------------------ planning


def _plan(d: DecisionContext, step: Call, st: StepState) -> StepResult:
    if not d.s.confirmed and not d.rechecked:
        d.rechecked = True
        facts.read(d, only_recheck=True)
    resting = cancel.in_force(d)
    fallen = steps.fallen_of(d, resting)
    if fallen is not None:
        return _stale(d, step, st, *fallen)
    found = dates(d, step)
    if isinstance(found, str):
        return StepOutcome("period_closed", found)
    value = fill(step.input, d.names(), d.lookup)
    mark = digest({"input": value, "dates": found})
    done = _done_before(d, step, mark)
    if done is not None:
        st.effect = done.effect
        return _bind(d, step, st)
    effect = ids.effect_id(d.run.id, d.effect_path(step), d.item(), st.gen)
    unrendered = d.live.unrendered.get(effect)
    if unrendered is not None and unrendered.unresolved:
        return _unlinked(d, st, unrendered.object, unrendered.canonical, unrendered.system)
    if unrendered is not None:
        return StepOutcome("invalid", unrendered.message)
    st.effect, st.input, st.phase, st.outcome, st.detail = effect, mark, "planned", "", ""
    st.until = None
    d.s.inputs[effect] = value
    if d.s.items:
        d.s.scopes[effect] = dict(d.s.items)
    d.planned.add(effect)
    d.commands.append(
        PlanEffect(
            effect=effect,
            path=d.effect_path(step),
            item=d.item(),
            gen=st.gen,
            undoes=None,
            operation=step.operation,
            input=value,
            dates=found,
            approvals=steps.granted(resting),
        )
    )
    _foils(d, step, effect, value)
    return WAITING


def dates(d: DecisionContext, step: Call) -> dict[str, date | None] | str:
    """document, posting, revenue; or the name of the closed period that keeps the posting back."""
    document = _date(d, step.document)
    revenue = _date(d, step.revenue)
    if step.posting is None:
        return {"document": document, "posting": document, "revenue": revenue or document}
    rule = step.posting.value if isinstance(step.posting, Literal) else None
    if not isinstance(rule, str):
        return {"document": document, "posting": _date(d, step.posting), "revenue": revenue or document}
    policy = d.definition.postings.get(rule)
    heads = d.lookup("periods", (policy.periods if policy is not None else "period",))
    periods = [p if "name" in p else {"name": p["id"], **p} for p in heads if p.keys() >= _OF_PERIOD]
    found = posting_date(policy.rule if policy is not None else rule, document or d.today, d.today, periods)
    if found.date is None:
        return f"period {found.closed} is closed"
    if policy is not None and policy.document == "posting" and document is not None:
        document = max(document, found.date)
    return {"document": document, "posting": found.date, "revenue": revenue or document}


def _date(d: DecisionContext, template: Template | None) -> date | None:
    value = fill(template, d.names(), d.lookup) if template is not None else None
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise UnusableValue(f"{value!r} is not a date") from None
    if value is None or isinstance(value, date):
        return value
    raise UnusableValue(f"{value!r} is not a date")


def _done_before(d: DecisionContext, step: Call, mark: str) -> ConfirmedEffect | None:
    """The same call of an earlier round, confirmed with the same input: it is that effect."""
    return next(
        (
            c
            for c in d.s.confirmed
            if c.path.split("~")[0] == step.path and c.item == d.item() and c.digest == mark
        ),
        None,
    )


def _foils(d: DecisionContext, step: Call, effect: str, value: Any) -> None:
    for foil, given in _owed(d, step, value):
        names = {**d.names(), "input": given}
        if not truth(foil.when, names, d.lookup):
            continue
        key = key_of(foil.key, names, d.lookup)
        legs = {leg: e(names, d.lookup) for leg, e in foil.legs.items()}
        if not all(isinstance(m, Money) for m in legs.values()):
            raise UnusableValue(f"a leg of {foil.name} is not money")
        d.commands.append(
            WriteFoil(
                foil=ids.derive("foil", foil.name, key, effect),
                rule=foil.name,
                key=key,
                object=foil.object,
                left=foil.left,
                right=foil.right,
                legs=legs,
                due=d.now + timedelta(seconds=foil.due),
                tolerance=foil.tolerance,
                exact=foil.exact,
                effect=effect,
                owner=foil.owners[0] if foil.owners else "",
            )
        )


def _owed(d: DecisionContext, step: Call, value: Any) -> Iterator[tuple[FoilDefinition, Any]]:
    """The rules by which a call writes foils, each with the input in the version that it reads: those of another
    version only where none of the call's own lies between the same two systems."""
    own = [foil for foil in d.definition.foils if foil.operation == step.operation]
    yield from ((foil, value) for foil in own)
    owed = {(foil.object, foil.left, foil.right) for foil in own}
    for foil in d.definition.foils:
        path = d.definition.casts.get((step.operation, foil.operation or ""))
        if path is not None and foil not in own and (foil.object, foil.left, foil.right) not in owed:
            try:
                yield foil, cast(path, value)
            except CastFailed as error:
                raise UnusableValue(str(error)) from error


def _unlinked(d: DecisionContext, st: StepState, object_: str, canonical: str, system: str) -> StepResult:
    """A Link is missing: its sync Run is started, and the call waits for the Link."""
    st.phase, st.topic = "unlinked", link_topic(object_, canonical, system)
    st.until = st.until or d.now + timedelta(seconds=d.definition.failure.queue.until)
    d.commands.append(StartSync(object_, canonical))
    return WAITING


def absorb_link(d: DecisionContext, ref: str) -> str | None:
    waiting = [st for st in d.s.steps.values() if st.phase == "unlinked" and ref.startswith(f"{st.topic}:")]
    for st in waiting:
        st.phase = "new"
    return None if waiting else "no call waits for this link"


def _stale(d: DecisionContext, step: Call, st: StepState, asked: Approve, asked_st: StepState) -> StepResult:
    """What was approved is not what would be sent, or not approved any more: the approval falls, and its
    reaction holds. A person who lets the call be tried again lets it be approved again."""
    cancel.close_approval(d, asked_st, ApprovalState.STALE)
    st.back = asked.path.split("/")[0]
    detail = f"what {asked.path} granted does not hold any more"
    return StepOutcome("stale", detail, reacting=asked)


def _dropped(d: DecisionContext, step: Call, st: StepState) -> StepResult:
    """The intent found an approval that does not hold any more: those that the call rested on fall."""
    held = d.effects.get(st.effect or "")
    resting = [(a, s) for a, s in cancel.in_force(d) if held is not None and s.approval in held.approvals]
    if not resting:
        return StepOutcome("stale", "an approval does not hold any more")
    for _, other in resting[1:]:
        cancel.close_approval(d, other, ApprovalState.STALE)
    return _stale(d, step, st, *resting[0])


# ------------------------------------------------------------------ outcomes


def absorb_outcome(d: DecisionContext, stimulus: Stimulus) -> str | None:
    """Evidence about an effect; what it means is decided when its step is up."""
    body = stimulus.body
    effect, state = str(body["effect"]), str(body["state"])
    found = d.step_of_effect(effect)
    held = d.effects.get(effect)
    if found is None or held is None:
        return "an effect of no step"
    key, st = found
    if st.outcome == "confirmed":
        return "it is confirmed already"
    if str(held.state) != state or int(body.get("attempt") or held.attempt) < held.attempt:
        return f"the effect has gone on since: it is {held.state} now"
    asked_of_person = st.phase == "parked" and st.outcome == "unknown"
    st.outcome = f"refused:{body['class'] or 'refused'}" if state == "refused" else state
    st.detail = str(body.get("error") or "")
    asked = body.get("retry_after")
    st.retry_after = int(asked) if asked is not None else None
    if state == "confirmed":
        _remember(d, key, st, held, body.get("result"))
    if asked_of_person and state in ("refused", "absent"):
        st.phase = "planned"  # what a person was asked is known now
    return None


def _remember(d: DecisionContext, key: str, st: StepState, held: Effect, result: Any) -> None:
    d.s.results[held.id] = result
    if st.phase in ("backoff", "queued", "parked", "waiting"):
        st.phase = "planned"  # it happened after all: the step goes on from here
    if held.repeat == "read" or held.undoes is not None:
        return
    d.s.confirmed.append(
        ConfirmedEffect(
            key=key,
            path=held.path,
            item=held.item,
            effect=held.id,
            operation=held.operation,
            input="",
            digest=st.input,
        )
    )


def absorb_stale(d: DecisionContext, stimulus: Stimulus) -> str | None:
    """The intent found that an approval does not hold any more; the effect was dropped."""
    effect = str(stimulus.body["effect"])
    found, held = d.step_of_effect(effect), d.effects.get(effect)
    if found is None or held is None or held.state is not EffectState.DROPPED or found[1].phase == "done":
        return "an effect of no step that is up"
    found[1].outcome = "dropped:stale"
    return None


def _outcome(d: DecisionContext, step: Call, st: StepState) -> StepResult:
    outcome, _, detail = st.outcome.partition(":")
    match outcome:
        case "confirmed":
            return _bind(d, step, st)
        case "refused":
            return StepOutcome(detail, st.detail)
        case "absent":
            return _absent(d, step, st)
        case "dropped":
            return _dropped(d, step, st)
        case "accepted" if "accepted" in step.outcomes:
            return StepOutcome("accepted", st.detail)
        case "unknown":
            return _unknown(d, step, st)
        case _:
            return WAITING


def _bind(d: DecisionContext, step: Call, st: StepState) -> StepResult:
    result = d.s.results.get(st.effect or "")
    if step.id is not None:
        d.s.names[step.id] = result
    return DONE


def _absent(d: DecisionContext, step: Call, st: StepState) -> StepResult:
    """Nothing happened, proven past the horizon: the next generation, within the retry budget."""
    st.tries += 1
    if st.tries >= d.definition.failure.retry.attempts:
        return StepOutcome("transient", "it never arrives")
    st.gen += 1
    st.phase, st.effect, st.outcome = "new", None, ""
    return MOVED


def _unknown(d: DecisionContext, step: Call, st: StepState) -> StepResult:
    """Look-ups are under way; a person is asked when they cannot tell, or when none exists."""
    operation = d.definition.operations[step.operation]
    if operation.repeat == "blind":
        return StepOutcome("unknown", st.detail)
    if st.until is None:
        st.until = d.now + timedelta(seconds=operation.horizon) + cancel.LOOKUP_GRACE
        st.phase = "waiting"
    if st.until <= d.now:
        return StepOutcome("unknown", st.detail)
    return WAITING


def once_more(d: DecisionContext, step: Call, st: StepState) -> StepResult:
    """Its time has come: the same bytes again, or, when the request has changed, the next generation."""
    held = d.effects.get(st.effect or "")
    st.until, st.topic = None, ""
    if held is None or held.state in (EffectState.DROPPED, EffectState.ABSENT):
        if held is not None:
            st.gen += 1
        st.phase, st.effect, st.outcome = "new", None, ""
        return MOVED
    if held.state is not EffectState.REFUSED:
        st.phase = "planned"
        return MOVED if held.state is EffectState.CONFIRMED else WAITING
    if steps.fallen_approval(d) is None:
        found = dates(d, step)
        if isinstance(found, str):
            return StepOutcome("period_closed", found)
        value = fill(step.input, d.names(), d.lookup)
        if digest({"input": value, "dates": found}) == st.input:
            d.commands.append(SendAgain(held.id))
            d.planned.add(held.id)
            st.phase, st.outcome, st.retry_after = "planned", "", None
            return WAITING
    cancel.drop(d, held.id)
    st.gen += 1
    st.phase, st.effect, st.outcome = "new", None, ""
    return MOVED
