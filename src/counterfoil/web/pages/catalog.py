"""Pages of governance: the catalog with the graph of all flows, one entry, the history of Releases, and one Release."""

from __future__ import annotations

from typing import Any

from litestar import get
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.application import Application
from counterfoil.web.api.catalog import RELEASE, CatalogKind, catalog_of, load_entry, search_catalog
from counterfoil.web.api.queries import Cursor, Text
from counterfoil.web.api.releases import approvals_of_step, release_shape
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, requires
from counterfoil.web.pages.catalog_graph import build_graph
from counterfoil.web.pages.rendering import render_page, search_texts

MAX_SEARCH_CHARS = 200
MAX_RELEASES = 50
"""Releases on one page of the history."""


@get("/catalog", opt=requires(Permission.RELEASES_ANY_READ), include_in_schema=False)
async def catalog_page(request: WebRequest, q: Text = None, kind: CatalogKind = None) -> Response[Any]:
    app = application(request)
    catalog = catalog_of(app.model)
    search = search_texts(q=(q or "")[:MAX_SEARCH_CHARS], kind=kind)
    rows = await search_catalog(app, search["q"], search["kind"])
    kinds = [*sorted({entry.kind for entry in catalog.entries.values()}), RELEASE]
    groups = {kind: [row for row in rows if row.kind == kind] for kind in kinds}
    return await render_page(
        request,
        "catalog.html",
        search=search,
        kinds=kinds,
        groups={kind: rows for kind, rows in groups.items() if rows},
        graph=None if search["q"] or search["kind"] else build_graph(catalog.flow()),
    )


@get("/catalog/{kind:str}/{name:str}", opt=requires(Permission.RELEASES_ANY_READ), include_in_schema=False)
async def entry_page(request: WebRequest, kind: FromPath[str], name: FromPath[str]) -> Response[Any]:
    app = application(request)
    catalog, entry, shape = await load_entry(app, kind, name)
    graph = build_graph(catalog.flow(entry.key))
    return await render_page(request, "entry.html", entry=shape, graph=graph, names=await person_names(app))


@get("/releases", opt=requires(Permission.RELEASES_ANY_READ), include_in_schema=False)
async def releases_page(request: WebRequest, cursor: Cursor = None) -> Response[Any]:
    app, cursor = application(request), cursor or ""
    before = int(cursor) if cursor.isascii() and cursor.isdigit() and len(cursor) < 18 else None
    steps = await app.store.release_steps(MAX_RELEASES + 1, before)
    rows = [release_shape(step, present=before is None and step is steps[0]) for step in steps[:MAX_RELEASES]]
    after = str(rows[-1].number) if len(steps) > MAX_RELEASES else None
    return await render_page(request, "releases.html", rows=rows, next=after, names=await person_names(app))


@get("/releases/{digest:str}", opt=requires(Permission.RELEASES_ANY_READ), include_in_schema=False)
async def release_page(request: WebRequest, digest: FromPath[str]) -> Response[Any]:
    app = application(request)
    step = await app.store.release_step(digest)
    if step is None:
        raise Problem(404, f"Release {digest[:64]} was never active.")
    return await render_page(
        request,
        "release.html",
        release=release_shape(step, present=await app.store.active_release() == digest),
        differences=await app.changes.planner.differences(step),
        approvals=await approvals_of_step(app, step),
        names=await person_names(app),
    )


async def person_names(app: Application) -> dict[str, str]:
    """Return the names of persons by their ids."""
    return {person.id: person.name for person in await app.store.persons()}


ROUTES = [catalog_page, entry_page, releases_page, release_page]
