"""Calls: planning an outward call, and handling its outcomes.

A retry under the same key sends the same bytes. If the request has changed, or a look-up proved that nothing happened,
the call is sent as the next generation.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from counterfoil.core import ids, wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.link import link_topic
from counterfoil.model.definition import Approve, Call, Literal, Template
from counterfoil.model.document_definition import FoilDefinition
from counterfoil.rules import amount_signs
from counterfoil.rules.lookup import of_entity
from counterfoil.rules.matching import Origin, fields_of, foil_id
from counterfoil.rules.posting_date import date_of, posting_date
from counterfoil.rules.templates import UnusableValue, fill, names_with, truth
from counterfoil.rules.versions import CastFailed, cast
from counterfoil.rules.workflow import abandon, ahead, commands, steps
from counterfoil.rules.workflow.context import (
    DONE,
    MOVED,
    WAITING,
    DecisionContext,
    NeedsPerson,
    StepOutcome,
    StepResult,
)
from counterfoil.rules.workflow.missing_rows import required_field
from counterfoil.rules.workflow.state import ConfirmedEffect, StepState

_NEVER_DONE = frozenset({EffectState.REFUSED, EffectState.ABSENT, EffectState.DROPPED})
_PERIOD_FIELDS = frozenset({"start", "end", "state"})
RULES = frozenset({"reject", "first_open", "current", "hold_for_reopen", "accrue_and_true_up"})


def call(context: DecisionContext, step: Call, st: StepState) -> StepResult:
    """Plan the call, or continue from its outcome."""
    if st.phase == "unlinked":
        if st.until is not None and st.until <= context.now:
            return StepOutcome("not_found", f"The Link {st.topic} did not arrive in time")
        return WAITING
    if st.phase == "new":
        return _plan(context, step, st)
    return _outcome(context, step, st)


# ------------------------------------------------------------------ planning


def _plan(context: DecisionContext, step: Call, st: StepState) -> StepResult:
    context.recheck()
    granted = abandon.in_force(context)
    invalid = steps.first_invalid(context, granted)
    if invalid is not None:
        return _react_to_stale(context, st, *invalid)
    confirmed = _earlier_confirmed(context, step)
    if confirmed is not None:
        st.effect = confirmed.effect
        return _bind(context, step, st)
    call_dates = dates(context, step)
    if isinstance(call_dates, str):
        return StepOutcome("period_closed", call_dates)
    value = fill(step.input, context.names(), context.lookup)
    input_digest = ".".join(_digests(step, value, call_dates))
    refused = amount_signs.refused_sign(context.definition.operations[step.operation], value)
    if refused is not None:
        return NeedsPerson("invalid", refused)
    effect = ids.effect_id(context.run.id, context.effect_path(step), context.item(), st.gen)
    unrendered = context.live.unrendered.get(effect)
    if unrendered is not None and unrendered.unresolved:
        return _wait_for_link(context, st, unrendered)
    if unrendered is not None:
        return StepOutcome("invalid", unrendered.message)
    message = required_field(context, step, step.input, value, context.names())
    if message:
        return StepOutcome("invalid", message)
    foils = list(_foils(context, step, effect, value))
    instead = ahead.look_ahead(context, step)
    if isinstance(instead, commands.Unrendered):
        return _wait_for_link(context, st, instead)
    if instead is not None:
        return instead
    st.effect, st.input, st.phase, st.outcome, st.detail = effect, input_digest, "planned", "", ""
    st.until = None
    context.state.inputs[effect] = value
    if context.state.items:
        context.state.scopes[effect] = dict(context.state.items)
    context.planned.add(effect)
    context.commands.append(
        commands.PlanEffect(
            effect=effect,
            path=context.effect_path(step),
            item=context.item(),
            gen=st.gen,
            undoes=None,
            operation=step.operation,
            input=value,
            dates=call_dates,
            approvals=steps.approval_ids(granted),
        )
    )
    context.commands += foils
    return WAITING


def dates(context: DecisionContext, step: Call) -> dict[str, date | None] | str:
    """Return the document, posting and revenue dates; or a text that names the closed period that blocks the posting."""
    document = _date(context, step.document)
    revenue = _date(context, step.revenue)
    if step.posting is None:
        return {"document": document, "posting": document, "revenue": revenue or document}
    rule = posting_rule(step)
    if rule is None:
        return {"document": document, "posting": _date(context, step.posting), "revenue": revenue or document}
    return dates_by_rule(context, rule, document, revenue)


def posting_rule(step: Call) -> str | None:
    """Return the rule by which a call is posted: a posting policy's name or one of `RULES`."""
    rule = step.posting.value if isinstance(step.posting, Literal) else None
    return rule if isinstance(rule, str) else None


