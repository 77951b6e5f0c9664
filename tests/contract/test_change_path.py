"""The path of a change over a running company: plan, approvals, apply, history, and Runs that are moved."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from markupsafe import escape

from counterfoil.change.bootstrap import ACTIVE_AT_START, apply_at_start
from counterfoil.change.plan_report import PlanReport
from counterfoil.cli.plan_text import show
from counterfoil.core import wire
from counterfoil.core.errors import Misconfigured
from counterfoil.store import check
from tests import postgres
from tests.companies.base import edited, model_in
from tests.companies.changing import COMPANY, Changing, changing, prepare, token
from tests.patience import PATIENCE_SECONDS
from tests.served import until

STRICTER = edited(COMPANY, ("up_to: 100,", "up_to: 10,"))
RENAMED = edited(
    COMPANY,
    ("  - id: answered\n", "  - id: replied\n"),
    ("failure: careful\nstart", "failure: careful\nmoved: {answered: replied}\nstart"),
)


@pytest.fixture
async def company(tmp_path: Path) -> AsyncIterator[Changing]:
    prepare(tmp_path)
    async with changing(tmp_path) as running:
        yield running
        assert await check.check(running.app.store, await running.app.now()) == []  # type: ignore[arg-type]


async def refusals(company: Changing) -> list[Any]:
    return [leaf for _, leaf in (await company.dump()).leaves if leaf.kind == "decision.refused"]


async def test_a_matrix_comes_into_force_by_another_persons_approval(company: Changing) -> None:
    planned = await company.plan(STRICTER)
    plan = planned["plan"]
    assert [(d["kind"], d["name"], d["change"]) for d in plan["differences"]] == [
        ("policy", "spending", "changed")
    ]
    assert [(a["roles"], a["could"]) for a in plan["approvals"]] == [(["controller"], ["cora"])]
    early = await company.apply(plan["digest"])
    assert early.status_code == 409
    approval = planned["approvals"][0]["id"]
    assert approval in early.json()["detail"]
    (leaf,) = await refusals(company)
    assert (leaf.actor, leaf.subject) == ("person:pat", plan["digest"])
    body = wire.loads(leaf.body)
    assert (body["action"], body["verdict"], approval in body["why"]) == ("apply", "apply", True)
    assert (await company.decide(approval, "cora")).json()["verdict"] == "granted"
    done = (await company.apply(plan["digest"])).json()
    assert [stage["stage"] for stage in done["stages"]] == [stage["stage"] for stage in plan["stages"]]
    assert company.app.model.digest == done["digest"] == plan["revision"]
    history = (await company.ask("GET", "/v1/releases")).json()["items"]
    assert [(r["number"], r["present"], r["requester"], r["approvers"], r["reason"]) for r in history] == [
        (2, True, "pat", ["cora"], "agreed"), (1, False, "", [], ""),
    ]  # fmt: skip
    detail = (await company.ask("GET", f"/v1/releases/{plan['revision']}")).json()
    assert detail["differences"][0]["name"] == "spending"
    assert detail["approvals"][0]["votes"][0]["person"] == "cora"
    page = await company.ask("GET", f"/releases/{plan['revision']}")
    assert page.status_code == 200
    assert 'href="/catalog/policy/spending"' in page.text
    assert escape(detail["differences"][0]["details"][0]["message"]) in page.text
    for path in ("/releases", "/catalog/policy/spending", "/catalog"):
        assert (await company.ask("GET", path)).status_code == 200
    kept = (await company.ask("GET", f"/v1/plans/{plan['digest']}")).json()
    assert (kept["state"], kept["plan"]) == ("applied", plan)


async def test_the_tests_of_a_folder_are_no_part_of_its_releases(tmp_path: Path) -> None:
    test = "\n---\n{kind: test, name: quiet, given: [{after: 1s}], expect: {runs: []}}\n"
    prepare(tmp_path, COMPANY + test)
    async with changing(tmp_path) as company:
        planned = await company.plan(STRICTER + test.replace("quiet", "calm"))
        assert [(d["kind"], d["name"]) for d in planned["plan"]["differences"]] == [("policy", "spending")]
        assert company.app.model.document("test", "quiet") is None


async def test_the_plan_of_a_start_can_be_read(company: Changing) -> None:
    store, now = company.app.store, await company.app.now()
    new = model_in(company.folder / "other", STRICTER)
    assert await apply_at_start(store, company.app.model, new, now)
    (step,) = await store.release_steps(1)
    answer = await company.ask("GET", f"/v1/plans/{step.plan}")
    assert (answer.status_code, answer.json()["plan"]) == (
        200,
        {"approvals": [], "emergency": [], "stages": []},
    )


async def test_an_approval_of_a_plan_stands_among_the_others(company: Changing) -> None:
    planned = await company.plan(STRICTER)
    page = await company.ask("GET", "/approvals", "cora")
    assert page.status_code == 200
    assert planned["approvals"][0]["id"] in page.text
    assert f"/runs/{planned['plan']['digest']}" not in page.text
    assert planned["plan"]["digest"][:12] in page.text
    rows = (
        await company.ask("GET", "/v1/approvals", "cora", params={"run": planned["plan"]["digest"]})
    ).json()
    assert [row["subject"] for row in rows["items"]] == [planned["plan"]["digest"]]
    assert [row["about"] for row in rows["items"]] == [{"plan": planned["plan"]["digest"][:12]}]
    assert ACTIVE_AT_START not in planned["plan"]["notes"]


async def test_without_a_person_who_may_apply_a_plan_says_when_the_folder_becomes_active(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(tmp_path, edited(COMPANY, ('"releases:any:apply", ', "")))
    async with changing(tmp_path) as company:
        planned = (await company.plan(STRICTER))["plan"]
        assert ACTIVE_AT_START in planned["notes"]
        show(msgspec.convert(planned, PlanReport), [], {})
    text = capsys.readouterr().out
    assert ACTIVE_AT_START in text
    assert "`apply` will" not in text


async def test_an_approver_reads_what_changes_and_what_the_approval_leads_to(company: Changing) -> None:
    await company.start_request("r-1")
    planned = await company.plan(STRICTER, days=1)
    plan, approval = planned["plan"], planned["approvals"][0]["id"]
    message = plan["differences"][0]["details"][0]["message"]
    assert "10" in message
    counts = plan["impact"]["counts"]
    assert counts["receipts"] == 1
    for path in (f"/approvals/{approval}", "/approvals", f"/plans/{plan['digest']}"):
        page = await company.ask("GET", path, "cora")
        assert page.status_code == 200
        assert escape(message) in page.text, path
        assert "Replayed 1 delivery:" in page.text, path
        assert "Pat" in page.text, path
        shown = re.sub(r"(?s)<details.*?</details>|<[^>]+>", " ", page.text)
        assert plan["base"] not in shown, path
        assert plan["revision"] not in shown, path
    assert f'href="/plans/{plan["digest"]}"' in (await company.ask("GET", "/approvals", "cora")).text
    row = (await company.ask("GET", f"/v1/approvals/{approval}", "cora")).json()
    assert message in row["summary"]
    assert "replayed deliveries change" in row["summary"]
    form = {"decision": "approve", "subject": plan["digest"], "comment": "", "back": "/approvals"}
    done = await company.ask("POST", f"/approvals/{approval}", "cora", data=form)
    assert done.headers["location"] == "/approvals?note=plan-granted"
    noted = (await company.ask("GET", done.headers["location"], "cora")).text
    assert "The change may be applied now" in noted
    assert "The Run continues" not in noted
    assert (await company.ask("GET", "/plans/" + "0" * 64, "cora")).status_code == 404


async def test_a_case_of_a_run_of_a_former_release_says_how_to_retry_by_the_active_one(
    company: Changing,
) -> None:
    amount = {"minor": 50_000, "currency": "USD"}
    data = {"request_id": "R-9", "amount": amount, "requested_by": "a stranger"}
    await company.send("request.asked.v1", "asked-R-9", data)

    async def case() -> dict[str, Any] | None:
        rows = (await company.ask("GET", "/v1/cases", "olga")).json()["items"]
        return rows[0] if rows else None

    before = await until("the Case of an unknown requester", case)
    assert (before["reason"], before["release_note"]) == ("requester", "")
    await company.change(STRICTER)
    after = await case()
    assert after is not None
    assert after["release_note"] == (
        "The Run uses Release 1, and Release 2 is active: retry decides by Release 1. "
        f"`counterfoil migrate --run {after['run']} --apply` moves the Run first"
    )
    page = await company.ask("GET", f"/cases/{after['id']}", "olga")
    assert escape(after["release_note"]) in page.text


async def test_who_asked_for_the_change_cannot_approve_it(tmp_path: Path) -> None:
    text = edited(
        COMPANY, ("roles: [controller]}\n    - {of: [breaking]", "roles: [architect]}\n    - {of: [breaking]")
    )
    prepare(tmp_path, text)
    async with changing(tmp_path) as company:
        planned = await company.plan(text.replace("up_to: 100,", "up_to: 10,"))
        assert any("cannot be granted" in note for note in planned["plan"]["notes"])
        refused = await company.decide(planned["approvals"][0]["id"], "pat")
        assert (refused.status_code, refused.json()["type"]) == (
            403, "urn:counterfoil:problem:separation-of-duties",
        )  # fmt: skip


async def test_a_change_of_words_waits_for_nobody(company: Changing) -> None:
    planned = await company.plan(
        edited(COMPANY, ("name: request\nowner", "name: request\ndoc: Asked at the desk.\nowner"))
    )
    assert planned["plan"]["classes"] == ["text"]
    assert planned["approvals"] == []
    assert (await company.apply(planned["plan"]["digest"])).status_code == 200


async def test_nothing_changes_by_what_is_in_force(company: Changing) -> None:
    assert await company.plan(COMPANY) == {"changes": False, "plan": None, "approvals": []}


async def test_a_plan_whose_base_moved_is_refused(company: Changing) -> None:
    late = await company.plan(
        edited(COMPANY, ("amount: money, requested_by", "amount: money, channel?: string, requested_by"))
    )
    await company.change(STRICTER)
    refused = await company.apply(late["plan"]["digest"])
    assert refused.status_code == 409
    assert "plan again" in refused.json()["detail"].lower()


async def test_a_model_that_does_not_pass_check_is_refused(company: Changing) -> None:
    body = (
        model_in(company.folder / "proposed", COMPANY)
        .to_json()
        .replace(b'"failure":"careful"', b'"failure":"gone"')
    )
    refused = await company.ask("POST", "/v1/plans", content=body, params={"days": 0})
    assert refused.status_code == 422
    assert "unknown-reference" in refused.json()["detail"]
    for body in (b"", b"[1]", b'{"kind":"role"}', b'[{"kind":"nothing","name":"x"}]'):
        refused = await company.ask("POST", "/v1/plans", content=body, params={"days": 0})
        assert refused.status_code in (400, 422), body


async def test_who_may_not_plan_or_apply_is_refused(company: Changing) -> None:
    assert (await company.ask("POST", "/v1/plans", "olga", content=b"[]")).status_code == 403
    assert (await company.apply("0" * 64, "cora")).status_code == 403
    assert (await company.apply("0" * 64)).status_code == 404
    assert (await company.ask("POST", "/v1/migrations", "olga", json={})).status_code == 403


async def test_a_plan_says_what_the_traffic_would_have_become(company: Changing) -> None:
    await company.start_request("R-1", 5_000)
    await company.start_request("R-2", 50_000, "started")
    planned = await company.plan(STRICTER, days=30)
    impact = planned["plan"]["impact"]
    assert impact["counts"]["receipts"] == 2
    assert [(d["policy"], d["old"], d["new"], d["count"]) for d in impact["approvals"]] == [
        ("spending", "automatic", "controller x1", 1)
    ]
    model_in(company.folder / "gov", STRICTER)
    code, out, _ = await run(company, "plan", "gov")
    assert (code, "approval spending: automatic -> controller x1, 1 time" in out) == (1, True)


# ------------------------------------------------------------------ Runs on their way


async def test_runs_on_their_way_keep_the_release_that_they_began_under(company: Changing) -> None:
    before = await company.start_request("R-1")
    planned = await company.change(RENAMED)
    assert [(r["workflow"], r["verdict"], r["count"]) for r in planned["plan"]["runs"]] == [
        ("request", "migratable", 1)
    ]
    after = await company.start_request("R-2")
    pins = {run.id: run.pin for run in (await company.dump()).runs}
    assert pins[before] == planned["plan"]["base"]
    assert pins[after] == planned["plan"]["revision"]
    for key in ("R-1", "R-2"):
        await company.send("request.answered.v1", f"answered-{key}", {"request_id": key})

    async def both() -> bool:
        return all(run.status == "done" for run in (await company.dump()).runs)

    await until("both done", both)


async def test_a_run_is_moved_to_where_its_step_is_now(company: Changing) -> None:
    run = await company.start_request("R-1")
    await company.change(RENAMED)
    shown = (await company.ask("POST", "/v1/migrations", json={})).json()["items"]
    assert [(m["run"], m["verdict"], m["paths"]) for m in shown] == [
        (run, "migratable", [["answered", "replied"]])
    ]
    moved = (await company.ask("POST", "/v1/migrations", json={"apply": True})).json()["items"]
    assert [m["verdict"] for m in moved] == ["moved"]
    assert (await company.ask("POST", "/v1/migrations", json={})).json()["items"] == []
    await company.send("request.answered.v1", "answered", {"request_id": "R-1"})

    async def done() -> Any:
        return next((r for r in (await company.dump()).runs if r.id == run and r.status == "done"), None)

    ended = await until("done", done)
    assert ended.state == "answered"
    assert ended.pin == company.app.model.digest


async def test_a_plan_may_move_the_runs_along(company: Changing) -> None:
    run = await company.start_request("R-1")
    planned = await company.plan(RENAMED, migrate=True)
    assert "move_runs" in [stage["stage"] for stage in planned["plan"]["stages"]]
    done = (await company.apply(planned["plan"]["digest"])).json()
    said = {stage["stage"]: stage["said"] for stage in done["stages"]}
    assert said["move_runs"] == "1 moved, 0 stay"
    assert (await company.app.store.load(run)).run.pin == planned["plan"]["revision"]  # type: ignore[union-attr]


async def test_a_vote_survives_the_move_of_its_run(tmp_path: Path) -> None:
    two = edited(COMPANY, ("{roles: [controller]}]", "{roles: [controller], quorum: 2}]"))
    renamed = edited(
        two,
        ("  - id: agreed\n", "  - id: allowed\n"),
        ("failure: careful\nstart", "failure: careful\nmoved: {agreed: allowed}\nstart"),
    )
    prepare(tmp_path, two)
    async with changing(tmp_path) as company:
        run = await company.start_request("R-1", 50_000, "started")
        (before,) = [a for a in (await company.dump()).approvals if a.run == run]
        (shown,) = (await company.ask("GET", "/v1/runs", "olga")).json()["items"]
        assert shown["exposure"] == [{"amount": "500.00", "currency": "USD", "minor": 50000}]
        assert (await company.decide(before.id, "cora")).status_code == 200
        await company.change(renamed)
        moved = (await company.ask("POST", "/v1/migrations", json={"apply": True})).json()["items"]
        assert [m["verdict"] for m in moved] == ["moved"]
        await until("turned", lambda: _turned(company, run))
        (after,) = [a for a in (await company.dump()).approvals if a.run == run]
        assert after == before, "the same approval, still open"
        assert [v.person for v in (await company.app.store.votes([before.id]))[before.id]] == ["cora"]
        assert (await company.decide(before.id, "cora")).status_code == 409, "she has voted"


async def _turned(company: Changing, run: str) -> bool:
    (row,) = [r for r in (await company.dump()).runs if r.id == run]
    return row.pin == company.app.model.digest and row.due is not None and row.due > await company.app.now()


async def test_a_run_does_not_pass_by_a_step_that_it_never_did(company: Changing) -> None:
    run = await company.start_request("R-1")
    more = edited(
        COMPANY,
        (
            "  - id: answered\n",
            "  - check: event.data.amount.minor < 999999\n    outcomes: {failed: park}\n  - id: answered\n",
        ),
    )
    planned = await company.change(more)
    assert [(r["verdict"], r["count"]) for r in planned["plan"]["runs"]] == [("pinned", 1)]
    moved = (await company.ask("POST", "/v1/migrations", json={"apply": True, "run": run})).json()["items"]
    assert [m["verdict"] for m in moved] == ["pinned"]
    assert "would skip" in moved[0]["why"]


async def test_an_approval_that_was_asked_under_the_former_matrix_is_asked_anew(company: Changing) -> None:
    """Not moved at all: matrices are bound late, so what is open is decided by the one in force."""
    await company.start_request("R-1", 50_000, "started")
    await company.change(edited(COMPANY, ("{roles: [controller]}]", "{roles: [architect]}]")))
    run = await company.start_request("R-2", 50_000, "started")
    approvals = {a.run: a for a in (await company.dump()).approvals if a.run.startswith("run_")}
    assert approvals[run].roles == ("architect",)


# ------------------------------------------------------------------ back again


async def test_the_former_release_comes_back_by_a_plan(company: Changing) -> None:
    first = company.app.model.digest
    await company.change(STRICTER)
    back = (await company.ask("POST", "/v1/plans", params={"to": first, "days": 0})).json()
    assert back["plan"]["rollback"]
    assert (await company.apply(back["plan"]["digest"])).status_code == 409
    await company.decide(back["approvals"][0]["id"], "cora")
    assert (await company.apply(back["plan"]["digest"])).json()["no"] == 3
    assert company.app.model.digest == first


async def test_in_an_emergency_it_comes_back_at_once_and_is_reviewed(company: Changing) -> None:
    first = company.app.model.digest
    await company.change(STRICTER)
    back = (await company.ask("POST", "/v1/plans", "eve", params={"to": first, "days": 0})).json()
    plan = back["plan"]["digest"]
    assert (await company.apply(plan, "pat", emergency=True)).status_code == 409
    (leaf,) = await refusals(company)
    assert (leaf.actor, leaf.subject) == ("person:pat", plan)
    assert wire.loads(leaf.body)["verdict"] == "emergency"
    done = await company.apply(plan, "eve", emergency=True)
    assert done.status_code == 200, done.text
    history = (await company.ask("GET", "/v1/releases")).json()["items"]
    assert (history[0]["emergency"], history[0]["applied_by"]) == (True, "eve")
    cases = (await company.ask("GET", "/v1/cases", "olga")).json()["items"]
    assert [(c["reason"], c["owner"]) for c in cases] == [("emergency_release", "controller")]


async def test_nothing_but_what_was_in_force_is_put_back(company: Changing) -> None:
    assert (await company.ask("POST", "/v1/plans", params={"to": "0" * 64})).status_code == 404
    planned = await company.plan(STRICTER, "eve")
    refused = await company.apply(planned["plan"]["digest"], "eve", emergency=True)
    assert (refused.status_code, "never active" in refused.json()["detail"]) == (409, True)


# ------------------------------------------------------------------ calendars


FREEZE = COMPANY + """\
---
kind: calendar
name: outside
changes:
  - {what: a close that never ends, from: 2020-01-01, areas: [approval], effect: refuse}
  - {what: end of an API, from: 2120-01-01, notice: 60000d, systems: [desk]}
