"""Checkpoints by HTTP and on the command line: who prepares, who signs, and whose checkpoints a bound person sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.sweep import SweepState
from counterfoil.flow.worker.sweep_requests import SCHEDULE, books_of, request_of
from counterfoil.store.port.sweeps import ClaimSweep, EndSweep
from tests.companies.web import Company, running
from tests.contract.test_http_sweeps import connectors

pytestmark = pytest.mark.xdist_group("web")
PATH = "/v1/reconciliations/invoice-in-erp/checkpoints"


async def read_books(company: Company) -> None:
    """Read each book of the reconciliation as an empty one."""
    app = company.app
    rule = app.model.reconciliations["invoice-in-erp"]
    for system, book in books_of(app.model, app.connectors, rule):
        at = await app.store.now()
        sweep = await app.store.apply(request_of(system, book, SCHEDULE, at))
        claim = ClaimSweep(worker="w", systems=(system,), lease_until=at, at=at)
        await app.store.apply(claim)
        end = EndSweep(sweep=sweep.id, worker="w", pages=0, state=SweepState.DONE, at=at, actor="sweep")
        assert await app.store.apply(end) is not None


async def post(http: Any, path: str, body: dict[str, Any], head: dict[str, str]) -> Any:
    return await http.post(path, json=body, headers=head)


async def test_one_person_prepares_and_another_one_signs(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as company,
        httpx2.AsyncClient(base_url=company.url, trust_env=False) as http,
    ):
        fay, cory, leo = (company.bearer(name) for name in ("fay", "cory", "leo"))
        today = f"{await company.app.now():%Y-%m-%d}"
        company.app.connectors.update(connectors())
        unread = await post(http, PATH, {"at": today}, cory)
        assert (unread.status_code, "was never read" in unread.json()["detail"]) == (409, True)
        await read_books(company)
        assert (await post(http, PATH, {"at": today}, leo)).status_code == 403
        assert (await post(http, PATH, {"at": "soon"}, cory)).status_code == 422
        assert (await post(http, PATH, {"at": "2999-01-01"}, cory)).status_code == 409
        assert (await post(http, PATH, {"at": today, "more": 1}, cory)).status_code == 422
        made = await post(http, PATH, {"at": today, "entity": "acme-us"}, cory)
        assert made.status_code == 201, made.text
        (checkpoint,) = made.json()["checkpoints"]
        assert (checkpoint["state"], checkpoint["prepared_by"]) == ("prepared", "cory")
        place = f"/v1/checkpoints/{checkpoint['id']}"
        assert (await http.get(place, headers=leo)).status_code == 403
        shown = (await http.get(place, headers=fay)).json()
        assert shown == checkpoint
        own = await post(http, place, {"decision": "sign"}, cory)
        assert (own.status_code, "Another person" in own.json()["detail"]) == (409, True)
        assert (await post(http, place, {"decision": "sign"}, fay)).status_code == 403
        # The books were empty, so what our rows count is in no book.
        (line,) = checkpoint["lines"]
        assert (line["left"]["book"]["amount"], line["left"]["ours"]["amount"] != "0.00") == (
            "0.00",
            True,
        )
        assert line["differing"] == len(line["differences"]) > 0
        refused = await post(http, place, {"decision": "sign"}, company.bearer("ada"))
        assert (refused.status_code, "count otherwise" in refused.json()["detail"]) == (409, True)
        cases = (await http.get("/v1/cases", headers=fay)).json()["items"]
        assert [case["reason"] for case in cases].count("checkpoint_defect") == 1
        listed = (await http.get(PATH, headers=fay)).json()["checkpoints"]
        assert [row["id"] for row in listed] == [checkpoint["id"]]
        assert (await http.get("/v1/checkpoints/bcp_none", headers=fay)).status_code == 404


async def test_a_bound_person_prepares_and_sees_their_own_entity(tmp_path: Path) -> None:
    async with running(tmp_path) as company:
        company.app.connectors.update(connectors())
        await read_books(company)
        app = company.app
        rule = app.model.reconciliations["invoice-in-erp"]
        today = (await app.now()).date()
        german = EntityScope(frozenset(["acme-de"]), app.model.default_entity)
        own = await app.checkpoints.prepare(rule, today, None, german, "greta")
        every = await app.checkpoints.prepare(rule, today, None, EntityScope(), "ann")
        assert {row.entity for row in own} <= {"acme-de"}
        assert {row.entity for row in every} >= {"acme-us"}
        assert {row.entity for row in await app.checkpoints.all_of(rule.name, german)} <= {"acme-de"}
