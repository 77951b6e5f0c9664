"""Waits, choices, lists, emitted events, signals, ways back, and Runs that a date or an event begins."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from counterfoil.connectors.sdk import Rejected
from counterfoil.core.case import Choice
from counterfoil.core.effect import EffectState
from counterfoil.core.errors import ErrorClass
from counterfoil.core.run import RunStatus
from tests.unit.rules.company import ask, company, period, usd
from tests.unit.rules.driver import MONDAY, Play

NO = Rejected(ErrorClass.REFUSED, "no")
TELL = "{emit: told.v1, data: {id: =event.data.id}}"
PAID = "{id: pay, wait: {event: paid.v1, where: event.data.id == start.data.id, until: +2d}%s}"


# ------------------------------------------------------------------ waits


async def test_an_event_after_the_wait_began_ends_it_and_others_do_not() -> None:
    play = company(f"steps: [{PAID % ''}, {{check: pay.data.n == 7, outcomes: {{failed: {{stop: wrong}}}}}}]")
    await ask(play)
    await play.event("paid.v1", id="other", n=1)
    assert play.run().status is RunStatus.WAITING
    await play.event("paid.v1", id="a1", n=7)
    assert (play.run().status, play.run().state) == (RunStatus.DONE, "started")


async def test_an_event_that_came_before_the_wait_counts() -> None:
    play = company(f"steps: [{{wait: {{until: +1d}}}}, {PAID % ''}]")
    await ask(play)
    await play.event("paid.v1", id="a1")
    await play.advance(days=1)
    assert play.run().status is RunStatus.DONE


async def test_two_waits_take_two_events() -> None:
    play = company(f"steps: [{PAID % ''}, {(PAID % '').replace('id: pay, ', '')}]")
    await ask(play)
    await play.event("paid.v1", id="a1")
    assert play.run().status is RunStatus.WAITING
    await play.event("paid.v1", id="a1")
    assert play.run().status is RunStatus.DONE


async def test_an_event_of_which_where_says_nothing_is_another_ones() -> None:
    play = company("steps: [{wait: {event: paid.v1, where: event.data.note == 'x'}}]")
    await ask(play)
    await play.event("paid.v1", id="a1")
    assert play.run().status is RunStatus.WAITING
    assert not play.cases()
    await play.event("paid.v1", id="a1", note="x")
    assert play.run().status is RunStatus.DONE


async def test_a_wait_that_times_out_parks_and_a_retry_waits_as_long_again() -> None:
    play = company(f"steps: [{PAID % ''}]")
    await ask(play)
    await play.advance(days=2.1)
    await play.resolve(play.case("timeout"), Choice.RETRY)
    await play.advance(days=1)
    assert not play.cases()
    await play.event("paid.v1", id="a1")
    assert play.run().status is RunStatus.DONE


async def test_a_time_out_runs_its_steps_and_goes_on() -> None:
    play = company(
        f"steps: [{PAID % f', outcomes: {{timeout: [{TELL}]}}'}, {{check: 'true', becomes: later}}]"
    )
    await ask(play)
    await play.advance(days=3)
    assert len(play.emitted("told.v1")) == 1
    assert play.run().state == "later"


async def test_a_time_out_that_begins_again_runs_its_steps_each_time() -> None:
    again = "{again: {from: pay, at_most: 3}}"
    look = "{call: ledger.rate, with: {id: =event.data.id}}"
    play = company(f"steps: [{PAID % f', outcomes: {{timeout: [{look}, {again}]}}'}]")
    await ask(play)
    await play.advance(days=4.5)
    assert len(play.bodies("ledger.rate")) == 2
    await play.event("paid.v1", id="a1")
    assert play.run().status is RunStatus.DONE
    await ask(play, "a2")
    await play.advance(days=9)
    assert len(play.bodies("ledger.rate")) == 6
    assert "3 times" in play.case("timeout").message


async def test_reactions_of_the_failure_policy_are_each_steps_own() -> None:
    from tests.unit.rules.company import base
    from tests.unit.rules.driver import model_of

    flow = (
        "kind: workflow\nname: flow\nowner: finance\nfailure: careful\n"
        "start: {event: asked.v1, key: event.data.id}\n"
        "steps: [{wait: {event: paid.v1, until: +1d}}, {wait: {event: paid.v1, until: +1d}}]"
    )
    play = Play(model_of(base(timeout=f"[{TELL}]"), flow))
    await ask(play)
    await play.advance(days=3)
    assert play.run().status is RunStatus.DONE
    assert len(play.emitted("told.v1")) == 2


@pytest.mark.parametrize(
    ("until", "moment"),
    [
        ("+36h", MONDAY + timedelta(hours=36)),
        ("event.data.day", datetime(2026, 1, 9, tzinfo=UTC)),
        ("event.data.day - days(1)", datetime(2026, 1, 8, tzinfo=UTC)),
    ],
)
async def test_a_wait_until_a_moment_ends_then(until: str, moment: datetime) -> None:
    play = company(f"steps: [{{wait: {{until: {until}}}}}]")
    await ask(play, day=date(2026, 1, 9))
    await play.until(moment - timedelta(seconds=1))
    assert play.run().status is RunStatus.WAITING
    await play.advance(seconds=2)
    assert play.run().status is RunStatus.DONE


async def test_until_that_is_no_moment_is_a_case() -> None:
    play = company("steps: [{wait: {until: event.data.id}}]")
    await ask(play)
    assert "not a date or timestamp" in play.case("invalid").message


async def test_a_wait_for_foils_ends_when_the_other_system_shows_them() -> None:
    play = company(
        "steps: [{call: ledger.post, with: {id: =event.data.id, amount: =event.data.amount}}, {wait: {foils: all, until: +2d}, becomes: matched}]"
    )
    await ask(play, "a1")
    assert play.run().status is RunStatus.WAITING
    await play.event("posted.v1", id="a1", amount=usd(49))
    assert play.run().status is RunStatus.WAITING
    await ask(play, "a2")
    await play.event("posted.v1", id="a2", amount=usd(50))
    assert play.run().state == "matched"
    await play.advance(days=2.1)
    assert play.case("timeout").run == play.runs()[0].id


# ------------------------------------------------------------------ choose, each, emit, when, becomes


@pytest.mark.parametrize(("amount", "state"), [(500, "big"), (50, "small"), (1, "tiny")])
async def test_the_first_branch_that_holds_is_taken(amount: int, state: str) -> None:
    play = company(
        """
