"""One customer across systems: documents, Runs that wait, open Cases and money that is not matched, by legal entity.

Objects refer to a customer by their field `customer_id`, or name an object that does. Each part needs the permission of
its list and has the rows of the legal entities for which the caller has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from litestar import get
from litestar.params import FromPath

from counterfoil.application import Application
from counterfoil.core.canonical import Head
from counterfoil.core.cases import largest_amounts
from counterfoil.core.foil import NEEDS_CASE, UNFINISHED_FOILS, Foil
from counterfoil.core.money import Money
from counterfoil.core.run import TERMINAL
from counterfoil.store.port.views import ItemFilter, ItemRow, ListFilter
from counterfoil.web.api import shapes
from counterfoil.web.api.cases import case_shapes
from counterfoil.web.api.names import CUSTOMER, name_of
from counterfoil.web.api.queries import foil_shapes, item_shapes, run_shapes
from counterfoil.web.api.statements import sums_of
from counterfoil.web.http.permissions import Open, Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, caller, requires

MAX_DOCUMENTS = 400
"""Documents of a customer that are read."""
MAX_ROWS = 50
"""Rows of one part of an answer."""
_MAX_KEYS = 120
"""Documents whose Runs, counterfoils and items are read, open ones first."""
_MAX_IDS = 200
_STEPS = 2
"""Documents that name the customer, and documents that name those."""
OPEN_FIELD = "open"
"""Field of a document with what is still owed: that of `invoice@1` and `credit@1` in the canonical library."""
_AMOUNT_FIELDS = ("total", "amount", "gross", "net")
_STATE_FIELDS = ("status", "state")


class DocumentShape(msgspec.Struct, frozen=True, kw_only=True):
    """One document of the customer, as its system of record has it."""

    object: str
    key: str
    number: str
    system: str
    state: str
    amounts: list[shapes.Amount]
    open: list[shapes.Amount] | None
    """What is still owed; null where the object does not say."""
    legal_entity: str
    at: datetime
    """Effective time of its newest fact."""


class EntityMoney(msgspec.Struct, frozen=True, kw_only=True):
    """Sums of one legal entity, each by currency."""

    legal_entity: str
    owed: dict[str, list[shapes.Amount]]
    """What is still owed, by object."""
    breaks: list[shapes.Amount]
    """What other systems do not show yet, or differ by: of open and broken counterfoils."""
    unmatched: list[shapes.Amount]
    """Documents that no counterfoil accounts for, each with its largest leg."""


class CustomerShape(msgspec.Struct, frozen=True, kw_only=True):
    """A part is null where the caller lacks the permission of its list."""

    id: str
    name: str
    legal_entity: str
    links: list[shapes.LinkShape]
    money: list[EntityMoney]
    documents: list[DocumentShape]
    runs: list[shapes.RunShape] | None = None
    """Runs that have not ended."""
    cases: list[shapes.CaseShape] | None = None
    """Open Cases."""
    foils: list[shapes.FoilShape] | None = None
    """Counterfoils that are open or broken."""
    items: list[shapes.ItemShape] | None = None
    more: bool
    """There are more rows than were read."""
    as_of: datetime


class _CustomerRows(NamedTuple):
    """Rows of the customer within one scope."""

    runs: list[shapes.RunShape]
    foils: list[Foil]
    items: list[ItemRow]
    cases: list[shapes.CaseShape]
    more: bool


@get(
    "/v1/customers/{customer_id:str}",
    opt=requires(Open.SIGNED_IN),
    tags=["customers"],
    summary="Get one customer across systems",
)
async def get_customer(request: WebRequest, customer_id: FromPath[str]) -> CustomerShape:
    """Documents and Links, Runs that wait and why, open Cases, unfinished counterfoils, unmatched items."""
    return await load_customer(request, customer_id)


async def load_customer(request: WebRequest, customer_id: str) -> CustomerShape:
    """Return a customer as the caller sees it. Raises Problem 403 without any of the permissions, 404 without one."""
    parts = {
        "runs": Permission.RUNS_ANY_READ,
        "cases": Permission.CASES_ANY_READ,
        "foils": Permission.FOILS_ANY_READ,
    }
    apps = {name: application(request, own) for name, own in parts.items() if own in caller(request).may}
    if not apps:
        raise Problem(403, "A customer's page needs one of: " + ", ".join(sorted(parts.values())) + ".")
    for app in apps.values():
        if heads := await app.store.heads_of(CUSTOMER, [customer_id]):
            break
    else:
        raise Problem(404, f"There is no customer {customer_id[:100]}. `counterfoil search` looks names up.")
    head, default = heads[0], app.model.default_entity
    documents, more = await _documents(app, customer_id)
    by_scope = {own.scope: own for own in apps.values()}
    in_scope = {scope: await _rows(own, customer_id, documents) for scope, own in by_scope.items()}
    rows = {name: in_scope[own.scope] for name, own in apps.items()}
    foils = rows["foils"].foils if "foils" in rows else []
    items = rows["foils"].items if "foils" in rows else []
    now = await app.now()
    return CustomerShape(
        id=customer_id,
        name=name_of(head),
        legal_entity=head.entity or default,
        links=[shapes.link_shape(link) for link in await app.views.links_of([(CUSTOMER, customer_id)])],
        money=_money(documents, foils, items, default),
        documents=[_document(one, default) for one in documents[:MAX_ROWS]],
        runs=rows["runs"].runs[:MAX_ROWS] if "runs" in rows else None,
        cases=rows["cases"].cases[:MAX_ROWS] if "cases" in rows else None,
        foils=await foil_shapes(apps["foils"], foils[:MAX_ROWS]) if "foils" in rows else None,
        items=await item_shapes(apps["foils"], items[:MAX_ROWS], now) if "foils" in rows else None,
        more=more or len(documents) > MAX_ROWS or any(one.more for one in rows.values()),
        as_of=now,
    )


# ------------------------------------------------------------------ reading


async def _documents(app: Application, customer: str) -> tuple[list[Head], bool]:
    """Return the documents of a customer, open ones first, then the newest; and whether there are more."""
    heads: dict[str, Head] = {}
    last, more = [customer], False
    for _ in range(_STEPS):
        keys = await app.views.named(last, MAX_DOCUMENTS + 1) if last else []
        more = more or len(keys) > MAX_DOCUMENTS
        keys = [key for key in keys[:MAX_DOCUMENTS] if key not in heads and key != customer]
        own = [
            head for head in await _heads(app, keys) if head.state.get(f"{CUSTOMER}_id", customer) == customer
        ]
        heads |= {head.key: head for head in own}
        last = [head.key for head in own]
    more = more or len(heads) > MAX_DOCUMENTS
    newest = sorted(heads.values(), key=lambda head: (head.effective_at, head.key), reverse=True)
    return sorted(newest, key=lambda head: not _open(head))[:MAX_DOCUMENTS], more


async def _heads(app: Application, keys: Sequence[str]) -> list[Head]:
    """Return the heads of keys whose objects are unknown: at most one statement for each object of the model."""
    heads: list[Head] = []
    if keys:
        for object_ in sorted(app.model.objects.keys() - {CUSTOMER}):
            heads += await app.store.heads_of(object_, keys)
    return heads


async def _rows(app: Application, customer: str, documents: Sequence[Head]) -> _CustomerRows:
    """Return the Runs that wait, unfinished counterfoils, unmatched items and open Cases of a customer."""
    keys = [customer, *(head.key for head in documents)]
    more = len(keys) > _MAX_KEYS
    keys = keys[:_MAX_KEYS]
    rules = sorted(app.model.reconciliations)
    run_ids = await app.views.runs_of(sorted(app.model.workflows), keys, _MAX_IDS)
    foil_ids = await app.views.foils_of(rules, keys, _MAX_IDS)
    item_ids = await app.views.items_of(rules, keys, _MAX_IDS)
    more = more or max(len(run_ids), len(foil_ids), len(item_ids)) >= _MAX_IDS
    runs, _ = await app.views.runs(ListFilter(ids=tuple(run_ids), limit=_MAX_IDS))
    foils, _ = await app.views.foils(ListFilter(ids=tuple(foil_ids), limit=_MAX_IDS))
    items, _ = await app.views.unmatched(ItemFilter(ids=tuple(item_ids), limit=_MAX_IDS))
    case_ids = await app.views.cases_about(run_ids, foil_ids, item_ids, _MAX_IDS)
    cases, _ = await app.views.cases(ListFilter(ids=tuple(case_ids), state="open", limit=_MAX_IDS))
    waiting = [row for row in runs if row.run.status not in TERMINAL]
    unfinished = [foil for foil in foils if foil.state in UNFINISHED_FOILS | NEEDS_CASE]
    more = more or max(len(waiting), len(unfinished), len(items), len(cases)) > MAX_ROWS
    return _CustomerRows(
        await run_shapes(app, waiting[:MAX_ROWS]),
        unfinished,
        items,
        await case_shapes(app, cases[:MAX_ROWS]),
        more,
    )


# ------------------------------------------------------------------ shapes


def _document(head: Head, default: str) -> DocumentShape:
    open_ = head.state.get(OPEN_FIELD)
    return DocumentShape(
        object=head.object,
        key=head.key,
        number=name_of(head) or head.key,
        system=head.system,
        state=next((s for f in _STATE_FIELDS if isinstance(s := head.state.get(f), str)), ""),
        amounts=[shapes.amount(money) for money in _amounts(head)],
        open=[shapes.amount(open_)] if isinstance(open_, Money) else None,
        legal_entity=head.entity or default,
        at=head.effective_at,
    )


def _amounts(head: Head) -> Iterable[Money]:
    """Return the amount of a document: its total, else the largest one that it has."""
    values = [head.state.get(field) for field in _AMOUNT_FIELDS]
    total = next((value for value in values if isinstance(value, Money)), None)
    return largest_amounts(head.state) if total is None else (total,)


def _open(head: Head) -> bool:
    value = head.state.get(OPEN_FIELD)
    return isinstance(value, Money) and value.minor != 0


def _money(
    documents: Iterable[Head], foils: Iterable[Foil], items: Iterable[ItemRow], default: str
) -> list[EntityMoney]:
    """Return the sums of each legal entity, in order of its name."""
    owed: dict[str, dict[str, list[Money]]] = {}
    for head in documents:
        if _open(head):
            of_entity = owed.setdefault(head.entity or default, {})
            of_entity.setdefault(head.object, []).append(head.state[OPEN_FIELD])
    breaks: dict[str, list[Money]] = {}
    for foil in foils:
        breaks.setdefault(foil.entity or default, []).extend(foil.open_money or foil.difference)
    unmatched: dict[str, list[Money]] = {}
    for row in items:
        legs = [value for value in row.item.legs.values() if isinstance(value, Money)]
        largest = max(legs, key=lambda money: abs(money.minor), default=None)
        unmatched.setdefault(row.item.entity or default, []).extend([largest] if largest else [])
    return [
        EntityMoney(
            legal_entity=name,
            owed={object_: _sums(values) for object_, values in sorted(owed.get(name, {}).items())},
            breaks=_sums(breaks.get(name, ())),
            unmatched=_sums(unmatched.get(name, ())),
        )
        for name in sorted(owed.keys() | breaks.keys() | unmatched.keys())
    ]


def _sums(values: Iterable[Money]) -> list[shapes.Amount]:
    """Return the sum of each currency with its sign, in order of currency."""
    sums: dict[str, int] = {}
    for money in values:
        sums[money.currency] = sums.get(money.currency, 0) + money.minor
    return sums_of(sums)


ROUTES = [get_customer]