def dates_by_rule(
    context: DecisionContext, rule: str, document: date | None, revenue: date | None
) -> dict[str, date | None] | str:
    """Return the dates of a call that is posted by a rule; or a text that names the closed period that blocks it."""
    policy = context.definition.postings.get(rule)
    heads = context.lookup("periods", (policy.periods if policy is not None else "period",))
    heads = of_entity(heads, context.run.entity)
    periods = [p if "name" in p else {"name": p["id"], **p} for p in heads if p.keys() >= _PERIOD_FIELDS]
    by = policy.rule if policy is not None else rule
    posting = posting_date(by, document or context.today, context.today, periods)
    if posting.date is None:
        return f"The period {posting.closed} is closed"
    if policy is not None and policy.document == "posting" and document is not None:
        document = max(document, posting.date)
    return {"document": document, "posting": posting.date, "revenue": revenue or document}


def _date(context: DecisionContext, template: Template | None) -> date | None:
    return None if template is None else date_of(fill(template, context.names(), context.lookup))


def _earlier_confirmed(context: DecisionContext, step: Call) -> ConfirmedEffect | None:
    """Return the effect of the same call in an earlier round, confirmed with the same input."""
    item = context.item()
    earlier = [c for c in context.state.confirmed if c.path.split("~")[0] == step.path and c.item == item]
    if not earlier:
        return None
    value = fill(step.input, context.names(), context.lookup)
    digests = set(_digests(step, value, dates(context, step)))
    return next((c for c in earlier if digests & set(c.digest.split("."))), None)


def _digests(step: Call, value: Any, call_dates: dict[str, date | None] | str) -> list[str]:
    """Return the digest of a request, and one without its dates.

    What is posted stays where it is: with other dates, it is still the same posting. The first is missing where the
    period is closed.
    """
    digests = [] if isinstance(call_dates, str) else [wire.digest({"input": value, "dates": call_dates})]
    return [*digests, wire.digest({"input": value})] if _is_dated(step) else digests


def _is_dated(step: Call) -> bool:
    return (step.document, step.posting, step.revenue) != (None, None, None)


def _foils(context: DecisionContext, step: Call, effect: str, value: Any) -> Iterator[commands.WriteFoil]:
    for foil, foil_input in _foil_rules(context, step, value):
        names = names_with(context.names(), {"input": foil_input})
        if not truth(foil.when, names, context.lookup):
            continue
        fields = fields_of(foil, names, context.lookup, Origin("", context.run.entity), "")
        document = _document(context, foil, fields.document, effect)
        yield commands.WriteFoil(
            foil=foil_id(foil.name, document),
            rule=foil.name,
            key=fields.key,
            document=document,
            object=foil.object,
            left=foil.left,
            right=foil.right,
            legs=fields.legs,
            terms=foil.terms,
            entity=fields.entity,
            effective=fields.effective or context.today.isoformat(),
            reverses=fields.reverses,
            names=fields.names,
            within=fields.within,
            due=context.now + timedelta(seconds=foil.due),
            effect=effect,
            owner=foil.owner,
        )


def _document(context: DecisionContext, foil: FoilDefinition, document: str, effect: str) -> str:
    """Return the document's id; a second standing document of one id gets its effect as a suffix."""
    standing = any(
        f.rule == foil.name and f.document == document and f.stands and f.effect not in (None, effect)
        for f in context.live.foils
    )
    return f"{document}#{effect}" if standing else document


