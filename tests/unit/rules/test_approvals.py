"""Checks and approvals: matrices, limits, once-only rules, and what becomes of an approval that falls."""

from __future__ import annotations

import pytest

from counterfoil.connectors.sdk import Rejected
from counterfoil.core.approval import ApprovalState
from counterfoil.core.case import Choice
from counterfoil.core.errors import ErrorClass
from counterfoil.core.money import Money
from counterfoil.core.run import RunStatus
from tests.unit.rules.company import ask, company, usd
from tests.unit.rules.driver import Play

MEMO = "{id: memo, call: bills.memo.issue, with: {id: =event.data.id, amount: =event.data.amount}}"


def approving(
    outcomes: str = "{}", reserve: str = "", covers: str = "event.data.amount", more: str = ""
) -> Play:
    limit = f"reserve: {reserve}" if reserve else ""
    return company(
        f"""
{more}
steps:
  - id: ok
    approve: review
    amount: event.data.amount
    {limit}
    covers: [{covers}]
    outcomes: {outcomes}
    becomes: approved
  - {MEMO}
"""
    )


# ------------------------------------------------------------------ checks


@pytest.mark.parametrize(
    ("reaction", "status", "state"),
    [
        ("{stop: refused}", RunStatus.DONE, "refused"),
        ("[{emit: told.v1, data: {id: =event.data.id}}, {stop: told}]", RunStatus.DONE, "told"),
        ("[{emit: told.v1, data: {id: =event.data.id}}]", RunStatus.DONE, "started"),
        ("undo", RunStatus.UNDONE, "undone"),
        ("continue", RunStatus.DONE, "started"),
    ],
)
async def test_a_failed_check_leads_to_its_reaction(reaction: str, status: RunStatus, state: str) -> None:
    play = company(f"steps: [{{check: 'false', outcomes: {{failed: {reaction}}}}}]")
    await ask(play)
    assert (play.run().status, play.run().state) == (status, state)
    assert len(play.emitted("told.v1")) == ("emit" in reaction)


async def test_a_failed_check_parks_by_default() -> None:
    play = company("steps: [{check: 'false', becomes: checked}]")
    await ask(play)
    case = play.case("failed")
    assert (case.owner, case.choices) == (
        "finance",
        (Choice.RETRY, Choice.CONTINUE, Choice.UNDO, Choice.CLOSE),
    )
    await play.resolve(case, Choice.CONTINUE)
    assert play.run().state == "checked"


async def test_what_may_be_done_once_fails_for_the_second_run() -> None:
    play = company(
        f"steps: [{{check: 'true', once: event.data.incident, outcomes: {{failed: {{stop: twice}}}}}}, {MEMO}]"
    )
    await ask(play, "a1")
    await ask(play, "a2")
    await ask(play, "a3", incident="x2")
    assert [r.state for r in play.runs()] == ["started", "twice", "started"]


async def test_a_run_that_stops_having_done_nothing_does_not_count_as_once() -> None:
    play = company(
        "steps: [{check: 'true', once: event.data.incident, outcomes: {failed: {stop: twice}}},"
        " {check: event.data.amount.minor > 100, outcomes: {failed: {stop: small}}}]"
    )
    await ask(play, "a1", amount=usd(1))
    await ask(play, "a2")
    assert [r.state for r in play.runs()] == ["small", "started"]


async def test_what_the_reaction_itself_does_is_not_what_the_limit_was_for() -> None:
    play = approving(
        "{rejected: [{call: ledger.tell, with: {id: =event.data.id}}, {stop: rejected}]}", reserve="cap"
    )
    await play.person("lee", "lead")
    await ask(play, amount=usd(900))
    await play.vote(play.approval(), "lee", approve=False)
    assert play.run().state == "rejected"
    assert play.used("cap") == 0


async def test_an_unset_once_key_is_a_case_and_not_everybodys_key() -> None:
    play = company("steps: [{check: 'true', once: event.data.incident}]")
    await ask(play, incident=None)
    assert "no key" in play.case("invalid").message


# ------------------------------------------------------------------ approvals


