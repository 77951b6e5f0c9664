"""Invariants of the core protocol, checked from outside of the engine over every row of a store.

The engine does not use this module. A violation is a sentence that begins with the invariant's number. Invariants that
only outside systems can confirm (1 and 3) are not checked here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from counterfoil.core.approval import ApprovalState
from counterfoil.core.audit import Checkpoint, tree_root
from counterfoil.core.call import DOOR as CALLED
from counterfoil.core.case import CaseState
from counterfoil.core.cases import case_topic
from counterfoil.core.effect import IN_FLIGHT, UNFINISHED, Effect, EffectState
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.roll_forward import roll_forward
from counterfoil.core.run import TERMINAL, Run, RunStatus
from counterfoil.core.settle import rules_of, settle
from counterfoil.core.usage import UsageRow, digest
from counterfoil.store.dump import Dump

_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
_MAY_EXIST = IN_FLIGHT | {EffectState.CONFIRMED}
_FALLEN = (ApprovalState.STALE, ApprovalState.VOID)


class Checkable(Protocol):
    """The part of a store that a check reads."""

    async def dump(self) -> Dump: ...
    async def checkpoint(self, size: int | None = None) -> Checkpoint | None: ...


async def check(store: Checkable, at: datetime, irreversible: Collection[str] = ()) -> list[str]:
    """Return the violations in a store at a time, in order of invariant.

    `irreversible` names operations that need no undo. Runs in memory of the size of the store.
    """
    checkpoint = await store.checkpoint()  # first: leaves may be sealed in between, never unsealed
    dump = await store.dump()
    return violations(dump, at, irreversible) + list(_checkpoint(dump, checkpoint))


def violations(dump: Dump, at: datetime, irreversible: Collection[str] = ()) -> list[str]:
    """Return the violations in one dump."""
    result: list[str] = []
    for parts in (
        _generations(dump),
        _receipts(dump),
        _calls(dump),
        _usage(dump),
        _inbox(dump, at),
        _joined(dump, at),
        _identity(dump, at),
        _residuals(dump, at),
        _guards(dump),
        _quotas(dump, at),
        _quorums(dump),
        _ends(dump, irreversible),
        _unfinished(dump),
        _leaves(dump),
        _notices(dump),
        _releases(dump),
    ):
        result += parts
    return result


def _generations(dump: Dump) -> Iterator[str]:
    """2. Per (run, path, item) at most one generation is sending, unknown or confirmed. Two confirmations that
    a Case names are owned: evidence is never refused."""
    owned = {case.effect for case in dump.cases}
    steps: dict[tuple[str, str, str], list[Effect]] = defaultdict(list)
    for effect in dump.effects:
        if effect.state in _MAY_EXIST:
            steps[effect.run, effect.path, effect.item].append(effect)
    for (run, path, item), live in steps.items():
        if len(live) > 1 and not any(effect.id in owned for effect in live):
            names = ", ".join(f"{effect.id} {effect.state}" for effect in live)
            yield f"2: {path} {item} of {run} has {len(live)} live generations: {names}"


def _receipts(dump: Dump) -> Iterator[str]:
    """4. Each acknowledged receipt leads to events, an ignore, or a Case; until then it is a todo."""
    todo = {ref for kind, ref, _ in dump.todos if kind == "receipt"}
    owned = {str(case.receipt) for case in dump.cases}
    counting = {case.id for case in dump.cases}
    ended = set()
    for _, leaf in dump.leaves:
        if leaf.kind == "admitted" and leaf.subject.startswith("receipt:"):
            body = msgspec.json.decode(leaf.body)
            if body["events"] or body["ignored"] or body.get("case") in counting:
                ended.add(leaf.subject.removeprefix("receipt:"))
    for receipt in dump.receipts:
        no = str(receipt.no)
        if receipt.door not in ("fetch", CALLED) and no not in todo and no not in owned and no not in ended:
            yield f"4: receipt {no} of {receipt.system} {receipt.ext_id} led to nothing"


def _calls(dump: Dump) -> Iterator[str]:
    """4. A request of a consumer is one call, whose Run was born with it; every call has its request."""
    requests = {receipt.no for receipt in dump.receipts if receipt.door == CALLED}
    runs = {run.id for run in dump.runs}
    for call in dump.calls:
        name = f"call {call.key} of {call.operation} by {call.consumer}"
        if call.receipt not in requests:
            yield f"4: {name} has no receipt of its own"
        requests.discard(call.receipt)
        if call.run is not None and call.run not in runs:
            yield f"4: {name} began {call.run}, which does not exist"
        if (call.status is None) != (call.answered_at is None):
            yield f"4: {name} is half answered"
    for no in sorted(requests):
        yield f"4: receipt {no} is a consumer's request and no call"


def _usage(dump: Dump) -> Iterator[str]:
    """4. The accepted rows of a usage batch exist, as its leaf says."""
    batches: dict[str, list[UsageRow]] = defaultdict(list)
    for row in dump.usage:
        batches[row[6]].append(row)
    for _, leaf in dump.leaves:
        if leaf.kind != "usage.kept":
            continue
        body, rows = msgspec.json.decode(leaf.body), batches.pop(leaf.subject, [])
        if (body["accepted"], body["digest"]) != (len(rows), digest(rows)):
            yield f"4: usage {leaf.subject} is {len(rows)} events, not the {body['accepted']} of its leaf"
    for batch in batches:
        yield f"4: usage {batch} has no leaf"


def _inbox(dump: Dump, at: datetime) -> Iterator[str]:
    """5. Inbox seq is gapless and consumed in order; no Run with something unread is due in the future."""
    seqs: dict[str, list[int]] = defaultdict(list)
    for item in dump.inbox:
        seqs[item.run].append(item.seq)
    queued = {run for _, run, _ in dump.queues}
    for run in dump.runs:
        if sorted(seqs.pop(run.id, [])) != list(range(1, run.inbox_n + 1)):
            yield f"5: the inbox of {run.id} does not number 1..{run.inbox_n}"
        if not 0 <= run.consumed <= run.inbox_n:
            yield f"5: {run.id} consumed {run.consumed} of {run.inbox_n}"
        planned_start = run.version == 0 and run.inbox_n == 1
        if run.status in TERMINAL or run.inbox_n == run.consumed or planned_start:
            continue
        if run.due is None and run.id not in queued:
            yield f"5: {run.id} has unread stimuli and is never due"
        elif run.due is not None and run.due > at:
            yield f"5: {run.id} has unread stimuli and is due at {run.due.isoformat()}"
    for lost in seqs:
        yield f"5: the inbox has items of {lost}, which does not exist"


def _joined(dump: Dump, at: datetime) -> Iterator[str]:
    """6. Each state is what matching says of its standing documents, before its due time or at this time."""
    for match in dump.matches:
        stored = {foil.id: foil for foil in match.foils}
        settled = settle(match.rows, _LONG_AGO)
        late = {foil.id: foil for foil in settle(match.rows, at).foils}
        for would in settled.foils:
            foil, now = stored[would.id], late.get(would.id)
            # A waiver given before the due time keeps its reason after it.
            waived = foil.state is FoilState.WAIVED and foil.state in (would.state, now and now.state)
            if now is not None and not (waived and now.residual == foil.residual):
                yield f"6: {foil.id} is {foil.state}, matching would make it {would.state}"
        for item in settled.observations:
            o = next(o for o in match.observations if o.id == item.id)
            yield f"6: {o.id} is {o.state}, matching would make it {item.state}"


def _identity(dump: Dump, at: datetime) -> Iterator[str]:
    """7. Asserted - observed = the items of each kind, per pair of systems, entity and currency."""
    for line in roll_forward([(match.rule, match.rows) for match in dump.matches], at, None, None):
        if not line.balanced:
            items = ", ".join(f"{name} {minor}" for name, minor in line.columns.items() if minor)
            books = f"{line.rule} {line.entity} {line.currency}"
            yield f"7: {books}: {line.asserted} less {line.observed} minor units is not {items or 'nothing'}"


def _residuals(dump: Dump, at: datetime) -> Iterator[str]:
    """7. The identity holds with the residuals of the rows too: they add up to those of the documents."""
    sums: Counter[tuple[str, str, str]] = Counter()
    for match in dump.matches:
        leg = rules_of(match.rows).total or ""
        judged = {foil.id: foil for foil in settle(match.rows, at).foils}
        for foil in match.foils:
            value, by = foil.legs.get(leg), judged.get(foil.id, foil).residual.get(leg, 0)
            if isinstance(value, Money):
                sums[match.rule, foil.entity, value.currency] += foil.residual.get(leg, 0) - by
    for (rule, entity, currency), off in sums.items():
        if off:
            yield f"7: {rule} {entity} {currency}: the residuals of its rows are {off} minor units off"


def _guards(dump: Dump) -> Iterator[str]:
    """8. One holder per serial; guard.used = sum of live reservations <= limit."""
    for serial, count in Counter(serial for serial, _ in dump.holds).items():
        if count > 1:
            yield f"8: serial {serial} has {count} holders"
    status = {run.id: run.status for run in dump.runs}
    for serial, run in dump.holds:
        if status.get(run) in TERMINAL:
            yield f"8: serial {serial} is held by {run}, which has ended"
    live: Counter[tuple[str, str]] = Counter()
    for r in dump.reservations:
        live[r.scope, r.key] += r.amount if r.live else 0
    for guard in dump.guards:
        reserved = live.pop((guard.scope, guard.key), 0)
        if guard.used != reserved:
            yield f"8: guard {guard.scope} {guard.key} says {guard.used}, its reservations say {reserved}"
        if guard.limit is not None and guard.used > guard.limit:
            yield f"8: guard {guard.scope} {guard.key} is at {guard.used} of {guard.limit}"
    for scope, key in live:
        yield f"8: reservations on {scope} {key}, which has no guard"


def _quotas(dump: Dump, at: datetime) -> Iterator[str]:
    """8. The quotas of live workers add up to no more than their account's cap."""
    granted: Counter[str] = Counter()
    for quota in dump.quotas:
        if quota.n < 0:
            yield f"8: {quota.worker} has {quota.n} slots of {quota.account}"
        granted[quota.account] += quota.n if quota.until > at else 0
    caps = {account.account: account for account in dump.accounts}
    for name, n in granted.items():
        if name not in caps:
            yield f"8: quotas of {name}, which is no account"
        elif n > caps[name].cap:
            yield f"8: the quotas of {name} add up to {n} of {caps[name].cap}"
    for account in dump.accounts:
        if not 1 <= account.aim <= account.cap:
            yield f"8: {account.account} is to have {account.aim} of {account.cap}"