steps:
  - choose:
      - {when: event.data.amount.minor > 10000, then: [{stop: big}]}
      - {when: event.data.amount.minor > 1000, then: [{check: 'true', becomes: small}]}
    otherwise: [{stop: tiny}]
"""
    )
    await ask(play, amount=usd(amount))
    assert play.run().state == state


async def test_a_step_whose_when_does_not_hold_is_skipped_with_its_state() -> None:
    play = company(
        "steps: [{check: 'false', when: 'false', becomes: x}, {check: 'true', when: 'true', becomes: y}]"
    )
    await ask(play)
    assert play.run().state == "y"


def listing(more: str = "", key: str = "key: n.id") -> str:
    return f"""
steps:
  - each: event.data.items
    as: n
    {key}
    {more}
    do: [{{call: bills.memo.issue, with: {{id: =n.id, amount: =event.data.amount}}}}]
  - {{check: 'true', becomes: through}}
"""


def ids_of(*names: str) -> list[dict[str, str]]:
    return [{"id": name} for name in names]


async def test_a_list_is_taken_in_order_one_item_at_a_time() -> None:
    play = company(listing())
    await ask(play, items=ids_of("c", "a", "b"))
    assert [b["id"] for b in play.bodies("bills.memo.issue")] == ["c", "a", "b"]
    assert [e.item for e in play.effects()] == ["c", "a", "b"]
    assert play.run().state == "through"


async def test_an_empty_list_is_through_at_once() -> None:
    play = company(listing())
    await ask(play, items=[])
    assert play.run().state == "through"


async def test_a_list_ends_early_when_until_holds() -> None:
    play = company(listing("until: head('invoice', event.data.invoice_id).status == 'closed'"))
    await play.head("invoice", "i1", status="open", open=usd(1))
    play.systems["bills"].script["bills.memo.issue"] = ["ok", NO]
    await ask(play, items=ids_of("a", "b", "c"))
    await play.head("invoice", "i1", status="closed", open=usd(1))
    await play.resolve(play.case("refused"), Choice.RETRY)
    assert [b["id"] for b in play.bodies("bills.memo.issue")] == ["a", "b", "b"]
    assert play.run().state == "through"


async def test_two_items_of_one_key_are_a_case_before_anything_is_sent() -> None:
    play = company(listing())
    await ask(play, items=ids_of("a", "a"))
    assert "same key" in play.case("invalid").message
    assert not play.effects()


async def test_a_list_of_more_than_a_thousand_is_a_case() -> None:
    play = company(listing())
    await ask(play, items=ids_of(*map(str, range(1001))))
    assert "1001 items" in play.case("invalid").message


async def test_what_is_no_list_is_a_case() -> None:
    play = company(listing().replace("event.data.items", "event.data.id"))
    await ask(play)
    assert "not a list" in play.case("invalid").message


@pytest.mark.parametrize(
    ("on_item", "status", "ids"),
    [
        ("park", RunStatus.WAITING, ["a", "b"]),
        ("stop", RunStatus.DONE, ["a", "b"]),
        ("undo_all", RunStatus.UNDONE, ["a", "b"]),
    ],
)
async def test_an_item_that_is_refused(on_item: str, status: RunStatus, ids: list[str]) -> None:
    play = company(listing(f"on_item: {on_item}"))
    play.systems["bills"].script["bills.memo.issue"] = ["ok", NO]
    await play.head("invoice", "a", status="open", open=usd(1))
    await ask(play, items=ids_of("a", "b", "c"))
    assert [b["id"] for b in play.bodies("bills.memo.issue")] == ids
    assert play.run().status is status
    assert len(play.bodies("bills.memo.void")) == (on_item == "undo_all")
    if on_item == "park":
        await play.resolve(play.case("refused"), Choice.CONTINUE)
        assert play.run().state == "through"


async def test_ten_thousand_steps_of_a_list_yield_and_go_on() -> None:
    do = ", ".join(["{check: n >= 0}"] * 9 + ["{emit: told.v1, data: {id: =string(n)}}"])
    play = company(f"steps: [{{each: event.data.items, as: n, do: [{do}]}}]")
    await ask(play, items=list(range(1000)))
    assert len(play.emitted("told.v1")) == 1000
    assert play.run().status is RunStatus.DONE
    assert len(play.turns) > 3


async def test_lists_within_lists_keep_their_items_apart() -> None:
    play = company(
        """
