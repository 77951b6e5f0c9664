"""A Run follows the policies and tables of its legal entity: late-bound ones as they are, pinned ones as they were."""

from __future__ import annotations

from datetime import date

import pytest

from counterfoil.core.approval import ApprovalState
from counterfoil.core.money import Money
from counterfoil.core.run import RunStatus
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model
from counterfoil.rules.workflow.context import DecisionContext
from counterfoil.rules.workflow.state import load
from tests.unit.rules.company import BASE, ask, company, period, usd
from tests.unit.rules.driver import Play, model_of

APPROVED = """
steps:
  - approve: review
    amount: event.data.amount
    covers: [event.data.amount]
    becomes: approved
"""
GERMANY = """\
kind: overlay
name: germany
of: {legal_entity: de}
changes:
  - kind: policy
    name: review
    set: {approval: {matrix: [{up_to: 10, automatic: true}, {roles: [finance]}]}}
  - {kind: policy, name: cap, set: {limit: {at_most: 100}}}
  - {kind: policy, name: hold, set: {posting_date: {rule: first_open}}}
  - {kind: table, name: accounts, set: {rows: [{what: sale, account: 8400}]}}
"""
ACCOUNTS = "{kind: table, name: accounts, owner: finance, key: [what], value: account, rows: [{what: sale, account: 4000}]}"


def approving(*more: str) -> Play:
    return company(APPROVED, ACCOUNTS, *more)


def asked_roles(play: Play) -> dict[str, tuple[str, ...]]:
    keys = {run.id: run.bkey for run in play.runs()}
    return {keys[a.run]: a.roles for state in ApprovalState for a in play.approvals(state)}


async def test_each_run_is_approved_by_the_matrix_of_its_legal_entity() -> None:
    play = approving(GERMANY)
    await ask(play, "a1", amount=usd(50), legal_entity="de")
    await ask(play, "a2", amount=usd(50), legal_entity="us")
    await ask(play, "a3", amount=usd(50))
    assert asked_roles(play) == {"a1": ("finance",), "a2": (), "a3": ()}
    assert [run.state for run in play.runs()] == ["started", "approved", "approved"]


async def test_a_run_is_approved_by_the_matrix_of_its_place_that_is_in_force_and_not_the_one_it_began_with() -> (
    None
):
    waits = "{wait: {event: opened.v1, where: event.data.id == start.data.id, until: +2d}}"
    flow = APPROVED.replace("steps:\n", f"steps:\n  - {waits}\n")
    play = company(flow, ACCOUNTS)
    await ask(play, "a1", amount=usd(50), legal_entity="de")
    head = "kind: workflow\nname: flow\nowner: finance\nfailure: careful\nstart: {event: asked.v1, key: event.data.id}\n"
    play.releases.present = model_of(BASE, ACCOUNTS, GERMANY, head + flow)
    await play.event("opened.v1", id="a1")
    assert asked_roles(play) == {"a1": ("finance",)}


async def test_a_limit_is_that_of_the_place() -> None:
    play = company(
        """
steps:
  - approve: review
    amount: event.data.amount
    reserve: cap
    covers: [event.data.amount]
""",
        ACCOUNTS,
        GERMANY.replace("up_to: 10,", "up_to: 9000,"),
    )
    await ask(play, "a1", amount=usd(90), legal_entity="de")
    await ask(play, "a2", amount=usd(90), legal_entity="de")
    await ask(play, "a3", amount=usd(90), by="bob")
    assert [run.status for run in play.runs()] == [RunStatus.DONE, RunStatus.WAITING, RunStatus.DONE]


async def test_the_posting_date_follows_the_policy_of_the_place() -> None:
    play = company(
        "steps: [{call: ledger.post, with: {id: =event.data.id}, dates: {document: =event.data.day, posting: hold}}]",
        ACCOUNTS,
        GERMANY,
    )
    await period(play, "2026-02", "2026-02-01", "2026-02-28", "closed")
    await period(play, "2026-03", "2026-03-01", "2026-03-31", "open")
    day = date(2026, 2, 10)
    await ask(play, "a1", day=day, legal_entity="de")
    await ask(play, "a2", day=day)
    assert [body["id"] for body in play.bodies("ledger.post")] == ["a1"]


async def test_a_table_is_that_of_the_place() -> None:
    play = company(
        "steps: [{call: ledger.post, with: {id: \"=string(table('accounts', 'sale'))\"}}]", ACCOUNTS, GERMANY
    )
    await ask(play, "a1", legal_entity="de")
    await ask(play, "a2")
    assert sorted(body["id"] for body in play.bodies("ledger.post")) == ["4000", "8400"]


