"""The steps that make no call: check, approve, wait, choose, each, emit."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from counterfoil.core import ids, wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.foil import FoilState
from counterfoil.core.money import Money
from counterfoil.expr import Expression
from counterfoil.model.definition import (
    ApprovalPolicy,
    Approve,
    Check,
    Choose,
    Each,
    Emit,
    LimitPolicy,
    Until,
    Wait,
)
from counterfoil.rules import approval as matrix
from counterfoil.rules.templates import fill
from counterfoil.rules.workflow import cancel, facts, guards
from counterfoil.rules.workflow.commands import AskApproval, EmitEvent, Stimulus
from counterfoil.rules.workflow.context import FAULTS, DecisionContext, UnusableValue, digest
from counterfoil.rules.workflow.state import StepState
from counterfoil.rules.workflow.step_result import (
    DONE,
    MOVED,
    WAITING,
    NeedsPerson,
    StepOutcome,
    StepResult,
)

MAX_ITEMS = 1_000
"""Above this an `each` belongs into child Runs; the list is refused with a Case."""
FUNCTIONAL = "functional"
"""A limit that counts in the currency of the matrix that reserves on it."""
SETTLED_FOILS = frozenset({FoilState.MATCHED, FoilState.WAIVED, FoilState.REVERSED, FoilState.VOID})


# ------------------------------------------------------------------ check


def check(d: DecisionContext, step: Check, st: StepState) -> StepResult:
    if not d.holds(step.check):
        return StepOutcome("failed", f"{step.check.text} does not hold")
    if step.once is not None:
        scope, key = f"once:{d.run.workflow}:{step.path}", d.key_of(step.once)
        used = int(d.lookup("guard", (scope, key))) - guards.mine(d, scope, key)
        if used >= 1:
            return StepOutcome("failed", f"{key} was done once already")
        guards.reserve(d, step, scope, key, 1, 1, used)
    return DONE


# ------------------------------------------------------------------ approve


def approve(d: DecisionContext, step: Approve, st: StepState) -> StepResult:
    if st.outcome == "granted":
        return DONE
    if st.outcome in ("rejected", "expired", "stale"):
        outcome, st.outcome = st.outcome, ""
        return _refused(d, step, outcome, st.detail)
    if st.phase == "waiting":
        if st.until is not None and st.until <= d.now:
            cancel.close_approval(d, st, ApprovalState.EXPIRED)
            return _refused(d, step, "expired", "nobody decided in time")
        if _outdated(d, step, st):
            cancel.close_approval(d, st, ApprovalState.STALE)
            return _refused(d, step, "stale", f"what {step.path} covers has changed while it was open")
        return WAITING
    return _ask(d, step, st)


def _outdated(d: DecisionContext, step: Approve, st: StepState) -> bool:
    """Whoever is asked must see the figures of today: does the open approval still speak of them?"""
    if d.s.confirmed or not any(fact.recheck for fact in d.definition.facts):
        return False
    if not d.rechecked:
        d.rechecked = True
        facts.read(d, only_recheck=True)
    return _subject(d, step, covered(d, step)) != st.subject


def _subject(d: DecisionContext, step: Approve, covers: dict[str, Any]) -> str:
    """What the approval is bound to. Values are never changed in place, so the same values have the same subject."""
    policy = d.definition.approvals[step.policy]
    known = d.s.subjects.get(step.path)
    if (
        known is not None
        and known[1] == policy.digest
        and known[0].keys() == covers.keys()
        and all(known[0][text] is value for text, value in covers.items())
    ):
        return known[2]
    subject = matrix.subject_of(policy, covers, step.path)
    d.s.subjects[step.path] = (covers, policy.digest, subject)
    return subject


def _refused(d: DecisionContext, step: Approve, outcome: str, detail: str) -> StepResult:
    """What is not approved holds nothing of a limit."""
    guards.give_back(d, [p for p, r in d.s.reserved.items() if (r.step, r.item) == (step.path, d.item())])
    return StepOutcome(outcome, detail)


def _ask(d: DecisionContext, step: Approve, st: StepState) -> StepResult:
    policy = d.definition.approvals[step.policy]
    amount = d.value(step.amount) if step.amount is not None else None
    if amount is not None and not isinstance(amount, Money):
        raise UnusableValue(f"{step.amount.text if step.amount else ''} is not money but {amount!r}")
    minor = 0
    if amount is not None:
        worth = matrix.in_currency(amount, policy.currency, policy.rates, d.lookup)
        if worth is None:
            return _no_rate(amount.currency, policy.currency)
        minor = worth
    limit = d.definition.limits[step.reserve] if step.reserve is not None else None
    taken = None
    if limit is not None:
        taken = _taken(d, limit, policy, amount)
        if isinstance(taken, str):
            return _no_rate(*taken.split("/"))
        key, used, share, before = taken
        if limit.at_most is not None and used + share > limit.at_most:
            return _refused(d, step, "rejected", f"the limit {limit.name} is used up")
        minor += before
    tier = matrix.tier_for(policy, minor)
    if tier is None:
        return _refused(d, step, "rejected", "above every tier of the matrix")
    covers = covered(d, step)
    if limit is not None and taken is not None:
        guards.reserve(d, step, limit.name, key, share, limit.at_most, used)
    st.subject = _subject(d, step, covers)
    nth = (st.asked,) if st.asked else ()
    st.approval = ids.derive("appr", d.run.id, d.key(step), st.subject, *nth)
    st.asked += 1
    st.until = d.now + timedelta(seconds=policy.expires)
    requester = str(d.value(step.requester))
    d.commands.append(
        AskApproval(
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
        return MOVED
    st.phase = "waiting"
    return WAITING


def _no_rate(have: str, want: str) -> NeedsPerson:
    return NeedsPerson("invalid", f"no rate from {have} to {want} is on file")


def covered(d: DecisionContext, step: Approve) -> dict[str, Any]:
    """The values that the approval is about, by the text of their formula."""
    return {e.text: d.value(e) for e in step.covers}


def _taken(
    d: DecisionContext, limit: LimitPolicy, policy: ApprovalPolicy, amount: Money | None
) -> tuple[str, int, int, int] | str:
    """The guard's key, what others used and what this takes in the limit's minor units, and what others used
    in those of the matrix. Or the pair of currencies whose rate is not on file."""
    own = policy.currency if limit.currency == FUNCTIONAL else limit.currency
    key = matrix.guard_key(limit, d.names(), d.today, d.lookup)
    used = int(d.lookup("guard", (limit.name, key))) - guards.mine(d, limit.name, key)
    share: int | None = 0
    if amount is not None:
        share = matrix.in_currency(amount, own, policy.rates, d.lookup)
    if share is None:
        return f"{amount.currency if amount else ''}/{own}"
    before = matrix.in_currency(Money(used, own), policy.currency, policy.rates, d.lookup)
    if before is None:
        return f"{own}/{policy.currency}"
    return key, used, share, before


def absorb_approval(d: DecisionContext, stimulus: Stimulus) -> str | None:
    held = d.approvals.get(stimulus.ref)
    if held is None or str(held.state) != stimulus.body["state"]:
        return "the approval says otherwise"
    for st in d.s.steps.values():
        if st.approval == stimulus.ref and st.phase == "waiting":
            st.outcome = str(held.state)
            st.detail = str(stimulus.body.get("comment", ""))
            return None
    return "nothing here waits for this approval"


def granted(resting: list[tuple[Approve, StepState]]) -> tuple[str, ...]:
    """Approvals that the Run's next calls rest on, of those in force."""
    return tuple(sorted({st.approval for _, st in resting if st.approval is not None}))