def _quorums(dump: Dump) -> Iterator[str]:
    """9. Each guarded effect that may exist outside has its quorum; no approver is its requester."""
    approvals = {approval.id: approval for approval in dump.approvals}
    persons = {person.id: person for person in dump.persons}
    voters: dict[str, set[str]] = defaultdict(set)
    for vote in dump.votes:
        if vote.approve:
            voters[vote.approval].add(vote.person)
    for effect in dump.effects:
        if effect.state not in _MAY_EXIST:
            continue
        for id_ in effect.approvals:
            approval = approvals.get(id_)
            # What was done under it was approved, also when it fell afterwards; its votes must be there.
            allowed = _FALLEN if effect.state is EffectState.CONFIRMED else ()
            if approval is None or approval.state not in (ApprovalState.GRANTED, *allowed):
                state = "missing" if approval is None else approval.state
                yield f"9: {effect.id} is {effect.state} and its approval {id_} is {state}"
            elif not approval.automatic:
                who = voters[id_]
                if len(who) < approval.quorum:
                    yield f"9: {id_} is granted by {len(who)} of {approval.quorum}"
                for person in sorted(who & persons.keys()):
                    part = approval.part_of(persons[person])
                    if part is not None:
                        yield f"9: {id_} is granted by its {part} {person}"


