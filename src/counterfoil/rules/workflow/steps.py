"""The steps that make no call: check, approve, wait, choose, each, emit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from counterfoil.core import ids, wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.expr import Expression, missing_row
from counterfoil.model import definition as d
from counterfoil.rules import approval_matrix as matrix
from counterfoil.rules.envelope import complete
from counterfoil.rules.templates import FAULTS, UnusableValue, fill
from counterfoil.rules.workflow import abandon, guards, start_facts
from counterfoil.rules.workflow.commands import AskApproval, EmitEvent, Stimulus
from counterfoil.rules.workflow.context import (
    DONE,
    MOVED,
    WAITING,
    DecisionContext,
    NeedsPerson,
    StepOutcome,
    StepResult,
)
from counterfoil.rules.workflow.state import StepState

MAX_ITEMS = 1_000
"""Longest list of an `each`. A longer one opens a Case: it belongs into child Runs."""
SYSTEM_REQUESTER = "system/"
"""Begins the constant requester of what a system requests by itself, such as `system/billing`."""
FUNCTIONAL = "functional"
"""Currency of a limit that counts in the currency of the approval matrix."""
ActiveApproval: TypeAlias = tuple[d.Approve, StepState]
SETTLED_FOILS = frozenset({FoilState.MATCHED, FoilState.WAIVED, FoilState.REVERSED, FoilState.VOID})


# ------------------------------------------------------------------ check


def check(context: DecisionContext, step: d.Check, st: StepState) -> StepResult:
    if not context.holds(step.check):
        return StepOutcome("failed", step.doc or f"The check {step.path} is not met")
    shares = [share for share in (_only_once(context, step), _part_of_limit(context, step)) if share]
    for share in shares:
        if share.used + share.amount > share.limit:
            return StepOutcome("failed", share.refusal)
    for share in shares:
        guards.reserve(context, step, share.scope, share.key, share.amount, share.limit, share.used)
    return DONE


@dataclass(frozen=True, slots=True)
class _Share:
    """Part of a guard row that a check reserves; `used` is the usage of other Runs."""

    scope: str
    key: str
    amount: int
    limit: int
    used: int
    refusal: str


def _only_once(context: DecisionContext, step: d.Check) -> _Share | None:
    if step.once is None:
        return None
    scope, value = f"once:{context.run.workflow}:{step.path}", context.key_of(step.once)
    key = context.own_guard_key(value)
    used = context.used_by_others(scope, key)
    return _Share(scope, key, 1, 1, used, f"{value} was already done once")


def _part_of_limit(context: DecisionContext, step: d.Check) -> _Share | None:
    """Return the share of the limit that the check reserves; None where `at_most` is null, so that nothing limits it."""
    if step.reserve is None:
        return None
    at_most = context.value(step.reserve.at_most)
    if at_most is None:
        return None
    amount = context.value(step.reserve.amount)
    policy = context.definition.limits[step.reserve.limit]
    for value in (at_most, amount):
        if not isinstance(value, Money):
            raise UnusableValue(f"{step.path}: {value!r} is not an amount of money")
        if value.currency != (at_most.currency if policy.currency == d.OF_AMOUNT else policy.currency):
            raise UnusableValue(f"{step.path}: {value} is not in the currency of the limit {policy.name}")
    refused = matrix.refused_sign(policy, amount)
    if refused:
        raise UnusableValue(refused)
    key = context.limit_key(policy, amount.currency)
    used = context.used_by_others(policy.name, key)
    refusal = f"The limit {policy.name} of {at_most} is used up: {Money(used, amount.currency)} are"
    return _Share(policy.name, key, abs(amount.minor), at_most.minor, used, refusal)


# ------------------------------------------------------------------ approve


def approve(context: DecisionContext, step: d.Approve, st: StepState) -> StepResult:
    if st.outcome == "granted":
        return DONE
    if st.outcome in ("rejected", "expired", "stale"):
        outcome, st.outcome = st.outcome, ""
        return _release_and_refuse(context, step, outcome, st.detail)
    if st.phase == "waiting":
        if st.until is not None and st.until <= context.now:
            abandon.close_approval(context, st, ApprovalState.EXPIRED)
            return _release_and_refuse(context, step, "expired", "It was not decided in time")
        if _is_outdated(context, step, st):
            abandon.close_approval(context, st, ApprovalState.STALE)
            detail = f"The values that {step.path} covers changed while it was open"
            return _release_and_refuse(context, step, "stale", detail)
        return WAITING
    return _ask(context, step, st)


def _is_outdated(context: DecisionContext, step: d.Approve, st: StepState) -> bool:
    """Return True if the open approval covers outdated values: approvers must see today's."""
    if context.state.confirmed or not any(fact.recheck for fact in context.definition.facts):
        return False
    context.recheck()
    return _subject(context, step, st) != st.subject