def fallen_approval(d: DecisionContext) -> tuple[Approve, StepState] | None:
    """The first approval on the way that is not granted any more or, while nothing is confirmed, whose covered
    values are not what they were."""
    return fallen_of(d, cancel.in_force(d))


def fallen_of(
    d: DecisionContext, resting: list[tuple[Approve, StepState]]
) -> tuple[Approve, StepState] | None:
    """The same, of those in force."""
    asked = {c.approval for c in d.commands if isinstance(c, AskApproval)}
    for step, st in resting:
        held = d.approvals.get(st.approval or "")
        if st.approval not in asked and (held is None or held.state is not ApprovalState.GRANTED):
            return step, st
        if not d.s.confirmed and _subject(d, step, covered(d, step)) != st.subject:
            return step, st
    return None


# ------------------------------------------------------------------ wait


def wait(d: DecisionContext, step: Wait, st: StepState) -> StepResult:
    if st.phase == "new":
        st.phase = "waiting"
        st.until = _until(d, step.until, st)
    if step.event is not None:
        found = _arrived(d, step)
        if found is not None:
            if step.id is not None:
                d.s.names[step.id] = found
            return DONE
    if step.foils is not None and _settled(d, step.foils):
        return DONE
    if st.until is not None and st.until <= d.now:
        if step.event is None and step.foils is None:
            return DONE
        what = step.event or "the counterfoils"
        return StepOutcome("timeout", f"{what} did not arrive by {wire.time_text(st.until)}")
    return WAITING


