"""The global search over HTTP, on its page and on the command line."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace

from counterfoil.core import ids as ids_of
from counterfoil.core.canonical import Receipt
from counterfoil.core.people import Person
from counterfoil.store.port.intake import Admit, Receive
from counterfoil.store.port.people import PutPerson, PutToken
from counterfoil.web.api.search_rows import MAX_HITS
from counterfoil.web.http.identity import new_token
from tests.companies.web import Company, running
from tests.companies.web_matches import admit, bill_item, foil_of, invoice_foil, item_of
from tests.companies.web_rows import case_of
from tests.contract.test_http_names import APPROVAL, KEY, REQUEST, RUN, _event, _fill, _table

pytestmark = pytest.mark.xdist_group("web")


@asynccontextmanager
async def searched(tmp_path: Path, person: str = "fay") -> AsyncIterator[tuple[Company, httpx2.AsyncClient]]:
    """Run a company with a credit, its Case and its approval, a counterfoil and an unmatched item."""
    async with running(tmp_path) as company:
        store = company.app.store
        await _fill(store)
        at = await store.now()
        await admit(store, at, foils=(replace(invoice_foil(KEY, 123_450, 1, at), run=RUN),))
        await admit(store, await store.now(), items=(bill_item("SI-20311", "NO-1", 123_450, at),))
        async with httpx2.AsyncClient(
            base_url=company.url, headers=company.bearer(person), trust_env=False
        ) as http:
            yield company, http


async def groups(http: httpx2.AsyncClient, text: str) -> dict[str, list[dict[str, Any]]]:
    answer = await http.get("/v1/search", params={"q": text})
    assert answer.status_code == 200, answer.text
    return {group["kind"]: group["hits"] for group in answer.json()["groups"]}


def ids(hits: list[dict[str, Any]]) -> list[str]:
    return [hit["id"] for hit in hits]


async def test_a_name_or_its_beginning_leads_to_everything_of_the_customer(tmp_path: Path) -> None:
    async with searched(tmp_path) as (_, http):
        for text in ("Initech Software", "initech", "INIT softw", "Inítech"):
            answer = await groups(http, text)
            assert [hit["name"] for hit in answer["customers"]] == ["Initech Software"], text
            assert RUN in ids(answer["runs"]), text
            assert foil_of(KEY) in ids(answer["foils"]), text
            assert "case_names" in ids(answer["cases"]), text
            assert APPROVAL in ids(answer["approvals"]), text
        (run,) = answer["runs"]
        assert (run["customer"], run["name"], run["page"]) == ("Initech Software", "CN-77", f"/runs/{RUN}")


async def test_numbers_and_ids_are_searched_whole_or_in_part(tmp_path: Path) -> None:
    async with searched(tmp_path) as (_, http):
        for text in ("CN-77", "cn-77", "INV-2026-0042", "0042", KEY, RUN):
            assert RUN in ids((await groups(http, text)).get("runs", [])), text
        assert ids((await groups(http, "SI-20311"))["items"]) == [item_of("SI-20311")]
        assert ids((await groups(http, "case_names"))["cases"]) == ["case_names"]


async def test_a_ticket_is_named_by_its_bare_number(tmp_path: Path) -> None:
    async with searched(tmp_path) as (company, http):
        ticket = ids_of.canonical_id(
            "ticket", "support", company.app.model.systems["support"].account, "4711"
        )
        await ask_for_credit(company.app.store, ticket)
        for text in ("4711", "#4711"):
            answer = await groups(http, text)
            assert RUN in ids(answer["runs"]), text
            assert foil_of(KEY) in ids(answer["foils"]), text
            assert APPROVAL in ids(answer["approvals"]), text
        assert "runs" not in await groups(http, "471")


async def ask_for_credit(store: Any, ticket: str) -> None:
    """Write the event of a ticket that asks for the credit; its key is derived from the bare number."""
    at = await store.now()
    receipt = Receipt(
        system="support", ext_id="ticket", type="t", identity="t", sha256="t", door="webhook", headers={}, body=b"{}",
        received_at=at,
    )  # fmt: skip
    clash = case_of("case_ticket", "clash", "controller", at)
    received = await store.apply(Receive(receipts=(receipt,), clashes=(clash,), at=at, actor="t"))
    number = received.numbers[0]
    event = _event("support.credit_requested.v1", "ticket", ticket, REQUEST, number, at)
    await store.apply(Admit(todo=("receipt", str(number)), events=(event,), at=at, actor="t"))


@pytest.mark.parametrize("text", ["1,234.50", "1.234,50", "1234.50 USD", "usd 1,234.50"])
async def test_an_amount_selects_the_documents_that_have_it(tmp_path: Path, text: str) -> None:
    async with searched(tmp_path) as (_, http):
        answer = await groups(http, text)
        assert ids(answer["foils"]) == [foil_of(KEY)]
        assert ids(answer["items"]) == [item_of("SI-20311")]
        assert answer["foils"][0]["amounts"] == [{"amount": "1234.50", "currency": "USD", "minor": 123_450}]
        assert await groups(http, "1,234.51") == {}
        assert await groups(http, "1,234.50 EUR") == {}


async def test_words_beside_an_amount_select_among_its_documents(tmp_path: Path) -> None:
    async with searched(tmp_path) as (_, http):
        answer = await groups(http, "initech 1,234.50")
        assert ids(answer["foils"]) == [foil_of(KEY)]
        assert "items" not in answer
        assert [hit["name"] for hit in answer["customers"]] == ["Initech Software"]
        assert "foils" not in await groups(http, "northwind 1,234.50")


async def test_approvals_and_cases_have_their_amount(tmp_path: Path) -> None:
    async with searched(tmp_path) as (_, http):
        answer = await groups(http, "250.00 USD")
        assert APPROVAL in ids(answer["approvals"])
        assert "case_names" in ids(answer["cases"])
        assert RUN in ids(answer["runs"])


async def test_a_near_name_is_suggested_where_nothing_matches(tmp_path: Path) -> None:
    async with searched(tmp_path) as (_, http):
        answer = (await http.get("/v1/search", params={"q": "inittech sofware"})).json()
        assert (answer["total"], answer["groups"], answer["suggestion"]) == (0, [], "initech software")
        page = await http.get("/search", params={"q": "inittech"}, headers={"accept": "text/html"})
        assert "Nothing matches “inittech”" in page.text
        assert 'Did you mean <a href="/search?q=initech">initech</a>?' in page.text
        assert (await http.get("/v1/search", params={"q": "zzzzzz"})).json()["suggestion"] == ""


async def test_an_answer_states_its_time_and_release(tmp_path: Path) -> None:
    async with searched(tmp_path) as (company, http):
        answer = (await http.get("/v1/search", params={"q": "initech"})).json()
        assert answer["release"] == company.app.model.digest
        assert answer["as_of"].endswith("Z")
        assert answer["total"] == sum(len(group["hits"]) for group in answer["groups"])


async def test_a_person_sees_the_groups_that_their_roles_read(tmp_path: Path) -> None:
    async with searched(tmp_path, "nil") as (company, http):
        answer = (await http.get("/v1/search", params={"q": "initech"})).json()
        assert (answer["groups"], answer["suggestion"]) == ([], "")
        assert (await http.get("/v1/search", params={"q": "inittech"})).json()["suggestion"] == ""
        page = await http.get("/search", params={"q": "initech"}, headers={"accept": "text/html"})
        assert page.status_code == 200
        assert "Initech" not in page.text
        anonymous = await http.get("/v1/search", params={"q": "x"}, headers={"authorization": ""})
        assert anonymous.status_code == 401
        agent = await http.get("/v1/search", params={"q": "initech"}, headers=company.bearer("ava"))
        may = {
            permission.split(":")[0]
            for permission in (await http.get("/v1/me", headers=company.bearer("ava"))).json()["permissions"]
            if permission.endswith("any:read")
        }
        kinds = {group["kind"] for group in agent.json()["groups"]} - {"customers", "items"}
        assert kinds <= may


async def test_a_hostile_text_is_an_answer_and_never_a_fault(tmp_path: Path) -> None:
    async with searched(tmp_path) as (_, http):
        for text in ("", "   ", "#"):
            assert (await http.get("/v1/search", params={"q": text})).status_code in (200, 400), text
        assert (await http.get("/v1/search", params={"q": ""})).status_code == 400
        assert (await http.get("/v1/search", params={"q": "x" * 201})).status_code == 400
        for text in (
            "%",
            "_" * 30,
            "' or 1=1 --",
            '"',
            "\\",
            "٣٤",
            "<script>alert(1)</script>",
            "9" * 200,
            "1e9999",
        ):
            assert (await http.get("/v1/search", params={"q": text})).json()["groups"] == [], text
            page = await http.get("/search", params={"q": text}, headers={"accept": "text/html"})
            assert page.status_code == 200
            assert "<script>alert" not in page.text
        assert (await http.get("/v1/search?q=a%00b")).status_code == 400


async def test_a_group_ends_at_its_bound_and_says_so(tmp_path: Path) -> None:
    async with searched(tmp_path) as (company, http):
        store = company.app.store
        for n in range(MAX_HITS + 2):
            at = await store.now()
            await admit(store, at, foils=(invoice_foil(f"MANY-{n}", 7_777, 1, at),))
        answer = (await http.get("/v1/search", params={"q": "77.77"})).json()
        (foils,) = [group for group in answer["groups"] if group["kind"] == "foils"]
        assert (len(foils["hits"]), foils["more"]) == (MAX_HITS, True)


async def test_every_page_has_the_field_and_the_page_names_before_ids(tmp_path: Path) -> None:
    async with searched(tmp_path) as (_, http):
        for path in ("/", "/runs", "/cases"):
            page = await http.get(path, headers={"accept": "text/html"})
            assert '<form class="find" action="/search" method="get"' in page.text
        page = (await http.get("/search", params={"q": "initech"}, headers={"accept": "text/html"})).text
        assert "<mark>Initech</mark> Software" in page
        assert f'href="/runs/{RUN}"' in page
        assert 'value="initech"' in page
        assert "results for “initech”" in page
        assert "<b>CN-77</b>" in page
        assert "&lt;code" not in page


async def test_the_command_prints_the_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with searched(tmp_path) as (company, _):
        text = await _table(company, "search", "initech")
        assert text.index("CUSTOMERS") < text.index("CASES") < text.index("RUNS")
        assert "Initech Software" in text
        assert "250.00 USD" in text
        assert "Did you mean initech?" in await _table(company, "search", "inittech")
        answer = json.loads(await _table(company, "search", "CN-77", "--json"))
        assert RUN in [hit["id"] for group in answer["groups"] for hit in group["hits"]]


async def test_the_command_of_a_person_without_the_permission_prints_the_mask(
    tmp_path: Path,
) -> None:
    async with searched(tmp_path) as (company, _):
        store = company.app.store
        now = await store.now()
        person = Person(id="ari", name="Ari", email="ari@acme.example", roles=("architect",))
        await store.apply(PutPerson(person=person, at=now, actor="test"))
        company.tokens["fay"], token = new_token("ari", now + timedelta(days=1))
        await store.apply(PutToken(token=token, at=now))
        for words in (("search", "CN-77"), ("runs",), ("runs", "--format", "json")):
            text = await _table(company, *words)
            assert "(masked)" in text, words
            assert "Initech" not in text, words
        nothing = json.loads(await _table(company, "search", "initech", "--json"))
        assert (nothing["total"], nothing["suggestion"]) == (0, "")
