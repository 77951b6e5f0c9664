"""Contracts: every event and operation with its versions, who gives and takes each, and who still uses an old one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, get
from litestar.params import QueryParameter

from counterfoil.contracts.versions import number
from counterfoil.flow.context.deprecations import DeprecatedInUse, in_use
from counterfoil.model import Model, kinds
from counterfoil.rules import producers_consumers
from counterfoil.web.api.lists import Cursor, Limit, Listing, Text
from counterfoil.web.http.access import application, requires
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.ports import App
from counterfoil.web.http.problems import Problem

KINDS = ("event", "operation")


class DeprecatedShape(msgspec.Struct, frozen=True, kw_only=True):
    """Days begin at midnight UTC. All null but `why` where a reason alone is on file."""

    since: str | None
    sunset: str | None
    use: str | None
    why: str


class UserShape(msgspec.Struct, frozen=True, kw_only=True):
    """Who was seen to use a deprecated version: `system:`, `person:`, `workflow:` or `reconciliation:` and a name."""

    who: str
    side: str
    """`sends`, `takes` or `calls`."""
    count: int
    first_seen: datetime
    last_seen: datetime
    days: dict[str, int]
    """Of the last thirty days, those with any."""


class WaitingShape(msgspec.Struct, frozen=True, kw_only=True):
    workflow: str
    runs: int


class VersionShape(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    version: int
    state: str
    """`live`, `deprecated` or `sunset`: past its day."""
    owners: list[str]
    produced: str
    """Of an event: `mapping`, `workflow`, `counterfoil` or `http`; empty for an operation."""
    system: str
    """Of an operation: the system that does it; empty for an event."""
    producers: list[str]
    consumers: list[str]
    casts_from: list[str]
    """The versions that reach it by casts."""
    casts_to: list[str]
    deprecated: DeprecatedShape | None
    users: list[UserShape]
    waiting: list[WaitingShape]
    """Runs that wait for it now; told of deprecated events."""


class ContractShape(msgspec.Struct, frozen=True, kw_only=True):
    """One event or operation, with the versions that are declared, oldest first."""

    kind: str
    name: str
    versions: list[VersionShape]


@get(
    "/v1/contracts",
    opt=requires(Permission.CONTRACTS_ANY_READ),
    tags=["contracts"],
    summary="Events and operations, with versions and who uses them",
)
async def list_contracts(
    request: Request[Any, Any, Any],
    limit: Limit = 50,
    cursor: Cursor = None,
    kind: Text = None,
    name: Text = None,
    owner: Text = None,
    party: Annotated[
        str | None, QueryParameter(max_length=500, description="Who gives, takes or uses: `workflow:NAME`.")
    ] = None,
    deprecated: Annotated[
        bool | None, QueryParameter(description="Only contracts with a deprecated version, or with none.")
    ] = None,
) -> Listing[ContractShape]:
    """In order of kind and name. `name` is one version's, or what all versions have in common."""
    app = application(request)
    if kind and kind not in KINDS:
        raise Problem(400, f"A contract is an event or an operation, not {kind[:100]}.")
    model = app.model
    uses = {held.lifecycle.name: held for held in await in_use(app.store, model, await app.now())}
    found: list[ContractShape] = []
    for of, base, names in _after(model, cursor or None):
        if (kind and of != kind) or (name and base != name and name not in names):
            continue
        contract = _contract(model, of, base, names, uses)
        if _fits(contract, owner or None, party or None, deprecated):
            found.append(contract)
        if len(found) > limit:
            break
    more = len(found) > limit
    last = found[limit - 1] if more else None
    return Listing(found[:limit], None if last is None else f"{last.kind}.{last.name}")


async def contract_of(app: App, kind: str, name: str) -> ContractShape | None:
    """All versions of one event or operation; None for what is neither."""
    model = app.model
    uses = {held.lifecycle.name: held for held in await in_use(app.store, model, await app.now())}
    for of, base, names in model.versions.families():
        if of == kind and name in names:
            return _contract(model, of, base, names, uses)
    return None


def _after(model: Model, cursor: str | None) -> Iterator[tuple[str, str, list[str]]]:
    """The families behind a cursor. Raises Problem for what is no cursor."""
    last = None
    if cursor is not None:
        of, _, base = cursor.partition(".")
        if of not in KINDS or not base:
            raise Problem(400, "The cursor is not one that a page gave: take `next` as it is.", kind="cursor")
        last = (of, base)
    for of, base, names in model.versions.families():
        if last is None or (of, base) > last:
            yield of, base, names


def _fits(contract: ContractShape, owner: str | None, party: str | None, deprecated: bool | None) -> bool:
    """Whether any of its versions is meant."""
    return any(
        (owner is None or owner in version.owners)
        and (deprecated is None or (version.deprecated is not None) == deprecated)
        and (party is None or party in _parties(version))
        for version in contract.versions
    )


def _parties(version: VersionShape) -> set[str]:
    waiting = {f"workflow:{wait.workflow}" for wait in version.waiting}
    return {*version.producers, *version.consumers, *(user.who for user in version.users)} | waiting


def _contract(
    model: Model, of: str, base: str, names: list[str], uses: dict[str, DeprecatedInUse]
) -> ContractShape:
    return ContractShape(
        kind=of, name=base, versions=[_version(model, of, name, uses.get(name)) for name in names]
    )


def _version(model: Model, of: str, name: str, held: DeprecatedInUse | None) -> VersionShape:
    kind: kinds.Event | kinds.Operation
    kind = model.events[name] if of == "event" else model.operations[name]
    others = [other for other in model.versions.of(name, of) if other != name]
    versions = model.versions
    past = held is not None and held.lifecycle.past_sunset
    event = isinstance(kind, kinds.Event)
    return VersionShape(
        name=name,
        version=number(name),
        state="sunset" if past else "deprecated" if held is not None else "live",
        owners=model.owners_of(kind, "definition"),
        produced=kind.produced if isinstance(kind, kinds.Event) else "",
        system=kind.system if isinstance(kind, kinds.Operation) else "",
        producers=producers_consumers.producers(model, name)
        if event
        else producers_consumers.implementers(model, name),
        consumers=producers_consumers.takers(model, name)
        if event
        else producers_consumers.callers(model, name),
        casts_from=[other for other in others if versions.path(other, name) is not None],
        casts_to=[other for other in others if versions.path(name, other) is not None],
        deprecated=_deprecated(kind),
        users=[
            UserShape(
                who=used.who,
                side=used.side,
                count=used.count,
                first_seen=used.first_at,
                last_seen=used.last_at,
                days=used.days,
            )
            for used in (held.used if held is not None else ())
        ],
        waiting=[
            WaitingShape(workflow=wait.workflow, runs=wait.count)
            for wait in (held.waiting if held is not None else ())
        ],
    )


def _deprecated(kind: kinds.Event | kinds.Operation) -> DeprecatedShape | None:
    found = kind.deprecated
    if found is None:
        return None
    if not isinstance(found, kinds.Deprecated):
        return DeprecatedShape(since=None, sunset=None, use=None, why=found)
    return DeprecatedShape(since=found.since, sunset=found.sunset, use=found.use, why=found.why)


ROUTES = [list_contracts]