def _subject(context: DecisionContext, step: d.Approve, st: StepState) -> str:
    """Return the digest that the approval is bound to. Values are never changed in place, so it is cached by identity."""
    policy = context.definition.approvals[step.policy]
    covers, target = covered_values(context, step), st.target or step.path
    cached = context.state.subjects.get(target)
    if (
        cached is not None
        and cached[1] == policy.digest
        and cached[0].keys() == covers.keys()
        and all(cached[0][text] is value for text, value in covers.items())
    ):
        return cached[2]
    subject = matrix.subject_of(policy, covers, target)
    context.state.subjects[target] = (covers, policy.digest, subject)
    return subject


def _release_and_refuse(context: DecisionContext, step: d.Approve, outcome: str, detail: str) -> StepResult:
    """Release the limit of a step that is not approved."""
    own = (step.path, context.item())
    guards.give_back(context, [p for p, r in context.state.reserved.items() if (r.step, r.item) == own])
    return StepOutcome(outcome, detail)


def _ask(context: DecisionContext, step: d.Approve, st: StepState) -> StepResult:
    policy = context.definition.approvals[step.policy]
    amount = context.value(step.amount) if step.amount is not None else None
    if amount is not None and not isinstance(amount, Money):
        text = step.amount.text if step.amount is not None else ""
        raise UnusableValue(f"{text} is not an amount of money but {amount!r}")
    limit = context.definition.limits[step.reserve] if step.reserve is not None else None
    refused = matrix.refused_sign(policy, amount) or (limit and matrix.refused_sign(limit, amount))
    if refused:
        return NeedsPerson("invalid", refused)
    requester = _requester(context, step, policy)
    if isinstance(requester, NeedsPerson):
        return requester
    size = 0
    if amount is not None:
        minor = matrix.in_currency(amount, policy.currency, policy.rates, context.lookup)
        if minor is None:
            return _no_rate(amount.currency, policy.currency, policy.rates)
        size = abs(minor)
    usage = None
    if limit is not None:
        usage = _limit_usage(context, limit, policy, amount)
        if isinstance(usage, str):
            have, _, want = usage.partition("/")
            return _no_rate(have, want, policy.rates)
        key, used, share, before = usage
        if limit.at_most is not None and used + share > limit.at_most:
            return _release_and_refuse(context, step, "rejected", f"The limit {limit.name} is used up")
        size += before
    tier = matrix.tier_for(policy, size)
    if tier is None:
        return _release_and_refuse(context, step, "rejected", "The amount is above every tier of the matrix")
    covers = covered_values(context, step)
    if limit is not None and usage is not None:
        guards.reserve(context, step, limit.name, key, share, limit.at_most, used)
    st.target = ""
    st.subject = _subject(context, step, st)
    nth = (st.asked,) if st.asked else ()
    st.approval = ids.derive("appr", context.run.id, context.key(step), st.subject, *nth)
    st.asked += 1
    st.until = context.now + timedelta(seconds=policy.expires)
    context.commands.append(
        AskApproval(
            approval=st.approval,
            path=context.key(step),
            policy=policy.name,
            subject=st.subject,
            covers=covers,
            amount=amount,
            roles=tier.roles,
            quorum=tier.quorum,
            requester=requester,
            senders=senders(context),
            expires=st.until,
            automatic=tier.automatic,
        )
    )
    if tier.automatic:
        st.outcome = "granted"
        return MOVED
    st.phase = "waiting"
    return WAITING


