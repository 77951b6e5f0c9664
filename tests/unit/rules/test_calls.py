"""Calls: retries, queues, unknown outcomes, generations, dates, Links and reads."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from counterfoil.connectors.sdk import Confirmed, Rejected
from counterfoil.core.case import Choice
from counterfoil.core.effect import EffectState
from counterfoil.core.errors import ErrorClass, TryAgain
from counterfoil.core.matching import FoilState
from counterfoil.core.run import RunStatus
from counterfoil.core.waiting import Obstacles, retried, waits_for
from counterfoil.flow.runs.outcomes import load_context
from counterfoil.rules.workflow.backoff import next_try
from tests.unit.rules.company import ask, company, period, usd

MEMO_ONLY = "steps: [{call: bills.memo.issue, with: {id: =event.data.id, amount: =event.data.amount}}]"


def post(more: str = "") -> str:
    """Return a workflow of one step that posts the amount; `more` adds keys to the step."""
    step = "id: post, call: ledger.post, with: {id: =event.data.id, amount: =event.data.amount}"
    return f"steps: [{{{step}{more}}}]"


POST = post()
MEMO = "steps: [{id: memo, call: bills.memo.issue, with: {id: =event.data.id, amount: =event.data.amount}}]"
BUSY = Rejected(ErrorClass.TRANSIENT, "busy")
CLOSED = Rejected(ErrorClass.PERIOD_CLOSED, "closed")
NO = Rejected(ErrorClass.REFUSED, "no")


async def test_a_confirmed_call_ends_the_run_and_opens_its_foil() -> None:
    play = company(POST)
    await ask(play)
    assert play.run().status is RunStatus.DONE
    assert [f.state for f in play.foils()] == [FoilState.OPEN]
    await play.event("posted.v1", id="a1", amount=usd(50))
    assert [f.state for f in play.foils()] == [FoilState.MATCHED]


DRAW = """\
kind: reconciliation
name: draw
object: invoice
left: bills
right: ledger
assert:
  - operation: ledger.post
    key: input.id
    legs: {gross: input.amount + input.amount}
    within: [{reconciliation: posting, key: input.id}]
