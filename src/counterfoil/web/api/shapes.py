"""JSON shapes of the operator API, and their construction from the engine's records.

Names here are a contract with programs (docs/reference/json-output.md): fields are added, never renamed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import Approval, Vote
from counterfoil.core.effect import Effect
from counterfoil.core.foil import Foil
from counterfoil.core.link import Link
from counterfoil.core.money import Money
from counterfoil.core.run import InboxItem
from counterfoil.core.terms import Legs, Terms
from counterfoil.store.port.as_of import AsOf
from counterfoil.store.port.views import CaseRow, ItemRow, RunRow
from counterfoil.web.api.names import DocumentName
from counterfoil.web.api.state_words import FINANCE_WORDS

S = TypeVar("S", bound=msgspec.Struct)


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
    waits_for: str
    """What stops it, in words; empty if it has ended."""
    created_at: datetime
    release: str
    legal_entity: str = ""
    name: str = ""
    """Number or name of the object that it is about."""
    customer: str = ""


class FoilShape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    rule: str
    reconciliation: str
    """The same as `rule`."""
    key: str
    document: str
    version: int
    object: str
    left: str
    right: str
    entity: str
    effective: str
    stands: bool
    legs: dict[str, Amount | str]
    asserted: dict[str, Amount | str]
    observed: dict[str, Amount | str]
    residual: dict[str, Amount | str]
    """Asserted less observed, by leg."""
    absorbed_by: dict[str, str]
    """The role that bears what the tolerance absorbs, by leg; empty unless it is matched with a difference."""
    state: str
    finance: str
    reason: str
    due: datetime
    run: str | None
    effect: str | None
    owner: str
    created_at: datetime
    settled_at: datetime | None
    legal_entity: str = ""
    """The same as `entity`."""
    name: str = ""
    """Number of the document in its own system."""
    customer: str = ""


class ItemShape(msgspec.Struct, frozen=True, kw_only=True):
    """A document of the right system that no counterfoil accounts for."""

    id: str
    system: str
    document: str
    key: str
    amounts: dict[str, Amount | str]
    age_s: int
    """Whole seconds since its first version was known."""
    owner: str
    case: str | None
    reconciliation: str
    entity: str
    state: str
    effective: str
    legal_entity: str = ""
    """The same as `entity`."""
    name: str = ""
    """Number of the document, where `document` is an id."""
    customer: str = ""


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
    observation: str | None
    """The unmatched item that it is about."""
    exposure: list[Amount]
    count: int
    created_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    choice: str | None
    note: str
    legal_entity: str = ""
    """Empty: it is about no row of one entity."""
    name: str = ""
    customer: str = ""
    summary: str = ""
    """What happened, in plain words. `message` is the text of the record."""
    confirmed: list[str] = []
    """Calls of its Run that `undo` takes back, each with its amount."""
    release_note: str = ""
    """How to retry by the active Release, if its Run uses another one."""
    approval: str | None = None
    """Open approval that it waits for: the difference was asked to be accepted."""
    assignee: str = ""
    """The person who works on it; empty for no one."""
    assignee_name: str = ""
    tags: list[str] = []
    snoozed_until: datetime | None = None
    snooze_reason: str = ""
    cause: str = ""
    """Key that Cases of one cause share."""


class VoteShape(msgspec.Struct, frozen=True, kw_only=True):
    person: str
    approve: bool
    comment: str
    at: datetime
    behalf: str = ""
    """The person for whom it was cast, by a delegation. Empty: for the voter."""


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
    senders: list[str]
    state: str
    expires: datetime
    created_at: datetime
    automatic: bool
    legal_entity: str = ""
    """Empty for a change of governance."""
    summary: str = ""
    """Decision on a match, or changes of a plan, in plain words; empty for an approval of a Run."""
    about: dict[str, str] = {}
    """Customer, documents, ticket and reason of the request, by name."""
    tier: str = ""
    """Why these roles decide."""
    votes: list[VoteShape] = []


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
    legal_entity: str


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


def amount(money: Money) -> Amount:
    return Amount(f"{money.major():f}", money.currency, money.minor)


def legs(values: Legs, terms: Terms | None = None) -> dict[str, Amount | str]:
    """Return legs: money as an Amount, everything else as text.

    With `terms`, a leg of parts without any, such as the taxes of an exempt document, is left out.
    """
    parted = {leg for leg, rule in terms.legs.items() if rule.per and values.get(leg) == 0} if terms else ()
    return {
        leg: amount(v) if isinstance(v, Money) else str(v) for leg, v in values.items() if leg not in parted
    }


def shown_of(foil: Foil) -> Legs:
    """Return what the other side shows of a foil: what it asserts less what is missing."""
    observed: Legs = {}
    for leg, by in foil.residual.items():
        value = foil.legs.get(leg, 0)
        if not isinstance(value, str):
            asserted = value.minor if isinstance(value, Money) else value
            observed[leg] = foil.of_leg(leg, (asserted if foil.stands else 0) - by)
    return observed


def dates_of(at: AsOf) -> dict[str, str]:
    """Return the two dates of a question as an answer states them."""
    day = {} if at.effective_by is None else {"effective_by": at.effective_by.isoformat()}
    return {"as_of": wire.time_text(at.known)} | day


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


def copy_to(shape: type[S], record: object, **fields: Any) -> S:
    """Return a shape with these fields, and all others from the record's attributes of the same name."""
    names = (name for name in shape.__struct_fields__ if name not in fields)
    return shape(**{name: _json(getattr(record, name)) for name in names}, **fields)


