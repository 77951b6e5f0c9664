"""The demonstration from outside: what the story says must stand in billing, in the ERP and in the help desk."""

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
from tests.scenario.demo_run import DemoRun, Seen, alive, prepared

pytestmark = [pytest.mark.xdist_group("demo-story"), pytest.mark.timeout(900)]


@dataclass
class Played:
    """Three starts in one folder: the first ended by Ctrl-C in the middle of the story, the second by Ctrl-C after
    it, the third killed."""

    work: Path
    told: str
    seen: Seen
    codes: list[int]
    left: set[int]
    told_again: str
    seen_again: Seen
    left_by_killed: set[int]


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    work = prepared(tmp_path_factory.mktemp("demo"))
    port = _free_port()
    broken_off = DemoRun(work, port)
    try:
        broken_off.until_told("asked of support-lead")
        family = broken_off.family()
        code = broken_off.end(signal.SIGINT)
    finally:
        broken_off.end(signal.SIGTERM)
    left = alive(family)
    first = DemoRun(work, port)
    try:
        first.until_told()
        seen, family = first.see(), first.family()
        codes = [code, first.end(signal.SIGINT)]
    finally:
        first.end(signal.SIGTERM)
    left |= alive(family)
    second = DemoRun(work, port)
    try:
        second.until_told()
        seen_again, family = second.see(), second.family()
        second.end(signal.SIGKILL)
        deadline = time.monotonic() + 20
        while alive(family) and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        second.end(signal.SIGTERM)
    return Played(
        work, broken_off.told + first.told, seen, codes, left, second.told, seen_again, alive(family)
    )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def granted(seen: Seen, credit: Credit) -> None:
    """One credit note and one credit memo over the amount, applied, told, its counterfoil matched."""
    ticket = seen.ticket(credit.name)
    trace = seen.credit(ticket)
    key = trace["run"]["key"]
    assert (trace["run"]["status"], trace["run"]["state"]) == ("done", "reconciled")
    (note,), (memo,) = seen.notes(key), seen.memos(key)
    assert (note["status"], money(note["total"])) == ("issued", Decimal(credit.amount))
    assert (memo["state"], memo["total_amount"]) == ("paid", -Decimal(credit.amount))
    assert (ticket["status"], ticket["erp_document"]) == ("credit-posted", memo["number"])
    assert (seen.foil(key)["state"], seen.foil(key)["legs"]["gross"]["amount"]) == ("matched", credit.amount)


def test_every_act_is_told_and_nothing_went_wrong(played: Played) -> None:
    assert "✗" not in played.told
    for act in ACTS:
        assert act.title in played.told
        for step in act.steps:
            assert step.text in played.told


def test_every_invoice_of_billing_is_posted_in_the_erp_to_the_cent(played: Played) -> None:
    posted = {d["reference"]: d for d in played.seen.documents if d["total_amount"] > 0}
    asserted = {
        t["run"]["key"]: t["start"]["data"] for t in played.seen.traces.values()
        if t["run"]["workflow"] == "invoice-to-erp"
    }  # fmt: skip
    totals = {i["number"]: money(i["total"]) for i in played.seen.invoices}
    assert sorted(totals.values()) == [Decimal(t) for t in ("811.88", "1082.50", "3247.50", "4330.00")]
    assert {data["number"] for data in asserted.values()} == set(totals)
    assert posted.keys() == asserted.keys()
    for key, data in asserted.items():
        assert posted[key]["total_amount"] == totals[data["number"]]
        assert played.seen.foil(key)["state"] == "matched"


def test_a_payment_in_billing_is_known(played: Played) -> None:
    (paid,) = [i for i in played.seen.invoices if i["status"] == "paid"]
    (payment,) = played.seen.payments
    assert Decimal(payment["data"]["amount"]["amount"]) == money(paid["amount_paid"]) == Decimal("811.88")


def test_a_small_credit_is_granted_without_a_person(played: Played) -> None:
    granted(played.seen, SMALL)
    (approval,) = played.seen.credit(played.seen.ticket(SMALL.name))["approvals"]
    assert (approval["automatic"], approval["votes"]) == (True, [])


def test_a_larger_credit_is_granted_by_the_lead_and_not_by_who_asked(played: Played) -> None:
    granted(played.seen, MEDIUM)
    (approval,) = played.seen.credit(played.seen.ticket(MEDIUM.name))["approvals"]
    assert (approval["requester"], approval["roles"]) == ("agent", ["support-lead"])
    assert [(vote["person"], vote["approve"]) for vote in approval["votes"]] == [("lead", True)]
    assert "The agent tries to approve the own request: refused, 403" in played.told


