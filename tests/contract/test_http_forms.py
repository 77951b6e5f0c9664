"""Forms of the pages without JavaScript: a refused form returns with what was typed, and giving money away asks again."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

import httpx2
import pytest

from tests.companies.web import PASSWORD, Process
from tests.companies.web_matches import foil_of, item_of
from tests.companies.web_rows import approval_of
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.xdist_group("web")
TYPED = 'typed "by" <me> & you'


class Person:
    """A signed-in browser without JavaScript."""

    def __init__(self, company: Process, name: str) -> None:
        self.http = httpx2.Client(
            base_url=company.url, headers={"accept": "text/html"}, trust_env=False, timeout=PATIENCE_SECONDS
        )
        form = {"email": f"{name}@acme.example", "password": PASSWORD}
        assert self.http.post("/sign-in", data=form).status_code == 303

    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', self.http.get("/").text)
        assert found is not None
        return found[1]

    def post(self, path: str, **fields: str) -> httpx2.Response:
        return self.http.post(path, data={"csrf": self.csrf()} | fields)


@pytest.fixture
def fay(company: Process) -> Iterator[Person]:
    person = Person(company, "fay")
    yield person
    person.http.close()


@pytest.fixture
def cory(company: Process) -> Iterator[Person]:
    person = Person(company, "cory")
    yield person
    person.http.close()


class Refusal(NamedTuple):
    """A form that is refused: its path and fields, the status, a part of the reason, and the field beside it."""

    path: str
    fields: dict[str, str]
    status: int
    reason: str
    field: str = ""


CASE = "/cases/case_unrouted_1"
ITEM = f"/unmatched/{item_of('BILL/2026/12')}/pair"
REFUSALS = {
    "reject without a comment": Refusal(
        f"/approvals/{approval_of('CR-1003')}", {"decision": "reject"}, 422, "Enter a comment", "comment"
    ),
    "no decision": Refusal(
        f"/approvals/{approval_of('CR-1003')}", {"comment": TYPED}, 422, "Choose approve or reject"
    ),
    "changed subject": Refusal(
        f"/approvals/{approval_of('CR-1003')}",
        {"decision": "approve", "comment": TYPED, "subject": "0" * 64},
        409, "has changed since you opened it",
    ),
    "old csrf token": Refusal(
        f"/approvals/{approval_of('CR-1003')}",
        {"csrf": "0" * 64, "decision": "approve", "comment": TYPED},
        403, "The form is out of date",
    ),
    "case without a note": Refusal(CASE, {"choice": "dismiss", "note": " "}, 422, "Enter a note", "note"),
    "case without a choice": Refusal(CASE, {"note": TYPED}, 422, "Choose how to resolve"),
    "case with a choice that does not exist": Refusal(CASE, {"choice": "x", "note": TYPED}, 422, "Choose how"),
    "case with a choice that is not offered": Refusal(
        CASE, {"choice": "retry", "note": TYPED}, 422, "does not offer that choice"
    ),
    "pair without a counterfoil": Refusal(ITEM, {"note": TYPED}, 422, "Choose the counterfoil", "foil"),
    "pair without a note": Refusal(ITEM, {"foil": foil_of("INV-12")}, 422, "Enter a note", "note"),
    "waive without a note": Refusal(f"/foils/{foil_of('INV-9')}/waive", {}, 422, "Enter a note", "note"),
}  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refused_form_returns_with_what_was_typed(company: Process, refusal: Refusal) -> None:
    person = Person(company, "cory" if refusal.path == CASE else "fay")
    answer = person.post(refusal.path, **refusal.fields)
    assert answer.status_code == refusal.status
    alert = re.search(r'<p class="reason refused" role="alert"[^>]*>([^<]+)</p>', answer.text)
    assert alert is not None
    assert refusal.reason in html.unescape(alert[1])
    if TYPED in refusal.fields.values() and refusal.status != 403:
        assert f'value="{html.escape(TYPED, quote=True)}"' in answer.text.replace("&#34;", "&quot;")
    if refusal.field == "foil":
        assert answer.text.index("<select") < alert.start() < answer.text.index('name="note"')
    elif refusal.field:
        assert re.search(
            rf'name="{refusal.field}"[^>]*aria-invalid="true"[^>]*autofocus>\s*<p class="reason refused"',
            answer.text,
        )
    person.http.close()


def test_a_chosen_counterfoil_stays_chosen(fay: Person) -> None:
    answer = fay.post(ITEM, foil=foil_of("INV-12"), note="")
    assert f'<option value="{foil_of("INV-12")}" selected>' in answer.text


def test_the_form_that_comes_back_can_be_sent(fay: Person) -> None:
    path = f"/approvals/{approval_of('CR-1007')}"
    refused = fay.post(path, decision="reject", comment="", back="/runs")
    fields = dict(
        re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', refused.text.partition(path)[2])
    )
    done = fay.http.post(path, data=fields | {"decision": "reject", "comment": "no incident"})
    assert (done.status_code, done.headers["location"]) == (303, "/runs?note=rejected")


def test_a_form_of_another_site_shows_nothing(fay: Person) -> None:
    answer = fay.http.post(
        CASE, data={"csrf": fay.csrf(), "note": TYPED}, headers={"origin": "https://evil.example"}
    )
    assert answer.status_code == 403
    assert "typed" not in answer.text


def break_case(cory: Person) -> str:
    found = re.search(
        r'id="(case_\w+)" aria-labelledby(?:(?!</article>).)*?10\.00', cory.http.get("/cases").text, re.S
    )
    assert found is not None
    return f"/cases/{found[1]}"


def test_giving_money_away_asks_again_and_says_how_much(cory: Person) -> None:
    path = break_case(cory)
    listed = cory.http.get(path).text
    assert "The difference of 10.00 USD is accepted. No one has to post it any more." in listed
    asked = cory.post(path, choice="dismiss", note=TYPED, back="/cases")
    assert asked.status_code == 200
    assert "<h1>Dismiss (no action needed)?</h1>" in asked.text
    assert "The Case closes and nothing is changed: 10.00 USD." in asked.text
    assert '<span class="chip warn">open</span>' in cory.http.get(path).text
    fields = dict(
        re.findall(
            r'<input type="hidden" name="(\w+)" value="([^"]*)">', asked.text.partition("</header>")[2]
        )
    )
    fields = {name: html.unescape(value) for name, value in fields.items()}
    assert fields == {"csrf": cory.csrf(), "choice": "dismiss", "note": TYPED, "back": "/cases"}
    back = cory.http.post(path, data=fields | {"confirm": "no"})
    assert back.status_code == 200
    assert 'role="alert"' not in back.text
    assert f'value="{html.escape(TYPED, quote=True)}"' in back.text.replace("&#34;", "&quot;")
    assert '<span class="chip warn">open</span>' in cory.http.get(path).text
    done = cory.http.post(path, data=fields | {"confirm": "yes"})
    assert (done.status_code, done.headers["location"].partition("?")[0]) == (303, "/cases")


def test_times_are_in_the_zone_that_the_browser_chose(fay: Person) -> None:
    utc = fay.http.get("/runs").text
    assert "Times are in UTC." in utc
    moment, shown = re.findall(r'<time datetime="([^"]+)" title="[^"]+ UTC">([^<]+)</time>', utc)[0]
    refused = fay.post("/zone", zone="Europe/Berlyn", back="/runs")
    assert refused.status_code == 422
    assert 'value="Europe/Berlyn" aria-invalid="true"' in refused.text
    done = fay.post("/zone", zone="Asia/Kolkata", back="/runs")
    assert (done.status_code, done.headers["location"]) == (303, "/runs")
    local = fay.http.get("/runs").text
    assert "Times are in Asia/Kolkata." in local
    again, shown_there = re.findall(r'<time datetime="([^"]+)" title="[^"]+ UTC">([^<]+)</time>', local)[0]
    assert again == moment
    here = datetime.fromisoformat(moment).astimezone(ZoneInfo("Asia/Kolkata"))
    assert shown_there.endswith(f"{here.day} {here:%b, %H:%M}")
    assert shown_there != shown


def test_the_zone_on_file_comes_before_that_of_the_browser(company: Process) -> None:
    """The person's zone on file, else the cookie of the browser."""
    leo = Person(company, "leo")
    assert "Times are in Asia/Tokyo." in leo.http.get("/approvals").text
    assert leo.post("/zone", zone="america/new york", back="/").status_code == 303
    assert leo.http.cookies["counterfoil_zone"].strip('"') == "America/New_York"
    text = leo.http.get("/zone").text
    assert "Times are in Asia/Tokyo." in text
    assert "people file" in text
    assert "<select" not in text
    assert 'name="zone"' not in text
    assert leo.http.post("/sign-out", data={"csrf": leo.csrf()}).status_code == 303
    assert "Times are in America/New_York." in leo.http.get("/sign-in").text
    leo.http.close()


@pytest.mark.parametrize(
    "zone", ["", "x", "../etc/passwd", "/etc/localtime", "UTC\u00e4", "Europe/Berlin\\..", "a" * 5000]
)
def test_a_cookie_that_is_no_zone_means_utc(company: Process, zone: str) -> None:
    with httpx2.Client(base_url=company.url, trust_env=False) as http:
        answer = http.get(
            "/sign-in", headers={"accept": "text/html", "cookie": f"counterfoil_zone={zone}".encode()}
        )
    assert answer.status_code == 200
    assert "Times are in UTC." in answer.text


def test_the_first_sign_in_takes_the_zone_of_the_browser(company: Process) -> None:
    form = {"email": "fay@acme.example", "password": PASSWORD, "zone": "America/New_York"}
    with httpx2.Client(base_url=company.url, headers={"accept": "text/html"}, trust_env=False) as http:
        http.post("/sign-in", data=form)
        assert "Times are in America/New_York." in http.get("/").text
        http.post("/sign-in", data=form | {"zone": "Asia/Tokyo"})
        assert "Times are in America/New_York." in http.get("/").text