def _ends(dump: Dump, irreversible: Collection[str]) -> Iterator[str]:
    """10. `undone`: each confirmed effect has a confirmed undo or an irreversible reason; terminal Runs have
    nothing on its way."""
    status = {run.id: run.status for run in dump.runs}
    undone = {e.undoes for e in dump.effects if e.state is EffectState.CONFIRMED}
    owned = {case.effect for case in dump.cases}
    # A decision about a failed undo is also a decision about the effect that stays.
    owned |= {effect.undoes for effect in dump.effects if effect.id in owned}
    for effect in dump.effects:
        ended = status.get(effect.run)
        if ended in TERMINAL and effect.state in UNFINISHED:
            yield f"10: {effect.run} is {ended} and its effect {effect.id} is {effect.state}"
        taken_back = effect.undoes is not None or effect.id in undone or effect.id in owned
        if (
            ended is RunStatus.UNDONE
            and effect.state is EffectState.CONFIRMED
            and not taken_back
            and effect.operation not in irreversible
        ):
            yield f"10: {effect.run} is undone and {effect.id} stays confirmed"


def _unfinished(dump: Dump) -> Iterator[str]:
    """11. Everything unfinished has a future due or an owned Case with a deadline."""
    open_cases = [case for case in dump.cases if case.state is CaseState.OPEN]
    for case in open_cases:
        if not case.owner:
            yield f"11: {case.id} has no owner"
    runs_owned = {case.run for case in open_cases}
    effects_owned = {case.effect for case in open_cases}
    queued = {run for _, run, _ in dump.queues}
    moving = {effect.run for effect in dump.effects if effect.state in UNFINISHED}
    for run in dump.runs:
        if run.status in TERMINAL or run.due is not None or run.id in queued | moving | runs_owned:
            continue
        yield f"11: {run.id} is {run.status} and nothing will ever wake it"
    for effect in dump.effects:
        next_check = effect.look_at if effect.state is not EffectState.SENDING else effect.call_until
        looked_for = effect.id in effects_owned or effect.run in runs_owned
        if effect.state in IN_FLIGHT and next_check is None and not looked_for:
            yield f"11: {effect.id} is {effect.state} and no look-up is planned for it"
    yield from _held_back(dump, {case.foil for case in dump.cases})
    about = {("receipt", str(c.receipt)) for c in open_cases} | {("event", c.event) for c in open_cases}
    decided = {case_topic(case.id) for case in dump.cases if case.state is not CaseState.OPEN}
    for kind, ref, topic in dump.todos:
        if topic in decided or (topic == "" and (kind, ref) not in about):
            yield f"11: {kind} {ref} is set aside and no Case owns it"