observe: {event: posted.v1, key: event.data.id, legs: {gross: event.data.amount}}
"""


async def test_a_call_uses_up_the_total_of_another_match_from_its_intent_on() -> None:
    play = company(POST, DRAW)
    await ask(play)
    states = {f.rule: (f.state, f.reason.partition(":")[0]) for f in play.foils()}
    assert states == {"posting": (FoilState.BROKEN, "cap"), "draw": (FoilState.OPEN, "")}


async def test_a_transient_refusal_is_sent_again_with_the_same_bytes_and_key() -> None:
    play = company(MEMO)
    play.systems["bills"].script["bills.memo.issue"] = [BUSY, BUSY]
    await ask(play)
    await play.advance(minutes=5)
    assert play.run().status is RunStatus.DONE
    sent = [(key, body) for _, key, body in play.systems["bills"].calls]
    assert len(sent) == 3
    assert len({key for key, _ in sent}) == 1
    assert sent[0] == sent[2]


async def test_the_retry_budget_ends_in_a_case_and_a_person_may_grant_another() -> None:
    play = company(MEMO)
    play.systems["bills"].script["bills.memo.issue"] = [BUSY] * 5
    await ask(play)
    await play.advance(hours=1)
    assert len(play.bodies("bills.memo.issue")) == 4
    await play.resolve(play.case("transient"), Choice.RETRY)
    await play.advance(hours=1)
    assert len(play.bodies("bills.memo.issue")) == 6
    assert play.run().status is RunStatus.DONE


async def test_a_wait_that_the_other_system_asked_for_is_kept() -> None:
    play = company(MEMO)
    play.systems["bills"].script["bills.memo.issue"] = [
        Rejected(ErrorClass.THROTTLED, "slow down", retry_after=300.0)
    ]
    await ask(play)
    await play.advance(seconds=299)
    assert len(play.bodies("bills.memo.issue")) == 1
    await play.advance(seconds=2)
    assert len(play.bodies("bills.memo.issue")) == 2


def test_tries_are_bounded_spread_and_capped() -> None:
    from tests.unit.rules.company import BASE
    from tests.unit.rules.driver import MONDAY, model_of

    policy = model_of(BASE).workflow("partner-sync").failure.retry
    waits = [
        (at - MONDAY).total_seconds()
        for n in (1, 2, 3)
        if (at := next_try(policy, n, "seed", MONDAY)) is not None
    ]
    assert all(low <= wait <= low * 2 for low, wait in zip((5, 10, 20), waits, strict=True))
    assert next_try(policy, 4, "seed", MONDAY) is None
    assert next_try(policy, 1, "seed", MONDAY) == next_try(policy, 1, "seed", MONDAY)
    assert next_try(policy, 1, "seed", MONDAY, 90_000) == MONDAY + timedelta(seconds=90)


async def test_a_closed_period_queues_until_an_event_wakes_it() -> None:
    play = company(POST)
    play.systems["ledger"].script["ledger.post"] = [CLOSED]
    await ask(play)
    await play.advance(minutes=10)
    assert len(play.bodies("ledger.post")) == 1
    await play.event("opened.v1", id="p1")
    assert len(play.bodies("ledger.post")) == 2
    assert play.run().status is RunStatus.DONE


async def test_a_queue_tries_every_so_often_and_not_for_ever() -> None:
    play = company(POST)
    play.systems["ledger"].script["ledger.post"] = [CLOSED] * 100
    await ask(play)
    await play.advance(hours=9.5)
    assert len(play.bodies("ledger.post")) == 10
    assert not play.cases()
    await play.advance(hours=1)
    assert len(play.bodies("ledger.post")) == 10
    assert play.case("period_closed").effect is not None


async def test_a_queue_of_its_own_ends_by_its_own_verb() -> None:
    own = "{period_closed: {queue: {every: 1h, until: 2h, then: undo}}}"
    play = company(post(f", outcomes: {own}"))
    play.systems["ledger"].script["ledger.post"] = [CLOSED] * 100
    await ask(play)
    await play.advance(hours=3)
    assert play.run().status is RunStatus.UNDONE


async def test_a_period_that_is_held_closed_and_reopened_lets_the_call_through() -> None:
    play = company(post(", dates: {document: =event.data.day, posting: hold}"))
    await period(play, "jan", "2026-01-01", "2026-01-31", "closed")
    from datetime import date

    await ask(play, day=date(2026, 1, 3))
    assert not play.bodies("ledger.post")
    await period(play, "jan", "2026-01-01", "2026-01-31", "reopened")
    await play.advance(hours=2)
    assert len(play.bodies("ledger.post")) == 1


async def test_an_unknown_outcome_is_looked_up_and_found_done() -> None:
    play = company(POST)
    play.systems["ledger"].script["ledger.post"] = ["lost"]
    await ask(play)
    await play.advance(minutes=1)
    assert play.run().status is RunStatus.DONE
    assert len(play.bodies("ledger.post")) == 1


async def test_what_is_proven_absent_goes_out_as_the_next_generation_of_the_same_document() -> None:
    play = company(POST)
    play.systems["ledger"].script["ledger.post"] = ["dark"]
    await ask(play)
    await play.advance(minutes=5)
    assert [(e.gen, e.state) for e in play.effects()] == [(0, EffectState.ABSENT), (1, EffectState.CONFIRMED)]
    assert [(f.state, f.effect) for f in play.foils()] == [(FoilState.OPEN, play.effects()[1].id)]
    await play.event("posted.v1", id="a1", amount=usd(50))
    assert [f.state for f in play.foils()] == [FoilState.MATCHED]


async def test_look_ups_that_cannot_tell_become_a_case_and_a_late_answer_goes_on() -> None:
    play = company(POST)
    ledger = play.systems["ledger"]
    ledger.script["ledger.post"], ledger.answers = ["lost"], False
    await ask(play)
    await play.advance(minutes=10)
    assert not play.cases()
    await play.advance(minutes=10)
    assert play.case("unknown")
    ledger.answers = True
    await play.advance(minutes=10)
    assert play.run().status is RunStatus.DONE
    assert len(play.bodies("ledger.post")) == 1


async def test_a_case_about_the_unknown_is_settled_by_evidence_of_absence() -> None:
    play = company(POST)
    ledger = play.systems["ledger"]
    ledger.script["ledger.post"], ledger.answers = ["dark"], False
    await ask(play)
    await play.advance(minutes=20)
    assert play.case("unknown")
    ledger.answers = True
    await play.advance(minutes=10)
    assert len(play.bodies("ledger.post")) == 2
    assert play.run().status is RunStatus.DONE


@pytest.mark.parametrize(("hours", "sent"), [(20, [(0, 2)]), (30, [(0, 1), (1, 1)])])
async def test_a_key_is_sent_again_only_while_its_system_remembers_it(
    hours: int, sent: list[tuple[int, int]]
) -> None:
    """Look-ups that say at last that nothing is there: the same key within its retention of a day, then another one."""
    play = company(MEMO_ONLY)
    bills = play.systems["bills"]
    bills.script["bills.memo.issue"], bills.answers = ["dark"], False
    await ask(play)
    await play.advance(hours=hours)
    assert play.case("unknown")
    bills.answers = True
    await play.advance(hours=2)
    assert [(e.gen, e.attempt) for e in play.effects()] == sent
    assert len(play.bodies("bills.memo.issue")) == 2
    assert len({key for _, key, _ in bills.calls}) == len(sent)
    assert play.run().status is RunStatus.DONE
    assert not play.cases()


async def test_a_key_that_is_forgotten_is_never_sent_again_and_a_person_is_asked() -> None:
    play = company(MEMO_ONLY)
    bills = play.systems["bills"]
    bills.script["bills.memo.issue"], bills.answers = ["lost"], False
    await ask(play)
    await play.advance(days=3)
    assert play.case("unknown").effect == play.effects()[0].id
    assert len(play.bodies("bills.memo.issue")) == 1
    bills.answers = True
    await play.advance(hours=2)
    assert (len(play.bodies("bills.memo.issue")), play.run().status) == (1, RunStatus.DONE)


async def test_what_nothing_can_tell_is_a_case_at_once() -> None:
    play = company("steps: [{call: ledger.tell, with: {id: =event.data.id}}]")
    play.systems["ledger"].script["ledger.tell"] = ["dark"]
    await ask(play)
    case = play.case("unknown")
    await play.resolve(case, Choice.RETRY)
    assert [e.state for e in play.effects()] == [EffectState.ABSENT, EffectState.CONFIRMED]
    assert play.run().status is RunStatus.DONE


async def test_a_person_says_that_an_unknown_call_was_done() -> None:
    play = company("steps: [{call: ledger.tell, with: {id: =event.data.id}}]")
    play.systems["ledger"].script["ledger.tell"] = ["lost"]
    await ask(play)
    await play.resolve(play.case("unknown"), Choice.CONTINUE)
    assert [e.state for e in play.effects()] == [EffectState.CONFIRMED]
    assert play.run().status is RunStatus.DONE


@pytest.mark.parametrize("choice", [Choice.CLOSE, Choice.UNDO])
async def test_a_run_does_not_end_while_nobody_knows_what_a_call_did(choice: Choice) -> None:
    play = company("steps: [{call: ledger.tell, with: {id: =event.data.id}}]")
    play.systems["ledger"].script["ledger.tell"] = ["dark"]
    await ask(play)
    await play.resolve(play.case("unknown"), choice)
    assert play.run().status in (RunStatus.READY, RunStatus.WAITING)
    await play.resolve(play.case("unknown"), Choice.RETRY)
    assert play.run().status is (RunStatus.CLOSED if choice is Choice.CLOSE else RunStatus.UNDONE)
    assert len(play.bodies("ledger.tell")) == 1


async def test_an_accepted_job_lets_the_run_go_on_but_not_end() -> None:
    play = company(post(", outcomes: {accepted: continue}"))
    ledger = play.systems["ledger"]
    ledger.script["ledger.post"], ledger.answers = ["job"], False
    await ask(play)
    assert play.state().ending == "done"
    assert play.run().status not in (RunStatus.DONE,)
    key = play.effects()[0].id
    ledger.done[key], ledger.answers = {"id": "p1"}, True
    await play.advance(minutes=20)
    assert play.run().status is RunStatus.DONE


async def test_a_refusal_that_proves_wrong_later_goes_on_as_done() -> None:
    play = company(POST)
    play.systems["ledger"].script["ledger.post"] = [NO]
    await ask(play)
    assert play.case("refused")
    (effect,) = play.effects()
    context = await load_context(play.store, play.releases, effect)
    await play.recorder.record(context, effect, 1, Confirmed({"id": "p1"}), "look-up")
    await play.settle()
    assert play.run().status is RunStatus.DONE
    assert [c.reason for c in play.cases()] == ["contradiction"]
    assert play.foils()[0].state is FoilState.OPEN


async def test_a_changed_request_goes_out_as_the_next_generation() -> None:
    play = company(
        "facts: {inv: {head: invoice, of: event.data.invoice_id}}\n"
        + POST.replace("event.data.amount", "inv.open")
    )
    await play.head("invoice", "i1", status="open", open=usd(10))
    play.systems["ledger"].script["ledger.post"] = [Rejected(ErrorClass.INVALID, "ten is wrong")]
    await ask(play)
    await play.head("invoice", "i1", status="open", open=usd(20))
    await play.resolve(play.case("invalid"), Choice.RETRY)
    assert [(e.gen, e.state) for e in play.effects()] == [
        (0, EffectState.REFUSED),
        (1, EffectState.CONFIRMED),
    ]
    assert [b["amount"]["minor"] for b in play.bodies("ledger.post")] == [1000, 2000]
    assert sorted(f.state for f in play.foils()) == [FoilState.OPEN, FoilState.VOID]


async def test_a_missing_link_starts_the_sync_and_the_call_resumes() -> None:
    play = company("steps: [{call: ledger.bill, with: {partner_id: =event.data.invoice_id}}]")
    await play.head("partner", "i1", name="Ann")
    await ask(play)
    assert play.run("partner-sync").status is RunStatus.DONE
    assert play.run("flow").status is RunStatus.DONE
    assert len(play.bodies("ledger.bill")) == 1


async def test_a_link_that_never_comes_is_a_case() -> None:
    play = company("steps: [{call: ledger.bill, with: {partner_id: =event.data.invoice_id}}]")
    await ask(play)
    await play.advance(hours=11)
    assert play.case("not_found")


async def test_a_run_says_when_its_refused_call_is_tried_again_and_why() -> None:
    """The words read the position that real turns write."""
    play = company(
        "steps: [{id: memo, call: bills.memo.issue, with: {id: =event.data.id, amount: =event.data.amount}}]"
    )
    play.systems["bills"].script["bills.memo.issue"] = [
        Rejected(ErrorClass.TRANSIENT, "cannot connect to bills: it refuses the connection")
    ]
    await ask(play)
    run = play.run("flow")
    rows = await play.store.load(run.id)
    assert rows is not None
    text = waits_for(rows.run, Obstacles(effects=rows.effects), play.now)
    assert re.fullmatch(
        r"the next try of bills\.memo\.issue at 2026-01-05 09:00:\d\d UTC, after 1 attempt: "
        r"cannot connect to bills: it refuses the connection",
        text,
    ), text
    assert [effect.operation for effect in retried(rows.run, rows.effects)] == ["bills.memo.issue"]


PARTNER_AND_BILL = (
    "steps:\n  - {id: partner, call: ledger.partner, with: {partner_id: =event.data.invoice_id}}\n"
    "  - {id: bill, call: ledger.bill, with: {partner_id: =event.data.invoice_id}}"
)


async def test_a_link_of_a_call_that_a_person_counted_as_done_is_a_case_at_once() -> None:
    """No event may ever bring it: the Run does not wait alone until its queue time is over."""
    play = company(PARTNER_AND_BILL)
    play.systems["ledger"].script["ledger.partner"] = [Rejected(ErrorClass.INVALID, "exists already")]
    await ask(play)
    await play.resolve(play.case("invalid"), Choice.CONTINUE)
    case = play.case("not_found")
    assert "ledger.partner was counted as done there, but gave no record" in case.message
    assert (case.owner, case.path) == ("finance", "bill")
    assert Choice.RETRY in case.choices
    assert case.deadline > case.created_at
    assert case.next_action
    assert play.bodies("ledger.bill") == []


async def test_a_link_of_a_call_that_the_policy_counts_as_done_is_waited_for() -> None:
    play = company(PARTNER_AND_BILL)
    play.systems["ledger"].script["ledger.partner"] = [Rejected(ErrorClass.ALREADY_DONE, "exists already")]
    await ask(play)
    assert play.cases("not_found") == []


async def test_a_fact_that_a_system_must_tell_is_asked_for_and_asked_again() -> None:
    play = company(
        "facts: {r: {read: ledger.rate, with: {id: =event.data.id}}}\n"
        "let: {twice: r.rate * 2}\nsteps: [{check: twice == 6, outcomes: {failed: park}}]"
    )
    ledger = play.systems["ledger"]
    ledger.results["ledger.rate"] = lambda _: {"rate": 3}
    ledger.script["ledger.rate"] = [TryAgain("later"), TryAgain("later")]
    await ask(play)
    await play.advance(minutes=5)
    assert play.run().status is RunStatus.DONE
    assert len(play.bodies("ledger.rate")) == 3


async def test_a_fact_that_nobody_tells_is_a_case_and_retry_asks_anew() -> None:
    play = company(
        "facts: {r: {read: ledger.rate, with: {id: =event.data.id}}}\nsteps: [{check: r.rate == 3}]"
    )
    ledger = play.systems["ledger"]
    ledger.results["ledger.rate"] = lambda _: {"rate": 3}
    ledger.script["ledger.rate"] = [TryAgain("later")] * 4
    await ask(play)
    await play.advance(minutes=10)
    await play.resolve(play.case("transient"), Choice.RETRY)
    assert play.run().status is RunStatus.DONE


@pytest.mark.parametrize("first", ["{check: r.rate == 3}", "{check: 'true', when: r.rate == 3}"])
async def test_a_fact_whose_input_has_no_value_is_a_case_of_the_first_step(first: str) -> None:
    facts = "facts: {r: {read: ledger.rate, with: {id: =event.data.id - event.data.id}}}"
    play = company(f"{facts}\nsteps: [{first}]")
    play.systems["ledger"].results["ledger.rate"] = lambda _: {"rate": 3}
    await ask(play)
    assert play.case("invalid").message.startswith("The facts of the Run cannot be read: ")


async def test_a_record_that_is_not_there_parks_the_run_and_retry_reads_it() -> None:
    play = company(
        "facts: {inv: {head: invoice, of: event.data.invoice_id}}\nsteps: [{check: inv.status == 'open', outcomes: {failed: park}}]"
    )
    await ask(play)
    assert "No invoice i1 is on record" in play.case("invalid").message
    await play.head("invoice", "i1", status="draft", open=usd(1))
    await play.resolve(play.case("invalid"), Choice.RETRY)
    case = play.case("failed")
    await play.head("invoice", "i1", status="open", open=usd(1))
    await play.resolve(case, Choice.RETRY)
    assert play.run().status is RunStatus.DONE


async def test_a_formula_without_a_value_parks_and_never_loses_the_run() -> None:
    play = company("steps: [{check: event.data.amount.minor / 0 == 1}, {check: 'true'}]")
    await ask(play)
    await play.resolve(play.case("invalid"), Choice.CONTINUE)
    assert play.run().status is RunStatus.DONE


async def test_serial_keys_are_held_by_one_run_at_a_time_and_only_while_a_call_is_under_way() -> None:
    play = company(POST, head="start: {event: asked.v1, key: event.data.id}\nserial: {key: event.data.items}")
    ledger = play.systems["ledger"]
    ledger.script["ledger.post"], ledger.answers = ["lost"], False
    await ask(play, "a1", items=["s1", "s2"])
    assert set(play.store.tables.holds) == {"s1", "s2"}
    await ask(play, "a2", items=["s2", "s3"])
    assert len(play.bodies("ledger.post")) == 1
    ledger.answers = True
    await play.advance(minutes=10)
    assert [r.status for r in play.runs()] == [RunStatus.DONE, RunStatus.DONE]
    assert not play.store.tables.holds


@pytest.mark.parametrize("choice", [Choice.RETRY, Choice.CONTINUE, Choice.UNDO, Choice.CLOSE])
async def test_each_choice_on_a_parked_call(choice: Choice) -> None:
    play = company(POST)
    play.systems["ledger"].script["ledger.post"] = [NO]
    await ask(play)
    assert play.run().status is RunStatus.WAITING
    await play.resolve(play.case("refused"), choice)
    ends = {Choice.UNDO: RunStatus.UNDONE, Choice.CLOSE: RunStatus.CLOSED}
    assert play.run().status is ends.get(choice, RunStatus.DONE)
    assert len(play.bodies("ledger.post")) == (2 if choice is Choice.RETRY else 1)
    assert play.foils()[0].state is (FoilState.OPEN if choice is Choice.RETRY else FoilState.VOID)
