"""The deadline of a workflow: one Case for a Run that is late, counted while we owe an action."""

from __future__ import annotations

from datetime import timedelta

import pytest

from counterfoil.connectors.sdk import Rejected
from counterfoil.core.case import Choice
from counterfoil.core.errors import ErrorClass
from counterfoil.core.run import RunStatus
from tests.unit.rules.company import ask, company, usd
from tests.unit.rules.driver import MONDAY

NO = Rejected(ErrorClass.REFUSED, "no")
MEMO = "{id: memo, call: bills.memo.issue, with: {id: =event.data.id, amount: =event.data.amount}}"
APPROVE = "{approve: review, amount: event.data.amount, covers: [event.data.amount]}"
POST = "{id: post, call: ledger.post, with: {id: =event.data.id}}"


async def test_a_run_that_is_late_has_one_case_and_goes_on() -> None:
    play = company(f"deadline: 1d\nsteps: [{APPROVE}, {MEMO}]")
    await play.person("lee", "lead")
    await ask(play, amount=usd(500))
    await play.advance(hours=23)
    assert not play.cases()
    await play.advance(hours=2)
    case = play.case("deadline")
    assert (case.owner, case.run) == ("finance", play.run().id)
    assert case.created_at == MONDAY + timedelta(days=1)
    assert case.choices == (Choice.CONTINUE, Choice.UNDO, Choice.CLOSE)
    assert play.run().status is RunStatus.WAITING
    await play.advance(hours=10)
    assert len(play.cases()) == 1
    await play.vote(play.approval(), "lee")
    assert play.run().status is RunStatus.DONE
    assert len(play.bodies("bills.memo.issue")) == 1


async def test_a_run_that_is_through_in_time_has_none() -> None:
    play = company(f"deadline: 1d\nsteps: [{MEMO}]")
    await ask(play)
    assert play.run().status is RunStatus.DONE
    await play.advance(days=2)
    assert not play.cases()


async def test_time_in_which_others_are_waited_for_does_not_count() -> None:
    play = company(
        f"deadline: 1d\nsteps: [{APPROVE}, {{wait: {{event: paid.v1, until: +9d}}}}, {APPROVE}, {MEMO}]"
    )
    await play.person("lee", "lead")
    await ask(play, amount=usd(500))
    await play.advance(hours=20)
    await play.vote(play.approval(), "lee")
    await play.advance(days=5)
    assert not play.cases()
    await play.event("paid.v1", id="a1")
    await play.advance(hours=3)
    assert not play.cases()
    await play.advance(hours=2)
    assert play.case("deadline")


async def test_a_run_that_a_date_begins_counts_from_its_date() -> None:
    play = company(
        f"deadline: 1d\nsteps: [{APPROVE.replace('event.data.amount', 'object.open')}]",
        head="start: {due: {object: invoice, at: object.due_on}, key: object.id}",
    )
    await play.head("invoice", "i1", status="open", open=usd(500), due_on=(MONDAY + timedelta(days=9)).date())
    await play.advance(days=9)
    assert not play.cases("deadline")
    await play.advance(days=1)
    assert play.case("deadline")


@pytest.mark.parametrize(
    ("choice", "status"),
    [(Choice.CONTINUE, None), (Choice.UNDO, RunStatus.UNDONE), (Choice.CLOSE, RunStatus.CLOSED)],
)
async def test_a_person_decides_what_a_late_run_does(choice: Choice, status: RunStatus | None) -> None:
    play = company(f"deadline: 1d\nsteps: [{MEMO}, {POST}]")
    play.systems["ledger"].script["ledger.post"] = [NO]
    await play.head("invoice", "a1", status="open", open=usd(50))
    await ask(play)
    assert play.case("refused")
    await play.advance(days=1.1)
    late = play.case("deadline")
    assert await play.resolve(late, choice) == "resolved"
    if status is not None:
        assert play.run().status is status
        return
    assert not play.cases("deadline")
    await play.advance(days=5)
    assert not play.cases("deadline")
    await play.resolve(play.case("refused"), Choice.RETRY)
    assert play.run().status is RunStatus.DONE


async def test_a_new_round_and_the_way_back_have_no_time_of_their_own() -> None:
    again = "{expired: {again: {from: start, at_most: 5}}}"
    play = company(f"deadline: 3d\nsteps: [{MEMO}, {APPROVE[:-1]}, outcomes: {again}}}]")
    await ask(play, amount=usd(500))
    await play.advance(days=2.5)
    assert play.state().round == 1
    assert not play.cases()
    await play.advance(days=1)
    case = play.case("deadline")
    play.systems["bills"].script["bills.memo.debit"] = [NO]
    await play.resolve(case, Choice.UNDO)
    await play.advance(days=9)
    assert not play.cases("deadline")
