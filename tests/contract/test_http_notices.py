"""Notices over HTTP: who receives them, the bell on every page, and reading them, in JSON and without JavaScript."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace

from counterfoil.core.money import Money
from counterfoil.core.people import Person
from counterfoil.flow.worker.notices import write_notices
from counterfoil.rules.notices import approval_notice, case_notice, deadline_notice
from counterfoil.store.port.maintenance import OpenCases
from counterfoil.store.port.people import PutPerson
from tests.companies.commands import command
from tests.companies.web import PASSWORD, Company, running
from tests.companies.web_rows import GERMAN, case_of
from tests.contract.store import samples as s
from tests.contract.test_entity_walk import HOME, model_with_entities

pytestmark = pytest.mark.xdist_group("web")
USD = (Money(2500, "USD"),)


class Desk:
    """The company, and HTTP calls of its persons."""

    def __init__(self, company: Company, http: httpx2.AsyncClient) -> None:
        self.company, self.http = company, http

    async def open(self, *ids: str, owner: str = "finance-operations", **more: Any) -> None:
        app = self.company.app
        now = await app.store.now()
        cases = tuple(case_of(id_, "clash", owner, now, **more) for id_ in ids)
        await app.store.apply(OpenCases(cases=cases, at=now, actor="test"))
        await self.write()

    async def write(self) -> int:
        app = self.company.app
        return await write_notices(app.store, app.model, await app.store.now())

    async def get(self, person: str = "fay", **query: str) -> Any:
        answer = await self.http.get("/v1/notices", params=query, headers=self.company.bearer(person))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def page(self, path: str, person: str = "fay") -> str:
        headers = self.company.bearer(person) | {"accept": "text/html"}
        answer = await self.http.get(path, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def read(self, person: str = "fay", **body: Any) -> httpx2.Response:
        until = (await self.company.app.store.now()).isoformat()
        headers = self.company.bearer(person)
        return await self.http.post("/v1/notices/read", json={"until": until, **body}, headers=headers)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with (
        running(tmp_path) as company,
        httpx2.AsyncClient(base_url=company.url, trust_env=False) as http,
    ):
        desk = Desk(company, http)
        await desk.write()
        for person in ("fay", "ada", "cory", "leo", "ava"):
            assert (await desk.read(person)).status_code == 200
        yield desk


def bell(page: str) -> str:
    found = re.search(r'class="bell"[^>]* aria-label="([^"]+)"', page)
    assert found is not None
    return found[1]


async def test_cases_of_one_cause_are_one_notice_for_the_role_that_owns_them(desk: Desk) -> None:
    await desk.open(*(f"case_work_{n}" for n in range(40)), exposure=USD)
    (notice,) = (await desk.get())["items"]
    assert (notice["count"], notice["kind"], notice["read"]) == (40, "case", False)
    assert notice["title"].startswith("40 Cases: ")
    assert [(a["amount"], a["currency"]) for a in notice["exposure"]] == [("1000.00", "USD")]
    assert (await desk.get("cory"))["items"] == []
    assert (await desk.get("nil"))["items"] == []
    assert await desk.write() == 0, "the pass has nothing left"


async def test_the_bell_of_every_page_has_the_count_until_the_notices_are_read(desk: Desk) -> None:
    await desk.open("case_work_1")
    await desk.open("case_work_2", cause="clash/other")
    for path in ("/", "/cases", "/approvals", "/runs", "/catalog", "/notices", "/search?q=x"):
        assert bell(await desk.page(path)) == "Notices, 2 unread"
    assert bell(await desk.page("/", "leo")) == "Notices"
    ids = [row["id"] for row in (await desk.get())["items"]]
    assert (await desk.read(ids=ids[:1])).json() == {"read": 1, "unread": 1}
    assert (await desk.read(ids=ids[:1])).json() == {"read": 0, "unread": 1}
    assert (await desk.read()).json() == {"read": 1, "unread": 0}
    assert bell(await desk.page("/")) == "Notices"
    assert (await desk.get())["items"] == []
    assert {row["id"] for row in (await desk.get(state="all"))["items"]} >= set(ids)


async def test_a_given_case_is_a_notice_and_a_taken_one_is_none(desk: Desk) -> None:
    await desk.open("case_work_1")
    await desk.read("fay")
    await desk.read("ada")
    path, headers = "/v1/cases/case_work_1/assignment", desk.company.bearer("ada")
    await desk.http.post(path, json={"assignee": "ada"}, headers=headers)
    assert (await desk.get("ada"))["items"] == []
    await desk.http.post(path, json={"assignee": "fay", "former": "ada"}, headers=headers)
    (notice,) = (await desk.get("fay"))["items"]
    assert (notice["kind"], notice["link"]) == ("assigned", "/cases/case_work_1")
    assert notice["title"].startswith("A Case is yours now: ")
    assert "Ada" not in str(notice), "names of persons are in no text"


async def test_pages_of_notices_go_on_by_cursor(desk: Desk) -> None:
    for n in range(5):
        await desk.open(f"case_work_{n}", cause=f"clash/{n}")
    first = await desk.get(limit="2")
    second = await desk.get(limit="2", cursor=first["next"])
    third = await desk.get(limit="2", cursor=second["next"])
    ids = [row["subject"] for page in (first, second, third) for row in page["items"]]
    assert ids == [f"case_work_{n}" for n in (4, 3, 2, 1, 0)]
    assert third["next"] is None
    answer = await desk.http.get("/v1/notices?cursor=x", headers=desk.company.bearer("fay"))
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "body", [{"ids": ["x"] * 201}, {"until": "2026-12-01T10:00:00"}, {"until": "soon"}, {"other": 1}]
)
async def test_a_wrong_body_is_a_problem_that_changes_nothing(desk: Desk, body: dict[str, Any]) -> None:
    await desk.open("case_work_1")
    answer = await desk.read(**body)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await desk.get())["unread"] == 1


async def test_no_person_reads_the_notices_of_another(desk: Desk) -> None:
    await desk.open("case_work_1")
    (notice,) = (await desk.get())["items"]
    assert (await desk.read("leo", ids=[notice["id"]])).json() == {"read": 0, "unread": 0}
    assert (await desk.get())["unread"] == 1


async def test_a_form_without_the_secret_of_the_session_marks_nothing(desk: Desk) -> None:
    await desk.open("case_work_1")
    page = await desk.page("/notices")
    assert 'action="/notices/read"' in page
    headers = desk.company.bearer("fay") | {"origin": "https://attacker.example"}
    until = (await desk.company.app.store.now() + timedelta(hours=1)).isoformat()
    answer = await desk.http.post("/notices/read", data={"until": until}, headers=headers)
    assert answer.status_code == 403
    assert (await desk.get())["unread"] == 1


async def test_a_person_who_loses_the_role_sees_neither_notice_nor_count(desk: Desk) -> None:
    await desk.open("case_work_1")
    app = desk.company.app
    fay = await app.store.person("fay")
    assert fay is not None
    await app.store.apply(PutPerson(person=replace(fay, roles=()), at=await app.now(), actor="test"))
    assert await desk.get() == {"items": [], "unread": 0, "next": None}


def persons(*, roles: tuple[str, ...] = ("finance-operations",)) -> list[Person]:
    return [
        s.person("home", roles, entities=(HOME,)),
        s.person("german", roles, entities=(GERMAN,)),
        s.person("free", roles),
        s.person("gone", roles, active=False),
        s.person("other", ("support-agent",)),
    ]


def test_a_case_of_another_legal_entity_is_a_notice_to_no_one_outside_of_it(tmp_path: Path) -> None:
    model = model_with_entities(tmp_path / "acme")
    case = s.case(owner="finance-operations", deadline=s.T0 + timedelta(hours=4))
    for build in (case_notice, deadline_notice):
        for entity, receivers in ((GERMAN, ("german", "free")), (HOME, ("home", "free")), (None, ("free",))):
            assert build(model, case, entity, "", persons()).persons == receivers
    mine = replace(case, assignee="german")
    assert deadline_notice(model, mine, GERMAN, "", persons()).persons == ("german",)
    assert case_notice(model, mine, GERMAN, "", persons()).persons == ("german", "free")


def test_an_approval_is_a_notice_to_its_deciders_and_not_to_its_requester(tmp_path: Path) -> None:
    model = model_with_entities(tmp_path / "acme")
    deciders = persons(roles=("controller",))
    waiting = s.approval(roles=("controller",), requester="german", entity=GERMAN, policy="none")
    assert approval_notice(model, waiting, deciders, s.T0).persons == ("free",)
    assert approval_notice(model, replace(waiting, requester="x"), deciders, s.T0).persons == (
        "german",
        "free",
    )
    assert approval_notice(model, replace(waiting, automatic=True), deciders, s.T0).persons == ()
    away = [s.delegation("free", "other"), s.delegation("german", "other", up_to=Money(1, "USD"))]
    may_read = [*deciders[:-1], s.person("other", ("finance-operations",))]
    assert set(approval_notice(model, waiting, may_read, s.T0, away).persons) == {"free", "other"}
    assert set(approval_notice(model, waiting, may_read, s.T0 + s.DAY, away).persons) == {"free"}
    assert approval_notice(model, waiting, may_read, s.T0, away[1:]).persons == ("free",)


async def test_the_command_lists_and_reads_notices(desk: Desk) -> None:
    await desk.open("case_work_1", exposure=USD)
    code, out, err = await command(desk.company, "notices")
    assert code == 0, err
    assert "25.00 USD" in out
    (row,) = json.loads((await command(desk.company, "notices", "--format", "json"))[1])
    code, out, _ = await command(desk.company, "notices", "--read", row["id"])
    assert (code, out) == (0, "1 notice marked as read; 0 unread.\n")
    assert (await command(desk.company, "notices"))[1] == "No unread notices.\n"
    assert "read" in (await command(desk.company, "notices", "--all"))[1]


async def test_the_forms_of_the_page_read_one_notice_and_then_all(desk: Desk) -> None:
    for n in range(3):
        await desk.open(f"case_work_{n}", cause=f"clash/{n}")
    async with httpx2.AsyncClient(base_url=desk.company.url, trust_env=False) as http:
        origin = {"origin": desk.company.url}
        form = {"email": "fay@acme.example", "password": PASSWORD}
        assert (await http.post("/sign-in", data=form, headers=origin)).status_code == 303
        page = (await http.get("/notices", headers={"accept": "text/html"})).text
        fields = dict(re.findall(r'name="(csrf|id|until)" value="([^"]+)"', page))
        for body, unread in ((fields, 2), ({k: v for k, v in fields.items() if k != "id"}, 0)):
            answer = await http.post("/notices/read", data=body, headers=origin)
            assert (answer.status_code, answer.headers["location"]) == (303, "/notices?note=read")
            assert (await desk.get())["unread"] == unread
        wrong = await http.post("/notices/read", data=fields | {"until": "x"}, headers=origin)
        assert wrong.status_code == 422
