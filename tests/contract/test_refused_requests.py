"""A person without the permission of a route that changes something is refused, and the audit log says so."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from counterfoil.core import wire
from counterfoil.core.permissions import Permission
from counterfoil.store.memory import MemoryStore
from counterfoil.store.port.refusals import REFUSAL_LEAVES
from counterfoil.store.sql.postgres import PostgresStore
from counterfoil.store.sql.sqlite import SqliteStore
from counterfoil.web.http import server
from counterfoil.web.http.identity import COOKIE
from counterfoil.web.http.refusals import SAFE_METHODS, StrangerLimit
from counterfoil.web.http.request import REQUIRES
from tests.companies.base import edited
from tests.companies.roles import ACME, ANONYMOUS, Company, acme
from tests.companies.web import PASSWORD, running
from tests.companies.web_matches import foil_of

pytestmark = pytest.mark.xdist_group("web")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def company(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Company]:
    if request.param == "memory":
        store: Any = MemoryStore()
    elif request.param == "sqlite":
        store = await SqliteStore.open(tmp_path / "company.db")
    else:
        cluster = request.getfixturevalue("postgres")
        store = await PostgresStore.open(cluster.dsn(await cluster.create()))
    try:
        async with acme(store, rows=False) as running:
            yield running
    finally:
        if request.param != "memory":
            await store.close()


def changing_routes(company: Company) -> list[tuple[str, str, Permission]]:
    """Return method, path and permission of every route and form that changes something."""
    routes = []
    for route in server.routes(company.app).routes:
        for handler in getattr(route, "route_handlers", ()):
            needs = handler.opt.get(REQUIRES)
            if isinstance(needs, Permission):
                methods = handler.http_methods - SAFE_METHODS
                routes += [(method, route.path_format, needs) for method in methods]
    return sorted(routes)


async def test_a_waiver_above_every_tier_leaves_a_leaf(tmp_path: Path) -> None:
    folder = tmp_path / "acme"
    shutil.copytree(ACME, folder)
    policies = folder / "policies" / "policies.yaml"
    tiers = "{up_to: 1, automatic: true}\n    - {up_to: 1000, roles: [controller]}\n    - {roles: [cfo]}"
    policies.write_text(edited(policies.read_text("utf-8"), (tiers, "{up_to: 1, automatic: true}")), "utf-8")
    store = await SqliteStore.open(tmp_path / "company.db")
    try:
        async with acme(store, folder=folder) as company, httpx2.AsyncClient(base_url=company.url) as http:
            head = company.bearer("controller")
            answer = await http.post(
                f"/v1/foils/{foil_of('INV-9')}/waive", json={"note": "small"}, headers=head
            )
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:counterfoil:problem:tier")
            leaves = [leaf for _, leaf in (await store.dump()).leaves if leaf.kind == "decision.refused"]
    finally:
        await store.close()
    (leaf,) = leaves
    assert (leaf.actor, leaf.subject) == ("person:p-controller", foil_of("INV-9"))
    assert wire.loads(leaf.body)["verdict"] == "tier"


async def refusals(company: Company, actor: str = "person:") -> list[tuple[str, dict[str, Any]]]:
    rows = (await company.app.store.dump()).leaves  # type: ignore[attr-defined]
    return [
        (leaf.actor, wire.loads(leaf.body))
        for _, leaf in rows
        if leaf.kind == "request.refused" and leaf.actor.startswith(actor)
    ]


async def test_each_role_without_the_permission_leaves_a_leaf_on_each_route(company: Company) -> None:
    expected = []
    async with httpx2.AsyncClient(base_url=company.url, trust_env=False, timeout=60) as http:
        routes = changing_routes(company)
        assert {"/v1/plans", "/v1/foils/{foil_id}/waive", "/approvals/{approval_id}"} <= {
            p for _, p, _ in routes
        }
        for method, template, needs in routes:
            path = re.sub(r"\{\w+\}", "x", template)
            for role, may in company.may.items():
                if needs in may:
                    continue
                answer = await http.request(method, path, headers=company.bearer(role))
                assert answer.status_code == (401 if role == ANONYMOUS else 403), (method, path, role)
                if role != ANONYMOUS:
                    expected.append((f"person:p-{role}", f"{method} {template}", str(needs), path))
    leaves = [(actor, b["action"], b["permission"], b["path"]) for actor, b in await refusals(company)]
    assert sorted(leaves) == sorted(expected)


async def test_many_refused_requests_leave_few_leaves(company: Company) -> None:
    async with httpx2.AsyncClient(base_url=company.url, trust_env=False, timeout=60) as http:
        for number in range(40):
            answer = await http.post(f"/v1/cases/c{number}", headers=company.bearer("portal"))
            assert answer.status_code == 403
    leaves = await refusals(company)
    # A slow run may reach into a second window.
    assert REFUSAL_LEAVES <= len(leaves) <= 2 * REFUSAL_LEAVES
    assert {(actor, body["action"]) for actor, body in leaves} == {
        ("person:p-portal", "POST /v1/cases/{case_id}")
    }


async def test_a_refused_question_leaves_nothing(company: Company) -> None:
    async with httpx2.AsyncClient(base_url=company.url, trust_env=False, timeout=60) as http:
        assert (await http.get("/v1/audit", headers=company.bearer("portal"))).status_code == 403
    assert await refusals(company) == []


STRANGERS: list[tuple[str, str, dict[str, Any], str]] = [
    # Method, path, request, verdict; empty for a request that leaves no leaf.
    ("POST", "/v1/plans", {}, "no-credentials"),
    ("POST", "/v1/plans", {"headers": {"authorization": "Bearer nonsense"}}, "token"),
    ("GET", "/v1/runs", {"headers": {"authorization": "Bearer nonsense"}}, "token"),
    ("POST", "/v1/events", {"headers": {"authorization": "Basic YTpi"}}, "token"),
    ("POST", "/approvals/x", {"headers": {"cookie": f"{COOKIE}=cfs_gone"}}, "session"),
    ("POST", "/sign-in", {"data": {"email": "cfo@acme.example", "password": "guess"}}, "sign-in"),
    ("POST", "/sign-in", {"data": {"email": "x"}, "headers": {"origin": "https://evil.example"}}, "origin"),
    ("GET", "/v1/runs", {}, ""),
    ("GET", "/runs", {"headers": {"cookie": f"{COOKIE}=cfs_gone"}}, ""),
    ("POST", "/v1/receipts/nobody", {"content": b"{}"}, ""),
    ("POST", "/wp-login.php", {}, ""),
]


@pytest.mark.parametrize("company", ["memory"], indirect=True)
@pytest.mark.parametrize(("method", "path", "more", "verdict"), STRANGERS)
async def test_a_refused_stranger_leaves_a_leaf_with_the_address(
    company: Company, method: str, path: str, more: dict[str, Any], verdict: str
) -> None:
    async with httpx2.AsyncClient(base_url=company.url, trust_env=False, timeout=60) as http:
        answer = await http.request(method, path, **more)
    assert answer.status_code in (303, 401, 403, 404)
    leaves = [(actor, body["verdict"], body["path"]) for actor, body in await refusals(company, "address:")]
    assert leaves == ([("address:127.0.0.1", verdict, path)] if verdict else [])


async def test_a_flood_of_strangers_leaves_few_leaves_and_the_next_one_counts_it(company: Company) -> None:
    async with httpx2.AsyncClient(base_url=company.url, trust_env=False, timeout=60) as http:
        for number in range(40):
            path = f"/v1/cases/c{number}" if number % 2 else "/v1/plans"
            assert (await http.post(path)).status_code == 401
    assert len(await refusals(company, "address:")) == StrangerLimit.PER_ADDRESS


def test_addresses_share_a_limit_and_what_was_left_out_is_counted() -> None:
    limit = StrangerLimit()
    admitted = [limit.admit(f"192.0.2.{number}", 0.0) for number in range(200)]
    assert admitted == [0] * limit.ALL_ADDRESSES + [None] * (200 - limit.ALL_ADDRESSES)
    assert limit.admit("192.0.2.1", limit.WINDOW_SECONDS) == 200 - limit.ALL_ADDRESSES
    assert limit.admit("192.0.2.1", limit.WINDOW_SECONDS) == 0


@pytest.mark.parametrize("company", ["memory"], indirect=True)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/cases/case_0", {"choice": "close", "note": ""}),
        ("/v1/approvals/appr_0", {"decision": "approve"}),
        ("/v1/foils/foil_0/waive", {"note": "small"}),
        ("/v1/releases", {"plan": "0" * 64}),
    ],
)
async def test_an_unknown_id_leaves_a_leaf_of_the_person(
    company: Company, path: str, body: dict[str, Any]
) -> None:
    role = next(role for role, may in company.may.items() if needed(company, path) in may)
    async with httpx2.AsyncClient(base_url=company.url, trust_env=False, timeout=60) as http:
        answer = await http.post(path, json=body, headers=company.bearer(role))
    assert answer.status_code == 404, answer.text
    ((actor, leaf),) = await refusals(company)
    assert (actor, leaf["verdict"], leaf["path"]) == (f"person:p-{role}", "not-found", path)


def needed(company: Company, path: str) -> Permission:
    """Return the permission of the changing route that has this path."""
    return next(
        needs
        for _, template, needs in changing_routes(company)
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
    )


async def test_a_delivery_without_a_valid_signature_leaves_a_leaf(tmp_path: Path) -> None:
    async with running(tmp_path) as company, httpx2.AsyncClient(base_url=company.url) as http:
        for headers in ({}, {"stripe-signature": "t=1,v1=00"}):
            answer = await http.post("/v1/receipts/billing", content=b"{}", headers=headers)
            assert answer.status_code == 401
        leaves = [
            leaf for _, leaf in (await company.app.store.dump()).leaves if leaf.kind == "request.refused"
        ]
    assert [leaf.actor for leaf in leaves] == ["address:127.0.0.1"] * 2
    assert all(wire.loads(leaf.body)["verdict"].startswith("signature-") for leaf in leaves)


async def test_a_form_that_another_site_sends_leaves_a_leaf_of_the_person(tmp_path: Path) -> None:
    async with running(tmp_path) as company, httpx2.AsyncClient(base_url=company.url) as http:
        form = {"email": "fay@acme.example", "password": PASSWORD}
        assert (await http.post("/sign-in", data=form)).status_code == 303
        path = "/cases/case_unrouted_1"
        foreign = {"origin": "https://evil.example"}
        assert (await http.post(path, data={"choice": "close"})).status_code == 403
        assert (await http.post(path, data={"choice": "close"}, headers=foreign)).status_code == 403
        assert (await http.post(f"/v1{path}", json={"choice": "close"})).status_code == 403
        leaves = [
            leaf for _, leaf in (await company.app.store.dump()).leaves if leaf.kind == "request.refused"
        ]
    verdicts = [(leaf.actor, wire.loads(leaf.body)["verdict"]) for leaf in leaves]
    assert verdicts == [("person:fay", "csrf"), ("person:fay", "origin"), ("person:fay", "csrf")]
