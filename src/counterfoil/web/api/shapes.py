"""JSON shapes of the operator API, and their construction from the engine's records.

Names here are a contract with programs (docs/reference/json-output.md): fields are added, never renamed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import Approval, Vote
from counterfoil.core.audit import Checkpoint, Leaf
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.case import Case
from counterfoil.core.effect import Effect
from counterfoil.core.foil import Foil
from counterfoil.core.link import Link
from counterfoil.core.money import Money
from counterfoil.core.run import InboxItem
from counterfoil.store.port.views import CaseRow, RunRow


class Amount(msgspec.Struct, frozen=True):
    """`amount` is exact decimal text in major units."""

    amount: str
    currency: str
    minor: int


class RunShape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    workflow: str
    key: str
    generation: int
    status: str
    direction: str
    state: str
    exposure: list[Amount]
    cases: int
    foils: dict[str, int]
    version: int
    due: datetime | None
    created_at: datetime
    release: str


class FoilShape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    rule: str
    key: str
    object: str
    left: str
    right: str
    legs: dict[str, Amount]
    state: str
    finance: str
    reason: str
    due: datetime
    run: str | None
    effect: str | None
    owner: str
    created_at: datetime
    settled_at: datetime | None


class CaseShape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    reason: str
    message: str
    owner: str
    deadline: datetime
    next_action: str
    choices: list[str]
    state: str
    run: str | None
    workflow: str | None
    key: str | None
    path: str | None
    receipt: int | None
    event: str | None
    effect: str | None
    foil: str | None
    exposure: list[Amount]
    created_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    choice: str | None
    note: str


class VoteShape(msgspec.Struct, frozen=True, kw_only=True):
    person: str
    approve: bool
    comment: str
    at: datetime


class ApprovalShape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    run: str
    path: str
    policy: str
    subject: str
    covers: Any
    amount: Amount | None
    roles: list[str]
    quorum: int
    requester: str
    state: str
    expires: datetime
    created_at: datetime
    automatic: bool
    votes: list[VoteShape] = []


class EventShape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: str
    system: str
    object: str
    key: str
    version: int
    data: Any
    legal_entity: str
    occurred_at: datetime
    effective_at: datetime
    received_at: datetime
    receipt: int | None
    cause: str
    correlation: str


class LinkShape(msgspec.Struct, frozen=True, kw_only=True):
    object: str
    canonical: str
    system: str
    account: str
    ext_id: str
    ext_type: str
    status: str
    established_by: str
    valid_from: datetime
    valid_to: datetime | None


class EffectShape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    path: str
    item: str
    generation: int
    undoes: str | None
    operation: str
    system: str
    repeat: str
    state: str
    attempt: int
    looks: int
    approvals: list[str]
    input: Any
    result: Any
    error_class: str | None
    error: str
    links: list[LinkShape]
    created_at: datetime
    send_by: datetime | None
    conclude_at: datetime | None
    look_at: datetime | None
    ended_at: datetime | None


class InboxShape(msgspec.Struct, frozen=True, kw_only=True):
    seq: int
    kind: str
    ref: str
    at: datetime
    body: Any


class LeafShape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    index: int | None
    """Index in the tree; null until it is sealed."""
    kind: str
    subject: str
    run: str | None
    version: int | None
    actor: str
    at: datetime
    hash: str


class CheckpointShape(msgspec.Struct, frozen=True, kw_only=True):
    size: int
    root: str
    at: datetime
    text: str


FINANCE_WORDS = {
    "provisional": "expected entry",
    "open": "open item",
    "partly": "reconciling item",
    "matched": "matched",
    "over": "duplicate suspected",
    "broken": "break",
    "waived": "waived",
    "reversed": "reversed",
    "void": "void",
}
"""Finance's word for a counterfoil in each state."""


def amount(money: Money) -> Amount:
    return Amount(f"{money.major():f}", money.currency, money.minor)


def amounts(many: Iterable[Money]) -> list[Amount]:
    return [amount(money) for money in many]


def plain(value: Any) -> Any:
    """Return a stored value as JSON types: exact numbers become text, Money becomes an Amount."""
    if isinstance(value, Money):
        return amount(value)
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, Decimal):
        return f"{value:f}" if abs(value.adjusted()) < 40 else str(value)
    if isinstance(value, datetime):
        return wire.time_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return str(value)
    return value


def stored(data: bytes | None) -> Any:
    """Decode bytes of the internal encoding into JSON types."""
    return None if data is None else plain(wire.loads(data))


def run_shape(row: RunRow) -> RunShape:
    run = row.run
    return RunShape(
        id=run.id,
        workflow=run.workflow,
        key=run.bkey,
        generation=run.generation,
        status=str(run.status),
        direction=str(run.direction),
        state=run.state,
        exposure=amounts(row.exposure),
        cases=row.cases,
        foils={str(state): count for state, count in row.foils},
        version=run.version,
        due=run.due,
        created_at=run.created_at,
        release=run.pin,
    )