def _foil_rules(context: DecisionContext, step: Call, value: Any) -> Iterator[tuple[FoilDefinition, Any]]:
    """Return the rules by which a call writes foils, each with the input in the version that it reads.

    Rules of another version apply only between systems for which the call has no rule of its own.
    """
    own = [foil for foil in context.definition.foils if foil.operation == step.operation]
    yield from ((foil, value) for foil in own)
    covered = {(foil.object, foil.left, foil.right) for foil in own}
    for foil in context.definition.foils:
        path = context.definition.casts.get((step.operation, foil.operation or ""))
        if path is not None and foil not in own and (foil.object, foil.left, foil.right) not in covered:
            try:
                yield foil, cast(path, value)
            except CastFailed as error:
                raise UnusableValue(str(error)) from error


def _wait_for_link(context: DecisionContext, st: StepState, missing: commands.Unrendered) -> StepResult:
    """Start the sync Run of a missing Link, and wait for the Link.

    After a call in its system that a person counted as done, no event may ever bring the Link: a person decides.
    """
    skipped = _skipped_call(context, missing.system)
    if skipped is not None:
        return NeedsPerson(
            "not_found",
            f"{missing.object} {missing.canonical} has no id in {missing.system}: {skipped} was counted as done there, "
            f"but gave no record. Enter the record in {missing.system} so that its event arrives, then retry",
        )
    st.phase, st.topic = "unlinked", link_topic(missing.object, missing.canonical, missing.system)
    st.until = st.until or context.now + timedelta(seconds=context.definition.failure.queue.until)
    context.commands.append(commands.StartSync(missing.object, missing.canonical))
    return WAITING


def _skipped_call(context: DecisionContext, system: str) -> str | None:
    """Return the operation of a refused call in a system whose step a person counted as done."""
    for st in context.state.steps.values():
        effect = context.effects.get(st.effect or "")
        is_skipped = st.cases and st.phase == "done" and effect is not None and effect.state in _NEVER_DONE
        if is_skipped and effect is not None and effect.system == system and effect.undoes is None:
            return effect.operation
    return None


def absorb_link(context: DecisionContext, ref: str) -> str | None:
    steps = context.state.steps.values()
    waiting = [st for st in steps if st.phase == "unlinked" and ref.startswith(f"{st.topic}:")]
    for st in waiting:
        st.phase = "new"
    return None if waiting else "no call waits for this link"


def _react_to_stale(
    context: DecisionContext, st: StepState, approval: Approve, approval_st: StepState
) -> StepResult:
    """Close an approval that is not valid or does not cover the call any more, and react as that approval says.

    A person who retries the call has it approved again.
    """
    abandon.close_approval(context, approval_st, ApprovalState.STALE)
    st.back = approval.path.split("/")[0]
    return StepOutcome("stale", f"The approval {approval.path} is no longer valid", reacting=approval)


def _react_to_drop(context: DecisionContext, st: StepState) -> StepResult:
    """Close the approvals of a call that was dropped because one of them was not valid when it was to be sent."""
    effect = context.effects.get(st.effect or "")
    ids_ = effect.approvals if effect is not None else ()
    approvals = [(step, other) for step, other in abandon.in_force(context) if other.approval in ids_]
    if not approvals:
        return StepOutcome("stale", "An approval is no longer valid")
    for _, other in approvals[1:]:
        abandon.close_approval(context, other, ApprovalState.STALE)
    return _react_to_stale(context, st, *approvals[0])


# ------------------------------------------------------------------ outcomes


def absorb_outcome(context: DecisionContext, stimulus: commands.Stimulus) -> str | None:
    """Record an outcome in the step's state. The reaction follows when the step is executed."""
    body = stimulus.body
    effect_id, state = str(body["effect"]), str(body["state"])
    match = context.step_of_effect(effect_id)
    effect = context.effects.get(effect_id)
    if match is None or effect is None:
        return "no step has this effect"
    key, st = match
    if st.outcome == "confirmed":
        return "the effect is already confirmed"
    if str(effect.state) != state or int(body.get("attempt") or effect.attempt) < effect.attempt:
        return f"the effect has moved on: it is {effect.state} now"
    person_asked = st.phase == "parked" and st.outcome == "unknown"
    st.outcome = f"refused:{body['class'] or 'refused'}" if state == "refused" else state
    st.detail = str(body.get("error") or "")
    retry_after = body.get("retry_after")
    st.retry_after = int(retry_after) if retry_after is not None else None
    if state == "confirmed":
        _remember(context, key, st, effect, body.get("result"))
    if person_asked and state in ("refused", "absent"):
        st.phase = "planned"  # the outcome answers the open Case
    return None