def test_a_refused_credit_reaches_neither_billing_nor_the_erp(played: Played) -> None:
    ticket = played.seen.ticket(LARGE.name)
    trace = played.seen.credit(ticket)
    assert ticket["status"] == "credit-rejected"
    assert trace["run"]["state"] == "rejected"
    assert [(v["person"], v["approve"]) for v in trace["approvals"][0]["votes"]] == [("fiona", False)]
    assert played.seen.notes(trace["run"]["key"]) == played.seen.memos(trace["run"]["key"]) == []


def test_a_refused_credit_does_not_count_for_the_customers_quarter(played: Played) -> None:
    (approval,) = played.seen.credit(played.seen.ticket(LOST.name))["approvals"]
    assert LARGE.customer == LOST.customer
    assert approval["automatic"]


def test_a_credit_in_a_closed_period_is_posted_after_it_was_reopened(played: Played) -> None:
    granted(played.seen, LATE)
    trace = played.seen.credit(played.seen.ticket(LATE.name))
    at = {moment["title"]: moment["at"] for moment in trace["timeline"]}
    assert (
        at["billing.credit_memo.issue confirmed"]
        < at["period.opened.v1"]
        < at["erp.credit_memo.post confirmed"]
    )


def test_a_lost_answer_is_found_by_look_up_and_nothing_is_posted_twice(played: Played) -> None:
    granted(played.seen, LOST)
    trace = played.seen.credit(played.seen.ticket(LOST.name))
    (post,) = [e for e in trace["effects"] if e["operation"] == "erp.credit_memo.post"]
    assert (post["state"], post["attempt"]) == ("confirmed", 1)
    states = [moment["state"] for moment in trace["timeline"] if moment["ref"] == post["id"]]
    assert states[-3:] == ["sending", "unknown", "confirmed"]
    assert "outcome unknown, found by look-up" in played.told


def test_a_permanent_refusal_is_taken_back_in_billing(played: Played) -> None:
    trace = played.seen.credit(played.seen.ticket(LEGACY.name))
    key = trace["run"]["key"]
    assert (trace["run"]["status"], trace["run"]["direction"]) == ("undone", "undo")
    assert [note["status"] for note in played.seen.notes(key)] == ["void"]
    assert played.seen.memos(key) == []
    assert played.seen.foil(key)["state"] == "reversed"
    (case,) = played.seen.cases
    assert (case["run"], case["owner"], case["choice"], case["resolved_by"]) == (
        trace["run"]["id"], "finance-operations", "undo", "fiona",
    )  # fmt: skip


def test_both_sides_of_the_books_agree(played: Played) -> None:
    seen = played.seen
    assert sum(seen.balance.values()) == 0
    open_amount = sum(money(i["amount_remaining"]) for i in seen.invoices if i["status"] == "open")
    assert seen.balance["1200"] - open_amount == Decimal("811.88")
    assert {foil["state"] for foil in seen.foils} == {"matched", "reversed"}


def test_the_closing_tables_name_every_run_in_every_system(played: Played) -> None:
    table = played.told[played.told.index("\nRuns") : played.told.index("\nEffects")]
    for run in played.seen.runs:
        assert run["id"] in table
    for thing in (*played.seen.invoices, *played.seen.credit_notes):
        assert thing["id"] in table
        assert thing["number"] in table
    for document in played.seen.documents:
        assert document["number"] in table
    for ticket in played.seen.tickets.values():
        assert f"ticket {ticket['id']}" in table


def test_a_story_that_was_broken_off_goes_on_where_it_was(played: Played) -> None:
    assert played.told.count("✓ The agent asks: ticket") == 4
    assert played.told.count("✓ They subscribe") == 1
    assert len(played.seen.tickets) == len([SMALL, MEDIUM, LARGE, LATE, LOST, LEGACY])


def test_a_later_start_plays_nothing_twice(played: Played) -> None:
    assert played.told_again.count("(played before)") == len(ACTS)
    for name in ("invoices", "credit_notes", "documents", "balance"):
        assert getattr(played.seen_again, name) == getattr(played.seen, name)
    assert {run["id"]: run["version"] for run in played.seen_again.runs} == {
        run["id"]: run["version"] for run in played.seen.runs
    }
    assert played.seen_again.tickets.keys() == played.seen.tickets.keys()


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


def test_children_end_when_their_starter_is_killed(played: Played) -> None:
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


def test_a_taken_port_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "counterfoil.cli.main", "demo", "--port", str(port)]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert f"port {port} on 127.0.0.1 is taken" in ended.stdout
    assert not (tmp_path / ".counterfoil" / "demo" / "erp").exists()