steps:
  - each: event.data.items
    as: row
    key: row.id
    do:
      - {each: row.of, as: n, do: [{call: ledger.tell, with: {id: "=row.id + n"}}]}
"""
    )
    await ask(play, items=[{"id": "a", "of": ["1", "2"]}, {"id": "b", "of": ["1"]}])
    assert [b["id"] for b in play.bodies("ledger.tell")] == ["a1", "a2", "b1"]
    assert [e.item for e in play.effects()] == ["a/0", "a/1", "b/0"]


async def test_an_emitted_event_is_admitted_once() -> None:
    play = company(f"steps: [{TELL}]", head="start: {event: asked.v1, key: event.data.id}")
    await ask(play)
    await ask(play)
    assert [e.data for e in play.emitted("told.v1")] == [{"id": "a1"}]


# ------------------------------------------------------------------ signals


def signalled(do: str, states: str = "in: [early]") -> str:
    return f"""
signals: [{{event: stopped.v1, {states}, do: {do}}}]
steps:
  - {{check: 'true', becomes: early}}
  - {{id: pay, wait: {{event: paid.v1, until: +9d}}, becomes: late}}
  - {{wait: {{until: +1d}}, becomes: end}}
"""


async def test_a_signal_in_its_state_runs_its_steps_and_the_run_goes_on() -> None:
    play = company(signalled("[{call: ledger.tell, with: {id: =event.data.id}}]"))
    await ask(play)
    for _ in range(2):
        await play.event("stopped.v1", id="s")
    assert len(play.bodies("ledger.tell")) == 2
    await play.event("paid.v1", id="a1")
    await play.event("stopped.v1", id="s")
    await play.advance(days=2)
    assert len(play.bodies("ledger.tell")) == 2
    assert play.run().state == "end"


async def test_a_signal_that_came_before_its_state_waits_for_it() -> None:
    play = company(signalled("[{stop: stopped}]", "in: [late]"))
    await ask(play)
    await play.event("stopped.v1", id="s")
    assert play.run().state == "early"
    await play.event("paid.v1", id="a1")
    assert play.run().state == "stopped"


async def test_a_signal_that_parks_leaves_the_step_as_it_was() -> None:
    play = company(signalled("[park]"))
    await ask(play)
    await play.event("stopped.v1", id="s")
    case = play.case("signal")
    assert case.choices == (Choice.CONTINUE, Choice.UNDO, Choice.CLOSE)
    await play.event("paid.v1", id="a1")
    assert play.run().state == "early"
    await play.resolve(case, Choice.CONTINUE)
    assert play.run().state == "late"


async def test_a_signal_begins_again_as_often_as_it_may_wherever_the_run_stands() -> None:
    play = company(signalled("[{again: {from: pay, at_most: 2}}]", "in: [early, late]"))
    await ask(play)
    await play.event("stopped.v1", id="s")
    await play.event("paid.v1", id="a1")
    assert play.run().state == "late"
    await play.event("stopped.v1", id="s")
    assert play.state().round == 2
    await play.event("stopped.v1", id="s")
    assert "as often as allowed" in play.case("signal").message


async def test_a_signal_at_the_end_of_a_list_does_not_lose_the_run() -> None:
    play = company(
        """
