"""Decisions on several Cases or approvals: in JSON, and on the pages without JavaScript."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from counterfoil.core.money import Money
from counterfoil.store.port.maintenance import OpenCases
from tests.companies.commands import command
from tests.companies.web import PASSWORD, Company, running
from tests.companies.web_rows import approval_of, case_of
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.xdist_group("web")
CAUSE = "refused/erp.credit_memo.post/unknown_account"
SMALL, LARGE, OWN = map(approval_of, ("CR-1007", "CR-1003", "CR-1006"))
"""Approvals of finance operations over 310.00 and 2,500.00, and over 999.00 that fay requested."""


class Browser:
    """A signed-in browser without JavaScript."""

    def __init__(self, company: Company) -> None:
        self.http = httpx2.AsyncClient(
            base_url=company.url, headers={"accept": "text/html"}, trust_env=False, timeout=PATIENCE_SECONDS
        )
        self.csrf = ""

    async def sign_in(self, person: str) -> None:
        form = {"email": f"{person}@acme.example", "password": PASSWORD}
        assert (await self.http.post("/sign-in", data=form)).status_code == 303
        token = re.search(r'name="csrf" value="([0-9a-f]+)"', (await self.http.get("/")).text)
        assert token is not None
        self.csrf = token[1]

    async def post(self, path: str, **fields: str) -> httpx2.Response:
        return await self.http.post(path, data={"csrf": self.csrf} | fields)


@pytest.fixture
async def company(tmp_path: Path) -> AsyncIterator[Company]:
    async with running(tmp_path) as company:
        now = await company.app.store.now()
        cases = [
            case_of(
                f"case_same_{n}", "refused", "finance-operations", now, cause=CAUSE, exposure=(money,),
            )
            for n, money in enumerate((Money(12_000, "USD"), Money(5_000, "EUR"), Money(1, "USD")))
        ]  # fmt: skip
        other = case_of("case_other", "clash", "controller", now)
        await company.app.store.apply(OpenCases(cases=(*cases, other), at=now, actor="test"))
        yield company


@pytest.fixture
async def fay(company: Company) -> AsyncIterator[Browser]:
    browser = Browser(company)
    await browser.sign_in("fay")
    yield browser
    await browser.http.aclose()


async def send(company: Company, path: str, body: object, person: str = "fay") -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=company.url, trust_env=False) as http:
        return await http.post(path, json=body, headers=company.bearer(person))


async def states(company: Company) -> dict[str, str]:
    cases = [await company.app.store.case(f"case_same_{n}") for n in range(3)]
    return {row.case.id: str(row.case.state) for row in cases if row is not None}


async def test_cases_of_one_cause_are_closed_together_after_a_page_with_their_total(
    company: Company, fay: Browser
) -> None:
    page = (await fay.http.get(f"/cases?group=cause&cause={CAUSE}")).text
    assert page.count('name="row.case_same_') == 3
    chosen = {f"row.case_same_{n}": "1" for n in range(3)}
    fields = {"choice": "dismiss", "note": "the account exists <now>", "back": "/cases?group=cause"}
    asked = await fay.post("/cases/resolutions", **chosen, **fields)
    assert asked.status_code == 200
    assert "50.00 EUR, 120.01 USD" in asked.text
    assert "Yes, dismiss all 3" in asked.text
    assert "the account exists &lt;now&gt;" in asked.text
    assert set((await states(company)).values()) == {"open"}
    kept_open = await fay.post("/cases/resolutions", **chosen, **fields, confirm="no")
    assert (kept_open.status_code, kept_open.headers["location"]) == (303, "/cases?group=cause")
    done = await fay.post("/cases/resolutions", **chosen, **fields, confirm="yes")
    assert "3 Cases decided" in done.text
    assert set((await states(company)).values()) == {"resolved"}
    late = await fay.post("/cases/resolutions", **chosen, **fields)
    assert (late.status_code, "already resolved" in late.text) == (409, True)
    again = await fay.post("/cases/resolutions", **chosen, **fields, confirm="yes")
    assert "0 Cases decided, 3 refused" in again.text
    assert "already resolved" in again.text


async def test_what_no_bulk_decision_may_do(company: Company, fay: Browser) -> None:
    for fields, reason in (
        ({"choice": "dismiss", "note": "n"}, "Select the Cases"),
        ({"choice": "dismiss", "row.case_same_0": "1"}, "Enter a note"),
        ({"choice": "burn", "note": "n", "row.case_same_0": "1"}, "Choose how"),
        ({"choice": "waive", "note": "n", "row.case_same_0": "1"}, "does not offer this choice"),
        ({"choice": "dismiss", "note": "n", "row.case_none": "1"}, "Select the Cases"),
    ):
        answer = await fay.post("/cases/resolutions", **fields)
        assert (answer.status_code, reason in answer.text) == (422, True), (fields, answer.text)
    forged = await fay.post("/cases/resolutions", csrf="0" * 32, choice="dismiss", note="n", confirm="yes")
    assert forged.status_code == 403
    assert set((await states(company)).values()) == {"open"}


async def test_each_case_is_refused_or_resolved_by_itself(company: Company) -> None:
    ids = ["case_same_0", "case_other", "case_none", "case_same_0"]
    answer = await send(company, "/v1/cases/resolutions", {"ids": ids, "choice": "dismiss", "note": "n"})
    body = answer.json()
    assert [(line["id"], line["verdict"]) for line in body["items"]] == [
        ("case_same_0", "resolved"), ("case_other", "refused"), ("case_none", "refused"),
    ]  # fmt: skip
    assert "belongs to a role" in body["items"][1]["detail"]
    assert (body["done"], body["refused"]) == (1, 2)
    for wrong in (
        {"ids": [], "choice": "dismiss", "note": "n"},
        {"ids": [f"case_{n}" for n in range(201)], "choice": "dismiss", "note": "n"},
        {"ids": ["case_same_1"], "choice": "dismiss", "note": " "},
    ):
        assert (await send(company, "/v1/cases/resolutions", wrong)).status_code == 422
    refused = await send(
        company, "/v1/cases/resolutions", {"ids": ids, "choice": "dismiss", "note": "n"}, "nil"
    )
    assert refused.status_code == 403


async def test_approvals_are_decided_together_each_on_the_subject_that_was_seen(company: Company) -> None:
    subjects = {SMALL: "subject-CR-1007", LARGE: "outdated", OWN: "subject-CR-1006"}
    body = {"subjects": subjects, "decision": "approve"}
    answer = await send(company, "/v1/approvals/decisions", body)
    verdicts = {line["id"]: (line["verdict"], line["detail"]) for line in answer.json()["items"]}
    assert verdicts[SMALL] == ("granted", "")
    assert verdicts[LARGE][0] == verdicts[OWN][0] == "refused"
    assert "has changed since you opened it" in verdicts[LARGE][1]
    assert "requested" in verdicts[OWN][1]
    reject = {"subjects": {LARGE: "subject-CR-1003"}, "decision": "reject"}
    assert (await send(company, "/v1/approvals/decisions", reject)).status_code == 422


async def test_the_page_of_approvals_decides_several_with_one_total(company: Company, fay: Browser) -> None:
    page = (await fay.http.get("/approvals")).text
    rows = dict(re.findall(r'name="row\.(\w+)" value="([^"]+)"', page))
    assert OWN not in rows, "fay requested it"
    assert {SMALL, LARGE} <= rows.keys()
    chosen = {f"row.{id_}": rows[id_] for id_ in (SMALL, LARGE)}
    asked = await fay.post("/approvals/decisions", **chosen, decision="approve", comment="checked")
    assert "Approve 2 approvals over 2,810.00 USD together." in asked.text
    assert (await company.app.store.approval(SMALL)).state == "open"
    done = await fay.post(
        "/approvals/decisions", **chosen, decision="approve", comment="checked", confirm="yes"
    )
    assert "2 approvals decided" in done.text
    assert (await company.app.store.approval(LARGE)).state == "granted"
    for fields in (
        {"decision": "approve"},
        {"decision": "reject", **chosen},
        {"decision": "perhaps", **chosen},
    ):
        assert (await fay.post("/approvals/decisions", **fields)).status_code == 422


async def test_the_command_says_the_total_before_it_resolves_a_cause(company: Company) -> None:
    words = ("resolve", "--cause", CAUSE, "--choice", "dismiss", "--note", "the account exists")
    for more in ((), ("--expect", "2")):
        code, out, err = await command(company, *words, *more)
        assert (code, "3 open Cases of this cause, 50.00 EUR, 120.01 USD" in err) == (2, True), err
    assert set((await states(company)).values()) == {"open"}
    code, out, err = await command(company, *words, "--expect", "3")
    assert (code, out) == (0, "3 Cases resolved\n"), err
    code, out, err = await command(company, *words, "--expect", "3")
    assert (code, "no open Case has the cause" in err) == (2, True)
    assert (await command(company, "resolve", "--choice", "dismiss", "--note", "n"))[0] == 2


async def test_a_case_that_another_person_resolved_is_not_in_the_total(
    company: Company, fay: Browser
) -> None:
    first = {"ids": ["case_same_0"], "choice": "dismiss", "note": "n"}
    assert (await send(company, "/v1/cases/resolutions", first)).json()["done"] == 1
    chosen = {f"row.case_same_{n}": "1" for n in range(3)}
    asked = await fay.post("/cases/resolutions", **chosen, choice="dismiss", note="n")
    assert "Yes, dismiss all 2" in asked.text
    assert "50.00 EUR, 0.01 USD" in asked.text


async def test_a_sum_beyond_one_amount_is_stated(company: Company, fay: Browser) -> None:
    now = await company.app.store.now()
    large = (Money(2**63 - 1, "USD"),)
    cases = [
        case_of(f"case_large_{n}", "refused", "finance-operations", now, exposure=large) for n in range(2)
    ]
    await company.app.store.apply(OpenCases(cases=tuple(cases), at=now, actor="test"))
    chosen = {f"row.case_large_{n}": "1" for n in range(2)}
    asked = await fay.post("/cases/resolutions", **chosen, choice="dismiss", note="n")
    assert (asked.status_code, "184,467,440,737,095,516.14 USD" in asked.text) == (200, True), asked.text