def _requester(context: DecisionContext, step: d.Approve, policy: d.ApprovalPolicy) -> str | NeedsPerson:
    """Return the id of the person who requests, as the system of the start event names them.

    A constant `system/NAME` says that no person does. An event cannot say so: its text is always a person's name.
    """
    name = context.value(step.requester)
    if not step.requester.names and str(name).startswith(SYSTEM_REQUESTER):
        return str(name)
    system = str(context.state.names.get("event", {}).get("system", ""))
    person = context.lookup("person", (system, str(name)))
    if person is None:
        where = f" in {system}" if system else ""
        return NeedsPerson("requester", f"No active person on file is called {name!r}{where}")
    if policy.requesters and not set(policy.requesters) & set(person["roles"]):
        roles = " or ".join(policy.requesters)
        return NeedsPerson(
            "requester", f"{person['id']} may not request this: {policy.name} requires {roles}"
        )
    return str(person["id"])


def senders(context: DecisionContext) -> tuple[str, ...]:
    """Return the persons who sent the events that reached the Run, in order of id."""
    events = [context.state.names.get("event", {}), *(x["event"] for x in context.state.received)]
    return tuple(sorted({sender for event in events for sender in event.get("senders", ())}))


def _no_rate(have: str, want: str, rates: str | None) -> NeedsPerson:
    row = f": {missing_row('table', (rates, f'{have}/{want}'))}" if rates else ""
    return NeedsPerson("invalid", f"No exchange rate from {have} to {want} is on file{row}")


def covered_values(context: DecisionContext, step: d.Approve) -> dict[str, Any]:
    """Return the values that the approval covers, by the text of their formula."""
    names = context.names()
    return {e.text: e(names, context.lookup) for e in step.covers}


def _limit_usage(
    context: DecisionContext, limit: d.LimitPolicy, policy: d.ApprovalPolicy, amount: Money | None
) -> tuple[str, int, int, int] | str:
    """Return the guard's key, other Runs' usage and this share in the limit's minor units, and their usage in the matrix's.

    The share is without its sign. Or return the pair of currencies (`EUR/USD`) that has no exchange rate.
    """
    own = policy.currency if limit.currency == FUNCTIONAL else limit.currency
    key = context.limit_key(limit)
    used = context.used_by_others(limit.name, key)
    share: int | None = 0
    if amount is not None:
        share = matrix.in_currency(amount, own, policy.rates, context.lookup)
    if share is None:
        return f"{amount.currency if amount else ''}/{own}"
    before = matrix.in_currency(Money(used, own), policy.currency, policy.rates, context.lookup)
    if before is None:
        return f"{own}/{policy.currency}"
    return key, used, abs(share), before


def absorb_approval(context: DecisionContext, stimulus: Stimulus) -> str | None:
    approval = context.approvals.get(stimulus.ref)
    if approval is None or str(approval.state) != stimulus.body["state"]:
        return "the approval is in another state"
    for st in context.state.steps.values():
        if st.approval == stimulus.ref and st.phase == "waiting":
            st.outcome = str(approval.state)
            st.detail = str(stimulus.body.get("comment", ""))
            return None
    return "no step waits for this approval"


def approval_ids(active: list[ActiveApproval]) -> tuple[str, ...]:
    """Return the ids of the active approvals that the Run's next call needs."""
    return tuple(sorted({st.approval for _, st in active if st.approval is not None}))


def invalid_approval(context: DecisionContext) -> ActiveApproval | None:
    """Return the first active approval that is no longer granted, or whose covered_values values have changed.

    Once a call is confirmed, changed values no longer count.
    """
    return first_invalid(context, abandon.in_force(context))


def first_invalid(context: DecisionContext, active: list[ActiveApproval]) -> ActiveApproval | None:
    """Return the same, of the given active approvals."""
    requested = {c.approval for c in context.commands if isinstance(c, AskApproval)}
    for step, st in active:
        approval = context.approvals.get(st.approval or "")
        if st.approval not in requested and (approval is None or approval.state is not ApprovalState.GRANTED):
            return step, st
        if not context.state.confirmed and _subject(context, step, st) != st.subject:
            return step, st
    return None


# ------------------------------------------------------------------ wait


def wait(context: DecisionContext, step: d.Wait, st: StepState) -> StepResult:
    if st.phase == "new":
        until = _until(context, step.until, st)
        st.phase, st.until = "waiting", until
    if _has_arrived(context, step):
        return DONE
    if st.until is not None and st.until <= context.now:
        if step.event is None and step.foils is None:
            return DONE
        awaited = step.event or "the matching of counterfoils"
        return StepOutcome("timeout", f"{awaited} did not arrive by {wire.time_text(st.until)}")
    return WAITING