async def test_a_small_amount_is_granted_by_the_matrix() -> None:
    play = approving()
    await ask(play, amount=usd(100))
    (granted,) = play.approvals(ApprovalState.GRANTED)
    assert granted.automatic
    assert play.effects("bills.memo.issue")[0].approvals == (granted.id,)
    assert play.run().state == "approved"


async def test_a_person_of_the_tier_grants_and_never_the_requester() -> None:
    play = approving()
    await play.person("ann", "agent", "lead")
    await play.person("lee", "lead")
    await ask(play, amount=usd(500), by="ann")
    approval = play.approval()
    assert (approval.requester, approval.roles) == ("ann", ("lead",))
    assert await play.vote(approval, "ann") == "requester"
    assert not play.bodies("bills.memo.issue")
    assert await play.vote(approval, "lee") == "granted"
    assert play.run().status is RunStatus.DONE


async def test_a_quorum_of_two_takes_two() -> None:
    play = approving()
    for person in ("fay", "fox"):
        await play.person(person, "finance")
    await ask(play, amount=usd(4000))
    assert await play.vote(play.approval(), "fay") == "counted"
    assert await play.vote(play.approval(), "fox") == "granted"
    assert play.run().status is RunStatus.DONE


async def test_a_rejection_leads_to_its_reaction() -> None:
    play = approving("{rejected: {stop: rejected}}")
    await play.person("lee", "lead")
    await ask(play, amount=usd(500))
    await play.vote(play.approval(), "lee", approve=False)
    assert play.run().state == "rejected"


async def test_an_approval_that_nobody_decides_expires_and_a_retry_asks_anew() -> None:
    play = approving()
    await play.person("lee", "lead")
    await ask(play, amount=usd(500))
    first = play.approval()
    await play.advance(days=2.1)
    assert play.store.tables.approvals[first.id].state is ApprovalState.EXPIRED
    case = play.case("expired")
    assert Choice.CONTINUE not in case.choices
    await play.resolve(case, Choice.RETRY)
    assert play.approval().id != first.id
    assert await play.vote(play.approval(), "lee") == "granted"
    assert play.run().status is RunStatus.DONE


async def test_above_every_tier_is_rejected() -> None:
    play = approving("{rejected: {stop: rejected}}")
    await ask(play, amount=usd(5001))
    assert play.run().state == "rejected"


async def test_another_currency_is_measured_by_the_table_of_rates() -> None:
    play = approving()
    await ask(play, amount=Money.from_major(67, "EUR"))
    assert play.approval().roles == ("lead",)
    await ask(play, "a2", amount=Money.from_major(66, "EUR"))
    assert len(play.approvals()) == 1


async def test_a_rate_that_is_not_on_file_is_a_case_that_cannot_be_waved_through() -> None:
    play = approving()
    await ask(play, amount=Money.from_major(1, "GBP"))
    case = play.case("invalid")
    assert "GBP to USD" in case.message
    assert case.choices == (Choice.RETRY, Choice.UNDO, Choice.CLOSE)


async def test_amounts_of_one_limit_add_up_to_a_higher_tier() -> None:
    play = approving(reserve="sum")
    await ask(play, "a1", amount=usd(80))
    await ask(play, "a2", amount=usd(80))
    assert [a.roles for a in play.approvals()] == [("lead",)]
    await ask(play, "a3", amount=usd(80), by="bob")
    assert len(play.approvals()) == 1


async def test_a_limit_that_is_used_up_refuses_and_what_is_rejected_frees_it() -> None:
    play = approving("{rejected: {stop: rejected}}", reserve="cap")
    await play.person("lee", "lead")
    await ask(play, "a1", amount=usd(900))
    await ask(play, "a2", amount=usd(700))
    assert [r.state for r in play.runs()] == ["started", "rejected"]
    assert play.used("cap") == 90_000
    await play.vote(play.approval(), "lee", approve=False)
    assert play.used("cap") == 0
    await ask(play, "a3", amount=usd(700))
    assert len(play.approvals()) == 1


async def test_a_cap_counts_in_its_own_currency() -> None:
    play = approving("{rejected: {stop: rejected}}", reserve="cap")
    await ask(play, amount=Money.from_major(60, "EUR"))
    assert play.used("cap") == 9_000


