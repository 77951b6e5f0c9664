"""The page of one customer across systems: over HTTP, as a page and on the command line."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace

from counterfoil.core.money import Money
from counterfoil.store.port.people import PutPerson
from tests.companies.web import Company, running
from tests.companies.web_customers import fill_customers, write_heads
from tests.companies.web_rows import run_of
from tests.contract.test_http_names import _table

pytestmark = pytest.mark.xdist_group("web")
PAGE = {"accept": "text/html"}


@asynccontextmanager
async def asked(tmp_path: Path, person: str = "fay") -> AsyncIterator[tuple[Company, httpx2.AsyncClient]]:
    async with running(tmp_path) as company:
        await fill_customers(company.app.store)
        async with httpx2.AsyncClient(
            base_url=company.url, headers=company.bearer(person), trust_env=False
        ) as http:
            yield company, http


async def customer(http: httpx2.AsyncClient, id_: str = "cust_42") -> dict[str, Any]:
    answer = await http.get(f"/v1/customers/{id_}")
    assert answer.status_code == 200, answer.text
    detail: dict[str, Any] = answer.json()
    return detail


async def test_documents_that_name_the_customer_or_its_documents_are_listed_open_ones_first(
    tmp_path: Path,
) -> None:
    async with asked(tmp_path) as (_, http):
        detail = await customer(http)
        assert detail["name"] == "Home Software"
        numbers = [row["number"] for row in detail["documents"]]
        assert numbers[0] == "INV-2026-9"
        assert set(numbers) == {"INV-2026-9", "INV-2026-8", "CM-3", "CM-1", "X ticket"}
        by_number = {row["number"]: row for row in detail["documents"]}
        assert by_number["INV-2026-9"]["open"] == [{"amount": "300.00", "currency": "USD", "minor": 30_000}]
        assert by_number["CM-3"]["open"] is None
        assert [link["ext_id"] for link in detail["links"]] == ["cus_Q1w2"]


async def test_runs_that_wait_say_why_and_open_cases_name_their_owner(tmp_path: Path) -> None:
    async with asked(tmp_path) as (_, http):
        detail = await customer(http)
        waits = {run["id"]: run["waits_for"] for run in detail["runs"]}
        assert set(waits) == {run_of("CR-1002"), run_of("CR-1003")}
        assert waits[run_of("CR-1003")].startswith("approval of 2,500.00 USD by finance-operations")
        assert {case["reason"] for case in detail["cases"]} >= {"foil_broken"}
        assert all(case["state"] == "open" for case in detail["cases"])


async def test_money_is_summed_by_entity_and_currency(tmp_path: Path) -> None:
    async with asked(tmp_path) as (company, http):
        more = {"number": "INV-7", "customer_id": "cust_42", "open": Money(1_000, "EUR")}
        await write_heads(company.app.store, [("invoice", "INV-7", more)])
        detail = await customer(http)
        (own,) = [row for row in detail["money"] if row["owed"]]
        assert own["owed"] == {
            "invoice": [
                {"amount": "10.00", "currency": "EUR", "minor": 1_000},
                {"amount": "300.00", "currency": "USD", "minor": 30_000},
            ]
        }
        assert [(foil["document"], foil["state"]) for foil in detail["foils"]] == [("INV-9", "broken")]
        assert own["breaks"] == [{"amount": "10.00", "currency": "USD", "minor": 1_000}]


async def test_a_document_of_another_customer_is_no_document_of_this_one(tmp_path: Path) -> None:
    async with asked(tmp_path) as (company, http):
        other = {"number": "OTHER-1", "customer_id": "cust_43", "invoice_id": "INV-9"}
        await write_heads(company.app.store, [("credit", "CR-9", other)])
        assert "OTHER-1" not in {row["number"] for row in (await customer(http))["documents"]}


async def test_parts_need_the_permission_of_their_list(tmp_path: Path) -> None:
    async with asked(tmp_path, "nil") as (company, http):
        assert (await http.get("/v1/customers/cust_42")).status_code == 403
        assert (await http.get("/customers/cust_42", headers=PAGE)).status_code == 403
        seen = {}
        for person in ("ava", "leo", "fay", "ada"):
            me = (await http.get("/v1/me", headers=company.bearer(person))).json()
            answer = await http.get("/v1/customers/cust_42", headers=company.bearer(person))
            page = await http.get("/customers/cust_42", headers=company.bearer(person) | PAGE)
            assert page.status_code == answer.status_code
            if answer.status_code == 200:
                for part in ("runs", "cases", "foils"):
                    seen[person, part] = answer.json()[part] is not None
                    assert seen[person, part] == (f"{part}:any:read" in me["permissions"]), (person, part)
        assert set(seen.values()) == {True, False} or all(seen.values())
        assert seen["fay", "runs"]


async def test_an_unknown_customer_and_one_of_another_entity_answer_alike(tmp_path: Path) -> None:
    async with asked(tmp_path) as (company, http):
        assert (await http.get("/v1/customers/DE-cust_77")).status_code == 200
        person = await company.app.store.person("fay")
        assert person is not None
        bound = replace(person, entities=("acme-us",))
        await company.app.store.apply(PutPerson(person=bound, at=await company.app.now(), actor="test"))
        hidden = await http.get("/v1/customers/DE-cust_77")
        unknown = await http.get("/v1/customers/cust_none")
        assert (hidden.status_code, unknown.status_code) == (404, 404)
        assert hidden.json()["detail"].replace("DE-cust_77", "") == unknown.json()["detail"].replace(
            "cust_none", ""
        )
        assert (await http.get("/v1/customers/cust_42")).status_code == 200


async def test_more_documents_than_are_read_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("counterfoil.web.api.customers.MAX_ROWS", 2)
    async with asked(tmp_path) as (_, http):
        detail = await customer(http)
        assert detail["more"]
        assert len(detail["documents"]) == 2
        page = await http.get("/customers/cust_42", headers=PAGE)
        assert "more rows than this page reads" in page.text


async def test_the_search_leads_to_the_page(tmp_path: Path) -> None:
    async with asked(tmp_path) as (_, http):
        groups = (await http.get("/v1/search", params={"q": "home software"})).json()["groups"]
        hits = next(group["hits"] for group in groups if group["kind"] == "customers")
        own = next(hit for hit in hits if hit["id"] == "cust_42")
        page = await http.get(own["page"], headers=PAGE)
        assert page.status_code == 200
        for text in (
            "Home Software",
            "INV-2026-9",
            "300.00",
            "Runs that wait, and why",
            "approval of 2,500.00 USD",
        ):
            assert text in page.text, text


async def test_a_name_with_markup_is_text(tmp_path: Path) -> None:
    async with asked(tmp_path) as (company, http):
        await write_heads(company.app.store, [("customer", "cust_x", {"name": "<b>Bold</b>"})])
        page = await http.get("/customers/cust_x", headers=PAGE)
        assert "&lt;b&gt;Bold" in page.text
        assert "<b>Bold" not in page.text


async def test_the_command_takes_an_id_or_a_name(tmp_path: Path) -> None:
    async with asked(tmp_path) as (company, http):
        for text in ("cust_42", "Home Software"):
            table = await _table(company, "customer", text)
            assert table.startswith("Home Software")
            assert "INV-2026-9" in table
        written = json.loads(await _table(company, "customer", "cust_42", "--format", "json"))
        assert written["documents"] == (await customer(http))["documents"]
