"""Delegations over HTTP: JSON, the pages without JavaScript, and the commands."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.companies.commands import command
from tests.companies.web import Company, running
from tests.companies.web_rows import approval_of
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.xdist_group("web")
SMALL, LARGE, OWN = map(approval_of, ("CR-1007", "CR-1003", "CR-1006"))
"""Approvals over 310.00 and 2,500.00 that ava requested, and over 999.00 that fay requested."""


class Office:
    """The company, and HTTP calls of its persons."""

    def __init__(self, company: Company, http: httpx2.AsyncClient) -> None:
        self.company, self.http = company, http

    async def delegate(self, receiver: str = "cory", giver: str = "fay", **more: Any) -> httpx2.Response:
        body = {"receiver": receiver, "until": await self.in_hours(8), **more}
        return await self.http.post("/v1/delegations", json=body, headers=self.company.bearer(giver))

    async def decide(self, approval: str, person: str = "cory") -> tuple[int, str]:
        answer = await self.http.post(
            f"/v1/approvals/{approval}", json={"decision": "approve"}, headers=self.company.bearer(person)
        )
        body = answer.json()
        return answer.status_code, body.get("verdict") or body["type"].rpartition(":")[2]

    async def rows(self, person: str) -> list[dict[str, Any]]:
        answer = await self.http.get("/v1/delegations", headers=self.company.bearer(person))
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    async def page(self, path: str, person: str) -> str:
        headers = self.company.bearer(person) | {"accept": "text/html"}
        answer = await self.http.get(path, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def in_hours(self, hours: float) -> str:
        return (await self.company.app.store.now() + timedelta(hours=hours)).isoformat()


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with (
        running(tmp_path) as company,
        httpx2.AsyncClient(base_url=company.url, trust_env=False) as http,
    ):
        yield Office(company, http)


async def test_a_delegated_decision_counts_and_names_both_persons(office: Office) -> None:
    assert await office.decide(SMALL) == (403, "role")
    made = await office.delegate(up_to="1,000.00 usd", reason="on leave")
    assert (made.status_code, made.json()["state"], made.json()["up_to"]["amount"]) == (
        201,
        "holds",
        "1000.00",
    )
    page = await office.page(f"/approvals/{SMALL}", "cory")
    assert "You decide for Fay Finance" in page
    assert "Cory Controller for Fay Finance" in page
    assert await office.decide(SMALL) == (200, "granted")
    seen = await office.http.get(f"/v1/approvals/{SMALL}", headers=office.company.bearer("fay"))
    assert [(v["person"], v["behalf"]) for v in seen.json()["votes"]] == [("cory", "fay")]
    assert "for Fay Finance" in await office.page(f"/approvals/{SMALL}", "ada")


async def test_a_delegation_reaches_as_far_as_it_says(office: Office) -> None:
    await office.delegate(up_to="1000.00 USD")
    assert await office.decide(LARGE) == (403, "role"), "above the limit"
    assert await office.decide(OWN) == (403, "role"), "the giver requested it"
    for approval in (LARGE, OWN):
        assert 'value="approve"' not in await office.page(f"/approvals/{approval}", "cory")
    (row,) = await office.rows("cory")
    ended = await office.http.post(
        f"/v1/delegations/{row['id']}/end", json={}, headers=office.company.bearer("cory")
    )
    assert ended.status_code == 404, "only the giver takes it back"
    ended = await office.http.post(
        f"/v1/delegations/{row['id']}/end", json={}, headers=office.company.bearer("fay")
    )
    assert (ended.status_code, ended.json()["state"]) == (200, "ended")
    assert await office.decide(SMALL) == (403, "role")


async def test_what_makes_no_sense_is_refused_with_its_reason(office: Office) -> None:
    for more, reason in (
        ({"receiver": "fay"}, "Choose another person"),
        ({"receiver": "no such person"}, "Choose an active person"),
        ({"until": "2020-01-01T00:00:00Z"}, "The end has passed"),
        ({"until": "2099-01-01T00:00:00Z"}, "at most 366 days"),
        ({"until": "2099-01-01T00:00:00"}, "needs an offset"),
        ({"up_to": "lots"}, "an amount with its currency"),
        ({"up_to": "-5 USD"}, "above zero"),
        ({"up_to": "5.001 USD"}, "an amount with its currency"),
        ({"up_to": "5 XXZ"}, "an amount with its currency"),
    ):
        answer = await office.delegate(**more)
        assert (answer.status_code, reason in answer.json()["detail"]) == (422, True), (more, answer.text)
    assert await office.rows("fay") == []


async def test_persons_see_their_own_delegations_alone(office: Office) -> None:
    await office.delegate("cory@acme.example")
    assert [(r["giver_name"], r["receiver_name"]) for r in await office.rows("cory")] == [
        ("Fay Finance", "Cory Controller")
    ]
    assert await office.rows("ada") == []
    refused = await office.delegate("cory", giver="nil")
    assert refused.status_code == 403


async def test_the_page_makes_and_ends_a_delegation_without_javascript(office: Office) -> None:
    browser = httpx2.AsyncClient(
        base_url=office.company.url,
        headers={"accept": "text/html"},
        trust_env=False,
        timeout=PATIENCE_SECONDS,
    )
    async with browser:
        form = {"email": "fay@acme.example", "password": "correct horse battery staple"}
        assert (await browser.post("/sign-in", data=form)).status_code == 303
        page = (await browser.get("/delegations")).text
        token = re.search(r'name="csrf" value="([0-9a-f]+)"', page)
        assert token is not None
        fields = {"csrf": token[1], "receiver": "cory", "up_to": "900 eur", "reason": "at <sea>"}
        refused = await browser.post("/delegations", data=fields | {"until": "soon"})
        assert refused.status_code == 422
        assert "Enter a date and time" in refused.text
        assert 'value="at &lt;sea&gt;"' in refused.text
        until = (await office.in_hours(9))[:16]
        made = await browser.post("/delegations", data=fields | {"until": until})
        assert made.status_code == 303, made.text
        page = (await browser.get("/delegations")).text
        assert "Cory Controller" in page
        assert "900.00" in page
        (row,) = await office.rows("fay")
        ended = await browser.post(f"/delegations/{row['id']}/end", data={"csrf": token[1]})
        assert ended.status_code == 303
        again = await browser.post(f"/delegations/{row['id']}/end", data={"csrf": token[1]})
        assert (again.status_code, "over already" in again.text) == (409, True)
        other = await browser.post("/delegations", data=fields | {"until": until, "csrf": "0" * 32})
        assert other.status_code == 403


async def test_the_commands_make_list_and_end_a_delegation(office: Office) -> None:
    until = await office.in_hours(5)
    code, out, err = await command(
        office.company, "delegate", "cory", "--until", until, "--up-to", "1000.00 USD", person="fay"
    )
    assert code == 0, err
    assert out.startswith("Cory Controller decides for you until ")
    code, out, err = await command(office.company, "approve", SMALL, person="cory")
    assert code == 0, err
    code, out, _ = await command(office.company, "delegations", "--format", "json", person="cory")
    (row,) = json.loads(out)
    assert (row["giver"], row["state"]) == ("fay", "holds")
    code, out, _ = await command(office.company, "delegations", "--end", row["id"], person="fay")
    assert (code, "ended" in out) == (0, True)
    assert (await command(office.company, "delegate", "cory", "--until", "tomorrow", person="fay"))[0] == 2
