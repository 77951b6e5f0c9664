"""Delegations of the caller: those given, by which another person decides approvals, and those received."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal, InvalidOperation

import msgspec
from litestar import get, post
from litestar.params import FromPath

from counterfoil.application import Application
from counterfoil.core.delegation import (
    MAX_DELEGATION,
    MAX_DELEGATION_REASON_CHARS,
    Delegation,
    delegation_id,
)
from counterfoil.core.money import Money, MoneyError
from counterfoil.core.people import Person, find_person
from counterfoil.store.port.delegations import DelegateRefusal, EndDelegationVerdict
from counterfoil.web.api.shapes import Amount, amount
from counterfoil.web.http.permissions import Open, Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import (
    JSON,
    RequestBody,
    WebRequest,
    application,
    caller,
    decode_json,
    require_json,
    requires,
    trusted_caller,
)

_REFUSALS: dict[DelegateRefusal, tuple[int, str, str]] = {
    "inactive": (403, "", "You are not active and cannot delegate."),
    "self": (422, "receiver", "Choose another person: you decide for yourself anyway."),
    "receiver": (422, "receiver", "Choose an active person."),
    "past": (422, "until", "The end has passed. Choose a time in the future."),
    "time": (422, "until", "The end comes before the beginning."),
    "long": (422, "until", f"A delegation holds for at most {MAX_DELEGATION.days} days."),
    "overlap": (409, "until", "This person decides for you in a part of this time already. End that delegation first."),
}  # fmt: skip
"""Status, field and sentence of each refusal. The kind of the problem is the name of the refusal."""


class DelegationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    receiver: str
    """Id or e-mail address of the person who decides."""
    until: datetime
    """With an offset or `Z`."""
    since: datetime | None = None
    """The beginning, with an offset or `Z`. Without it: now."""
    up_to: str = ""
    """The largest amount, such as `5000.00 USD`. Empty: any."""
    reason: str = ""


class DelegationShape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    giver: str
    giver_name: str
    receiver: str
    receiver_name: str
    since: datetime
    until: datetime
    up_to: Amount | None
    """The largest amount, without its sign. None: any."""
    reason: str
    state: str
    """planned, holds, over or ended."""
    ended_at: datetime | None


class DelegationList(msgspec.Struct, frozen=True):
    """Delegations that the caller gave or received, the newest first."""

    items: list[DelegationShape]


@get("/v1/delegations", opt=requires(Open.SIGNED_IN), tags=["approvals"], summary="List own delegations")
async def list_delegations(request: WebRequest) -> DelegationList:
    return DelegationList(await delegations_of(application(request), caller(request).person.id))


@post(
    "/v1/delegations",
    opt=requires(Permission.APPROVALS_OWN_DECIDE, RequestBody(JSON, DelegationRequest)),
    status_code=201,
    tags=["approvals"],
    summary="Let another person decide approvals",
)
async def make_delegation(request: WebRequest) -> DelegationShape:
    """Let another person decide the approvals of the caller's roles for a time. Both names are on record."""
    giver = trusted_caller(request).person.id
    body = await request.body()
    require_json(request)
    new = decode_json(body, DelegationRequest)
    app = application(request)
    id_ = await delegate(app, giver, new)
    return next(row for row in await delegations_of(app, giver) if row.id == id_)


@post(
    "/v1/delegations/{delegation_id:str}/end",
    opt=requires(Permission.APPROVALS_OWN_DECIDE),
    status_code=200,
    tags=["approvals"],
    summary="End a delegation",
)
async def end_delegation(request: WebRequest, delegation_id: FromPath[str]) -> DelegationShape:
    giver, app = trusted_caller(request).person.id, application(request)
    await end(app, delegation_id, giver)
    return next(row for row in await delegations_of(app, giver) if row.id == delegation_id)


async def delegations_of(app: Application, person: str) -> list[DelegationShape]:
    """Return the delegations that a person gave or received, the newest first, with names."""
    rows = await app.store.delegations(person)
    names = {p.id: p.name for p in await app.store.persons()} if rows else {}
    now = await app.now()
    return [_shape(row, names, now) for row in sorted(rows, key=lambda d: (d.starts_at, d.id), reverse=True)]


async def delegate(app: Application, giver: str, request: DelegationRequest) -> str:
    """Make a delegation and return its id. Raises Problem for a refusal."""
    now = await app.now()
    since, until = request.since or now, request.until
    for field, at in (("since", since), ("until", until)):
        if at.tzinfo is None:
            raise Problem(422, "The time needs an offset, such as `Z`.", field=field)
    receiver = _receiver(await app.store.persons(), request.receiver)
    delegation = Delegation(
        id=delegation_id(giver, receiver, since, until, now),
        giver=giver,
        receiver=receiver,
        starts_at=since,
        ends_at=until,
        up_to=amount_of(request.up_to),
        reason=request.reason.strip()[:MAX_DELEGATION_REASON_CHARS],
        created_at=now,
    )
    verdict = await app.delegate(delegation)
    if verdict != "done":
        status, field, sentence = _REFUSALS[verdict]
        raise Problem(status, sentence, kind=verdict, field=field)
    return delegation.id


async def end(app: Application, id_: str, giver: str) -> None:
    """End a delegation of a person. Raises Problem for a refusal."""
    verdict: EndDelegationVerdict = await app.end_delegation(id_, giver)
    if verdict == "not_found":
        raise Problem(404, f"You have given no delegation {id_[:100]}.")
    if verdict == "ended":
        raise Problem(409, "This delegation is over already.", kind="ended")


def amount_of(text: str) -> Money | None:
    """Return the amount of a text such as `5000.00 USD`; None for an empty one. Raises Problem 422."""
    words = text.split()
    if not words:
        return None
    try:
        number, currency = words
        limit = Money.from_major(Decimal(number.replace(",", "")), currency.upper())
    except (ValueError, InvalidOperation, MoneyError):
        raise Problem(422, "Write an amount with its currency, such as 5000.00 USD.", field="up_to") from None
    if limit.minor <= 0:
        raise Problem(422, "The largest amount must be above zero.", field="up_to")
    return limit


def _receiver(persons: list[Person], name: str) -> str:
    """Return the id of the person with an id or e-mail address; the name itself if there is none."""
    person = find_person(persons, "", name)
    return name if person is None else person.id


def _shape(row: Delegation, names: dict[str, str], now: datetime) -> DelegationShape:
    state = "ended" if row.ended_at is not None else "over" if row.ends_at <= now else "holds"
    return DelegationShape(
        id=row.id,
        giver=row.giver,
        giver_name=names.get(row.giver, row.giver),
        receiver=row.receiver,
        receiver_name=names.get(row.receiver, row.receiver),
        since=row.starts_at,
        until=row.ends_at,
        up_to=None if row.up_to is None else amount(row.up_to),
        reason=row.reason,
        state="planned" if state == "holds" and row.starts_at > now else state,
        ended_at=row.ended_at,
    )


ROUTES = [list_delegations, make_delegation, end_delegation]
