"""A document that was taken back owes nothing: the API, the command line and the pages show no residual of it."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2
import pytest
from msgspec.structs import replace

from tests.companies.web import running
from tests.companies.web_matches import admit, foil_of, invoice_foil
from tests.contract.test_http_names import RUN, _fill, _table

pytestmark = pytest.mark.xdist_group("web")


async def test_a_reversed_counterfoil_shows_no_residual(tmp_path: Path) -> None:
    async with running(tmp_path) as company:
        store = company.app.store
        await _fill(store)
        at = await store.now()
        first = replace(invoice_foil("INV-77", 4_200, 1, at), run=RUN)
        await admit(store, at, foils=(first,))
        await admit(store, await store.now(), foils=(replace(first, version=2, stands=False),))
        async with httpx2.AsyncClient(
            base_url=company.url, headers=company.bearer("fay"), trust_env=False
        ) as http:
            (foil,) = (await http.get("/v1/foils", params={"key": "INV-77"})).json()["items"]
            assert (foil["state"], foil["residual"], foil["asserted"]) == ("reversed", {}, {})
            trace = (await http.get(f"/v1/runs/{RUN}")).json()
            assert [half["residual"] for half in trace["foils"][0]["halves"]] == [""]
            for path in ("/foils?key=INV-77", f"/foils/{foil_of('INV-77')}", f"/runs/{RUN}"):
                page = (await http.get(path, headers={"accept": "text/html"})).text
                assert "reversed" in page
                assert 'class="residual"' not in page
        table = await _table(company, "foils", "--key", "INV-77")
        assert re.search(r"INV-77 +reversed +invoice-in-erp +\d{4}-", table), table
        traced = await _table(company, "trace", RUN)
        assert re.search(r"INV-77 +reversed +gross +42\.00 USD *$", traced, re.M), traced
