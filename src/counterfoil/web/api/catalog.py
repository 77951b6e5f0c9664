"""The catalog of the active Release: its documents, their owners, and who produces and consumes what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple
from weakref import WeakKeyDictionary

import msgspec
from litestar import get
from litestar.params import FromPath, QueryParameter

from counterfoil.application import Application
from counterfoil.core.release import ReleaseStep
from counterfoil.model.catalog import ORDER, Catalog, Entry, Key
from counterfoil.model.kinds import KINDS
from counterfoil.model.model import Model
from counterfoil.web.api.contracts import ContractShape, contract_of
from counterfoil.web.api.queries import Text
from counterfoil.web.api.releases import ReleaseShape, release_shape
from counterfoil.web.api.shapes import copy_to
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, requires

MAX_ENTRIES = 2000
"""Of one response; a governance folder holds fewer."""
RELEASE = "release"
CatalogKind = Annotated[str | None, QueryParameter(name="kind", enum=[*sorted(KINDS), RELEASE])]
MAX_RELEASES = 200
"""Newest Releases that a search reads."""
_CATALOGS: WeakKeyDictionary[Model, Catalog] = WeakKeyDictionary()


class CatalogField(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    type: str
    optional: bool
    pii: bool
    system: str
    """Its system of record; empty if it belongs to no object."""
    owners: Sequence[str]
    doc: str


class CatalogLink(msgspec.Struct, frozen=True, kw_only=True):
    """Relation of the entry to another entry (`out`), or of another entry to it (`in`)."""

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
    """Release that changed the entry."""

    change: str
    """`added`, `changed` or `removed`."""
    release: ReleaseShape


class CatalogEntry(CatalogRow, frozen=True, kw_only=True):
    fields: dict[str, list[CatalogField]]
    links: list[CatalogLink]
    versions: ContractShape | None
    """Of an event or operation: all versions, with producers, consumers and recorded users of deprecated ones."""
    history: list[CatalogChange]
    """Newest first."""
    source: dict[str, Any]
    """The document in the active Release."""


class CatalogList(msgspec.Struct, frozen=True):
    """All entries that fit the search. `next` is always null: there is one page."""

    items: list[CatalogRow]
    next: str | None


class EntryInCatalog(NamedTuple):
    """An entry with its shape and the catalog that it is in."""

    catalog: Catalog
    entry: Entry
    shape: CatalogEntry


def catalog_of(model: Model) -> Catalog:
    """Return the catalog of a Model, cached per Model."""
    catalog = _CATALOGS.get(model)
    if catalog is None:
        catalog = _CATALOGS[model] = Catalog(model)
    return catalog


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "kind": entry.kind, "name": entry.name, "doc": entry.doc, "system": entry.system,
        "owners": dict(entry.owners), "digest": entry.digest,
    }  # fmt: skip


def _links(catalog: Catalog, key: Key) -> list[CatalogLink]:
    links = []
    for edge in catalog.of(key):
        out = edge.source == key
        kind, name = edge.target if out else edge.source
        links.append(CatalogLink(direction="out" if out else "in", word=edge.word, kind=kind, name=name))
    return sorted(links, key=lambda link: (link.direction, ORDER.index(link.word), link.kind, link.name))


async def load_entry(app: Application, kind: str, name: str) -> EntryInCatalog:
    """Return one entry with its versions and change history. Raises Problem 404."""
    model = app.model
    catalog = catalog_of(model)
    entry = catalog.entries.get((kind, name))
    document = model.document(kind, name)
    if entry is None or document is None:
        raise Problem(
            404, f"The active Release has no {kind[:40]} {name[:100]}. /v1/catalog lists its entries."
        )
    newest = next((step.no for step in await app.store.release_steps(1)), 0)
    shape = CatalogEntry(
        **_row(entry),
        fields={
            part: [copy_to(CatalogField, field) for field in group] for part, group in entry.fields.items()
        },
        links=_links(catalog, entry.key),
        versions=await contract_of(app, kind, name),
        history=[
            CatalogChange(change=change.change, release=release_shape(change.step, change.step.no == newest))
            for change in await app.changes.history.of(kind, name)
        ],
        source=document.data,
    )
    return EntryInCatalog(catalog, entry, shape)


@get(
    "/v1/catalog",
    opt=requires(Permission.RELEASES_ANY_READ),
    tags=["catalog"],
    summary="Search the documents of the active Release",
)
async def list_catalog(request: WebRequest, q: Text = None, kind: CatalogKind = None) -> CatalogList:
    rows = await search_catalog(application(request), q or "", kind or "")
    return CatalogList(rows[:MAX_ENTRIES], None)


async def search_catalog(app: Application, text: str, kind: str) -> list[CatalogRow]:
    """Return the documents of the active Release that fit, then the Releases."""
    rows = [CatalogRow(**_row(entry)) for entry in catalog_of(app.model).search(text, kind)]
    if kind in ("", RELEASE):
        words = text.casefold().split()
        releases = [_release_row(step) for step in await app.store.release_steps(MAX_RELEASES)]
        rows += [row for row in releases if all(word in _search_text(row) for word in words)]
    return rows


def _release_row(step: ReleaseStep) -> CatalogRow:
    """Return a Release as an entry: its digest is its name; its requester, applier and approvers are its owners."""
    owners: dict[str, Sequence[str]] = {"asked": (step.requester,)} if step.requester else {}
    owners["applied"] = (step.applied_by,)
    if step.approvers:
        owners["approved"] = step.approvers
    return CatalogRow(
        kind=RELEASE, name=step.digest, doc=step.reason, system="", owners=owners, digest=step.digest
    )


def _search_text(row: CatalogRow) -> str:
    people = [person for persons in row.owners.values() for person in persons]
    return " ".join([row.kind, row.name, row.doc, *people]).casefold()


@get(
    "/v1/catalog/{kind:str}/{name:str}",
    opt=requires(Permission.RELEASES_ANY_READ),
    tags=["catalog"],
    summary="Get one entry: fields with owners, producers and consumers",
)
async def get_catalog_entry(request: WebRequest, kind: FromPath[str], name: FromPath[str]) -> CatalogEntry:
    return (await load_entry(application(request), kind, name)).shape


ROUTES = [list_catalog, get_catalog_entry]
