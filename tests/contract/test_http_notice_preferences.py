"""What a person wants by mail, over HTTP: JSON, the page without JavaScript, and the command."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.companies.commands import command
from tests.companies.web import PASSWORD, Company, running

pytestmark = pytest.mark.xdist_group("web")
PATH = "/v1/notices/preferences"
PAGE = "/notices/preferences"


class Desk:
    """The company, and HTTP calls of its persons."""

    def __init__(self, company: Company, http: httpx2.AsyncClient) -> None:
        self.company, self.http = company, http

    async def get(self, person: str = "fay") -> Any:
        answer = await self.http.get(PATH, headers=self.company.bearer(person))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, person: str = "fay", **change: Any) -> httpx2.Response:
        return await self.http.post(PATH, json=change, headers=self.company.bearer(person))

    async def leaves(self) -> int:
        rows = (await self.company.app.store.dump()).leaves
        return sum(leaf.kind == "notice.preferences" for _, leaf in rows)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with (
        running(tmp_path) as company,
        httpx2.AsyncClient(base_url=company.url, trust_env=False) as http,
    ):
        yield Desk(company, http)


async def test_a_change_is_saved_for_its_person_alone_with_a_leaf(desk: Desk) -> None:
    assert await desk.get() == {
        "approvals": "at_once", "cases": "at_once", "deadlines": "at_once", "quiet_from": "", "quiet_until": "",
        "digest_at": "08:00", "zone": "UTC", "mailed": False, "revision": 0,
    }  # fmt: skip
    saved = await desk.post(cases="digest", quiet_from="22:00", quiet_until="07:30", zone="europe/berlin")
    assert (saved.status_code, saved.json()) == (200, await desk.get())
    now = await desk.get()
    assert (now["cases"], now["approvals"], now["quiet_until"]) == ("digest", "at_once", "07:30")
    assert (now["zone"], now["revision"]) == ("Europe/Berlin", 1)
    assert (await desk.get("leo"))["revision"] == 0
    ended = (await desk.post(quiet_from="", quiet_until="")).json()
    assert (ended["quiet_from"], ended["cases"], ended["revision"]) == ("", "digest", 2)
    assert await desk.leaves() == 2


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"quiet_from": "25:00", "quiet_until": "07:00"}, "The beginning of quiet hours is a time"),
        ({"quiet_from": "22:00"}, "need a beginning and an end"),
        ({"quiet_until": "07:00"}, "need a beginning and an end"),
        ({"quiet_from": "07:00", "quiet_until": "07:00"}, "begin and end at the same time"),
        ({"digest_at": "noon"}, "The time of the digest is a time"),
        ({"digest_at": ""}, "such as 08:00"),
        ({"zone": "Mars/Olympus"}, "no time zone Mars/Olympus"),
        ({"cases": "sometimes"}, "cases"),
        ({"name": "leo"}, "name"),
    ],
)
async def test_a_wrong_change_is_a_problem_that_saves_nothing(
    desk: Desk, change: dict[str, str], part: str
) -> None:
    answer = await desk.post(**change)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert part in answer.text
    assert ((await desk.get())["revision"], await desk.leaves()) == (0, 0)


async def test_a_change_of_preferences_that_were_changed_meanwhile_is_refused(desk: Desk) -> None:
    assert (await desk.post(cases="never", revision=0)).status_code == 200
    late = await desk.post(cases="digest", revision=0)
    assert (late.status_code, late.json()["type"].rpartition(":")[2]) == (409, "changed")
    assert (await desk.get())["cases"] == "never"


async def test_the_page_saves_and_keeps_what_was_typed_when_it_is_refused(desk: Desk) -> None:
    async with httpx2.AsyncClient(base_url=desk.company.url, trust_env=False) as http:
        origin, html = {"origin": desk.company.url}, {"accept": "text/html"}
        form = {"email": "fay@acme.example", "password": PASSWORD}
        assert (await http.post("/sign-in", data=form, headers=origin)).status_code == 303
        page = (await http.get(PAGE, headers=html)).text
        assert "nothing is sent at present" in page
        hidden = dict(re.findall(r'name="(csrf|revision)" value="([^"]+)"', page))
        typed = hidden | {
            "approvals": "at_once", "cases": "digest", "deadlines": "never", "digest_at": "17:15",
            "quiet_from": "22:00", "quiet_until": "", "zone": "Europe/Berlin",
        }  # fmt: skip
        refused = await http.post(PAGE, data=typed, headers=origin | html)
        assert refused.status_code == 422
        assert "Quiet hours need a beginning and an end." in refused.text
        assert 'value="17:15"' in refused.text
        assert '<option value="digest" selected>' in refused.text
        typed["quiet_until"] = "06:00"
        saved = await http.post(PAGE, data=typed, headers=origin)
        assert (saved.status_code, saved.headers["location"]) == (303, f"{PAGE}?note=preferences")
        again = await http.post(PAGE, data=typed, headers=origin | html)
        assert again.status_code == 409, "a double submit changes nothing"
        assert (await desk.get())["revision"] == 1
        attack = await http.post(PAGE, data=typed, headers={"origin": "https://attacker.example"})
        without = await http.post(PAGE, data={**typed, "csrf": "x"}, headers=origin)
        wrong = await http.post(PAGE, data={**typed, "cases": "x"}, headers=origin)
        assert (attack.status_code, without.status_code, wrong.status_code) == (403, 403, 422)
        assert await desk.leaves() == 1


async def test_the_command_prints_and_changes_preferences(desk: Desk) -> None:
    code, out, err = await command(desk.company, "preferences")
    assert code == 0, err
    assert "Approvals: at once." in out
    assert "nothing is sent at present" in out
    words = ["--cases", "digest", "--quiet", "22:00-07:00", "--zone", "Asia/Tokyo", "--digest-at", "09:30"]
    code, out, err = await command(desk.company, "preferences", *words)
    assert code == 0, err
    assert "Cases: in the daily digest." in out
    assert "Daily digest at 09:30, quiet hours from 22:00 to 07:00, times in Asia/Tokyo." in out
    code, out, _ = await command(desk.company, "preferences", "--quiet", "none", "--format", "json")
    assert (code, json.loads(out)["quiet_from"], json.loads(out)["cases"]) == (0, "", "digest")
    code, _, err = await command(desk.company, "preferences", "--quiet", "22:00")
    assert code != 0
    assert "a beginning and an end" in err