async def test_a_run_keeps_its_place_from_turn_to_turn() -> None:
    play = approving(GERMANY)
    await ask(play, "a1", amount=usd(50), legal_entity="de")
    await play.advance(hours=1)
    await play.person("lee", "lead")
    await play.person("fay", "finance")
    assert await play.vote(play.approval(), "lee") != "granted"
    assert await play.vote(play.approval(), "fay") == "granted"
    assert play.run().state == "approved"


TWO_COMPANIES = """\
{kind: legal_entity, name: us, title: Small Inc., country: US, currency: USD, zone: America/New_York, default: true}
---
{kind: legal_entity, name: de, title: Small GmbH, country: DE, currency: EUR, zone: Europe/Berlin}
---
kind: overlay
name: germany
of: {legal_entity: de}
changes:
  - {kind: policy, name: cap, loosens: the same sum in euro, set: {limit: {currency: EUR}}}
"""
ONCE = """
steps:
  - {check: 'true', once: event.data.incident, outcomes: {failed: {stop: twice}}}
  - {wait: {event: opened.v1, where: event.data.id == start.data.id, until: +2d}}
  - {check: 'false', outcomes: {failed: {stop: unused}}}
"""


async def test_what_one_company_did_once_another_may_still_do() -> None:
    play = company(ONCE, TWO_COMPANIES)
    for id_, entity in (("a1", "us"), ("a2", "de"), ("a3", "de"), ("a4", "us"), ("a5", "")):
        await ask(play, id_, legal_entity=entity)
    assert [run.state for run in play.runs()] == ["started", "started", "twice", "twice", "twice"]
    scope = "once:flow:check0"
    assert play.store.tables.guards == {(scope, "x1"): (1, 1), (scope, "de/x1"): (1, 1)}


async def test_a_reservation_of_a_former_version_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Former versions wrote one row for all companies. The Run remembers the path, and the store the row."""
    play = company(ONCE, TWO_COMPANIES)
    with monkeypatch.context() as former:
        former.setattr(DecisionContext, "own_guard_key", lambda _, key: key)
        await ask(play, "a1", legal_entity="de")
    await play.event("opened.v1", id="a1")
    assert play.run().state == "unused"
    assert play.store.tables.guards == {("once:flow:check0", "x1"): (0, 1)}


async def test_a_limit_counts_no_amount_of_another_company() -> None:
    """The limit of 1,500 is one of dollars in one company and of euro in the other."""
    play = company(
        """
steps:
  - approve: review
    amount: event.data.amount
    reserve: cap
    covers: [event.data.amount]
    outcomes: {rejected: {stop: over}}
""",
        TWO_COMPANIES,
    )
    for id_, entity, code in (("a1", "us", "USD"), ("a2", "de", "EUR"), ("a3", "us", "USD")):
        await ask(play, id_, amount=Money.from_major(800, code), legal_entity=entity)
    states = {run.bkey: (run.status, run.state) for run in play.runs()}
    assert states == {
        "a1": (RunStatus.WAITING, "started"), "a2": (RunStatus.WAITING, "started"), "a3": (RunStatus.DONE, "over"),
    }  # fmt: skip
    assert play.store.tables.guards == {
        ("cap", "ann"): (80_000, 150_000),
        ("cap", "de/ann"): (80_000, 150_000),
    }


MEASURED = """
steps:
  - {id: sent, call: ledger.measure, with: {id: =event.data.id}}
  - {wait: {event: opened.v1, where: event.data.id == start.data.id, until: +2d}}
"""
MEASURE = """\
kind: operation
name: ledger.measure
system: ledger
input: {id: id}
output: {account: int}
repeat: find
horizon: 60s
irreversible: kept
---
kind: mapping
name: ledger-measure
to: {operation: ledger.measure}
with: {name: =input.id}
returns: {result: {account: "=table('accounts', 'sale')"}}
"""


async def test_the_result_of_a_first_call_is_read_by_the_tables_of_the_place() -> None:
    play = company(MEASURED, ACCOUNTS, GERMANY, MEASURE)
    worker = Worker(play.store, play.releases, play.systems, "w/1")
    await play.event("asked.v1", id="a1", legal_entity="de", settle=False)
    await worker.beat_once()
    await worker.admit_once()
    await worker.wait_for_work()
    assert [load(run.ctx).names["sent"] for run in play.runs()] == [{"account": 8400}]


def test_a_place_is_expanded_once() -> None:
    model = model_of(BASE, ACCOUNTS, GERMANY)
    day = date(2026, 6, 1)
    assert model.at("de", day) is model.at("de", day)
    assert isinstance(model.at("de", day), Model)