signals: [{event: stopped.v1, do: [{stop: stopped}]}]
steps: [{each: [1], as: n, do: [{call: ledger.post, with: {id: =event.data.id}}]}]
"""
    )
    play.systems["ledger"].script["ledger.post"] = ["lost"]
    await ask(play)
    await play.event("stopped.v1", id="s")
    assert play.run().status is not RunStatus.DONE
    await play.advance(minutes=1)
    assert play.run().state == "stopped"


async def test_a_case_of_the_interrupted_step_can_be_resolved_during_the_signal() -> None:
    play = company(
        """
signals: [{event: stopped.v1, do: [{wait: {until: +1d}}]}]
steps: [{call: ledger.post, with: {id: =event.data.id}}]
"""
    )
    play.systems["ledger"].script["ledger.post"] = [NO]
    await ask(play)
    await play.event("stopped.v1", id="s")
    await play.resolve(play.case("refused"), Choice.CONTINUE)
    await play.advance(days=2)
    assert play.run().status is RunStatus.DONE


# ------------------------------------------------------------------ again


async def test_what_was_confirmed_with_the_same_input_is_not_done_again() -> None:
    play = company(
        """
steps:
  - {id: memo, call: bills.memo.issue, with: {id: =event.data.id, amount: =event.data.amount}}
  - {call: ledger.post, with: {id: =memo.id}, outcomes: {refused: {again: {from: start, at_most: 3}}}}
