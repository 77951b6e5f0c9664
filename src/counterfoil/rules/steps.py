"""The steps that make no call: check, approve, wait, choose, each, emit; and the facts a Run reads first."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from counterfoil.core import ids, wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.foil import FoilState
from counterfoil.core.money import Money
from counterfoil.model.definition import Approve, Check, Choose, Each, Emit, LimitPolicy, Until, Wait
from counterfoil.rules import approval as matrix
from counterfoil.rules import calls, reactions
from counterfoil.rules.commands import Ask, CloseApproval, EmitEvent, ReserveGuard, Stimulus
from counterfoil.rules.deciding import Deciding, Unusable
from counterfoil.rules.state import StepState
from counterfoil.rules.templates import fill

MAX_ITEMS = 1_000
"""Above this an `each` belongs into child Runs; the list is refused with a Case."""
SETTLED_FOILS = frozenset({FoilState.MATCHED, FoilState.WAIVED, FoilState.REVERSED, FoilState.VOID})


# ------------------------------------------------------------------ facts and lets


def read_facts(d: Deciding, only_recheck: bool) -> bool:
    """Bind facts, then lets. With `only_recheck`, those that are read again before each effect. False while
    a fact that only a system can tell is being asked for."""
    for fact in d.definition.facts:
        if only_recheck and (not fact.recheck or fact.source == "read"):
            continue
        if fact.source == "read":
            if not calls.read_fact(d, fact):
                return False
            d.s.names[fact.name] = calls.fact_result(d, fact.name)
            continue
        key = d.value(fact.of) if fact.of is not None else d.run.bkey
        match fact.source:
            case "head":
                value = d.lookup("head", (fact.target, str(key)))
                if value is None:
                    raise Unusable(f"no {fact.target} {key} is known")
            case "xref":
                value = d.lookup("xref", (fact.target, str(key)))
            case "limit":
                policy = d.definition.limits[fact.target]
                scope = matrix.guard_key(policy, d.names(), d.today, d.lookup)
                used = int(d.lookup("guard", (policy.name, scope)))
                value = {"used": Money(used, policy.currency)}
                if policy.at_most is not None:
                    value["limit"] = Money(policy.at_most, policy.currency)
            case _:
                value = d.lookup("head", (fact.target, str(key)))
        d.s.names[fact.name] = value
    for name, expression in d.definition.let:
        d.s.names[name] = d.value(expression)
    return True


# ------------------------------------------------------------------ check


def check(d: Deciding, step: Check, st: StepState) -> bool:
    if not d.holds(step.check):
        return reactions.react(d, step, st, "failed", f"{step.check.text} does not hold")
    if step.once is not None:
        key = str(d.value(step.once))
        scope = f"once:{d.run.workflow}:{step.path}"
        path = d.key(step)
        if path not in d.s.reserved:
            used = int(d.lookup("guard", (scope, key)))
            if used >= 1:
                return reactions.react(d, step, st, "failed", f"{key} was done once already")
            d.commands.append(ReserveGuard(scope=scope, key=key, path=path, amount=1, limit=1, seen=used))
            d.s.reserved.append(path)
    return reactions.done(d, step, st)


# ------------------------------------------------------------------ approve


def approve(d: Deciding, step: Approve, st: StepState) -> bool:
    if st.outcome == "granted":
        return reactions.done(d, step, st)
    if st.outcome in ("rejected", "expired", "stale"):
        outcome, st.outcome = st.outcome, ""
        return reactions.react(d, step, st, outcome, st.detail)
    if st.phase == "waiting":
        if st.until is not None and st.until <= d.now:
            if st.approval is not None:
                d.commands.append(CloseApproval(st.approval, ApprovalState.EXPIRED))
            return reactions.react(d, step, st, "expired", "nobody decided in time")
        return False
    return _ask(d, step, st)


def _ask(d: Deciding, step: Approve, st: StepState) -> bool:
    policy = d.definition.approvals[step.policy]
    amount = d.value(step.amount) if step.amount is not None else None
    if amount is not None and not isinstance(amount, Money):
        return reactions.react(d, step, st, "rejected", "the amount is not money")
    minor = 0
    if amount is not None:
        worth = matrix.in_currency(amount, policy.currency, policy.rates, d.lookup)
        if worth is None:
            return reactions.no_rate(d, step, st, amount.currency, policy.currency)
        minor = worth
    if step.reserve is not None:
        before = _reserve(d, step, minor)
        if before is None:
            return reactions.react(d, step, st, "rejected", f"the limit {step.reserve} is used up")
        minor += before
    tier = matrix.tier_for(policy, minor)
    if tier is None:
        return reactions.react(d, step, st, "rejected", "above every tier of the matrix")
    covers = covered(d, step)
    st.subject = matrix.subject_of(policy, covers, step.path)
    st.approval = ids.derive("appr", d.run.id, d.key(step), st.subject)
    st.until = d.now + timedelta(seconds=policy.expires)
    requester = str(d.value(step.requester))
    d.commands.append(
        Ask(
            approval=st.approval,
            path=d.key(step),
            policy=policy.name,
            subject=st.subject,
            covers=covers,
            amount=amount,
            roles=tier.roles,
            quorum=tier.quorum,
            requester=requester,
            expires=st.until,
            automatic=tier.automatic,
        )
    )
    if tier.automatic:
        st.outcome = "granted"
        return True
    st.phase = "waiting"
    return False


def covered(d: Deciding, step: Approve) -> dict[str, Any]:
    """The values that the approval is about, by the text of their formula."""
    return {e.text: d.value(e) for e in step.covers}


def _reserve(d: Deciding, step: Approve, minor: int) -> int | None:
    """Reserve on the limit; what was used before, in minor units, or None when it would pass the limit."""
    policy: LimitPolicy = d.definition.limits[str(step.reserve)]
    key = matrix.guard_key(policy, d.names(), d.today, d.lookup)
    used = int(d.lookup("guard", (policy.name, key)))
    path = d.key(step)
    if path in d.s.reserved:
        return used - minor
    if policy.at_most is not None and used + minor > policy.at_most:
        return None
    d.commands.append(
        ReserveGuard(scope=policy.name, key=key, path=path, amount=minor, limit=policy.at_most, seen=used)
    )
    d.s.reserved.append(path)
    return used


def absorb_approval(d: Deciding, stimulus: Stimulus) -> str | None:
    for st in d.s.steps.values():
        if st.approval == stimulus.ref and st.phase == "waiting":
            st.outcome = str(stimulus.body["state"])
            st.detail = str(stimulus.body.get("comment", ""))
            return None
    return "nothing here waits for this approval"


def granted(d: Deciding) -> tuple[str, ...]:
    """Approvals that the Run's next calls rest on."""
    asked = {c.approval for c in d.commands if isinstance(c, Ask) and c.automatic}
    return tuple(
        sorted(
            st.approval
            for st in d.s.steps.values()
            if st.approval is not None
            and st.phase == "done"
            and (
                st.approval in asked
                or (st.approval in d.approvals and d.approvals[st.approval].state is ApprovalState.GRANTED)
            )
        )
    )