def _remember(context: DecisionContext, key: str, st: StepState, effect: Effect, result: Any) -> None:
    context.state.results[effect.id] = result
    if st.phase in ("backoff", "queued", "parked", "waiting"):
        st.phase = "planned"  # it was done after all: the step continues from here
    if effect.repeat == "read" or effect.undoes is not None:
        return
    about = {"path": effect.path, "item": effect.item, "effect": effect.id, "operation": effect.operation}
    context.state.confirmed.append(ConfirmedEffect(key=key, **about, input="", digest=st.input))


def absorb_stale(context: DecisionContext, stimulus: commands.Stimulus) -> str | None:
    """Record that an effect was dropped because an approval was no longer valid when it was to be sent."""
    effect_id = str(stimulus.body["effect"])
    match, effect = context.step_of_effect(effect_id), context.effects.get(effect_id)
    if match is None or effect is None or effect.state is not EffectState.DROPPED or match[1].phase == "done":
        return "no active step has this effect"
    match[1].outcome = "dropped:stale"
    return None


def _outcome(context: DecisionContext, step: Call, st: StepState) -> StepResult:
    outcome, _, detail = st.outcome.partition(":")
    match outcome:
        case "confirmed":
            return _bind(context, step, st)
        case "refused":
            return StepOutcome(detail, st.detail)
        case "absent":
            return _absent(context, step, st)
        case "dropped":
            return _react_to_drop(context, st)
        case "accepted" if "accepted" in step.outcomes:
            return StepOutcome("accepted", st.detail)
        case "unknown":
            return _unknown(context, step, st)
        case _:
            return WAITING


def _bind(context: DecisionContext, step: Call, st: StepState) -> StepResult:
    result = context.state.results.get(st.effect or "")
    if step.id is not None:
        context.state.names[step.id] = result
    return DONE


def _absent(context: DecisionContext, step: Call, st: StepState) -> StepResult:
    """Plan the next generation of a call that a look-up proved absent, within the retry budget."""
    st.tries += 1
    if st.tries >= context.definition.failure.retry.attempts:
        return StepOutcome("transient", "The system never received it")
    st.gen += 1
    st.phase, st.effect, st.outcome = "new", None, ""
    return MOVED


def _unknown(context: DecisionContext, step: Call, st: StepState) -> StepResult:
    """Wait for look-ups. A person is asked if they find no outcome in time, or if no look-up exists."""
    operation = context.definition.operations[step.operation]
    if operation.repeat == "blind":
        return StepOutcome("unknown", st.detail)
    if st.until is None:
        st.until = context.now + timedelta(seconds=operation.horizon) + abandon.LOOKUP_GRACE
        st.phase = "waiting"
    return StepOutcome("unknown", st.detail) if st.until <= context.now else WAITING


def once_more(context: DecisionContext, step: Call, st: StepState) -> StepResult:
    """Retry the call: the same bytes again, or the next generation if the request has changed."""
    effect = context.effects.get(st.effect or "")
    st.until, st.topic = None, ""
    if effect is None or effect.state in (EffectState.DROPPED, EffectState.ABSENT):
        if effect is not None:
            st.gen += 1
        st.phase, st.effect, st.outcome = "new", None, ""
        return MOVED
    if effect.state is not EffectState.REFUSED:
        st.phase = "planned"
        return MOVED if effect.state is EffectState.CONFIRMED else WAITING
    context.recheck()  # the serial was free meanwhile, so another Run may have written what this call would overwrite
    if steps.invalid_approval(context) is None:
        call_dates = dates(context, step)
        if isinstance(call_dates, str):
            return StepOutcome("period_closed", call_dates)
        value = fill(step.input, context.names(), context.lookup)
        if wire.digest({"input": value, "dates": call_dates}) in st.input.split("."):
            context.commands.append(commands.SendAgain(effect.id))
            context.planned.add(effect.id)
            st.phase, st.outcome, st.retry_after = "planned", "", None
            return WAITING
    abandon.drop(context, effect.id)
    st.gen += 1
    st.phase, st.effect, st.outcome = "new", None, ""
    return MOVED
