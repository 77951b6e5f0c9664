"""Runs, counterfoils and `trace` are found by what the pages print: document numbers and the customer's name."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2
import pytest
from msgspec.structs import replace

from counterfoil.core.document import has_ledger, in_ledger
from tests.companies.web import running
from tests.companies.web_matches import admit, bill_item, foil_of, invoice_foil
from tests.contract.test_http_names import KEY, RUN, _fill, _table

pytestmark = pytest.mark.xdist_group("web")
TEXTS = ("CN-77", "cn-77", "Initech Software", "INV-2026-0042", "CN-2026-00005", KEY)
"""Of the credit, its customer and its invoice; the number in the ERP; and the key."""


async def test_what_the_pages_print_is_found(tmp_path: Path) -> None:
    async with running(tmp_path) as company:
        store = company.app.store
        await _fill(store)
        at = await store.now()
        await admit(store, at, foils=(replace(invoice_foil(KEY, 4_200, 1, at), run=RUN),))
        await admit(store, await store.now(), items=(bill_item("CN-2026-00005", KEY, 4_200, at),))
        async with httpx2.AsyncClient(
            base_url=company.url, headers=company.bearer("fay"), trust_env=False
        ) as http:
            for text in TEXTS:
                runs = (await http.get("/v1/runs", params={"key": text})).json()["items"]
                assert [row["id"] for row in runs] == [RUN], text
                foils = (await http.get("/v1/foils", params={"key": text})).json()["items"]
                assert foil_of(KEY) in [row["id"] for row in foils], text
                for path, link in (("/runs", f"/runs/{RUN}"), ("/foils", f"/foils/{foil_of(KEY)}")):
                    page = await http.get(path, params={"key": text}, headers={"accept": "text/html"})
                    assert link in page.text, (path, text)
            none = (await http.get("/v1/runs", params={"key": "CN-7"})).json()["items"]
            assert none == []
            done = (await http.get("/v1/runs", params={"key": "CN-77", "status": "done"})).json()["items"]
            assert done == []
        for text in ("CN-77", "Initech Software"):
            assert re.search(rf"^{KEY} .*{RUN}$", await _table(company, "trace", text), re.M), text


async def test_a_number_that_two_ledgers_give_finds_the_documents_of_both(tmp_path: Path) -> None:
    number = "R/2026/41"
    async with running(tmp_path) as company:
        store = company.app.store
        for key, document in (("INV-1", number), ("DE-INV-1", in_ledger("erp-de", number))):
            at = await store.now()
            await admit(store, at, foils=(invoice_foil(key, 4_200, 1, at),))
            await admit(store, await store.now(), items=(bill_item(document, key, 4_000, at),))
        await admit(store, at, items=(bill_item(in_ledger("erp-de", "X/7"), "DE-X/7", 700, at),))
        async with httpx2.AsyncClient(
            base_url=company.url, headers=company.bearer("fay"), trust_env=False
        ) as http:
            foils = (await http.get("/v1/foils", params={"key": number})).json()["items"]
            assert {foil["document"] for foil in foils} == {"INV-1", "DE-INV-1"}
            items = (await http.get("/v1/unmatched")).json()["items"]
            assert "X/7" in {item["document"] for item in items}
            for path in ("/foils", "/unmatched", "/cases", *(f"/foils/{foil['id']}" for foil in foils)):
                page = (await http.get(path, headers={"accept": "text/html"})).text
                assert not has_ledger(page), path
                assert number in page or not path.startswith("/foils/"), path
