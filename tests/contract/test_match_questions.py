"""Decisions on matches: what is asked before, for whom a request waits, and that one difference is requested once."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest

from tests.companies.web import Process
from tests.companies.web_matches import foil_of, item_of
from tests.contract.test_http_forms import Person

pytestmark = pytest.mark.xdist_group("web")


@pytest.fixture
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("company"))
    yield process
    errors = process.stop()
    assert "Traceback" not in errors, errors


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


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page.partition("</header>")[2])))


def case_of_break(person: Person) -> str:
    found = re.search(
        r'id="(case_\w+)" aria-labelledby(?:(?!</article>).)*?10\.00', person.http.get("/cases").text, re.S
    )
    assert found is not None
    return found[1]


def open_waivers(person: Person) -> list[str]:
    return re.findall(
        r'<article class="card" id="(appr_\w+)"[^>]*>\s*<header>\s*<h3[^>]*>(?:<a[^>]*>)?Accept',
        person.http.get("/approvals").text,
    )


def test_a_requested_waiver_is_shown_on_its_case_and_joined(fay: Person, cory: Person) -> None:
    case = f"/cases/{case_of_break(cory)}"
    foil = f"/foils/{foil_of('INV-9')}"
    asked = fay.post(f"{foil}/waive", note="freight", back=foil, confirm="yes")
    assert asked.headers["location"] == f"{foil}?note=requested"
    (approval,) = open_waivers(cory)
    for path in (case, "/cases"):
        page = cory.http.get(path).text
        assert re.search(
            r"Wait for controller \(Cory Controller\) until .{5,40}: Fay Finance asked to accept the difference",
            text_of(page),
        ), path
        assert f'href="/approvals/{approval}"' in page
        assert 'value="waive"' not in page
    assert "Accept the difference</button>" not in fay.http.get(foil).text
    # Another person with another reason, from the Case or the counterfoil, joins the same request.
    for path, back, person in ((case, "/cases", cory), (f"{foil}/waive", foil, fay)):
        again = person.post(path, note="other words", confirm="yes", choice="waive", back=back)
        assert again.headers["location"] == f"{back}?note=requested"
    assert open_waivers(cory) == [approval]


def test_a_rejected_waiver_can_be_requested_again(fay: Person, cory: Person) -> None:
    case = f"/cases/{case_of_break(cory)}"
    path = f"/foils/{foil_of('INV-9')}/waive"
    fay.post(path, note="freight", confirm="yes")
    (first,) = open_waivers(cory)
    subject = re.search(r'name="subject" value="(\w+)"', cory.http.get(f"/approvals/{first}").text)
    assert subject is not None
    cory.post(f"/approvals/{first}", decision="reject", comment="no", subject=subject[1])
    assert open_waivers(cory) == []
    assert 'value="waive"' in cory.http.get(case).text
    assert fay.post(path, note="freight", confirm="yes").status_code == 409
    fay.post(path, note="agreed by mail", confirm="yes")
    (second,) = open_waivers(cory)
    assert second != first


def test_a_pair_of_documents_that_differ_asks_first(fay: Person) -> None:
    path, foil = f"/unmatched/{item_of('BILL/2026/11')}/pair", foil_of("INV-10")
    # BILL/2026/11 is 60.00 and INV-10 is 60.00; INV-12 is 20.00.
    asked = fay.post(path, foil=foil_of("INV-12"), note="the same supplier", back="/unmatched")
    assert asked.status_code == 200
    text = text_of(asked.text)
    assert "Pair documents that differ?" in text
    assert "ERP shows 60.00 USD, and 20.00 USD is missing: 40.00 USD too much." in text
    assert "As a pair they are a break" in text
    assert "BILL/2026/11, 60.00 USD" in text
    assert "INV-12" in text
    back = fay.post(path, foil=foil_of("INV-12"), note="the same supplier", back="/unmatched", confirm="no")
    assert (back.status_code, 'value="the same supplier"' in back.text) == (200, True)
    # Nothing is asked when the amounts are equal.
    done = fay.post(path, foil=foil, note="the same supplier", back="/unmatched")
    assert (done.status_code, done.headers.get("location")) == (303, "/unmatched?note=paired")


def test_a_confirmed_pair_of_documents_that_differ_is_made(fay: Person) -> None:
    path = f"/unmatched/{item_of('BILL/2026/12')}/pair"
    fields = {"foil": foil_of("INV-10"), "note": "part of it", "back": "/unmatched"}
    asked = text_of(fay.post(path, **fields).text)
    assert "ERP shows 20.00 USD, and 60.00 USD is missing: 40.00 USD too little." in asked
    done = fay.post(path, **fields, confirm="yes")
    assert done.status_code == 303


def test_nothing_is_offered_before_a_counterfoil_is_due(fay: Person) -> None:
    page = fay.http.get(f"/foils/{foil_of('INV-12')}").text
    assert "Accept the difference" not in page
    assert "Accept the difference" in fay.http.get(f"/foils/{foil_of('INV-9')}").text
