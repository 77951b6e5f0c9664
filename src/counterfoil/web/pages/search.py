"""The page of the global search: groups of rows, or the text that was perhaps meant."""

from __future__ import annotations

from typing import Any

from litestar import get
from litestar.response import Response

from counterfoil.web.api.find import SearchText, answer
from counterfoil.web.http.permissions import Open
from counterfoil.web.http.request import WebRequest, masked_texts, requires
from counterfoil.web.pages.rendering import render_page

GROUP_TITLES = {
    "customers": "Customers",
    "cases": "Cases",
    "approvals": "Approvals",
    "foils": "Counterfoils",
    "items": "Unmatched items",
    "runs": "Runs",
}


@get("/search", opt=requires(Open.SIGNED_IN), include_in_schema=False)
async def search_page(request: WebRequest, text: SearchText = "") -> Response[Any]:
    result = await answer(request, text) if text.strip() else None
    result = masked_texts(request).replace_all(result)
    return await render_page(request, "search.html", result=result, query=text.strip(), titles=GROUP_TITLES)


ROUTES = [search_page]