def foil_shape(foil: Foil) -> FoilShape:
    return FoilShape(
        id=foil.id,
        rule=foil.rule,
        key=foil.key,
        object=foil.object,
        left=foil.left,
        right=foil.right,
        legs={leg: amount(money) for leg, money in foil.legs.items()},
        state=str(foil.state),
        finance=FINANCE_WORDS[str(foil.state)],
        reason=foil.reason,
        due=foil.due,
        run=foil.run,
        effect=foil.effect,
        owner=foil.owner,
        created_at=foil.created_at,
        settled_at=foil.settled_at,
    )


def case_shape(target: CaseRow) -> CaseShape:
    case: Case = target.case
    return CaseShape(
        id=case.id,
        reason=case.reason,
        message=case.message,
        owner=case.owner,
        deadline=case.deadline,
        next_action=case.next_action,
        choices=[str(choice) for choice in case.choices],
        state=str(case.state),
        run=case.run,
        workflow=target.workflow,
        key=target.bkey,
        path=case.path,
        receipt=case.receipt,
        event=case.event,
        effect=case.effect,
        foil=case.foil,
        exposure=amounts(case.exposure),
        created_at=case.created_at,
        resolved_at=case.resolved_at,
        resolved_by=case.resolved_by,
        choice=None if case.choice is None else str(case.choice),
        note=case.note,
    )


def approval_shape(approval: Approval, votes: Iterable[Vote] = ()) -> ApprovalShape:
    return ApprovalShape(
        id=approval.id,
        run=approval.run,
        path=approval.path,
        policy=approval.policy,
        subject=approval.subject,
        covers=stored(approval.covers),
        amount=None if approval.amount is None else amount(approval.amount),
        roles=list(approval.roles),
        quorum=approval.quorum,
        requester=approval.requester,
        state=str(approval.state),
        expires=approval.expires,
        created_at=approval.created_at,
        automatic=approval.automatic,
        votes=[
            VoteShape(person=vote.person, approve=vote.approve, comment=vote.comment, at=vote.at)
            for vote in votes
        ],
    )


def event_shape(event: CanonicalEvent) -> EventShape:
    return EventShape(
        id=event.id,
        type=event.type,
        system=event.system,
        object=event.object,
        key=event.key,
        version=event.version,
        data=plain(event.data),
        legal_entity=event.legal_entity,
        occurred_at=event.occurred_at,
        effective_at=event.effective_at,
        received_at=event.received_at,
        receipt=event.receipt,
        cause=event.cause,
        correlation=event.correlation,
    )


def link_shape(link: Link) -> LinkShape:
    return LinkShape(
        object=link.object,
        canonical=link.canonical,
        system=link.system,
        account=link.account,
        ext_id=link.ext_id,
        ext_type=link.ext_type,
        status=str(link.status),
        established_by=link.established_by,
        valid_from=link.valid_from,
        valid_to=link.valid_to,
    )


def effect_shape(effect: Effect, links: Iterable[Link] = ()) -> EffectShape:
    return EffectShape(
        id=effect.id,
        path=effect.path,
        item=effect.item,
        generation=effect.gen,
        undoes=effect.undoes,
        operation=effect.operation,
        system=effect.system,
        repeat=effect.repeat,
        state=str(effect.state),
        attempt=effect.attempt,
        looks=effect.looks,
        approvals=list(effect.approvals),
        input=stored(effect.input),
        result=stored(effect.result),
        error_class=None if effect.error_class is None else str(effect.error_class),
        error=effect.error,
        links=[link_shape(link) for link in links],
        created_at=effect.created_at,
        send_by=effect.send_by,
        conclude_at=effect.conclude_at,
        look_at=effect.look_at,
        ended_at=effect.ended_at,
    )


def inbox_shape(item: InboxItem) -> InboxShape:
    return InboxShape(seq=item.seq, kind=item.kind, ref=item.ref, at=item.at, body=stored(item.body))


def leaf_shape(index: int | None, leaf: Leaf) -> LeafShape:
    return LeafShape(
        id=leaf.id,
        index=index,
        kind=leaf.kind,
        subject=leaf.subject,
        run=leaf.run,
        version=leaf.version,
        actor=leaf.actor,
        at=leaf.at,
        hash=leaf.hash.hex(),
    )


def checkpoint_shape(checkpoint: Checkpoint) -> CheckpointShape:
    return CheckpointShape(
        size=checkpoint.size, root=checkpoint.root.hex(), at=checkpoint.at, text=checkpoint.text
    )
