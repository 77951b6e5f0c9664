"""The global search: what a text names, in groups, each within the caller's permission and legal entities."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

import msgspec
from litestar import get
from litestar.params import QueryParameter

from counterfoil.application import Application
from counterfoil.core.canonical import Head
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.search_query import MAX_QUERY_CHARS, SearchQuery, read_query
from counterfoil.web.api import shapes
from counterfoil.web.api.names import name_of
from counterfoil.web.api.search_rows import MAX_HITS, SearchRows, near_text, read_rows
from counterfoil.web.http.permissions import Open, Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, caller, masked_texts, requires

Kind = Literal["customers", "runs", "foils", "items", "cases", "approvals"]
SearchText = Annotated[
    str,
    QueryParameter(
        name="q",
        max_length=MAX_QUERY_CHARS,
        description="Names or their beginnings, document numbers, amounts, ids of any system, tickets.",
    ),
]
_PERMISSIONS: dict[Kind, tuple[Permission, ...]] = {
    "customers": (
        Permission.RUNS_ANY_READ,
        Permission.FOILS_ANY_READ,
        Permission.CASES_ANY_READ,
        Permission.APPROVALS_ANY_READ,
    ),
    "cases": (Permission.CASES_ANY_READ,),
    "approvals": (Permission.APPROVALS_ANY_READ,),
    "foils": (Permission.FOILS_ANY_READ,),
    "items": (Permission.FOILS_ANY_READ,),
    "runs": (Permission.RUNS_ANY_READ,),
}
"""Groups in the order of an answer, each with the permissions of which one is enough."""


class SearchHit(msgspec.Struct, frozen=True, kw_only=True):
    """One row of an answer. Names and amounts are empty where it has none."""

    id: str
    customer: str = ""
    name: str = ""
    """Number or name of the document; for a customer, its name."""
    detail: str = ""
    """Workflow, reconciliation, policy, or what happened."""
    amounts: list[shapes.Amount] = []
    state: str = ""
    legal_entity: str = ""
    at: datetime | None = None
    """When it was created; of an item, None."""
    page: str
    """Address of its page."""


class SearchGroup(msgspec.Struct, frozen=True, kw_only=True):
    kind: Kind
    hits: list[SearchHit]
    more: bool
    """There are more than the answer has."""


class SearchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Groups with at least one hit. `suggestion` is a near text where nothing matches; empty without one."""

    query: str
    as_of: datetime
    release: str
    """Digest of the active Release."""
    total: int
    groups: list[SearchGroup]
    suggestion: str = ""


@get(
    "/v1/search",
    opt=requires(Open.SIGNED_IN),
    tags=["search"],
    summary="Search everything by what people know",
)
async def search(request: WebRequest, text: SearchText = "") -> SearchAnswer:
    """`1,234.50`, `1.234,50` and `1234.50 USD` are amounts. Groups need the permissions of their lists."""
    if not text.strip():
        raise Problem(400, "Write a name, a document number, an amount or an id in `q`.", field="q")
    return await answer(request, text)


async def answer(request: WebRequest, text: str) -> SearchAnswer:
    """Return what a text names for the caller. Rows of one scope are read once."""
    query, whole = read_query(text), application(request)
    masked_texts(request).echo(query.text)
    by_scope: dict[EntityScope, SearchRows] = {}
    visible: dict[EntityScope, Application] = {}
    groups: list[SearchGroup] = []
    for kind, permissions in _PERMISSIONS.items():
        own = [permission for permission in permissions if permission in caller(request).may]
        if not own:
            continue
        app = application(request, own[0])
        visible[app.scope] = app
        if app.scope not in by_scope:
            by_scope[app.scope] = await read_rows(app, query)
        rows = getattr(by_scope[app.scope], kind)
        default = app.model.default_entity
        hits = [_HITS[kind](row, default) for row in rows[:MAX_HITS]]
        if hits:
            groups.append(SearchGroup(kind=kind, hits=hits, more=len(rows) > MAX_HITS))
    return SearchAnswer(
        query=query.text,
        as_of=await whole.now(),
        release=whole.model.digest,
        total=sum(len(group.hits) for group in groups),
        groups=groups,
        suggestion="" if groups else await _suggestion(visible.values(), query),
    )


async def _suggestion(visible: Iterable[Application], query: SearchQuery) -> str:
    for app in visible:
        if near := await near_text(app, query):
            return near
    return ""


def _customer(head: Head, default: str) -> SearchHit:
    name, page = name_of(head), f"/customers/{quote(head.key, safe='')}"
    return SearchHit(id=head.key, customer=name, name=name, legal_entity=head.entity or default, page=page)


def _run(run: shapes.RunShape, default: str) -> SearchHit:
    return SearchHit(
        id=run.id, customer=run.customer, name=run.name or run.key, detail=run.workflow, amounts=run.exposure,
        state=run.state, legal_entity=run.legal_entity, at=run.created_at, page=f"/runs/{quote(run.id, safe='')}",
    )  # fmt: skip


def _foil(foil: shapes.FoilShape, default: str) -> SearchHit:
    return SearchHit(
        id=foil.id, customer=foil.customer, name=foil.name or foil.document, detail=foil.rule,
        amounts=_largest(foil.legs), state=foil.state, legal_entity=foil.legal_entity, at=foil.created_at,
        page=f"/foils/{quote(foil.id, safe='')}",
    )  # fmt: skip


def _item(item: shapes.ItemShape, default: str) -> SearchHit:
    return SearchHit(
        id=item.id, customer=item.customer, name=item.name or item.document, detail=item.reconciliation,
        amounts=_largest(item.amounts), state=item.state, legal_entity=item.legal_entity,
        page=f"/unmatched?{urlencode({'key': item.key})}",
    )  # fmt: skip


def _case(case: shapes.CaseShape, default: str) -> SearchHit:
    return SearchHit(
        id=case.id, customer=case.customer, name=case.name or case.key or "", detail=case.summary,
        amounts=case.exposure, state=case.state, legal_entity=case.legal_entity, at=case.created_at,
        page=f"/cases/{quote(case.id, safe='')}",
    )  # fmt: skip


def _approval(approval: shapes.ApprovalShape, default: str) -> SearchHit:
    about = approval.about
    documents = [text for name, text in about.items() if name not in ("customer", "reason", "title")]
    return SearchHit(
        id=approval.id, customer=about.get("customer", ""), name=", ".join(documents),
        detail=approval.summary or approval.policy, amounts=[approval.amount] if approval.amount else [],
        state=approval.state, legal_entity=approval.legal_entity, at=approval.created_at,
        page=f"/approvals/{quote(approval.id, safe='')}",
    )  # fmt: skip


_HITS: dict[Kind, Callable[[Any, str], SearchHit]] = {
    "customers": _customer,
    "runs": _run,
    "foils": _foil,
    "items": _item,
    "cases": _case,
    "approvals": _approval,
}


def _largest(legs: dict[str, shapes.Amount | str]) -> list[shapes.Amount]:
    """Return the largest amount of a document."""
    amounts = [leg for leg in legs.values() if isinstance(leg, shapes.Amount)]
    return [max(amounts, key=lambda amount: abs(amount.minor))] if amounts else []


ROUTES = [search]