def arrives_late(context: DecisionContext, step: d.Step, st: StepState) -> bool:
    """Report whether what a wait did not get in time has arrived while a person was asked about it."""
    return isinstance(step, d.Wait) and st.outcome == "timeout" and _has_arrived(context, step)


def _has_arrived(context: DecisionContext, step: d.Wait) -> bool:
    """Report whether the event or the matches of a wait are there, and bind the event."""
    event = _take_event(context, step) if step.event is not None else None
    if event is None:
        return step.foils is not None and _are_settled(context, step.foils)
    if step.id is not None:
        context.state.names[step.id] = event
    return True


def _until(context: DecisionContext, until: d.Until | None, st: StepState) -> datetime | None:
    if until is None:
        return None
    if until.after is not None:
        return (st.entered or context.now) + timedelta(seconds=until.after)
    return start_facts.moment(context.value(until.at))


def _take_event(context: DecisionContext, step: d.Wait) -> Any:
    """Return the first event that fits and that no other wait used, and mark it as used by this wait.

    In a later round the same wait may use it again.
    """
    own = f"wait:{step.path}[{context.item()}]"
    for received in context.state.received:
        if received["type"] != step.event:
            continue
        users = [u for u in context.state.used if u.startswith(f"{received['id']}|wait:")]
        mark = f"{received['id']}|{own}"
        if (not users or mark in users) and fits(context, step.where, received):
            if not users:
                context.state.used.append(mark)
            return received["event"]
    return None


def fits(context: DecisionContext, where: Expression | None, received: dict[str, Any]) -> bool:
    """Return True if the event fulfils the condition. A formula that fails, as on an absent field, means no."""
    try:
        event = complete(received["event"], context.definition.envelope)
        return context.holds(where, {"event": event, "start": context.names().get("event")})
    except FAULTS:
        return False


def _are_settled(context: DecisionContext, rules: tuple[str, ...]) -> bool:
    foils = [f for f in context.live.foils if rules == ("all",) or f.rule in rules]
    return all(f.state in SETTLED_FOILS for f in foils)


# ------------------------------------------------------------------ choose, each, emit


def choose(context: DecisionContext, step: d.Choose, st: StepState) -> StepResult:
    branch = next((f"then{n}" for n, (when, _) in enumerate(step.branches) if context.holds(when)), None)
    st.phase = "reacting"
    if branch is None and step.otherwise is None:
        return DONE
    context.push(f"{step.path}/{branch or 'otherwise'}", "branch", context.key(step))
    return MOVED


def each(context: DecisionContext, step: d.Each, st: StepState) -> StepResult:
    """Freeze the list on entry, then take the items in order."""
    if st.items is None:
        items = fill(step.items, context.names(), context.lookup)
        if not isinstance(items, list):
            raise UnusableValue(f"{step.path}: {items!r} is not a list")
        if len(items) > MAX_ITEMS:
            return StepOutcome("invalid", f"The list has {len(items)} items; at most {MAX_ITEMS} are allowed")
        keys = [str(n) for n in range(len(items))]
        if step.key is not None:
            keys = [context.key_of(step.key, {step.name: item}) for item in items]
        if len(set(keys)) != len(keys):
            return StepOutcome("invalid", "Two items have the same key")
        st.items, st.item_keys, st.position = items, keys, 0
    return next_item(context, step, st)


def next_item(context: DecisionContext, step: d.Each, st: StepState) -> StepResult:
    items = st.items or []
    st.phase = "new"
    if st.position >= len(items) or (step.until is not None and context.holds(step.until)):
        context.state.items.pop(step.name, None)
        return DONE
    st.phase = "reacting"
    context.state.items[step.name] = items[st.position]
    context.push(f"{step.path}/do", "item", context.key(step))
    return MOVED


def emit(context: DecisionContext, step: d.Emit, st: StepState) -> StepResult:
    """Emit an event, unless an earlier round emitted the same one at this step and item."""
    data = fill(step.data, context.names(), context.lookup)
    st.input = wire.digest({"type": step.type, "data": data})
    earlier = (context.state.steps.get(context.key(step, round_=n)) for n in range(context.state.round))
    if not any(execution is not None and execution.input == st.input for execution in earlier):
        event = ids.derive("evt", context.run.id, context.key(step), step.type)
        context.commands.append(EmitEvent(event=event, type=step.type, data=data, senders=senders(context)))
    return DONE
