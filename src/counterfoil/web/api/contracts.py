"""Contracts: events and operations with their versions, producers, consumers, and users of deprecated versions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import QueryParameter

from counterfoil.application import Application
from counterfoil.contracts.versions import number
from counterfoil.flow.context.deprecations import DeprecatedVersion, in_use
from counterfoil.model import Model, kinds
from counterfoil.rules import producers_consumers
from counterfoil.web.api.queries import Cursor, Limit, Text, invalid_cursor
from counterfoil.web.api.shapes import copy_to
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.request import WebRequest, application, requires

KINDS = ("event", "operation")
ContractKind = Annotated[str | None, QueryParameter(name="kind", enum=KINDS)]


class DeprecatedShape(msgspec.Struct, frozen=True, kw_only=True):
    """Dates begin at midnight UTC. All but `why` are null if the document gives only a reason."""

    since: str | None
    sunset: str | None
    use: str | None
    why: str


class UserShape(msgspec.Struct, frozen=True, kw_only=True):
    """Recorded user of a deprecated version: `system:`, `person:`, `workflow:` or `reconciliation:`, then a name."""

    who: str
    side: str
    """`sends`, `takes` or `calls`."""
    count: int
    first_seen: datetime
    last_seen: datetime
    days: dict[str, int]
    """Uses per day, for days of the last thirty with any use."""


class WaitingShape(msgspec.Struct, frozen=True, kw_only=True):
    workflow: str
    runs: int


class VersionShape(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    version: int
    state: str
    """`live`, `deprecated`, or `sunset` after its sunset date."""
    owners: list[str]
    produced: str
    """Of an event: `mapping`, `workflow`, `counterfoil` or `http`; empty for an operation."""
    system: str
    """Of an operation: the system that executes it; empty for an event."""
    producers: list[str]
    consumers: list[str]
    casts_from: list[str]
    """Versions that casts convert to this one."""
    casts_to: list[str]
    """Versions that casts convert this one to."""
    deprecated: DeprecatedShape | None
    users: list[UserShape]
    waiting: list[WaitingShape]
    """Runs that wait for it now; only for deprecated events."""


class ContractShape(msgspec.Struct, frozen=True, kw_only=True):
    """One event or operation with its declared versions, oldest first."""

    kind: str
    name: str
    versions: list[VersionShape]


class ContractList(msgspec.Struct, frozen=True):
    """One page of contracts in order of kind and name. `next` is the cursor of the next page, null at the end."""

    items: list[ContractShape]
    next: str | None


@get(
    "/v1/contracts",
    opt=requires(Permission.CONTRACTS_ANY_READ),
    tags=["contracts"],
    summary="List events and operations, with versions and their users",
)
async def list_contracts(
    request: WebRequest,
    limit: Limit = 50,
    cursor: Cursor = None,
    kind: ContractKind = None,
    name: Text = None,
    owner: Text = None,
    party: Annotated[
        str | None,
        QueryParameter(max_length=500, description="A producer, consumer or user, such as `workflow:NAME`."),
    ] = None,
    deprecated: Annotated[
        bool | None,
        QueryParameter(
            description="True: only contracts with a deprecated version. False: only those without."
        ),
    ] = None,
) -> ContractList:
    """In order of kind and name. `name` is the name of one version, or the base name of all versions."""
    app = application(request)
    model = app.model
    uses = await _uses(app)
    rows: list[ContractShape] = []
    for of, base, names in _families_after(model, cursor or None):
        if (kind and of != kind) or (name and base != name and name not in names):
            continue
        contract = _contract(model, of, base, names, uses)
        if _fits(contract, owner or None, party or None, deprecated):
            rows.append(contract)
        if len(rows) > limit:
            break
    last = rows[limit - 1] if len(rows) > limit else None
    return ContractList(rows[:limit], None if last is None else f"{last.kind}.{last.name}")


async def contract_of(app: Application, kind: str, name: str) -> ContractShape | None:
    """Return all versions of one event or operation, or None for another kind of document."""
    model = app.model
    uses = await _uses(app)
    for of, base, names in model.versions.families():
        if of == kind and name in names:
            return _contract(model, of, base, names, uses)
    return None


async def _uses(app: Application) -> dict[str, DeprecatedVersion]:
    return {use.notice.name: use for use in await in_use(app.store, app.model, await app.now())}


def _families_after(model: Model, cursor: str | None) -> Iterator[tuple[str, str, list[str]]]:
    """Yield kind, base name and versions of the contracts after a cursor. Raises Problem for an invalid cursor."""
    last = None
    if cursor is not None:
        of, _, base = cursor.partition(".")
        if of not in KINDS or not base:
            raise invalid_cursor()
        last = (of, base)
    for of, base, names in model.versions.families():
        if last is None or (of, base) > last:
            yield of, base, names


def _fits(contract: ContractShape, owner: str | None, party: str | None, deprecated: bool | None) -> bool:
    """Test whether any version fits all filters."""
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
    model: Model, of: str, base: str, names: list[str], uses: dict[str, DeprecatedVersion]
) -> ContractShape:
    return ContractShape(
        kind=of, name=base, versions=[_version(model, of, name, uses.get(name)) for name in names]
    )


def _version(model: Model, of: str, name: str, use: DeprecatedVersion | None) -> VersionShape:
    kind: kinds.Event | kinds.Operation
    kind = model.events[name] if of == "event" else model.operations[name]
    others = [other for other in model.versions.of(name, of) if other != name]
    versions = model.versions
    past = use is not None and use.notice.past_sunset
    event = isinstance(kind, kinds.Event)
    return VersionShape(
        name=name,
        version=number(name),
        state="sunset" if past else "deprecated" if use is not None else "live",
        owners=model.owners_of(kind, "definition"),
        produced=kind.produced if isinstance(kind, kinds.Event) else "",
        system=kind.system if isinstance(kind, kinds.Operation) else "",
        producers=producers_consumers.producers(model, name)
        if event
        else producers_consumers.implementers(model, name),
        consumers=producers_consumers.consumers(model, name)
        if event
        else producers_consumers.callers(model, name),
        casts_from=[other for other in others if versions.path(other, name) is not None],
        casts_to=[other for other in others if versions.path(name, other) is not None],
        deprecated=_deprecated(kind),
        users=[
            copy_to(UserShape, user, first_seen=user.first_at, last_seen=user.last_at)
            for user in (use.used if use is not None else ())
        ],
        waiting=[
            WaitingShape(workflow=wait.workflow, runs=wait.count)
            for wait in (use.waiting if use is not None else ())
        ],
    )


def _deprecated(kind: kinds.Event | kinds.Operation) -> DeprecatedShape | None:
    deprecated = kind.deprecated
    if deprecated is None:
        return None
    if not isinstance(deprecated, kinds.Deprecated):
        return DeprecatedShape(since=None, sunset=None, use=None, why=deprecated)
    return copy_to(DeprecatedShape, deprecated)


ROUTES = [list_contracts]
