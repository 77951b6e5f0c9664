"""Unmatched items, pairs, waivers and states as of a time, over HTTP and from the terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.companies.web import Process
from tests.companies.web_matches import PARTS, RULE, foil_of, item_of
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.xdist_group("web")


class Caller:
    """HTTP calls of the company's persons."""

    def __init__(self, company: Process, http: httpx2.Client) -> None:
        self.company = company
        self.http = http

    def get(self, path: str, person: str = "fay", **query: str) -> Any:
        answer = self.http.get(path, params=query, headers=self.company.bearer(person))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: dict[str, Any], person: str = "fay") -> httpx2.Response:
        return self.http.post(path, json=body, headers=self.company.bearer(person))

    def state(self, document: str, **query: str) -> str:
        rows = self.get("/v1/foils", key=document, **query)["items"]
        return ", ".join(row["state"] for row in rows)

    def pair(self, item: str, foil: str, note: str = "typing error", person: str = "fay") -> httpx2.Response:
        return self.post(f"/v1/unmatched/{item_of(item)}/pair", {"foil": foil_of(foil), "note": note}, person)


@pytest.fixture
def caller(company: Process) -> Iterator[Caller]:
    with httpx2.Client(base_url=company.url, trust_env=False, timeout=PATIENCE_SECONDS) as http:
        yield Caller(company, http)


