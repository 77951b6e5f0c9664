"""The page of one customer across systems."""

from __future__ import annotations

from typing import Any

from litestar import get
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.web.api.customers import load_customer
from counterfoil.web.http.permissions import Open
from counterfoil.web.http.request import WebRequest, requires
from counterfoil.web.pages.rendering import render_page


@get("/customers/{customer_id:str}", opt=requires(Open.SIGNED_IN), include_in_schema=False)
async def customer_page(request: WebRequest, customer_id: FromPath[str]) -> Response[Any]:
    return await render_page(request, "customer.html", customer=await load_customer(request, customer_id))


ROUTES = [customer_page]
