"""The demonstration from outside: billing, the ERP and the help desk must have the outcomes that the story prints."""

from __future__ import annotations

import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from counterfoil.demo.stage import money
from counterfoil.demo.story import ACTS, LARGE, LATE, LEGACY, LOST, MEDIUM, SMALL, Credit
from counterfoil.model import read
from counterfoil.store import check
from counterfoil.store.sql.sqlite import SqliteStore
from tests.patience import PATIENCE_SECONDS
from tests.scenario.demo_run import DemoRun, Snapshot, alive, prepared

pytestmark = [pytest.mark.xdist_group("demo-story"), pytest.mark.timeout(900)]


@dataclass
class Played:
    """Three starts in one folder: the first is interrupted during the story, the second after it, the third is killed."""

    work: Path
    output: str
    systems: Snapshot
    codes: list[int]
    left: set[int]
    later_output: str
    later_systems: Snapshot
    left_by_killed: set[int]


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    work = prepared(tmp_path_factory.mktemp("demo"))
    port = _free_port()
    interrupted = DemoRun(work, port)
    try:
        interrupted.wait_for("requested from support-lead")
        family = interrupted.family()
        code = interrupted.end(signal.SIGINT)
    finally:
        interrupted.end(signal.SIGTERM)
    left = alive(family)
    first = DemoRun(work, port)
    try:
        first.wait_for()
        systems, family = first.snapshot(), first.family()
        codes = [code, first.end(signal.SIGINT)]
    finally:
        first.end(signal.SIGTERM)
    left |= alive(family)
    second = DemoRun(work, port)
    try:
        second.wait_for()
        later_systems, family = second.snapshot(), second.family()
        second.end(signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while alive(family) and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        second.end(signal.SIGTERM)
    return Played(
        work,
        interrupted.output + first.output,
        systems,
        codes,
        left,
        second.output,
        later_systems,
        alive(family),
    )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def granted(systems: Snapshot, credit: Credit) -> None:
    """Assert one credit note and one credit memo of the amount, applied, reported, with a matched counterfoil."""
    ticket = systems.ticket(credit.name)
    trace = systems.credit(ticket)
    key = trace["run"]["key"]
    assert (trace["run"]["status"], trace["run"]["state"]) == ("done", "reconciled")
    (note,), (memo,) = systems.notes(key), systems.memos(key)
    assert (note["status"], money(note["total"])) == ("issued", Decimal(credit.amount))
    assert (memo["state"], memo["total_amount"]) == ("paid", -Decimal(credit.amount))
    assert (ticket["status"], ticket["erp_document"]) == ("credit-posted", memo["number"])
    assert (systems.foil(key)["state"], systems.foil(key)["legs"]["gross"]["amount"]) == (
        "matched",
        credit.amount,
    )


def test_every_act_is_printed_and_none_failed(played: Played) -> None:
    assert "✗" not in played.output
    for act in ACTS:
        assert act.title in played.output
        for step in act.steps:
            assert step.text in played.output


def test_every_invoice_of_billing_is_posted_in_the_erp_to_the_cent(played: Played) -> None:
    posted = {d["reference"]: d for d in played.systems.documents if d["total_amount"] > 0}
    asserted = {
        t["run"]["key"]: t["start"]["data"] for t in played.systems.traces.values()
        if t["run"]["workflow"] == "invoice-to-erp"
    }  # fmt: skip
    totals = {i["number"]: money(i["total"]) for i in played.systems.invoices}
    assert sorted(totals.values()) == [Decimal(t) for t in ("811.88", "1082.50", "3247.50", "4330.00")]
    assert {data["number"] for data in asserted.values()} == set(totals)
    assert posted.keys() == asserted.keys()
    for key, data in asserted.items():
        assert posted[key]["total_amount"] == totals[data["number"]]
        assert played.systems.foil(key)["state"] == "matched"


def test_a_payment_in_billing_is_received(played: Played) -> None:
    (paid,) = [i for i in played.systems.invoices if i["status"] == "paid"]
    (payment,) = played.systems.payments
    assert Decimal(payment["data"]["amount"]["amount"]) == money(paid["amount_paid"]) == Decimal("811.88")


def test_a_small_credit_is_granted_without_a_person(played: Played) -> None:
    granted(played.systems, SMALL)
    (approval,) = played.systems.credit(played.systems.ticket(SMALL.name))["approvals"]
    assert (approval["automatic"], approval["votes"]) == (True, [])


def test_a_larger_credit_is_granted_by_the_lead_and_not_by_the_requester(played: Played) -> None:
    granted(played.systems, MEDIUM)
    (approval,) = played.systems.credit(played.systems.ticket(MEDIUM.name))["approvals"]
    assert (approval["requester"], approval["roles"]) == ("agent", ["support-lead"])
    assert [(vote["person"], vote["approve"]) for vote in approval["votes"]] == [("lead", True)]
    assert "The agent tries to approve their own request: refused, 403" in played.output


def test_a_rejected_credit_reaches_neither_billing_nor_the_erp(played: Played) -> None:
    ticket = played.systems.ticket(LARGE.name)
    trace = played.systems.credit(ticket)
    assert ticket["status"] == "credit-rejected"
    assert trace["run"]["state"] == "rejected"
    assert [(v["person"], v["approve"]) for v in trace["approvals"][0]["votes"]] == [("fiona", False)]
    assert played.systems.notes(trace["run"]["key"]) == played.systems.memos(trace["run"]["key"]) == []


def test_a_rejected_credit_does_not_count_for_the_customers_quarter(played: Played) -> None:
    (approval,) = played.systems.credit(played.systems.ticket(LOST.name))["approvals"]
    assert LARGE.customer == LOST.customer
    assert approval["automatic"]


def test_a_credit_in_a_closed_period_is_posted_after_it_was_reopened(played: Played) -> None:
    granted(played.systems, LATE)
    trace = played.systems.credit(played.systems.ticket(LATE.name))
    at = {moment["title"]: moment["at"] for moment in trace["timeline"]}
    assert (
        at["billing.credit_memo.issue confirmed"]
        < at["period.opened.v1"]
        < at["erp.credit_memo.post confirmed"]
    )


def test_a_lost_answer_is_found_by_look_up_and_nothing_is_posted_twice(played: Played) -> None:
    granted(played.systems, LOST)
    trace = played.systems.credit(played.systems.ticket(LOST.name))
    (post,) = [e for e in trace["effects"] if e["operation"] == "erp.credit_memo.post"]
    assert (post["state"], post["attempt"]) == ("confirmed", 1)
    states = [moment["state"] for moment in trace["timeline"] if moment["ref"] == post["id"]]
    assert states[-3:] == ["sending", "unknown", "confirmed"]
    assert "outcome unknown, found by look-up" in played.output


def test_a_permanent_refusal_is_undone_in_billing(played: Played) -> None:
    trace = played.systems.credit(played.systems.ticket(LEGACY.name))
    key = trace["run"]["key"]
    assert (trace["run"]["status"], trace["run"]["direction"]) == ("undone", "undo")
    assert [note["status"] for note in played.systems.notes(key)] == ["void"]
    assert played.systems.memos(key) == []
    assert played.systems.foil(key)["state"] == "reversed"
    (case,) = played.systems.cases
    assert (case["run"], case["owner"], case["choice"], case["resolved_by"]) == (
        trace["run"]["id"], "finance-operations", "undo", "fiona",
    )  # fmt: skip


def test_both_sides_of_the_books_agree(played: Played) -> None:
    systems = played.systems
    assert sum(systems.balance.values()) == 0
    open_amount = sum(money(i["amount_remaining"]) for i in systems.invoices if i["status"] == "open")
    assert systems.balance["1200"] - open_amount == Decimal("811.88")
    assert {foil["state"] for foil in systems.foils} == {"matched", "reversed"}


def test_the_closing_tables_name_every_run_in_every_system(played: Played) -> None:
    table = played.output[played.output.index("\nRuns") : played.output.index("\nEffects")]
    for run in played.systems.runs:
        assert run["id"] in table
    for thing in (*played.systems.invoices, *played.systems.credit_notes):
        assert thing["id"] in table
        assert thing["number"] in table
    for document in played.systems.documents:
        assert document["number"] in table
    for ticket in played.systems.tickets.values():
        assert f"ticket {ticket['id']}" in table


def test_an_interrupted_story_continues_where_it_stopped(played: Played) -> None:
    assert played.output.count("✓ The agent requests a credit: ticket") == 4
    assert played.output.count("✓ The customers subscribe") == 1
    assert len(played.systems.tickets) == len([SMALL, MEDIUM, LARGE, LATE, LOST, LEGACY])


def test_a_later_start_plays_nothing_twice(played: Played) -> None:
    assert played.later_output.count("(played before)") == len(ACTS)
    for name in ("invoices", "credit_notes", "documents", "balance"):
        assert getattr(played.later_systems, name) == getattr(played.systems, name)
    assert {run["id"]: run["version"] for run in played.later_systems.runs} == {
        run["id"]: run["version"] for run in played.systems.runs
    }
    assert played.later_systems.tickets.keys() == played.systems.tickets.keys()


async def test_every_invariant_holds_after_the_story(played: Played, tmp_path: Path) -> None:
    for part in (played.work / ".counterfoil" / "demo").glob("store.sqlite*"):
        shutil.copy(part, tmp_path / part.name)
    model, _ = read(Path(__file__).parents[2] / "examples" / "acme")
    final = [name for name, operation in model.operations.items() if operation.irreversible]
    store = await SqliteStore.open(tmp_path / "store.sqlite")
    try:
        assert (await store.dump()).runs
        assert await check.check(store, await store.now(), final) == []
    finally:
        await store.close()


def test_ctrl_c_ends_every_child(played: Played) -> None:
    assert played.codes == [0, 0]
    assert played.left == set()


def test_children_end_when_the_starter_is_killed(played: Played) -> None:
    assert played.left_by_killed == set()


def test_secrets_are_readable_by_their_owner_alone(played: Played) -> None:
    home = played.work / ".counterfoil"
    assert stat.S_IMODE(home.stat().st_mode) == stat.S_IMODE((home / "demo").stat().st_mode) == 0o700
    for secret in (
        "token",
        "demo/secrets.json",
        "demo/persons.json",
        "demo/people.json",
        "demo/desk/seed.json",
    ):
        assert stat.S_IMODE((home / secret).stat().st_mode) == 0o600


def test_a_port_in_use_is_reported_before_a_child_starts(tmp_path: Path) -> None:
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        port = occupied.getsockname()[1]
        command = [sys.executable, "-m", "counterfoil.cli.main", "demo", "--port", str(port)]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert f"port {port} on 127.0.0.1 is taken" in ended.stdout
    assert not (tmp_path / ".counterfoil" / "demo" / "erp").exists()