"""
    )
    play.systems["ledger"].script["ledger.post"] = [NO, NO]
    await ask(play)
    assert play.run().status is RunStatus.DONE
    assert (len(play.bodies("bills.memo.issue")), len(play.bodies("ledger.post"))) == (1, 3)


async def test_what_would_be_sent_otherwise_in_a_new_round_is_another_call() -> None:
    play = company(
        """
facts: {inv: {head: invoice, of: event.data.invoice_id}}
steps:
  - {id: memo, call: bills.memo.issue, with: {id: =event.data.id, amount: =inv.open}}
  - {id: pay, wait: {event: paid.v1, until: +1d}, outcomes: {timeout: {again: {from: start, at_most: 3}}}}
"""
    )
    await play.head("invoice", "i1", status="open", open=usd(10))
    await ask(play)
    await play.head("invoice", "i1", status="open", open=usd(20))
    await play.advance(days=1.5)
    assert [b["amount"]["minor"] for b in play.bodies("bills.memo.issue")] == [1000, 2000]
    await play.event("paid.v1", id="a1")
    assert play.run().status is RunStatus.DONE


@pytest.mark.parametrize("rule", ["first_open", "current", "hold", "accrue_and_true_up", "reject"])
async def test_what_was_posted_is_not_posted_again_on_another_day_when_its_period_closes(rule: str) -> None:
    play = company(
        f"""
steps:
  - {{call: ledger.post, with: {{id: =event.data.id}}, dates: {{document: =event.data.day, posting: {rule}}}}}
  - {{id: pay, wait: {{event: paid.v1, until: +1d}}, outcomes: {{timeout: {{again: {{from: start, at_most: 3}}}}}}}}
"""
    )
    await period(play, "jan", "2026-01-01", "2026-01-31", "open")
    await period(play, "feb", "2026-02-01", "2026-02-28", "open")
    await ask(play, day=date(2026, 1, 5))
    await period(play, "jan", "2026-01-01", "2026-01-31", "closed")
    await play.advance(days=1.5)
    assert play.run().status is not RunStatus.DONE
    await play.event("paid.v1", id="a1")
    assert len(play.bodies("ledger.post")) == 1
    assert play.run().status is RunStatus.DONE


async def test_what_was_posted_is_not_posted_again_for_another_document_date() -> None:
    play = company(
        """
facts: {inv: {head: invoice, of: event.data.invoice_id}}
steps:
  - {call: ledger.post, with: {id: =event.data.id}, dates: {document: =inv.day}}
  - {id: pay, wait: {event: paid.v1, until: +1d}, outcomes: {timeout: {again: {from: start, at_most: 3}}}}
"""
    )
    await play.head("invoice", "i1", day=date(2026, 1, 5))
    await ask(play)
    await play.head("invoice", "i1", day=date(2026, 1, 9))
    await play.advance(days=1.5)
    await play.event("paid.v1", id="a1")
    assert len(play.bodies("ledger.post")) == 1
    assert play.run().status is RunStatus.DONE


async def test_what_was_told_is_not_told_again_in_a_new_round_unless_it_is_another_fact() -> None:
    play = company(
        """
facts: {inv: {head: invoice, of: event.data.invoice_id}}
steps:
  - {emit: told.v1, data: {id: =inv.status}}
  - id: lines
    each: event.data.items
    as: item
    key: item
    do: [{emit: told.v1, data: {id: =event.data.id}}]
  - {id: pay, wait: {event: paid.v1, until: +1d}, outcomes: {timeout: {again: {from: start, at_most: 5}}}}