def close_open_approvals(d: Deciding) -> None:
    """What a Run that ends still had asked for is asked no more."""
    closing = {c.approval for c in d.commands if isinstance(c, CloseApproval)}
    for a in d.live.approvals:
        if a.state is ApprovalState.OPEN and a.id not in closing:
            d.commands.append(CloseApproval(a.id, ApprovalState.VOID))


def stale_approval(d: Deciding) -> tuple[Approve, StepState] | None:
    """The first granted approval whose covered values are not what they were."""
    for block in d.blocks.values():
        for step in block.steps:
            if not isinstance(step, Approve):
                continue
            st = d.s.steps.get(d.key(step))
            if st is None or st.phase != "done" or not st.subject:
                continue
            policy = d.definition.approvals[step.policy]
            if matrix.subject_of(policy, covered(d, step), step.path) != st.subject:
                return step, st
    return None


# ------------------------------------------------------------------ wait


def wait(d: Deciding, step: Wait, st: StepState) -> bool:
    if st.phase == "new":
        st.phase = "waiting"
        st.until = _until(d, step.until, st)
    if step.event is not None:
        found = _arrived(d, step)
        if found is not None:
            if step.id is not None:
                d.s.names[step.id] = found
            return reactions.done(d, step, st)
    if step.foils is not None and _settled(d, step.foils):
        return reactions.done(d, step, st)
    if st.until is not None and st.until <= d.now:
        if step.event is None and step.foils is None:
            return reactions.done(d, step, st)
        what = step.event or "the counterfoils"
        return reactions.react(d, step, st, "timeout", f"{what} did not arrive by {wire.time_text(st.until)}")
    return False