async def test_undo_gives_back_what_was_reserved() -> None:
    play = approving(reserve="cap")
    play.systems["bills"].script["bills.memo.issue"] = [Rejected(ErrorClass.REFUSED, "no")]
    await ask(play)
    assert play.used("cap") == 5_000
    await play.resolve(play.case("refused"), Choice.UNDO)
    assert play.used("cap") == 0


# ------------------------------------------------------------------ approvals that fall

FACTS = "facts: {inv: {head: invoice, of: event.data.invoice_id, recheck: each_effect}}"


async def _changed_while_asked(play: Play) -> None:
    await play.person("lee", "lead")
    await play.head("invoice", "i1", status="open", open=usd(10))
    await ask(play, amount=usd(500))
    approval = play.approval()
    await play.head("invoice", "i1", status="open", open=usd(20))
    assert await play.vote(approval, "lee") == "granted"


async def test_a_changed_fact_makes_the_approval_stale_and_it_is_asked_again() -> None:
    play = approving(
        "{stale: {again: {from: start, at_most: 1}}}", covers="inv.open", more=FACTS, reserve="cap"
    )
    await _changed_while_asked(play)
    assert not play.bodies("bills.memo.issue")
    assert len(play.approvals(ApprovalState.STALE)) == 1
    assert play.used("cap") == 50_000
    await play.vote(play.approval(), "lee")
    assert play.run().status is RunStatus.DONE
    (effect,) = play.effects("bills.memo.issue")
    assert [play.store.tables.approvals[a].state for a in effect.approvals] == [ApprovalState.GRANTED]


async def test_an_open_approval_falls_when_the_run_hears_of_other_figures() -> None:
    play = approving("{stale: {again: {from: start, at_most: 1}}}", covers="inv.open", more=FACTS)
    await play.head("invoice", "i1", status="open", open=usd(10))
    await ask(play, amount=usd(500))
    approval = play.approval()
    await play.head("invoice", "i1", status="open", open=usd(20))
    await ask(play, amount=usd(500), note="said again")
    assert play.store.tables.approvals[approval.id].state is ApprovalState.STALE
    assert play.approval().id != approval.id


async def test_again_is_counted_and_bounded() -> None:
    play = approving("{stale: {again: {from: start, at_most: 1}}}", covers="inv.open", more=FACTS)
    await _changed_while_asked(play)
    approval = play.approval()
    await play.head("invoice", "i1", status="open", open=usd(30))
    await play.vote(approval, "lee")
    assert "1 times" in play.case("stale").message


async def test_a_stale_approval_that_is_parked_is_never_sent_on_without_a_new_one() -> None:
    play = approving(covers="inv.open", more=FACTS)
    await _changed_while_asked(play)
    await play.resolve(play.case("stale"), Choice.RETRY)
    assert not play.bodies("bills.memo.issue")
    await play.vote(play.approval(), "lee")
    (effect,) = play.effects("bills.memo.issue")
    assert [play.store.tables.approvals[a].state for a in effect.approvals] == [ApprovalState.GRANTED]
    assert play.run().status is RunStatus.DONE


async def test_an_approver_who_left_before_the_call_is_found_at_the_intent() -> None:
    play = approving("{stale: {again: {from: ok, at_most: 2}}}")
    for person in ("lee", "lou"):
        await play.person(person, "lead")
    await ask(play, amount=usd(500))
    play.sending = False
    await play.vote(play.approval(), "lee")
    await play.person("lee", "lead", active=False)
    play.sending = True
    await play.settle()
    assert not play.bodies("bills.memo.issue")
    await play.vote(play.approval(), "lou")
    assert len(play.bodies("bills.memo.issue")) == 1
    assert play.run().status is RunStatus.DONE


