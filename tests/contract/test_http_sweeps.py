"""Sweeps by HTTP: who may ask for them, what they answer, and which systems a bound person sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from counterfoil.connectors import sdk
from counterfoil.core.entity_scope import EntityScope
from counterfoil.flow.worker.sweep_requests import SweepRequests, books_of
from tests.companies.web import EmptyLedger, running

pytestmark = pytest.mark.xdist_group("web")
PATH = "/v1/reconciliations/invoice-in-erp/sweeps"


class Books(EmptyLedger):
    """A connector that lists books; their deliveries are those of the ERP's and billing's mappings."""

    def __init__(self, **listings: list[str]) -> None:
        self.listings = listings

    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> sdk.Page:
        raise AssertionError(f"nobody reads {listing} here")


def connectors() -> dict[str, Any]:
    erp = Books(invoices=["invoice", "credit_memo"], periods=["period"])
    billing = Books(invoices=["invoice.finalized", "invoice.paid"], customers=["customer.created"])
    return {"erp": erp, "erp-de": erp, "billing": billing, "billing-de": billing}


async def test_sweeps_are_asked_for_once_and_shown(tmp_path: Path) -> None:
    async with running(tmp_path) as company:
        company.app.connectors.update(connectors())
        async with httpx2.AsyncClient(base_url=company.url, trust_env=False) as http:
            fay, leo = company.bearer("fay"), company.bearer("leo")
            assert (await http.get(PATH, headers=fay)).json() == {"sweeps": []}
            refused = await http.post(PATH, headers=leo)
            assert refused.status_code == 403
            first, second = [await http.post(PATH, headers=fay) for _ in range(2)]
            assert first.status_code == 202
            assert first.json() == second.json()
            books = {(sweep["system"], sweep["book"]) for sweep in first.json()["sweeps"]}
            assert books >= {("billing", "invoices"), ("erp", "invoices")}
            assert all(book == "invoices" for _, book in books)
            shown = (await http.get(PATH, headers=fay)).json()["sweeps"]
            assert {sweep["id"] for sweep in shown} == {sweep["id"] for sweep in first.json()["sweeps"]}
            assert {(sweep["state"], sweep["requested_by"]) for sweep in shown} == {("reading", "fay")}
            unknown = await http.post("/v1/reconciliations/nothing/sweeps", headers=fay)
            assert unknown.status_code == 404


async def test_a_bound_person_sees_the_sweeps_of_their_own_systems(tmp_path: Path) -> None:
    async with running(tmp_path) as company:
        app = company.app
        rule, every = app.model.reconciliations["invoice-in-erp"], connectors()
        whole = {system for system, _ in books_of(app.model, every, rule)}
        assert whole == {"erp", "erp-de", "billing", "billing-de"}
        requests = SweepRequests(app.store, every)
        await requests.request(app.model, rule, EntityScope(), "fay")
        for name in ("acme-us", "acme-de"):
            scope = EntityScope(frozenset([name]), app.model.default_entity)
            own = {sweep.system for sweep in await requests.latest(app.model, rule, scope)}
            assert own == {s for s in whole if app.model.systems[s].legal_entity == name}
            asked = {sweep.system for sweep in await requests.request(app.model, rule, scope, "cory")}
            assert asked == own
