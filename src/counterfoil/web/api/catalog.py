"""The catalog, as JSON and as pages: what there is, who answers for it, who produces and consumes what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from litestar import Request, get
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.core.release import ReleaseStep
from counterfoil.model.catalog import ORDER, Catalog, Entry, Key
from counterfoil.model.model import Model
from counterfoil.web.api.changes import ReleaseShape, approvals_of_step, release_shape
from counterfoil.web.api.contracts import ContractShape, contract_of
from counterfoil.web.api.lists import Listing, Text
from counterfoil.web.http.access import application, requires
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.ports import App
from counterfoil.web.http.problems import Problem
from counterfoil.web.pages.catalog_graph import picture
from counterfoil.web.pages.pages import show_page

Asked = Request[Any, Any, Any]
MOST = 2000
"""Entries of one answer; a folder holds fewer."""
RELEASE = "release"
RELEASES = 200
"""Releases that a search looks through, the newest first."""
_CATALOGS: WeakKeyDictionary[Model, Catalog] = WeakKeyDictionary()


class CatalogField(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    type: str
    optional: bool
    pii: bool
    system: str
    """Its system of record; empty where it belongs to no object."""
    owners: Sequence[str]
    doc: str


class CatalogLink(msgspec.Struct, frozen=True, kw_only=True):
    """What the entry is to another (`out`), or another to it (`in`)."""

    direction: str
    word: str
    kind: str
    name: str


class CatalogRow(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    name: str
    doc: str
    system: str
    owners: dict[str, Sequence[str]]
    digest: str


class CatalogChange(msgspec.Struct, frozen=True, kw_only=True):
    """A Release that changed it."""

    change: str
    """`added`, `changed` or `removed`."""
    release: ReleaseShape


class CatalogEntry(CatalogRow, frozen=True, kw_only=True):
    fields: dict[str, list[CatalogField]]
    links: list[CatalogLink]
    versions: ContractShape | None
    """Of an event or operation: all its versions, who gives and takes each, and who was seen to use an old one."""
    history: list[CatalogChange]
    """Newest first."""
    source: dict[str, Any]
    """The document itself, as it is in force."""


def catalog_of(model: Model) -> Catalog:
    """The catalog of a Model, made once."""
    found = _CATALOGS.get(model)
    if found is None:
        found = _CATALOGS[model] = Catalog(model)
    return found


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "kind": entry.kind, "name": entry.name, "doc": entry.doc, "system": entry.system,
        "owners": dict(entry.owners), "digest": entry.digest,
    }  # fmt: skip


def _links(catalog: Catalog, key: Key) -> list[CatalogLink]:
    found = []
    for edge in catalog.of(key):
        out = edge.source == key
        kind, name = edge.target if out else edge.source
        found.append(CatalogLink(direction="out" if out else "in", word=edge.word, kind=kind, name=name))
    return sorted(found, key=lambda link: (link.direction, ORDER.index(link.word), link.kind, link.name))


async def _entry(request: Asked, kind: str, name: str) -> tuple[Catalog, Entry, CatalogEntry]:
    app = application(request)
    model = app.model
    catalog = catalog_of(model)
    entry = catalog.entries.get((kind, name))
    document = model.document(kind, name)
    if entry is None or document is None:
        raise Problem(
            404, f"The Release in force has no {kind[:40]} {name[:100]}; /v1/catalog lists what it has."
        )
    newest = next((step.no for step in await app.store.release_steps(1)), 0)
    shape = CatalogEntry(
        **_row(entry),
        fields={
            part: [CatalogField(**{n: getattr(f, n) for n in CatalogField.__struct_fields__}) for f in group]
            for part, group in entry.fields.items()
        },
        links=_links(catalog, entry.key),
        versions=await contract_of(app, kind, name),
        history=[
            CatalogChange(change=each.change, release=release_shape(each.step, each.step.no == newest))
            for each in await app.changes.history.of(kind, name)
        ],
        source=document.data,
    )
    return catalog, entry, shape


@get(
    "/v1/catalog",
    opt=requires(Permission.RELEASES_ANY_READ),
    tags=["catalog"],
    summary="What there is in the Release in force",
)
async def list_catalog(request: Asked, q: Text = None, kind: Text = None) -> Listing[CatalogRow]:
    return Listing((await _found(application(request), q or "", kind or ""))[:MOST], None)


async def _found(app: App, text: str, kind: str) -> list[CatalogRow]:
    """Documents of the Release in force, and after them Releases."""
    found = [CatalogRow(**_row(entry)) for entry in catalog_of(app.model).search(text, kind)]
    if kind in ("", RELEASE):
        words = text.casefold().split()
        released = [_released(step) for step in await app.store.release_steps(RELEASES)]
        found += [row for row in released if all(word in _says(row) for word in words)]
    return found


def _released(step: ReleaseStep) -> CatalogRow:
    """A Release as an entry: it is named by its digest, and those who asked and agreed answer for it."""
    owners: dict[str, Sequence[str]] = {"asked": (step.requester,)} if step.requester else {}
    owners["applied"] = (step.applied_by,)
    if step.approvers:
        owners["approved"] = step.approvers
    return CatalogRow(
        kind=RELEASE, name=step.digest, doc=step.reason, system="", owners=owners, digest=step.digest
    )


def _says(row: CatalogRow) -> str:
    people = [person for each in row.owners.values() for person in each]
    return " ".join([row.kind, row.name, row.doc, *people]).casefold()


@get(
    "/v1/catalog/{kind:str}/{name:str}",
    opt=requires(Permission.RELEASES_ANY_READ),
    tags=["catalog"],
    summary="One entry: fields with owners, and who produces and consumes it",
)
async def get_catalog_entry(request: Asked, kind: FromPath[str], name: FromPath[str]) -> CatalogEntry:
    return (await _entry(request, kind, name))[2]


@get("/catalog", opt=requires(Permission.RELEASES_ANY_READ), include_in_schema=False)
async def catalog_page(request: Asked) -> Response[Any]:
    catalog = catalog_of(application(request).model)
    asked = {name: request.query_params.get(name, "").strip()[:200] for name in ("q", "kind")}
    found = await _found(application(request), asked["q"], asked["kind"])
    kinds = [*sorted({entry.kind for entry in catalog.entries.values()}), RELEASE]
    groups = {kind: [row for row in found if row.kind == kind] for kind in kinds}
    return await show_page(
        request,
        "catalog.html",
        asked=asked,
        kinds=kinds,
        groups={kind: rows for kind, rows in groups.items() if rows},
        picture=None if asked["q"] or asked["kind"] else picture(catalog.flow()),
    )


@get("/catalog/{kind:str}/{name:str}", opt=requires(Permission.RELEASES_ANY_READ), include_in_schema=False)
async def entry_page(request: Asked, kind: FromPath[str], name: FromPath[str]) -> Response[Any]:
    catalog, entry, shape = await _entry(request, kind, name)
    names = await _names(application(request))
    drawn = picture(catalog.flow(entry.key))
    return await show_page(request, "entry.html", entry=shape, picture=drawn, names=names)


# ------------------------------------------------------------------ Releases


@get("/releases", opt=requires(Permission.RELEASES_ANY_READ), include_in_schema=False)
async def releases_page(request: Asked) -> Response[Any]:
    app = application(request)
    cursor = request.query_params.get("cursor", "")
    before = int(cursor) if cursor.isascii() and cursor.isdigit() and len(cursor) < 18 else None
    steps = await app.store.release_steps(51, before)
    rows = [release_shape(step, present=before is None and step is steps[0]) for step in steps[:50]]
    after = str(rows[-1].number) if len(steps) > 50 else None
    return await show_page(request, "releases.html", rows=rows, next=after, names=await _names(app))


@get("/releases/{digest:str}", opt=requires(Permission.RELEASES_ANY_READ), include_in_schema=False)
async def release_page(request: Asked, digest: FromPath[str]) -> Response[Any]:
    app = application(request)
    step = await app.store.release_step(digest)
    if step is None:
        raise Problem(404, f"The Release {digest[:64]} was never in force.")
    return await show_page(
        request,
        "release.html",
        release=release_shape(step, present=await app.store.in_force() == digest),
        differences=await app.changes.planner.differences(step),
        approvals=await approvals_of_step(app, step),
        names=await _names(app),
    )


async def _names(app: App) -> dict[str, str]:
    """What people are called, by their ids."""
    return {person.id: person.name for person in await app.store.persons()}


API = [list_catalog, get_catalog_entry]
PAGES = [catalog_page, entry_page, releases_page, release_page]