def ago(minutes: float) -> str:
    return (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()


def kind(answer: httpx2.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


def test_suggestions_for_an_item_have_scores_and_reasons_and_pair_nothing(caller: Caller) -> None:
    item = item_of("BILL/2026/12")
    first = caller.get(f"/v1/unmatched/{item}/suggestions")["suggestions"][0]
    assert first["foil"]["id"] == foil_of("INV-12")
    assert "the same amount" in first["reasons"]
    assert 35 <= first["score"] <= 100
    assert item in {row["id"] for row in caller.get("/v1/unmatched")["items"]}
    unknown = caller.http.get("/v1/unmatched/obs_none/suggestions", headers=caller.company.bearer("fay"))
    assert unknown.status_code == 404
    assert (
        caller.http.get(f"/v1/unmatched/{item}/suggestions", headers=caller.company.bearer("leo")).status_code
        == 403
    )


def test_unmatched_items_are_listed_with_age_owner_and_case(caller: Caller) -> None:
    rows = {row["document"]: row for row in caller.get("/v1/unmatched")["items"]}
    row = rows["BILL/2026/11"]
    assert row["id"] == item_of("BILL/2026/11")
    assert row["amounts"] == {"gross": {"amount": "60.00", "currency": "USD", "minor": 6000}}
    assert 5400 <= row["age_s"] < 5700
    assert (row["system"], row["key"], row["owner"], row["entity"]) == (
        "erp",
        "X-77",
        "controller",
        "acme-us",
    )
    assert row["case"].startswith("case_")
    assert "INV-9" not in rows


def test_unmatched_items_are_filtered_and_paged(caller: Caller) -> None:
    def documents(**query: str) -> list[str]:
        return [row["document"] for row in caller.get("/v1/unmatched", **query)["items"]]

    both = ["BILL/2026/12", "BILL/2026/11"]
    assert set(documents()) == {"BILL/2026/22", "BILL/2026/21", *both}
    assert (
        documents(rule=RULE)
        == documents(system="erp", rule=RULE, owner="controller", entity="acme-us")
        == both
    )
    assert documents(key="X-77") == ["BILL/2026/11"]
    assert documents(entity="DE01") == documents(owner="nobody") == []
    first = caller.get("/v1/unmatched", limit="1", rule=RULE)
    assert documents(limit="1", rule=RULE, cursor=first["next"]) == ["BILL/2026/11"]


@pytest.mark.parametrize("path", ["unmatched", "foils", "runs", "cases", "audit"])
def test_an_unknown_query_parameter_is_refused(caller: Caller, path: str) -> None:
    answer = caller.http.get(f"/v1/{path}", params={"colour": "red"}, headers=caller.company.bearer("ada"))
    assert kind(answer) == (400, "bad-request")
    assert "colour" in answer.json()["detail"]


def test_states_are_those_of_a_time(caller: Caller) -> None:
    before, between, after = ago(120), ago(75), ago(1)
    assert [caller.state("INV-9", as_of=at) for at in (before, between, after)] == [
        "open",
        "broken",
        "broken",
    ]
    amounts = [
        caller.get("/v1/foils", key="INV-10", as_of=at)["items"][0]["legs"]["gross"]["amount"]
        for at in (before, between, after)
    ]
    assert amounts == ["55.00", "55.00", "60.00"]
    assert caller.get("/v1/foils", rule=RULE, as_of=ago(200))["items"] == []
    assert caller.get("/v1/unmatched", as_of=before)["items"] == []
    row = caller.get("/v1/unmatched", as_of=between)["items"][0]
    assert (row["document"], row["case"]) == ("BILL/2026/11", None)
    assert 850 <= row["age_s"] <= 950


def test_a_past_list_is_filtered_and_paged(caller: Caller) -> None:
    at = ago(75)
    broken = caller.get("/v1/foils", rule=RULE, as_of=at, state="broken", entity="acme-us")
    assert [row["document"] for row in broken["items"]] == ["INV-9"]
    for dates in ({}, {"as_of": at}):
        assert caller.get("/v1/foils", entity="acme-us", **dates)["items"]
        assert caller.get("/v1/foils", entity="DE01", **dates)["items"] == []
    documents: list[str] = []
    cursor = ""
    while cursor is not None:
        page = caller.get("/v1/foils", rule=RULE, as_of=at, limit="1", cursor=cursor)
        documents += [row["document"] for row in page["items"]]
        cursor = page["next"]
    assert sorted(documents) == ["INV-10", "INV-12", "INV-9"]


def test_documents_dated_after_the_cut_off_are_left_out(caller: Caller) -> None:
    page = caller.get("/v1/foils", key="INV-9", effective_by="2026-11-20")
    assert [row["state"] for row in page["items"]] == ["open"]
    assert (page["effective_by"], page["as_of"][-1]) == ("2026-11-20", "Z")
    assert caller.get("/v1/foils", key="INV-9", effective_by="2026-11-19")["items"] == []
    assert caller.get("/v1/unmatched", effective_by="2026-11-20")["items"] == []
    assert len(caller.get("/v1/unmatched", effective_by="2026-11-21")["items"]) == 2


@pytest.mark.parametrize(
    "query", [{"as_of": "yesterday"}, {"as_of": "2999-01-01T00:00:00Z"}, {"effective_by": "20 Nov"}]
)
def test_a_wrong_date_is_refused(caller: Caller, query: dict[str, str]) -> None:
    answer = caller.http.get("/v1/foils", params=query, headers=caller.company.bearer("fay"))
    assert kind(answer) == (400, "bad-request")


def test_a_pair_holds_until_it_is_ended(caller: Caller) -> None:
    answer = caller.pair("BILL/2026/12", "INV-12")
    assert (answer.status_code, answer.json()) == (
        200, {"id": item_of("BILL/2026/12"), "verdict": "done", "approval": None},
    )  # fmt: skip
    assert caller.pair("BILL/2026/12", "INV-12").status_code == 200
    assert kind(caller.pair("BILL/2026/12", "INV-12", person="cory")) == (409, "settled")
    assert caller.state("INV-12") == "matched"
    paired = datetime.now(UTC).isoformat()
    one = caller.get(f"/v1/foils/{foil_of('INV-12')}")
    assert one == one | caller.get("/v1/foils", key="INV-12")["items"][0]
    assert [(p["item"], p["name"], p["person"], p["note"]) for p in one["pairs"]] == [
        (item_of("BILL/2026/12"), "BILL/2026/12", "fay", "typing error"),
    ]
    answering = {(d["side"], d["system"], d["name"]) for d in one["documents"] if d["answers"]}
    assert answering == {("left", "billing", "INV-12"), ("right", "erp", "BILL/2026/12")}
    body = {"foil": foil_of("INV-12"), "note": "another invoice"}
    assert caller.post(f"/v1/unmatched/{item_of('BILL/2026/12')}/unpair", body).json()["verdict"] == "done"
    assert kind(caller.post(f"/v1/unmatched/{item_of('BILL/2026/12')}/unpair", body | {"note": "again"})) == (
        409, "settled",
    )  # fmt: skip
    states = [caller.state("INV-12", **query) for query in ({}, {"as_of": paired}, {"as_of": ago(30)})]
    assert states == ["open", "matched", "open"]
    assert caller.get(f"/v1/foils/{foil_of('INV-12')}")["pairs"] == []
    assert "BILL/2026/12" not in [
        row["document"] for row in caller.get("/v1/unmatched", as_of=paired)["items"]
    ]
    assert "BILL/2026/12" in [row["document"] for row in caller.get("/v1/unmatched")["items"]]


@pytest.mark.parametrize(
    ("items", "foils", "problem"),
    [
        (["BILL/2026/11", "BILL/2026/12"], ["INV-12"], "the shape 1:1: it pairs one document with one"),
        (["BILL/2026/11"], ["INV-12", "INV-10"], "the shape 1:1: it pairs one document with one"),
        ([], ["INV-12"], "Choose at least one item"),
        (["BILL/2026/11"], [], "Choose at least one counterfoil"),
        (["none"], ["INV-12"], "There is no item"),
        (["BILL/2026/11"], ["none"], "There is no counterfoil"),
    ],
)
def test_a_group_that_cannot_be_is_refused_with_the_reason(
    caller: Caller, items: list[str], foils: list[str], problem: str
) -> None:
    body = {"items": [item_of(i) for i in items], "foils": [foil_of(f) for f in foils], "note": "one payment"}
    answer = caller.post("/v1/pairs", body)
    assert answer.status_code in (404, 422)
    assert problem in answer.json()["detail"]


def test_several_items_answer_one_counterfoil_after_one_approval(caller: Caller) -> None:
    items = [item_of(document) for document in ("BILL/2026/21", "BILL/2026/22")]
    body = {"items": items, "foils": [foil_of("REM-20", PARTS)], "note": "one payment in parts"}
    answer = caller.post("/v1/pairs", body)
    asked = answer.json()
    assert (answer.status_code, asked["verdict"], asked["items"]) == (202, "requested", items)
    approval = caller.get(f"/v1/approvals/{asked['approval']}")
    assert (approval["path"], approval["amount"]["amount"]) == ("pair", "1500.00")
    parts = ("BILL/2026/22 (ERP, 600.00 USD)", "BILL/2026/21 (ERP, 900.00 USD)")  # in the order of their ids
    assert approval["summary"] == f"Pair {' and '.join(parts)} with REM-20 (Billing, 1,500.00 USD)"
    assert caller.state("REM-20") == "open"
    assert caller.post("/v1/pairs", body | {"items": items[::-1]}).json()["approval"] == asked["approval"]
    vote = {"decision": "approve"}
    assert kind(caller.post(f"/v1/approvals/{asked['approval']}", vote)) == (403, "separation-of-duties")
    assert caller.post(f"/v1/approvals/{asked['approval']}", vote, "cory").json()["verdict"] == "granted"
    assert caller.state("REM-20") == "matched"
    assert kind(caller.post("/v1/pairs", body | {"note": "again"})) == (409, "settled")
    for item in items:
        end = {"foil": foil_of("REM-20", PARTS), "note": "two transfers"}
        assert caller.post(f"/v1/unmatched/{item}/unpair", end).status_code == 200
    assert caller.state("REM-20") == "open"


def test_a_refused_decision_says_why(caller: Caller) -> None:
    path = f"/v1/unmatched/{item_of('BILL/2026/11')}/pair"
    assert kind(caller.pair("none", "INV-12"))[0] == 404
    assert kind(caller.pair("BILL/2026/11", "none"))[0] == 404
    assert kind(caller.pair("BILL/2026/11", "INV-12", note=" "))[0] == 422
    assert kind(caller.post(path, {"foil": foil_of("INV-12")}))[0] == 422
    other = next(row["id"] for row in caller.get("/v1/foils", rule="credit-memo")["items"])
    assert kind(caller.post(path, {"foil": other, "note": "x"}))[0] == 422
    assert kind(caller.pair("BILL/2026/11", "INV-12", person="leo")) == (403, "not-allowed")


def test_a_waiver_waits_for_a_second_person(caller: Caller) -> None:
    path = f"/v1/foils/{foil_of('INV-9')}/waive"
    answer = caller.post(path, {"note": "freight"})
    approval = answer.json()["approval"]
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/approvals/{approval}")
    row = caller.get(f"/v1/approvals/{approval}")
    assert (row["run"], row["path"], row["amount"]["amount"]) == ("", "waive", "10.00")
    assert row["summary"] == (
        "Accept the difference of INV-9 (Billing, 100.00 USD): 10.00 USD less than asserted"
    )
    vote = {"decision": "approve"}
    assert kind(caller.post(f"/v1/approvals/{approval}", vote, "fay")) == (403, "separation-of-duties")
    assert caller.post(f"/v1/approvals/{approval}", vote, "cory").json()["verdict"] == "granted"
    assert caller.state("INV-9") == "waived"
    assert caller.state("INV-9", as_of=ago(1)) == "broken"
    assert caller.post(path, {"note": "freight"}).status_code == 200
    assert kind(caller.post(path, {"note": "freight"}, "cory")) == (409, "settled")


def test_one_counterfoil_has_its_documents_in_every_version(caller: Caller) -> None:
    one = caller.get(f"/v1/foils/{foil_of('INV-10')}")
    (document,) = [d for d in one["documents"] if d["side"] == "left"]
    assert [(v["number"], v["legs"]["gross"]["amount"], v["known_to"] is None) for v in document["versions"]] == [
        (2, "60.00", True), (1, "55.00", False),
    ]  # fmt: skip
    assert document["answers"]
    assert "60.00 USD" in one["difference"]
    assert one["explanation"]
    unknown = caller.http.get("/v1/foils/foil_none", headers=caller.company.bearer("fay"))
    assert kind(unknown) == (404, "not-found")
    refused = caller.http.get(f"/v1/foils/{foil_of('INV-10')}", headers=caller.company.bearer("leo"))
    assert kind(refused) == (403, "not-allowed")


# ------------------------------------------------------------------ the terminal


class Terminal:
    def __init__(self, company: Process, folder: Path) -> None:
        self.company = company
        self.folder = folder

    def run(self, *words: str, person: str = "fay") -> tuple[int, str, str]:
        own = {"COUNTERFOIL_URL": self.company.url, "COUNTERFOIL_TOKEN": self.company.tokens[person]}
        done = subprocess.run(
            [sys.executable, "-c", "from counterfoil.cli.main import main; main()", *words],
            cwd=self.folder, env=os.environ | own, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    def json(self, *words: str, person: str = "fay") -> Any:
        code, out, err = self.run(*words, "--format", "json", person=person)
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def terminal(company: Process, tmp_path: Path) -> Terminal:
    return Terminal(company, tmp_path)


def test_the_terminal_lists_what_the_surface_promises(terminal: Terminal) -> None:
    row = terminal.json("unmatched", "--key", "X-77")[0]
    assert {"id", "system", "document", "key", "amounts", "age_s", "owner", "case"} <= set(row)
    foil = terminal.json("foils", "--key", "INV-10")[0]
    promised = {"id", "reconciliation", "key", "document", "state", "reason", "asserted", "observed"}
    assert promised | {"residual", "due", "owner"} <= set(foil)
    code, out, _ = terminal.run("unmatched")
    line = next(line for line in out.splitlines() if line.startswith("BILL/2026/11"))
    assert (code, "60.00 USD" in line, "1 h" in line) == (0, True, True)


def test_the_terminal_shows_one_counterfoil(terminal: Terminal) -> None:
    one = terminal.json("foils", foil_of("INV-10"))
    assert one["document"] == "INV-10"
    code, out, _ = terminal.run("foils", foil_of("INV-10"))
    assert (code, one["explanation"] in out.replace("\n", " ")) == (0, True)
    assert [line.split()[:2] for line in out.splitlines()[-2:]] == [["billing", "INV-10"]] * 2
    code, _, err = terminal.run("foils", foil_of("INV-10"), "--state", "open")
    assert (code, "leave the filters out" in err.replace("\n", " ")) == (2, True)
    code, _, err = terminal.run("foils", "foil_none")
    assert (code, "There is no counterfoil foil_none" in err.replace("\n", " ")) == (2, True)


def test_the_terminal_shows_the_past(terminal: Terminal) -> None:
    at = ago(120)
    rows = terminal.json("foils", "--key", "INV-9", "--as-of", at)
    assert [row["state"] for row in rows] == ["open"]
    code, out, _ = terminal.run("foils", "--as-of", at, "--effective-by", "2026-11-20")
    assert (code, out.splitlines()[0]) == (0, f"As known at {at}, documents dated up to 2026-11-20:")
    assert terminal.json("unmatched", "--as-of", at) == []
    assert terminal.run("unmatched", "--as-of", "noon")[0] == 2


def test_the_terminal_pairs_several_documents_at_once(terminal: Terminal) -> None:
    items = [item_of("BILL/2026/21"), item_of("BILL/2026/22")]
    foil = foil_of("REM-20", PARTS)
    code, out, _ = terminal.run("pair", *items, "--with", foil, "--note", "two transfers")
    assert (code, out.startswith(f"{items[0]}, {items[1]}: requested. ")) == (0, True)
    code, _, err = terminal.run(
        "pair", items[0], "--with", foil, "--with", foil_of("INV-12"), "--note", "wrong"
    )
    assert (code, "Choose documents of one reconciliation" in err.replace("\n", " ")) == (2, True)
    code, _, err = terminal.run("pair", *items, foil, "--note", "no option")
    assert (code, "--with" in err) == (2, True)


def test_the_terminal_pairs_unpairs_and_waives(terminal: Terminal) -> None:
    item, foil = item_of("BILL/2026/11"), foil_of("INV-10")
    assert terminal.json("pair", item, foil, "--note", "the key is wrong")["verdict"] == "done"
    code, out, _ = terminal.run("unpair", item, foil, "--note", "the key was right")
    assert (code, out) == (0, f"{item}: the pair has ended\n")
    code, out, _ = terminal.run("waive", foil, "--note", "written off")
    assert (code, "counterfoil approve appr_" in out) == (0, True)
    approval = out.split()[-1]
    assert "Accept the difference of INV-10" in terminal.run("approvals", person="cory")[1].replace("\n", " ")
    code, out, _ = terminal.run("approve", approval, person="cory")
    assert (code, out.splitlines()) == (
        0,
        [
            (
                "Accept the difference of INV-10 (Billing, 60.00 USD): 60.00 USD less than asserted. "
                "Reason: written off"
            ),
            f"{approval}: granted",
        ],
    )
    code, _, err = terminal.run("unpair", item, foil, "--note", "once more")
    assert (code, "no person has paired" in err) == (2, True)
