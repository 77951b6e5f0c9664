"""Work on Cases over HTTP: assignee, comments, tags and snooze, in JSON and on the pages without JavaScript."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from counterfoil.core.case_edits import MAX_COMMENT_CHARS
from counterfoil.core.money import Money
from counterfoil.store.port.maintenance import OpenCases
from tests.companies.commands import command
from tests.companies.web import PASSWORD, Company, running
from tests.companies.web_rows import case_of

pytestmark = pytest.mark.xdist_group("web")
CASE = "case_work_1"


class Desk:
    """The company with an open Case of finance operations, and HTTP calls of its persons."""

    def __init__(self, company: Company, http: httpx2.AsyncClient) -> None:
        self.company, self.http = company, http

    async def open(self, id_: str = CASE, owner: str = "finance-operations", **more: Any) -> None:
        now = await self.company.app.store.now()
        case = case_of(id_, more.pop("reason", "clash"), owner, now, **more)
        await self.company.app.store.apply(OpenCases(cases=(case,), at=now, actor="test"))

    async def post(self, path: str, body: Any, person: str = "fay") -> httpx2.Response:
        return await self.http.post(f"/v1/cases/{path}", json=body, headers=self.company.bearer(person))

    async def get(self, path: str, person: str = "fay", **query: str) -> Any:
        answer = await self.http.get(path, params=query, headers=self.company.bearer(person))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def ids(self, **query: str) -> list[str]:
        rows = (await self.get("/v1/cases", **query))["items"]
        return sorted(row["id"] for row in rows if row["id"].startswith("case_work"))

    async def page(self, path: str, person: str = "fay") -> str:
        headers = self.company.bearer(person) | {"accept": "text/html"}
        answer = await self.http.get(path, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def in_hours(self, hours: float) -> str:
        return (await self.company.app.store.now() + timedelta(hours=hours)).isoformat()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with (
        running(tmp_path) as company,
        httpx2.AsyncClient(base_url=company.url, trust_env=False) as http,
    ):
        desk = Desk(company, http)
        await desk.open()
        yield desk


def kind(answer: httpx2.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


async def test_a_person_takes_a_case_and_the_list_names_who_has_it(desk: Desk) -> None:
    answer = await desk.post(f"{CASE}/assignment", {"assignee": "fay"})
    assert (answer.status_code, answer.json()["assignee_name"]) == (200, "Fay Finance")
    assert await desk.ids(assignee="fay") == [CASE]
    assert await desk.ids(assignee="none") == []
    assert "Fay Finance" in await desk.page(f"/cases/{CASE}")


async def test_one_of_two_persons_who_take_a_case_at_once_gets_a_clear_problem(desk: Desk) -> None:
    answers = await asyncio.gather(
        desk.post(f"{CASE}/assignment", {"assignee": "fay"}, "fay"),
        desk.post(f"{CASE}/assignment", {"assignee": "ada"}, "ada"),
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    winner = next(answer.json()["assignee_name"] for answer in answers if answer.status_code == 200)
    loser = next(answer for answer in answers if answer.status_code == 409)
    assert kind(loser) == (409, "assignee")
    assert loser.json()["detail"] == f"{winner} has Case {CASE} by now. Nothing was changed."


async def test_a_person_assigns_a_case_to_those_alone_who_may_decide_it(desk: Desk) -> None:
    for who in ("leo", "nil", "no such person", ""):
        answer = await desk.post(f"{CASE}/assignment", {"assignee": who, "former": ""})
        assert answer.status_code == (200 if who == "" else 422), who
    assert (await desk.post(f"{CASE}/assignment", {"assignee": "ada"})).status_code == 200
    options = re.findall(r'<option value="(\w*)"', await desk.page(f"/cases/{CASE}"))
    assert options == ["", "ada", "fay"]


async def test_a_case_of_another_role_refuses_all_but_comments(desk: Desk) -> None:
    await desk.open("case_work_2", "controller")
    until = await desk.in_hours(2)
    for path, body in (
        ("assignment", {"assignee": "fay"}),
        ("tags", {"add": ["tax"]}),
        ("snooze", {"until": until, "reason": "later"}),
    ):
        assert kind(await desk.post(f"case_work_2/{path}", body)) == (403, "role")
        assert (await desk.post(f"{CASE}/{path}", body, "ava")).status_code == 403
    assert (await desk.post("case_work_2/comments", {"text": "Who knows?"})).status_code == 200
    assert (await desk.post("case_work_2/comments", {"text": "I do"}, "ava")).status_code == 403
    page = await desk.page("/cases/case_work_2")
    assert "Take it" not in page
    assert 'action="/cases/case_work_2/comments"' in page


async def test_comments_are_a_thread_with_author_and_time(desk: Desk) -> None:
    texts = ('=HYPERLINK("x") <b>&</b>', "Two\nlines")
    for text, person in zip(texts, ("fay", "cory"), strict=True):
        assert (await desk.post(f"{CASE}/comments", {"text": f"  {text} "}, person)).status_code == 200
        again = await desk.post(f"{CASE}/comments", {"text": text}, person)
        assert again.status_code == 200
    rows = (await desk.get(f"/v1/cases/{CASE}/comments"))["items"]
    assert [(row["name"], row["text"]) for row in rows] == [
        ("Fay Finance", texts[0]),
        ("Cory Controller", texts[1]),
    ]
    page = await desk.page(f"/cases/{CASE}")
    assert page.index("Fay Finance") < page.index("&lt;b&gt;&amp;&lt;/b&gt;") < page.index("Two\nlines")
    assert "<b>&</b>" not in page


async def test_a_comment_that_is_empty_or_too_long_is_refused(desk: Desk) -> None:
    for text in (" \n ", "x" * (MAX_COMMENT_CHARS + 1)):
        assert (await desk.post(f"{CASE}/comments", {"text": text})).status_code == 422
    assert (await desk.post(f"{CASE}/comments", {"text": "a\0b"})).status_code == 422
    assert (await desk.get(f"/v1/cases/{CASE}/comments"))["items"] == []


async def test_tags_filter_the_list(desk: Desk) -> None:
    answer = await desk.post(f"{CASE}/tags", {"add": ["Month-End ", "tax"], "remove": ["none"]})
    assert answer.json()["tags"] == ["month-end", "tax"]
    assert await desk.ids(tag="tax") == [CASE]
    assert await desk.ids(tag="ta") == await desk.ids(tag="%") == []
    for bad in ("", "<b>", "x" * 41, 'a"b', "tax,audit"):
        assert kind(await desk.post(f"{CASE}/tags", {"add": [bad]}))[0] == 422, bad


async def test_a_snoozed_case_leaves_the_default_lists_until_its_time(desk: Desk) -> None:
    until = await desk.in_hours(3)
    assert (await desk.post(f"{CASE}/snooze", {"until": until, "reason": "bank"})).status_code == 200
    assert await desk.ids(state="open") == []
    assert await desk.ids(snoozed="yes") == await desk.ids(snoozed="all") == [CASE]
    assert CASE not in await desk.page("/cases")
    page = await desk.page(f"/cases/{CASE}")
    assert "End the snooze" in page
    assert "<q>bank</q>" in page
    assert (await desk.post(f"{CASE}/snooze", {"until": None})).json()["snoozed_until"] is None
    assert await desk.ids() == [CASE]


async def test_a_snooze_needs_a_reason_and_a_future_time_with_offset(desk: Desk) -> None:
    for body, status in (
        ({"until": await desk.in_hours(2), "reason": " "}, 422),
        ({"until": await desk.in_hours(-2), "reason": "x"}, 422),
        ({"until": "2099-01-01T00:00:00", "reason": "x"}, 422),
        ({"until": "tomorrow", "reason": "x"}, 422),
    ):
        assert (await desk.post(f"{CASE}/snooze", body)).status_code == status, body
    far = await desk.post(f"{CASE}/snooze", {"until": "2099-01-01T00:00:00Z", "reason": "x"})
    assert far.json()["snoozed_until"] == far.json()["deadline"]


async def test_a_resolved_case_refuses_all_edits(desk: Desk) -> None:
    assert (await desk.post(CASE, {"choice": "dismiss", "note": "done"})).status_code == 200
    for path, body in (
        ("assignment", {"assignee": "fay"}),
        ("comments", {"text": "late"}),
        ("tags", {"add": ["tax"]}),
        ("snooze", {"until": await desk.in_hours(2), "reason": "x"}),
    ):
        assert kind(await desk.post(f"{CASE}/{path}", body)) == (409, "closed"), path
    page = await desk.page(f"/cases/{CASE}")
    assert "<form" not in page[page.index("<main") :]


async def test_the_forms_of_the_page_edit_a_case(desk: Desk) -> None:
    async with httpx2.AsyncClient(
        base_url=desk.company.url, trust_env=False, headers={"accept": "text/html"}
    ) as http:
        await http.post("/sign-in", data={"email": "fay@acme.example", "password": PASSWORD})
        token = re.search(r'name="csrf" value="([0-9a-f]+)"', (await http.get("/")).text)
        assert token is not None
        path, csrf = f"/cases/{CASE}", {"csrf": token[1]}
        for form, fields in (
            ("assignment", {"assignee": "fay", "former": ""}),
            ("comments", {"text": "I look at it"}),
            ("tags", {"tags": "tax, month-end"}),
            ("tags", {"remove": "tax"}),
            ("snooze", {"until": (await desk.in_hours(5))[:16], "reason": "waits for the bank"}),
        ):
            answer = await http.post(f"{path}/{form}", data=csrf | fields)
            assert answer.status_code == 303, answer.text
        case = await desk.get(f"/v1{path}")
        assert (case["assignee"], case["tags"], case["snooze_reason"]) == (
            "fay", ["month-end"], "waits for the bank",
        )  # fmt: skip
        refused = await http.post(f"{path}/tags", data=csrf | {"tags": "a<b"})
        assert refused.status_code == 422
        assert 'value="a&lt;b"' in refused.text
        assert "is no tag" in refused.text
        forged = await http.post(f"{path}/comments", data={"text": "forged"})
        assert forged.status_code == 403
        assert len((await desk.get(f"/v1{path}/comments"))["items"]) == 1


async def test_cases_are_grouped_by_cause_with_one_total_for_each_currency(desk: Desk) -> None:
    cause = "refused/erp.credit_memo.post/unknown_account"
    for n, money in enumerate((Money(12_000, "USD"), Money(5_000, "EUR"), Money(1, "USD"))):
        await desk.open(f"case_work_{n + 5}", reason="refused", cause=cause, exposure=(money,))
    answer = await desk.get("/v1/cases/causes", cause=cause)
    (row,) = answer["items"]
    assert (row["number"], row["about"]) == (3, "erp.credit_memo.post: unknown account")
    assert [(a["amount"], a["currency"]) for a in row["exposure"]] == [("50.00", "EUR"), ("120.01", "USD")]
    assert answer["exposure"] == row["exposure"]
    assert (row["owners"], row["unassigned"]) == (["finance-operations"], 3)
    page = await desk.page("/cases?group=cause")
    assert "unknown account" in page
    assert page.count('href="/cases/case_work_') >= 4
    one = await desk.page(f"/cases?group=cause&cause={cause}")
    assert "3 Cases over 50.00 EUR, 120.01 USD" in one
    assert (await desk.get("/v1/cases/causes", reason="refused", assignee="fay"))["items"] == []


async def test_the_page_filters_cases_as_the_list_does(desk: Desk) -> None:
    await desk.post(f"{CASE}/assignment", {"assignee": "fay"})
    await desk.post(f"{CASE}/tags", {"add": ["tax"]})
    for query, is_listed in (
        ("assignee=me", True), ("assignee=none", False), ("tag=tax", True), ("tag=ta", False),
        ("reason=clash", True), ("reason=refused", False), ("owner=controller", False), ("snoozed=yes", False),
    ):  # fmt: skip
        assert (f'id="{CASE}"' in await desk.page(f"/cases?{query}")) is is_listed, query
    assert (
        await desk.http.get("/v1/cases?snoozed=maybe", headers=desk.company.bearer("fay"))
    ).status_code == 400


async def test_the_command_takes_comments_tags_and_snoozes(desk: Desk) -> None:
    until = await desk.in_hours(3)
    words = ("--take", "--comment", "asked the bank", "--tag", "tax", "--snooze", until, "--reason", "bank")
    code, out, err = await command(desk.company, "case", CASE, *words)
    assert code == 0, err
    for text in ("works on it: Fay Finance", "tags tax", "Fay Finance: asked the bank", "UTC: bank"):
        assert text in out
    code, _, err = await command(desk.company, "case", CASE, "--take", person="ada")
    assert (code, "Fay Finance has Case" in err) == (2, True)
    code, out, _ = await command(
        desk.company, "case", CASE, "--untag", "tax", "--snooze", "none", "--format", "json"
    )
    case = json.loads(out)
    assert (case["tags"], case["snoozed_until"], case["comments"][0]["text"]) == ([], None, "asked the bank")
    code, out, _ = await command(desk.company, "cases", "--assignee", "fay", "--format", "json")
    assert [row["id"] for row in json.loads(out)] == [CASE]
    code, out, _ = await command(desk.company, "cases", "--by-cause")
    assert "The same id arrived again" in out
    for wrong in (("--take", "--assign", "ada"), ("--snooze", "tomorrow"), ("--snooze", "2099-01-01T00:00")):
        assert (await command(desk.company, "case", CASE, *wrong))[0] == 2
