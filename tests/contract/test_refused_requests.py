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
from counterfoil.web.http.request import REQUIRES, SAFE_METHODS
from tests.companies.base import edited
from tests.companies.roles import ACME, ANONYMOUS, Company, acme
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


async def refusals(company: Company) -> list[tuple[str, dict[str, Any]]]:
    rows = (await company.app.store.dump()).leaves  # type: ignore[attr-defined]
    return [(leaf.actor, wire.loads(leaf.body)) for _, leaf in rows if leaf.kind == "request.refused"]


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