"""
    )
    await play.head("invoice", "i1", status="open", open=usd(10))
    await ask(play, items=["x", "y"])
    ids = ["open", "a1", "a1"]
    assert [e.data["id"] for e in play.emitted("told.v1")] == ids
    await play.advance(days=1.5)
    assert play.state().round == 1
    assert [e.data["id"] for e in play.emitted("told.v1")] == ids
    await play.head("invoice", "i1", status="paid", open=usd(0))
    await play.advance(days=2)
    assert play.state().round == 3
    assert [e.data["id"] for e in play.emitted("told.v1")] == [*ids, "paid"]


async def test_a_call_of_unknown_outcome_is_never_made_again_by_going_back() -> None:
    play = company(
        "steps: [{id: post, call: ledger.post, with: {id: =event.data.id},"
        " outcomes: {unknown: {again: {from: start, at_most: 3}}}}]"
    )
    ledger = play.systems["ledger"]
    ledger.script["ledger.post"], ledger.answers = ["lost"], False
    await ask(play)
    await play.advance(hours=1)
    assert len(play.bodies("ledger.post")) == 1
    assert play.state().back == "start"
    assert play.case("unknown").choices == (Choice.RETRY, Choice.CONTINUE)
    ledger.answers = True
    await play.advance(hours=1)
    assert len(play.bodies("ledger.post")) == 1
    assert play.run().status is RunStatus.DONE


# ------------------------------------------------------------------ undo

UNDO = """
steps:
  - {id: memo, call: bills.memo.issue, with: {id: =event.data.id, amount: =event.data.amount}}
  - {id: post, call: ledger.post, with: {id: =event.data.id, amount: =event.data.amount}}
  - {call: ledger.tell, with: {id: =event.data.id}}
  - {call: ledger.post, with: {id: last}, outcomes: {refused: undo}}
"""


async def test_undo_goes_back_in_reverse_order_and_chooses_by_what_it_sees() -> None:
    for status, way in (("open", "bills.memo.void"), ("paid", "bills.memo.debit")):
        play = company(UNDO)
        play.systems["ledger"].script["ledger.post"] = ["ok", NO]
        await play.head("invoice", "a1", status=status, open=usd(1))
        await ask(play)
        assert play.run().status is RunStatus.UNDONE
        undone = [e for e in play.effects() if e.undoes]
        assert [e.operation for e in undone] == ["ledger.reverse", way]
        assert play.foils()[0].state == "reversed"


async def test_a_refused_undo_is_a_case_and_a_retry_looks_again_which_way_is_open() -> None:
    play = company(UNDO)
    play.systems["ledger"].script["ledger.post"] = ["ok", NO]
    play.systems["bills"].script["bills.memo.void"] = [NO]
    await play.head("invoice", "a1", status="open", open=usd(1))
    await ask(play)
    case = play.case("undo_refused")
    assert case.choices == (Choice.RETRY, Choice.CONTINUE, Choice.CLOSE)
    await play.head("invoice", "a1", status="paid", open=usd(1))
    await play.resolve(case, Choice.RETRY)
    assert play.run().status is RunStatus.UNDONE
    assert len(play.bodies("bills.memo.debit")) == 1


@pytest.mark.parametrize(
    ("choice", "status"), [(Choice.CONTINUE, RunStatus.UNDONE), (Choice.CLOSE, RunStatus.CLOSED)]
)
async def test_a_person_ends_a_refused_undo(choice: Choice, status: RunStatus) -> None:
    play = company(UNDO)
    play.systems["ledger"].script |= {"ledger.post": ["ok", NO], "ledger.reverse": [NO]}
    await play.head("invoice", "a1", status="open", open=usd(1))
    await ask(play)
    await play.resolve(play.case("undo_refused"), choice)
    assert play.run().status is status
    assert play.foils()[0].state == ("reversed" if choice is Choice.CONTINUE else "open")


async def test_undo_retries_what_is_passing_and_looks_up_what_is_unknown() -> None:
    play = company(UNDO)
    busy = Rejected(ErrorClass.TRANSIENT, "busy")
    play.systems["ledger"].script |= {"ledger.post": ["ok", NO], "ledger.reverse": [busy, "dark"]}
    await play.head("invoice", "a1", status="open", open=usd(1))
    await ask(play)
    await play.advance(hours=1)
    assert play.run().status is RunStatus.UNDONE
    assert [(e.gen, e.state) for e in play.effects("ledger.reverse")] == [
        (0, EffectState.ABSENT),
        (1, EffectState.CONFIRMED),
    ]


def posted_and_taken_back(dates: str) -> Play:
    return company(
        f"""
