"""Exports of lists over HTTP and on the command line: the same rows as the list, with a statement, by right and entity."""

from __future__ import annotations

import csv
import html
import io
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import openpyxl
import pytest

from counterfoil.web.api import export_tables
from tests.companies.web import Company, running
from tests.companies.web_matches import admit, bill_item, foil_of, invoice_foil
from tests.companies.web_rows import seal
from tests.contract.test_http_names import _fill, _table

pytestmark = pytest.mark.xdist_group("web")
LISTS = ("runs", "foils", "unmatched", "cases", "approvals")
BAD_NUMBER = "=1+1"


def split(text: str) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Return the rows of a CSV export by column, and its statement."""
    assert text.startswith("\ufeff")
    head, empty, tail = text.removeprefix("\ufeff").partition("\r\n\r\n")
    assert empty
    rows = list(csv.DictReader(io.StringIO(head + "\r\n", newline="")))
    return rows, {line[0]: line[1] for line in csv.reader(io.StringIO(tail, newline=""))}


def client(company: Company, person: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=company.url, headers=company.bearer(person), trust_env=False)


async def export(
    http: httpx2.AsyncClient, name: str, **query: str
) -> tuple[list[dict[str, str]], dict[str, str]]:
    answer = await http.get(f"/v1/exports/{name}", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    assert f'filename="counterfoil-{name}-' in answer.headers["content-disposition"]
    return split(answer.content.decode())


async def test_an_export_has_the_rows_of_its_list_and_states_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_tables, "PAGE_ROWS", 2)
    async with running(tmp_path) as company, client(company, "cory") as http:
        await _fill(company.app.store)
        for name in LISTS:
            items = (await http.get(f"/v1/{name}", params={"limit": "200"})).json()["items"]
            rows, statement = await export(http, name)
            assert [row["Id"] for row in rows] == [item["id"] for item in items], name
            assert statement["Rows"] == str(len(items)) != "0"
            assert statement["Release"] == company.app.model.digest
            assert statement["Author"] == "Cory Controller (cory)"
            assert statement["As of (UTC)"].startswith("20")
            amount = "At risk" if "At risk" in rows[0] else "Amount"
            total = sum(Decimal(row[amount] or "0") for row in rows if row["Currency"] == "USD")
            assert Decimal(statement[f"Total of {amount}, USD"]) == total, name


async def test_filters_are_those_of_the_list_and_are_stated(tmp_path: Path) -> None:
    async with running(tmp_path) as company, client(company, "cory") as http:
        rows, statement = await export(http, "foils", state="broken", rule="invoice-in-erp")
        assert [row["Document"] for row in rows] == ["INV-9"]
        assert (rows[0]["Amount"], rows[0]["Confirmed"], rows[0]["Still missing"]) == (
            "100.00",
            "90.00",
            "10.00",
        )
        assert statement["Query"] == "state: broken; rule: invoice-in-erp"
        assert statement["Total of Amount, USD"] == "100.00"
        rows, statement = await export(http, "unmatched", system="absent")
        assert (rows, statement["Rows"]) == ([], "0")
        assert "Total of Amount, USD" not in statement
        rows, statement = await export(http, "foils", as_of="2020-01-01T00:00:00Z")
        assert (rows, statement["As of (UTC)"]) == ([], "2020-01-01 00:00:00")
        for query in ({"state": "brken"}, {"colour": "red"}, {"format": "pdf"}, {"as_of": "x"}):
            answer = await http.get("/v1/exports/foils", params=query)
            assert answer.status_code == 400, query
            assert answer.headers["content-type"] == "application/problem+json"


async def test_a_number_that_customers_chose_is_no_formula(tmp_path: Path) -> None:
    async with running(tmp_path) as company, client(company, "cory") as http:
        at = await company.app.store.now()
        await admit(company.app.store, at, foils=(invoice_foil(BAD_NUMBER, -4_250, 1, at),))
        await admit(company.app.store, at, items=(bill_item("@SUM(1)", "X-1", -4_250, at),))
        (row,), statement = await export(http, "foils", key=BAD_NUMBER)
        assert (row["Document"], row["Key"], row["Amount"]) == (f"'{BAD_NUMBER}", f"'{BAD_NUMBER}", "-42.50")
        assert statement["Query"] == f"key: {BAD_NUMBER}"
        answer = await http.get("/v1/exports/foils", params={"key": BAD_NUMBER, "format": "xlsx"})
        book = openpyxl.load_workbook(io.BytesIO(answer.content))
        sheet = book["Counterfoils"]
        heads = {cell.value: cell.column for cell in sheet[1]}
        document, amount = (sheet.cell(2, heads[name]) for name in ("Document", "Amount"))
        assert (document.value, document.data_type) == (BAD_NUMBER, "s")
        assert (amount.value, amount.data_type, amount.number_format) == (-42.5, "n", "#,##0.00")
        assert sheet.cell(2, heads["Due (UTC)"]).is_date
        lines: dict[Any, Any] = {line[0].value: line[1].value for line in book["Statement"]}
        assert (lines["Rows"], lines["Total of Amount, USD"]) == (1, -42.5)
        assert lines["Author"] == "Cory Controller (cory)"


async def test_a_sheet_has_room_for_a_number_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("counterfoil.web.api.export_files.MAX_SHEET_ROWS", 1)
    async with running(tmp_path) as company, client(company, "cory") as http:
        answer = await http.get("/v1/exports/runs", params={"format": "xlsx"})
        assert answer.status_code == 422
        assert "Narrow the filter" in answer.json()["detail"]


async def test_an_export_needs_the_permission_of_its_list(tmp_path: Path) -> None:
    async with running(tmp_path) as company, client(company, "nil") as http:
        for name in (*LISTS, "audit"):
            assert (await http.get(f"/v1/exports/{name}")).status_code == 403, name
        assert (await http.get("/v1/exports/runs", headers={"authorization": ""})).status_code in (401, 403)


async def test_leaves_of_the_audit_log_are_exported_from_an_index(tmp_path: Path) -> None:
    async with running(tmp_path) as company, client(company, "ada") as http:
        await seal(company.app.store)
        rows, statement = await export(http, "audit", start="0")
        leaves = (await http.get("/v1/audit", params={"limit": "200"})).json()["items"]
        assert [row["Id"] for row in rows] == [leaf["id"] for leaf in leaves]
        assert statement["Rows"] == str(len(leaves)) != "0"


async def test_a_search_by_name_pages_through_all_its_hits(tmp_path: Path) -> None:
    async with running(tmp_path) as company, client(company, "cory") as http:
        at = await company.app.store.now()
        names = [f"R/{number}" for number in range(5)]
        foils = tuple(invoice_foil(name, 100, 1, at) for name in names)
        await admit(company.app.store, at, foils=foils)
        for name in names:
            await admit(company.app.store, at, items=(bill_item(f"of {name}", name, 100, at),))
        query = {"key": "of R/1", "limit": "1"}
        page = (await http.get("/v1/foils", params=query)).json()
        assert [foil["id"] for foil in page["items"]] == [foil_of("R/1")]
        assert page["next"] is None


async def test_the_command_line_writes_files(tmp_path: Path) -> None:
    async with running(tmp_path) as company:
        text = await _table(company, "foils", "--key", "INV-9", "--format", "csv")
        rows, _ = split(text)
        assert [row["Document"] for row in rows] == ["INV-9"]
        target = tmp_path / "cases.xlsx"
        assert str(target) in await _table(company, "cases", "--export", str(target))
        assert openpyxl.load_workbook(target).sheetnames == ["Cases", "Statement"]
        assert not list(tmp_path.glob(".*.part"))


async def test_pages_link_to_the_export_of_what_they_list(tmp_path: Path) -> None:
    async with running(tmp_path) as company, client(company, "cory") as http:
        for path, query in (
            ("/runs?status=waiting", "runs?format=csv&status=waiting"),
            ("/foils?state=broken&rule=invoice-in-erp", "foils?format=csv&state=broken&rule=invoice-in-erp"),
            ("/unmatched?system=erp", "unmatched?format=csv&system=erp"),
            ("/cases?state=all", "cases?format=csv"),
            ("/cases", "cases?format=csv&state=open"),
            ("/approvals", "approvals?format=csv&state=open"),
        ):
            page = await http.get(path, headers={"accept": "text/html"})
            link = html.unescape(re.search(r'href="(/v1/exports/[^"]*csv[^"]*)"', page.text)[1])  # type: ignore[index]
            assert link == f"/v1/exports/{query}", path
            assert (await http.get(link)).status_code == 200