async def test_nobody_passes_over_a_call_whose_approval_fell() -> None:
    """Later calls need the same approval, and would be sent without any."""
    play = company(
        f"""
steps:
  - {{id: ok, approve: review, amount: event.data.amount, covers: [event.data.amount]}}
  - {MEMO}
  - {{call: ledger.post, with: {{id: =event.data.id, amount: =event.data.amount}}}}
"""
    )
    await play.person("lee", "lead")
    await play.person("lou", "lead")
    await ask(play, amount=usd(500))
    play.sending = False
    await play.vote(play.approval(), "lee")
    await play.person("lee", "lead", active=False)
    play.sending = True
    await play.settle()
    case = play.case("stale")
    assert Choice.CONTINUE not in case.choices
    assert await play.resolve(case, Choice.CONTINUE) == "choice"
    assert not play.bodies("ledger.post")
    await play.resolve(case, Choice.RETRY)
    await play.vote(play.approval(), "lou")
    assert len(play.bodies("bills.memo.issue")) == len(play.bodies("ledger.post")) == 1


OK = "approve: review, amount: event.data.amount, covers: [event.data.amount]"
FIRST = "when: 'event.data.items[0] == 1'"
"""No list has a first item here: the formula fails."""


@pytest.mark.parametrize(
    ("step", "passable"),
    [
        (f"{OK}, outcomes: {{rejected: [{{choose: [{{{FIRST}, then: [{{stop: no}}]}}], otherwise: [undo]}}]}}", False),
        (f"{OK}, outcomes: {{rejected: [{{choose: [{{{FIRST}, then: [{{stop: no}}]}}]}}, {{stop: no}}]}}", True),
        (f"choose: [{{{FIRST}, then: [{{{OK}}}]}}]", False),
        (f"{FIRST.replace('when', 'check')}, outcomes: {{failed: [{{{OK}}}]}}", False),
    ],
    ids=["a refusal goes on", "a refusal ends the run", "a choice to approve", "a check to approve"],
)  # fmt: skip
async def test_no_case_passes_over_an_approval(step: str, passable: bool) -> None:
    """Behind what follows a refusal, and behind a choice whether to ask at all, guarded calls would go out."""
    play = company(f"steps:\n  - {{{step}}}\n  - {MEMO}")
    await play.person("lee", "lead")
    await ask(play, amount=usd(500), items=[])
    for approval in play.approvals():
        await play.vote(approval, "lee", approve=False)
    case = play.case("invalid")
    assert (Choice.CONTINUE in case.choices) == passable
    await play.resolve(case, Choice.CONTINUE)
    assert not play.bodies("bills.memo.issue")


async def test_what_became_of_a_call_beside_a_refusal_is_still_told() -> None:
    play = company(
        f"""
steps:
  - id: ok
    approve: review
    amount: event.data.amount
    covers: [event.data.amount]
    outcomes:
      rejected: [{{call: ledger.tell, with: {{id: =event.data.id}}}}, {{choose: [{{when: 'false', then: [{{stop: never}}]}}], otherwise: [{{stop: no}}]}}]
  - {MEMO}
"""
    )
    play.systems["ledger"].script["ledger.tell"] = ["lost"]
    await play.person("lee", "lead")
    await ask(play, amount=usd(500))
    await play.vote(play.approval(), "lee", approve=False)
    await play.resolve(play.case("unknown"), Choice.CONTINUE)
    assert (play.run().status, play.run().state) == (RunStatus.DONE, "no")


async def test_an_approval_inside_a_list_guards_its_own_item_only() -> None:
    play = company(
        """
steps:
  - each: event.data.items
    as: n
    do:
      - {approve: review, amount: "money(n, 'USD')", covers: [n]}
      - {call: bills.memo.issue, with: {id: =event.data.id + string(n), amount: "=money(n, 'USD')"}}
"""
    )
    await ask(play, items=[10, 20])
    assert [len(e.approvals) for e in play.effects()] == [1, 1]
    assert play.effects()[0].approvals != play.effects()[1].approvals


async def test_an_ended_run_asks_for_nothing_any_more() -> None:
    play = company(
        """
signals: [{event: stopped.v1, where: event.data.id == start.data.id, do: [{stop: stopped}]}]
steps: [{approve: review, amount: event.data.amount, covers: [event.data.amount]}]
"""
    )
    await ask(play, amount=usd(500))
    await play.event("stopped.v1", id="other")
    assert play.approvals()
    await play.event("stopped.v1", id="a1")
    assert play.run().state == "stopped"
    assert [a.state for a in play.store.tables.approvals.values()] == [ApprovalState.VOID]
