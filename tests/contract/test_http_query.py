"""Query parameters of every route and page: unknown names and values outside of a closed set are refused with 400."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx2
import pytest

from counterfoil.web.api import description
from counterfoil.web.http import assets
from counterfoil.web.http.permissions import Open
from counterfoil.web.http.request import REQUIRES, query_parameters
from counterfoil.web.http.server import PAGE_ROUTES
from tests.companies.web import Process

pytestmark = pytest.mark.xdist_group("web")
HTML = {"accept": "text/html"}


class Route(NamedTuple):
    method: str
    path: str
    closed: dict[str, tuple[str, ...]]

    @property
    def is_page(self) -> bool:
        return not self.path.startswith(("/v1/", "/static/", "/healthz", "/readyz", "/metrics")) and (
            not self.path.endswith(".json")
        )


def routes() -> Iterator[Route]:
    handlers: list[Any] = [*description.API_ROUTES, *description.ROUTES, assets.serve, *PAGE_ROUTES]
    for handler in handlers:
        if handler.opt[REQUIRES] is not Open.SIGNATURE:
            closed = {name: words for name, words in query_parameters(handler.fn).items() if words}
            for path in handler.paths:
                for method in sorted(handler.http_methods & {"GET", "POST"}):
                    yield Route(method, re.sub(r"\{\w+:\w+\}", "x", path), closed)


ROUTES = list(routes())
CLOSED = [(r, name, words) for r in ROUTES for name, words in r.closed.items()]


@pytest.fixture(scope="module")
def http(company: Process) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=company.url, trust_env=False, timeout=20) as client:
        yield client


def send(http: httpx2.Client, company: Process, route: Route, query: str) -> httpx2.Response:
    """Return the answer to a person who may use the route."""
    accept = HTML if route.is_page else {}
    for person in ("ada", "fay"):
        headers = accept | company.bearer(person)
        answer = http.request(route.method, f"{route.path}?{query}", headers=headers)
        if answer.status_code != 403:
            break
    return answer


def detail(route: Route, answer: httpx2.Response) -> str:
    """The sentence of a refusal: in a problem document, or on an error page."""
    assert answer.status_code == 400, (route, answer.status_code, answer.text[:300])
    if route.is_page:
        assert answer.headers["content-type"].startswith("text/html")
        return answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


def test_every_route_is_here() -> None:
    assert len(ROUTES) > 50
    assert {name for _, name, _ in CLOSED} == {
        "status",
        "state",
        "kind",
        "group",
        "snoozed",
        "format",
        "sort",
    }
    assert {r.path for r, _, _ in CLOSED} == {
        "/v1/runs", "/v1/foils", "/v1/cases", "/v1/cases/causes", "/v1/approvals", "/v1/contracts", "/v1/catalog",
        *(f"/v1/exports/{name}" for name in ("runs", "foils", "unmatched", "cases", "approvals", "audit")),
        "/v1/unmatched", "/unmatched", "/runs", "/foils", "/cases", "/approvals", "/catalog", "/v1/notices", "/notices",
    }  # fmt: skip


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r.method} {r.path}")
def test_an_unknown_parameter_is_refused(http: httpx2.Client, company: Process, route: Route) -> None:
    assert "nosuch" in detail(route, send(http, company, route, "nosuch=1"))


@pytest.mark.parametrize(("route", "name", "words"), CLOSED, ids=lambda value: str(value)[:60])
def test_a_value_outside_of_a_closed_set_is_refused(
    http: httpx2.Client, company: Process, route: Route, name: str, words: tuple[str, ...]
) -> None:
    typo = words[0][:-1] + "zz"
    assert name in detail(route, send(http, company, route, f"{name}={typo}"))
    near = detail(route, send(http, company, route, f"{name}={words[0]}s"))
    assert "did you mean" in near
    assert words[0] in near
    assert "did you mean" in detail(
        route, send(http, company, route, f"{name}={words[0]}&{name}={words[0]}s")
    )
    for word in ("", *words):
        assert send(http, company, route, f"{name}={word}").status_code == 200, word


def test_a_misspelled_parameter_gets_a_hint(http: httpx2.Client, company: Process) -> None:
    answer = http.get("/v1/runs?statsu=done", headers=company.bearer("ada"))
    assert "Did you mean `status`?" in answer.json()["detail"]


def test_a_webhook_may_have_parameters_of_its_sender(http: httpx2.Client) -> None:
    answer = http.post("/v1/receipts/billing?sender=x", content=b"{}")
    assert answer.status_code == 401