def _until(d: DecisionContext, until: Until | None, st: StepState) -> datetime | None:
    if until is None:
        return None
    if until.after is not None:
        return (st.entered or d.now) + timedelta(seconds=until.after)
    return facts.moment(d.value(until.at))


def _arrived(d: DecisionContext, step: Wait) -> Any:
    """The first event that fits and that no other wait used; it is this wait's from now on. In a later round
    it serves the same wait again."""
    own = f"wait:{step.path}[{d.item()}]"
    for received in d.s.received:
        if received["type"] != step.event:
            continue
        users = [u for u in d.s.used if u.startswith(f"{received['id']}|wait:")]
        mark = f"{received['id']}|{own}"
        if (not users or mark in users) and fits(d, step.where, received):
            if not users:
                d.s.used.append(mark)
            return received["event"]
    return None


def fits(d: DecisionContext, where: Expression | None, received: dict[str, Any]) -> bool:
    """Is this the event meant? One of which the formula says nothing, because a field is absent, is not."""
    try:
        return d.holds(where, {"event": received["event"], "start": d.s.names.get("event")})
    except FAULTS:
        return False


def _settled(d: DecisionContext, rules: tuple[str, ...]) -> bool:
    mine = [f for f in d.live.foils if rules == ("all",) or f.rule in rules]
    return all(f.state in SETTLED_FOILS for f in mine)


# ------------------------------------------------------------------ choose, each, emit


def choose(d: DecisionContext, step: Choose, st: StepState) -> StepResult:
    st.phase = "reacting"
    for n, (when, _) in enumerate(step.branches):
        if d.holds(when):
            d.push(f"{step.path}/then{n}", "branch", d.key(step))
            return MOVED
    if step.otherwise is not None:
        d.push(f"{step.path}/otherwise", "branch", d.key(step))
        return MOVED
    return DONE


def each(d: DecisionContext, step: Each, st: StepState) -> StepResult:
    """Freeze the list on entry, then take the items in order."""
    if st.items is None:
        items = fill(step.items, d.names(), d.lookup)
        if not isinstance(items, list):
            raise UnusableValue(f"{step.path}: {items!r} is not a list")
        if len(items) > MAX_ITEMS:
            return StepOutcome("invalid", f"{len(items)} items; more than {MAX_ITEMS}")
        keys = [
            d.key_of(step.key, {step.name: item}) if step.key is not None else str(n)
            for n, item in enumerate(items)
        ]
        if len(set(keys)) != len(keys):
            return StepOutcome("invalid", "two items have the same key")
        st.items, st.item_keys, st.position = items, keys, 0
    return next_item(d, step, st)


def next_item(d: DecisionContext, step: Each, st: StepState) -> StepResult:
    items = st.items or []
    if st.position >= len(items) or (step.until is not None and d.holds(step.until)):
        d.s.items.pop(step.name, None)
        return DONE
    st.phase = "reacting"
    d.s.items[step.name] = items[st.position]
    d.push(f"{step.path}/do", "item", d.key(step))
    return MOVED


def emit(d: DecisionContext, step: Emit, st: StepState) -> StepResult:
    """Tell a fact. What was told in an earlier round, here and of the same item, is not told again."""
    data = fill(step.data, d.names(), d.lookup)
    st.input = digest({"type": step.type, "data": data})
    earlier = (d.s.steps.get(d.key(step, round_=n)) for n in range(d.s.round))
    if not any(told is not None and told.input == st.input for told in earlier):
        event = ids.derive("evt", d.run.id, d.key(step), step.type)
        d.commands.append(EmitEvent(event=event, type=step.type, data=data))
    return DONE