"""  # fmt: skip


async def test_a_freeze_refuses_and_a_calendar_put_right_is_let_through(tmp_path: Path) -> None:
    prepare(tmp_path, FREEZE)
    async with changing(tmp_path) as company:
        planned = await company.plan(edited(FREEZE, ("up_to: 100,", "up_to: 10,")))
        assert [(t["effect"], t["what"]) for t in planned["plan"]["calendar"]] == [
            ("refuse", "a close that never ends")
        ]
        await company.decide(planned["approvals"][0]["id"], "cora")
        refused = await company.apply(planned["plan"]["digest"])
        assert refused.status_code == 409
        assert "a close that never ends" in refused.json()["detail"]
        await company.change(edited(FREEZE, ("from: 2020-01-01,", "from: 2020-01-01, to: 2020-01-02,")))
        again = await company.plan(
            edited(
                FREEZE,
                ("from: 2020-01-01,", "from: 2020-01-01, to: 2020-01-02,"),
                ("up_to: 100,", "up_to: 10,"),
            )
        )
        assert again["plan"]["calendar"] == []


# ------------------------------------------------------------------ processes


async def test_a_start_does_not_publish_another_folder(tmp_path: Path) -> None:
    prepare(tmp_path)
    async with changing(tmp_path, workers=0) as company:
        first = company.app.model.digest
        assert company.app.notice == ""
    model_in(tmp_path / "gov", STRICTER)
    async with changing(tmp_path, workers=0) as company:
        assert company.app.model.digest == first
        assert "counterfoil plan" in company.app.notice
    (tmp_path / "gov" / "company.yaml").write_text("kind: nothing\n")
    async with changing(tmp_path, workers=0) as company:
        assert company.app.model.digest == first
        assert "does not pass check" in company.app.notice


async def test_a_folder_that_cannot_be_connected_is_not_put_in_force(tmp_path: Path) -> None:
    """Else the store would hold a Release that no server can start with, and no server could change."""
    nobody = edited(COMPANY, ('"releases:any:apply", ', ""))
    system = "{kind: system, name: lost, role: erp, connector: stripe, owner: operator, url: env:LOST_URL, secrets: {api_key: env:LOST_KEY}}"
    lost = f"{nobody}---\n{system}\n"
    prepare(tmp_path, lost)
    with pytest.raises(Misconfigured, match="system lost"):
        async with changing(tmp_path, workers=0):
            pass
    model_in(tmp_path / "gov", nobody)
    async with changing(tmp_path, workers=0) as company:
        first = company.app.model.digest
    model_in(tmp_path / "gov", lost)
    with pytest.raises(Misconfigured, match="system lost"):
        async with changing(tmp_path, workers=0):
            pass
    model_in(tmp_path / "gov", nobody)
    async with changing(tmp_path, workers=0) as company:
        assert company.app.model.digest == first
        assert len((await company.ask("GET", "/v1/releases")).json()["items"]) == 1


async def test_where_nobody_may_apply_a_start_does(tmp_path: Path) -> None:
    nobody = edited(COMPANY, ('"releases:any:apply", ', ""))
    prepare(tmp_path, nobody)
    async with changing(tmp_path, workers=0):
        pass
    added = model_in(tmp_path / "gov", COMPANY)
    async with changing(tmp_path, workers=0) as company:
        assert company.app.model.digest == added.digest
        assert "is active now" in company.app.notice
        history = (await company.ask("GET", "/v1/releases")).json()["items"]
        assert [(r["number"], r["applied_by"]) for r in history] == [(2, "up"), (1, "up")]
        assert await check.check(company.app.store, await company.app.now()) == []  # type: ignore[arg-type]
    model_in(tmp_path / "gov", STRICTER)
    async with changing(tmp_path, workers=0) as company:
        assert company.app.model.digest == added.digest


async def test_every_process_takes_up_a_release(tmp_path: Path, postgres: postgres.Cluster) -> None:
    """Two on one PostgreSQL: one has the doors, the other turns Runs."""
    prepare(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "people.json").write_bytes((tmp_path / "people.json").read_bytes())
    dsn = postgres.dsn(await postgres.create())
    async with changing(tmp_path, dsn, workers=0) as doors:
        prepare(tmp_path / "other")
        async with changing(tmp_path / "other", dsn) as worker:
            waiting = await doors.start_request("R-1")
            planned = await doors.change(RENAMED)

            async def taken_up() -> bool:
                return worker.app.model.digest == planned["plan"]["revision"]

            await until("the other process takes it up", taken_up)
            late = await doors.start_request("R-2")
            pins = {run.id: run.pin for run in (await doors.dump()).runs}
            assert pins == {waiting: planned["plan"]["base"], late: planned["plan"]["revision"]}
            for key in ("R-1", "R-2"):
                await doors.send("request.answered.v1", f"answered-{key}", {"request_id": key})

            async def both() -> bool:
                return all(run.status == "done" for run in (await doors.dump()).runs)

            await until("both done", both)
            assert await check.check(doors.app.store, await doors.app.now()) == []  # type: ignore[arg-type]


# ------------------------------------------------------------------ the command line


async def run(company: Changing, *words: str, person: str = "pat") -> tuple[int, str, str]:
    own = {"COUNTERFOIL_URL": company.url, "COUNTERFOIL_TOKEN": token(person)}

    def call() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from counterfoil.cli.main import main; main()", *words],
            cwd=company.folder, env=os.environ | own, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip

    done = await asyncio.to_thread(call)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


async def test_a_change_goes_its_way_from_the_terminal(company: Changing) -> None:
    await company.start_request("R-1")
    model_in(company.folder / "gov", edited(STRICTER, ("  - id: answered\n", "  - id: replied\n")))
    code, out, _ = await run(company, "plan", "gov", "--out", "p.json", "--days", "0")
    assert code == 1
    assert "~ policy spending" in out
    assert "company.yaml:" in out
    assert "1 of controller (eligible: cora): open" in out
    code, _, err = await run(company, "apply", "p.json")
    assert code == 2
    assert "counterfoil approve" in err
    approval = json.loads((await run(company, "approvals", "--format", "json"))[1])[0]
    assert (await run(company, "approve", approval["id"], person="cora"))[0] == 0
    code, out, _ = await run(company, "apply", "p.json", "--reason", "the board said so")
    assert code == 0
    assert "ok    make_release" in out
    code, out, _ = await run(company, "releases")
    assert "the board said so" in out
    first = json.loads((await run(company, "releases", "--format", "json"))[1])[-1]["digest"]
    code, out, _ = await run(company, "migrate")
    assert code == 0
    assert "which no longer exists" in out
    code, out, _ = await run(company, "releases", "rollback", first[:10], "--format", "json")
    assert code == 1
    assert json.loads(out)["plan"]["revision"] == first
    code, out, _ = await run(company, "plan", "gov", "--days", "0")
    assert (code, "Nothing changes" in out) == (0, True)


async def test_a_plan_that_was_tampered_with_is_refused(company: Changing) -> None:
    model_in(company.folder / "gov", STRICTER)
    assert (await run(company, "plan", "gov", "--out", "p.json", "--days", "0"))[0] == 1
    file = company.folder / "p.json"
    file.write_text(file.read_text().replace('"up_to":10', '"up_to":99999'))
    code, _, err = await run(company, "apply", "p.json")
    assert code == 2
    assert "was changed" in err