steps:
  - call: ledger.post
    with: {{id: =event.data.id, amount: =event.data.amount}}
    dates: {dates}
    undo: [{{call: ledger.reverse, with: {{id: =input.id}}}}]
  - {{wait: {{event: paid.v1, until: +1d}}, outcomes: {{timeout: undo}}}}
"""
    )


def posting_days(play: Play, operation: str) -> list[date | None]:
    return [play.turner.planned[effect.id].dates["posting"] for effect in play.effects(operation)]


@pytest.mark.parametrize(
    ("posting", "day"),
    [
        ("first_open", date(2026, 2, 1)),
        ("=event.data.day", date(2026, 1, 6)),
    ],
)
async def test_an_undo_is_posted_by_the_rule_of_the_call_that_it_takes_back(posting: str, day: date) -> None:
    play = posted_and_taken_back(f"{{document: =event.data.day, posting: {posting}}}")
    await period(play, "jan", "2026-01-01", "2026-01-31", "open")
    await period(play, "feb", "2026-02-01", "2026-02-28", "open")
    await ask(play, day=date(2026, 1, 5))
    await period(play, "jan", "2026-01-01", "2026-01-31", "closed")
    await play.advance(days=1.5)
    assert posting_days(play, "ledger.reverse") == [day]
    assert play.run().status is RunStatus.UNDONE


@pytest.mark.parametrize("rule", ["reject", "hold", "current"])
async def test_an_undo_that_no_open_period_takes_is_a_case_before_it_is_sent(rule: str) -> None:
    play = posted_and_taken_back(f"{{document: =event.data.day, posting: {rule}}}")
    await period(play, "jan", "2026-01-01", "2026-01-31", "open")
    await ask(play, day=date(2026, 1, 5))
    await period(play, "jan", "2026-01-01", "2026-01-31", "closed")
    await play.advance(days=1.5)
    case = play.case("undo_period_closed")
    assert "The period jan is closed" in case.message
    assert not play.bodies("ledger.reverse")
    await period(play, "jan", "2026-01-01", "2026-01-31", "reopened")
    await play.resolve(case, Choice.RETRY)
    assert len(play.bodies("ledger.reverse")) == 1
    assert play.run().status is RunStatus.UNDONE


async def test_an_undo_that_was_refused_is_posted_on_the_day_that_is_open_when_it_is_sent_again() -> None:
    play = posted_and_taken_back("{document: =event.data.day, posting: first_open}")
    play.systems["ledger"].script["ledger.reverse"] = [Rejected(ErrorClass.PERIOD_CLOSED, "closed there")]
    await period(play, "jan", "2026-01-01", "2026-01-31", "open")
    await period(play, "feb", "2026-02-01", "2026-02-28", "open")
    await ask(play, day=date(2026, 1, 5))
    await play.advance(days=1.5)
    case = play.case("undo_period_closed")
    await period(play, "jan", "2026-01-01", "2026-01-31", "closed")
    await play.resolve(case, Choice.RETRY)
    assert [e.state for e in play.effects("ledger.reverse")] == [EffectState.REFUSED, EffectState.CONFIRMED]
    assert posting_days(play, "ledger.reverse") == [date(2026, 1, 6), date(2026, 2, 1)]


async def test_undo_waits_for_a_call_that_is_under_way() -> None:
    play = company(UNDO)
    ledger = play.systems["ledger"]
    ledger.script["ledger.post"], ledger.answers = ["lost"], False
    await play.head("invoice", "a1", status="open", open=usd(1))
    await ask(play)
    await play.advance(minutes=20)
    await play.resolve(play.case("unknown"), Choice.UNDO)
    assert not play.bodies("bills.memo.void")
    ledger.answers = True
    await play.advance(minutes=20)
    assert play.run().status is RunStatus.UNDONE
    assert [e.operation for e in play.effects() if e.undoes] == ["ledger.reverse", "bills.memo.void"]


async def test_the_undo_of_a_list_knows_its_items() -> None:
    undo = "undo: [{call: bills.memo.debit, with: {id: =n.id}}]"
    body = listing("on_item: undo_all").replace(
        "amount: =event.data.amount}", f"amount: =event.data.amount}}, {undo}"
    )
    play = company(body)
    play.systems["bills"].script["bills.memo.issue"] = ["ok", "ok", NO]
    await ask(play, items=ids_of("a", "b", "c"))
    assert [b["id"] for b in play.bodies("bills.memo.debit")] == ["b", "a"]


# ------------------------------------------------------------------ starts

DUE = """start: {due: {object: contract, at: object.ends - days(2)}, key: object.id + '/' + string(object.ends)%s}"""


async def test_a_due_run_begins_on_its_date_which_its_object_may_move() -> None:
    play = company(
        "steps: [{wait: {until: object.ends}}]", head=(DUE % "").replace(" + '/' + string(object.ends)", "")
    )
    await play.head("contract", "k1", ends=date(2026, 1, 20), seats=1)
    await play.until(datetime(2026, 1, 10, tzinfo=UTC))
    assert not play.state().started
    await play.head("contract", "k1", ends=date(2026, 1, 13), seats=1)
    await play.until(datetime(2026, 1, 11, 1, tzinfo=UTC))
    assert play.state().started
    await play.until(datetime(2026, 1, 13, 1, tzinfo=UTC))
    assert [r.status for r in play.runs()] == [RunStatus.DONE]


async def test_a_changed_key_supersedes_the_run_at_its_date_and_may_change_back_before() -> None:
    play = company("steps: [{check: 'true', becomes: begun}]", head=DUE % "")
    await play.head("contract", "k1", ends=date(2026, 1, 20), seats=1)
    await play.head("contract", "k1", ends=date(2026, 2, 20), seats=1)
    await play.head("contract", "k1", ends=date(2026, 1, 20), seats=1)
    await play.until(datetime(2026, 3, 1, tzinfo=UTC))
    assert {r.bkey: r.state for r in play.runs()} == {"k1/2026-01-20": "begun", "k1/2026-02-20": "superseded"}


async def test_a_date_formula_without_a_value_is_a_case_and_a_corrected_object_begins() -> None:
    play = company(
        "steps: [{check: 'true', becomes: begun}]",
        head=(DUE % "").replace("object.id + '/' + string(object.ends)", "object.id"),
    )
    await play.head("contract", "k1", seats=1)
    assert play.case("invalid").path == "facts"
    await play.head("contract", "k1", seats=1, ends=date(2026, 1, 5))
    assert play.run().state == "begun"


async def test_an_event_gives_a_successor_run_to_the_same_key() -> None:
    play = company(
        "steps: [{check: run.generation > 0, outcomes: {failed: {stop: first}}, becomes: again}]",
        head=(DUE % ", generation: {event: late.v1, where: event.data.contract == object.id}"),
    )
    await play.head("contract", "k1", ends=date(2026, 1, 6), seats=1)
    await play.event("late.v1", contract="k1")
    await play.event("late.v1", contract="k1")
    assert [r.state for r in play.runs()] == ["first", "again", "again"]
    assert len({r.bkey for r in play.runs()}) == 1
    generations = [r.generation for r in play.runs()]
    assert generations == sorted(set(generations))


async def test_a_generation_of_an_unknown_object_is_held_with_a_case() -> None:
    play = company(
        "steps: [{check: 'true'}]",
        head=(DUE % ", generation: {event: late.v1, where: event.data.contract == object.id}"),
    )
    await play.event("late.v1", contract="nobody")
    assert "is about contract nobody, of which there is no record" in play.case("routing_failed").message
    assert not play.runs()
