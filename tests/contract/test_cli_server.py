"""The command line against a running server: lists, traces, decisions, deliveries, and its exit codes."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.companies.web import SECRET, Process
from tests.companies.web_rows import approval_of, run_of
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.xdist_group("web")


class Terminal:
    def __init__(self, company: Process, folder: Path) -> None:
        self.company = company
        self.folder = folder

    def run(self, *words: str, person: str = "ada", **environment: str) -> tuple[int, str, str]:
        """Exit code, output and complaints of one command of this person."""
        own = {"COUNTERFOIL_URL": self.company.url, "COUNTERFOIL_TOKEN": self.company.tokens[person]}
        done = subprocess.run(
            [sys.executable, "-c", "from counterfoil.cli.main import main; main()", *words],
            cwd=self.folder, env=os.environ | own | environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    def json(self, *words: str, person: str = "ada") -> Any:
        code, out, err = self.run(*words, "--format", "json", person=person)
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def terminal(company: Process, tmp_path: Path) -> Terminal:
    return Terminal(company, tmp_path)


def test_runs_keep_their_promise_to_programs(terminal: Terminal) -> None:
    rows = terminal.json("runs")
    assert len(rows) == 7
    needed = {"id", "workflow", "key", "status", "direction", "state", "exposure", "cases"}
    assert all(needed <= set(row) for row in rows)


def test_a_list_longer_than_a_page_is_whole(terminal: Terminal) -> None:
    assert len(terminal.json("runs", "--limit", "3")) == 3


def test_people_read_tables(terminal: Terminal) -> None:
    code, out, _ = terminal.run("runs")
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith("CR-1002"))
    assert "840.50 USD" in line
    assert run_of("CR-1002") in line


def test_doctor_goes_on_after_a_refusal(terminal: Terminal) -> None:
    code, out, _ = terminal.run("doctor", "--format", "json", person="nil")
    checks = {row["check"]: row for row in json.loads(out)}
    assert code == 1
    assert {name for name, row in checks.items() if not row["ok"]} == {"health"}
    assert {"version", "token", "server", "ready", "same version"} <= set(checks)
    assert "metrics:any:read" in checks["health"]["do"]
    assert "systems" in checks["health"]["detail"]


def test_a_trace_is_found_by_key_and_by_id(terminal: Terminal) -> None:
    by_key, by_id = terminal.json("trace", "CR-1001"), terminal.json("trace", run_of("CR-1001"))
    assert by_key["run"] == by_id["run"]
    _, out, _ = terminal.run("trace", "CR-1001")
    assert "Counterfoil credit-memo is matched" in out
    assert "account.move,311" in out


def test_lists_have_what_pages_have(terminal: Terminal) -> None:
    assert {row["state"] for row in terminal.json("foils")} == {"open", "matched", "broken"}
    assert "foil_broken" in [row["reason"] for row in terminal.json("cases")]
    assert approval_of("CR-1006") in [row["id"] for row in terminal.json("approvals")]
    for words in (["foils"], ["cases"], ["approvals"]):
        assert terminal.run(*words)[0] == 0


def test_an_approval_is_decided_from_the_terminal(terminal: Terminal) -> None:
    code, _, err = terminal.run("approve", approval_of("CR-1006"), person="fay")
    assert code == 2
    assert "Separation of duties" in err
    answer = terminal.json("approve", approval_of("CR-1007"), "--comment", "seen", person="fay")
    assert answer["verdict"] == "granted"
    answer = terminal.json("reject", approval_of("CR-1003"), "--comment", "too late", person="fay")
    assert answer["verdict"] == "rejected"


def test_a_case_is_resolved_from_the_terminal(terminal: Terminal) -> None:
    words = ["resolve", "case_unrouted_1", "--choice", "dismiss", "--note", "a test of theirs"]
    assert terminal.json(*words)["verdict"] == "resolved"
    code, _, err = terminal.run(*words)
    assert code == 2
    assert "already resolved" in err


def test_a_webhook_is_handed_in_with_its_signature(terminal: Terminal, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"id": "from-the-terminal"}')
    (tmp_path / "secret").write_text(SECRET + "\n")
    answer = terminal.json("send", "billing", str(body), "--secret", f"file:{tmp_path / 'secret'}")
    assert answer["verdict"] == "new"
    code, out, _ = terminal.run("send", "billing", str(body), "--secret", "env:HOOK", HOOK=SECRET)
    assert (code, out) == (
        0,
        f"receipt {answer['receipt']}: same, it was received before and nothing more happens\n",
    )
    code, _, err = terminal.run("send", "billing", str(body))
    assert code == 2
    assert "--secret env:NAME" in err


def test_who_may_not_is_told_why(terminal: Terminal) -> None:
    code, out, err = terminal.run("runs", person="nil")
    assert (code, out) == (2, "")
    assert "runs:any:read" in err
    code, _, err = terminal.run("runs", COUNTERFOIL_TOKEN="")
    assert code == 2
    assert "COUNTERFOIL_TOKEN" in err


def test_what_is_not_there_is_said(terminal: Terminal) -> None:
    for words in (["trace", "CR-none"], ["trace", "run_none"], ["approve", "appr_none"]):
        code, _, err = terminal.run(*words)
        assert code == 2
        assert words[1] in err


def test_doctor_names_the_system_that_fails(terminal: Terminal) -> None:
    code, out, _ = terminal.run("doctor", "--format", "json")
    wrong = [row for row in json.loads(out) if not row["ok"]]
    assert code == 1
    assert [row["check"] for row in wrong] == ["system erp.documents"]


def test_doctor_audits_the_store_beside_its_server(terminal: Terminal, tmp_path: Path) -> None:
    store = terminal.company.folder / "company.db"
    rows = terminal.json("doctor", "--audit", "--store", f"sqlite:{store}")
    assert [row["detail"].split(",")[0] for row in rows if row["check"] == "audit"] != []
    with sqlite3.connect(store) as source, sqlite3.connect(tmp_path / "copy.db") as copy:
        source.backup(copy)
        copy.execute("update vote set comment = 'edited'")
    code, out, _ = terminal.run("doctor", "--audit", "--store", str(tmp_path / "copy.db"))
    assert code == 1
    assert "BAD  audit: the vote of person:" in out
    code, _, err = terminal.run("doctor", "--audit", "--store", "none.db")
    assert (code, "There is no store at none.db" in err) == (2, True)


# ------------------------------------------------------------------ words that help a new user


def test_a_filter_that_fits_nothing_says_so(terminal: Terminal) -> None:
    for words in (["runs", "--state", "open"], ["cases", "--owner", "no-role"], ["foils", "--key", "no-key"],
                  ["unmatched", "--key", "no-key"], ["approvals", "--run", "run_none"], ["runs", "--key", "none"]):  # fmt: skip
        code, out, _ = terminal.run(*words)
        assert (code, out.split()[0], out.split()[-1]) == (0, "No", "fits."), words


def test_states_and_statuses_are_filtered_by_one_word(terminal: Terminal) -> None:
    by_status = terminal.json("runs", "--status", "waiting")
    assert by_status
    assert terminal.json("runs", "--state", "waiting") == by_status
    for command, state in (("cases", "open"), ("approvals", "open"), ("foils", "matched")):
        assert terminal.json(command, "--status", state) == terminal.json(command, "--state", state) != []


def test_an_approval_is_found_by_what_it_is_about(terminal: Terminal) -> None:
    rows = terminal.json("approvals")
    names = [name for row in rows for value in row["about"].values() for name in value.split(", ")]
    name = next(name for name in names if names.count(name) == 1)
    (row,) = [row for row in rows if any(name in value.split(", ") for value in row["about"].values())]
    code, _, err = terminal.run("approve", name)
    assert code == 2
    assert row["id"] in err
    _, _, err = terminal.run("approve", row["id"][:-1] + "x")
    assert f"did you mean `{row['id']}`?" in err
    _, _, err = terminal.run("approve", "nothing-like-it")
    assert "`counterfoil approvals` lists the open ones" in err


def test_a_choice_that_a_case_does_not_offer_is_answered_with_its_choices(terminal: Terminal) -> None:
    case = next(case for case in terminal.json("cases") if "waive" not in case["choices"])
    code, _, err = terminal.run("resolve", case["id"], "--choice", "waive", "--note", "x")
    assert code == 2
    assert f"It offers: {', '.join(case['choices'])}." in err


def test_send_names_near_systems_and_files_and_says_what_was_received_before(terminal: Terminal) -> None:
    body = terminal.folder / "body.json"
    body.write_text(json.dumps({"id": "evt_words", "at": 1}))
    key = {"HOOK": SECRET}
    code, _, err = terminal.run("send", "billng", "body.json", "--secret", "env:HOOK", **key)
    assert (code, "billing`?" in err) == (2, True), err
    code, _, err = terminal.run("send", "billing", "bod.json", "--secret", "env:HOOK", **key)
    assert (code, "did you mean `body.json`?" in err) == (2, True), err
    code, _, err = terminal.run("send", "billing", "body.json")
    assert (code, ". The body was sent unsigned" in err) == (2, True), err
    assert terminal.run("send", "billing", "body.json", "--secret", "env:HOOK", **key)[1].endswith(": new\n")
    _, out, _ = terminal.run("send", "billing", "body.json", "--secret", "env:HOOK", **key)
    assert "received before" in out


def test_whoami_names_the_person_of_the_token(terminal: Terminal) -> None:
    me = terminal.json("whoami", person="fay")
    assert (me["id"], me["roles"], me["entities"]) == ("fay", ["finance-operations"], None)
    assert "checkpoints:any:prepare" in me["permissions"]
    assert "checkpoints:any:sign" not in me["permissions"]
    _, out, _ = terminal.run("whoami", person="nil")
    assert out.startswith("Nil Norole (nil): no role")


def test_a_checkpoint_is_prepared_and_signed_from_the_terminal(terminal: Terminal) -> None:
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    words = ("checkpoint", "invoice-in-erp", "--at", day, "--no-sweep")
    code, _, err = terminal.run(*words, "--sign", person="cory")
    assert (code, "nothing is prepared" in err) == (2, True)
    (prepared,) = terminal.json(*words, person="fay")["checkpoints"]
    assert (prepared["state"], prepared["prepared_by"], prepared["at"]) == ("prepared", "fay", day)
    code, _, err = terminal.run(*words, "--sign", person="fay")
    assert (code, "checkpoints:any:sign" in err) == (2, True)
    code, out, err = terminal.run(*words, "--sign", "--note", "agreed", person="cory")
    assert (code, "Signed by cory, prepared by fay" in out) == (0, True), err
    assert prepared["digest"] in out
    rows = terminal.json("reconcile", "invoice-in-erp", "--entity", prepared["entity"])["lines"]
    assert {row["entity"] for row in rows} == {prepared["entity"]}
    assert terminal.json("reconcile", "invoice-in-erp", "--entity", "nowhere")["lines"] == []