def _json(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return str(value)
    return amount(value) if isinstance(value, Money) else list(value) if isinstance(value, tuple) else value


def run_shape(row: RunRow, name: DocumentName, waits_for: str, default: str = "") -> RunShape:
    return copy_to(
        RunShape,
        row.run,
        **name._asdict(),
        key=row.run.bkey,
        exposure=amounts(row.exposure),
        cases=row.cases,
        foils={str(state): count for state, count in row.foils},
        release=row.run.pin,
        legal_entity=row.run.entity or default,
        waits_for=waits_for,
    )


def foil_shape(foil: Foil, name: DocumentName, default: str = "") -> FoilShape:
    return copy_to(
        FoilShape,
        foil,
        **name._asdict(),
        reconciliation=foil.rule,
        document=foil.number,
        legs=legs(foil.legs, foil.terms),
        asserted=legs(foil.legs, foil.terms) if foil.stands else {},
        observed=legs(shown_of(foil), foil.terms),
        residual=legs({leg: foil.of_leg(leg, by) for leg, by in foil.residual.items()}, foil.terms),
        absorbed_by={part.leg: part.owner for part in foil.absorbed},
        finance=FINANCE_WORDS[str(foil.state)],
        entity=foil.entity or default,
        legal_entity=foil.entity or default,
    )


def case_shape(row: CaseRow, name: DocumentName, default: str = "", **words: str) -> CaseShape:
    """Return the shape of a Case. `words` are `summary` and `next_action`, with names instead of ids."""
    return copy_to(
        CaseShape,
        row.case,
        **name._asdict(),
        **words,
        choices=[str(choice) for choice in row.case.choices],
        workflow=row.workflow,
        key=row.bkey,
        exposure=amounts(row.case.exposure),
        legal_entity=(row.entity or default) if row.entity is not None else "",
        confirmed=[],
        release_note="",
        approval=None,
        assignee_name="",
    )


def item_shape(row: ItemRow, now: datetime, name: DocumentName, default: str = "") -> ItemShape:
    return copy_to(
        ItemShape,
        row.item,
        **name._asdict(),
        document=row.item.number,
        amounts=legs(row.item.legs, row.item.terms),
        age_s=max(0, int((now - row.item.since).total_seconds())),
        case=row.case,
        reconciliation=row.item.rule,
        entity=row.item.entity or default,
        legal_entity=row.item.entity or default,
    )


def approval_shape(
    approval: Approval,
    votes: Iterable[Vote] = (),
    summary: str = "",
    about: dict[str, str] | None = None,
    tier: str = "",
    legal_entity: str = "",
) -> ApprovalShape:
    of_persons = [copy_to(VoteShape, vote) for vote in votes]
    covers = stored(approval.covers)
    return copy_to(
        ApprovalShape,
        approval,
        covers=covers,
        summary=summary,
        votes=of_persons,
        about=about or {},
        tier=tier,
        legal_entity=legal_entity,
    )


def link_shape(link: Link) -> LinkShape:
    return copy_to(LinkShape, link)


def effect_shape(effect: Effect, links: Iterable[Link] = ()) -> EffectShape:
    return copy_to(
        EffectShape,
        effect,
        generation=effect.gen,
        input=stored(effect.input),
        result=stored(effect.result),
        links=[link_shape(link) for link in links],
    )


def inbox_shape(item: InboxItem) -> InboxShape:
    return copy_to(InboxShape, item, body=stored(item.body))
