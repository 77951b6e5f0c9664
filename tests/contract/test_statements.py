"""Statements of lists: what is listed, when, by whom, and how much it is; the same as an export has."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from counterfoil.web.api import statements
from tests.companies.web import running
from tests.contract.test_exports import LISTS, client, export
from tests.contract.test_http_names import _fill

pytestmark = pytest.mark.xdist_group("web")


async def test_a_list_states_what_its_export_states(tmp_path: Path) -> None:
    async with running(tmp_path) as company, client(company, "cory") as http:
        await _fill(company.app.store)
        for name in LISTS:
            page = (await http.get(f"/v1/{name}", params={"limit": "2"})).json()
            stated = page["statement"]
            _, of_file = await export(http, name)
            assert (str(stated["rows"]), stated["more"]) == (of_file["Rows"], False) != ("0", False), name
            in_file = {line[-3:]: Decimal(text) for line, text in of_file.items() if line.startswith("Total")}
            assert {a["currency"]: Decimal(a["amount"]) for a in stated["totals"]} == in_file, name
            assert in_file
            assert stated["release"] == company.app.model.digest == of_file["Release"]
            assert stated["author"] == "Cory Controller (cory)"
            later = (await http.get(f"/v1/{name}", params={"limit": "2", "cursor": page["next"]})).json()
            assert (later["statement"], bool(later["items"])) == (None, True), name


async def test_filters_select_what_is_counted_and_summed(tmp_path: Path) -> None:
    async with running(tmp_path) as company, client(company, "cory") as http:
        query = {"state": "broken", "rule": "invoice-in-erp"}
        stated = (await http.get("/v1/foils", params=query)).json()["statement"]
        assert (stated["query"], stated["rows"]) == (query, 1)
        assert stated["totals"] == [{"amount": "100.00", "currency": "USD", "minor": 10_000}]
        by_number = (await http.get("/v1/foils", params={"key": "BILL/2026/11"})).json()
        assert by_number["statement"]["rows"] == len(by_number["items"])
        page = await http.get("/foils", params=query, headers={"accept": "text/html"})
        text = re.sub(r"<[^>]+>|\s+", " ", page.text)
        assert re.search(r"1 +counterfoil *, in total +100\.00 +USD", text.replace("\xa0", " "))
        assert "for Cory Controller (cory)" in text
        past = (await http.get("/v1/foils", params={"as_of": "2020-01-01T00:00:00Z"})).json()["statement"]
        assert (past["rows"], past["totals"], past["as_of"]) == (None, None, "2020-01-01T00:00:00Z")


async def test_a_page_says_where_it_stopped_to_count_and_to_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, limit in (("MAX_COUNTED_ROWS", 3), ("MAX_SUMMED_ROWS", 2), ("MAX_SUMMED_RUNS", 2)):
        monkeypatch.setattr(statements, name, limit)
    async with running(tmp_path) as company, client(company, "cory") as http:
        for name in LISTS:
            stated = (await http.get(f"/v1/{name}")).json()["statement"]
            assert (stated["rows"], stated["more"], stated["totals"]) == (3, True, None), name
        page = await http.get("/runs", headers={"accept": "text/html"})
        assert "More than 3" in page.text
        assert "an export has the totals" in page.text