def _until(d: Deciding, until: Until | None, st: StepState) -> datetime | None:
    if until is None:
        return None
    if until.after is not None:
        return (st.entered or d.now) + timedelta(seconds=until.after)
    return moment(d.value(until.at))


def moment(value: Any) -> datetime:
    """A timestamp as it is; a date as its first instant in UTC; a duration is refused by the checks."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time(), tzinfo=UTC)
    raise Unusable(f"{value!r} is not a moment")


def _arrived(d: Deciding, step: Wait) -> Any:
    """The first event that fits and that no wait used before; it is this wait's from now on."""
    for received in d.s.received:
        mark = f"{received['id']}|{d.key(step)}"
        if received["type"] != step.event or mark in d.s.used:
            continue
        event = received["event"]
        if step.where is None or d.holds(step.where, {"event": event, "start": d.s.names.get("event")}):
            d.s.used.append(mark)
            return event
    return None


def _settled(d: Deciding, rules: tuple[str, ...]) -> bool:
    mine = [f for f in d.live.foils if rules == ("all",) or f.rule in rules]
    return all(f.state in SETTLED_FOILS for f in mine)


# ------------------------------------------------------------------ choose, each, emit


def choose(d: Deciding, step: Choose, st: StepState) -> bool:
    st.phase = "reacting"
    for n, (when, _) in enumerate(step.branches):
        if d.holds(when):
            d.push(f"{step.path}/then{n}", "branch", d.key(step))
            return True
    if step.otherwise is not None:
        d.push(f"{step.path}/otherwise", "branch", d.key(step))
        return True
    return reactions.done(d, step, st)


def each(d: Deciding, step: Each, st: StepState) -> bool:
    """Freeze the list on entry, then take the items in order."""
    if st.items is None:
        items = list(fill(step.items, d.names(), d.lookup))
        if len(items) > MAX_ITEMS:
            return reactions.react(d, step, st, "invalid", f"{len(items)} items; more than {MAX_ITEMS}")
        keys = [
            str(d.value(step.key, {step.name: item})) if step.key is not None else str(n)
            for n, item in enumerate(items)
        ]
        if len(set(keys)) != len(keys):
            return reactions.react(d, step, st, "invalid", "two items have the same key")
        st.items, st.item_keys, st.position = items, keys, 0
    return next_item(d, step, st)


def next_item(d: Deciding, step: Each, st: StepState) -> bool:
    items = st.items or []
    if st.position >= len(items) or (step.until is not None and d.holds(step.until)):
        d.s.items.pop(step.name, None)
        return reactions.done(d, step, st)
    st.phase = "reacting"
    d.s.items[step.name] = items[st.position]
    d.push(f"{step.path}/do", "item", d.key(step))
    return True


def emit(d: Deciding, step: Emit, st: StepState) -> bool:
    data = fill(step.data, d.names(), d.lookup)
    event = ids.derive("evt", d.run.id, d.key(step), step.type)
    d.commands.append(EmitEvent(event=event, type=step.type, data=data))
    return reactions.done(d, step, st)
