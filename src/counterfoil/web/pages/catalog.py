"""The catalog's pages: the search with the graph of all flows, and one entry."""

from __future__ import annotations

from typing import Any

from litestar import get
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.web.api.catalog import RELEASE, catalog_of, load_entry, search_catalog
from counterfoil.web.http.access import application, requires
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.request import WebRequest
from counterfoil.web.pages.catalog_graph import build_graph
from counterfoil.web.pages.forms import query_text
from counterfoil.web.pages.releases import person_names
from counterfoil.web.pages.rendering import render_page

MAX_SEARCH_CHARS = 200


@get("/catalog", opt=requires(Permission.RELEASES_ANY_READ), include_in_schema=False)
async def catalog_page(request: WebRequest) -> Response[Any]:
    app = application(request)
    catalog = catalog_of(app.model)
    search = {name: text[:MAX_SEARCH_CHARS] for name, text in query_text(request, "q", "kind").items()}
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


ROUTES = [catalog_page, entry_page]