def _held_back(dump: Dump, owned: set[str | None]) -> Iterator[str]:
    """A broken foil has its Case, or its Run has yet to read of it."""
    runs: dict[str | None, Run] = {run.id: run for run in dump.runs}
    for foil in dump.foils:
        run = runs.get(foil.run)
        unread = run is not None and run.status not in TERMINAL
        if foil.state in (FoilState.BROKEN, FoilState.OVER) and foil.id not in owned and not unread:
            yield f"11: {foil.id} is {foil.state} and no Case owns it"


def _leaves(dump: Dump) -> Iterator[str]:
    """12. Turn leaves number 1..version per Run; every leaf is in the tree once, or pending."""
    versions: dict[str | None, list[int]] = defaultdict(list)
    for _, leaf in dump.leaves:
        if leaf.version is not None:
            versions[leaf.run].append(leaf.version)
    for run in dump.runs:
        if sorted(versions.pop(run.id, [])) != list(range(1, run.version + 1)):
            yield f"12: the turn leaves of {run.id} do not number 1..{run.version}"
    for lost in versions:
        yield f"12: turn leaves of {lost}, which does not exist"
    pending = Counter(dump.pending)
    for index, leaf in dump.leaves:
        places = pending.pop(leaf.id, 0) + (index is not None)
        if places != 1:
            yield f"12: leaf {leaf.id} has {places} places in the log"
    for id_ in pending:
        yield f"12: {id_} is pending and is no leaf"
    indices = sorted(index for index, _ in dump.leaves if index is not None)
    if indices != list(range(len(indices))):
        yield f"12: the tree of {len(indices)} leaves has gaps"


def _notices(dump: Dump) -> Iterator[str]:
    """12. The counts of unread notices are those of the rows."""
    unread = Counter((n.person, str(n.kind), n.entity) for n in dump.notices if n.read_at is None)
    counts = {(person, kind, entity): count for person, kind, entity, count in dump.notice_counts if count}
    if counts != unread:
        yield f"12: the counts of unread notices are {counts}, and the rows are {dict(unread)}"


def _releases(dump: Dump) -> Iterator[str]:
    """9. The active Release is the last step of a history without gaps; a step applied under approvals has an approver
    other than its requester."""
    before: str | None = None
    for number, step in enumerate(dump.releases, start=1):
        if step.no != number or step.base != before:
            yield f"9: step {step.no} of the releases does not follow {before}"
        if step.requester and step.requester in step.approvers:
            yield f"9: release {step.digest} was approved by its requester {step.requester}"
        before = step.digest
    if dump.present != before:
        yield f"9: release {dump.present} is active and the history ends with {before}"


def _checkpoint(dump: Dump, checkpoint: Checkpoint | None) -> Iterator[str]:
    """12. The signed root is the root of the stored leaves."""
    if checkpoint is None:
        return
    sealed = sorted(((index, leaf) for index, leaf in dump.leaves if index is not None), key=lambda x: x[0])
    if len(sealed) < checkpoint.size:
        yield f"12: the checkpoint is of {checkpoint.size} leaves and the tree has {len(sealed)}"
    elif tree_root([leaf.hash for _, leaf in sealed[: checkpoint.size]]) != checkpoint.root:
        yield f"12: the tree's root at {checkpoint.size} is not the signed one"
