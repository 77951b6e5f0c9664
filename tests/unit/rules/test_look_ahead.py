"""What can be rendered before a Run's first write is rendered before it: a fault of a later call costs no undo."""

from __future__ import annotations

from typing import Any

import pytest

from counterfoil.connectors.sdk import Rejected
from counterfoil.core.case import Choice
from counterfoil.core.errors import ErrorClass
from counterfoil.core.money import Money
from counterfoil.core.run import RunStatus
from tests.unit.rules.company import ask, company, usd
from tests.unit.rules.driver import Play

MEMO = "{id: memo, call: bills.memo.issue, with: {id: =event.data.id, amount: =event.data.amount}}"
BOOK = """
kind: operation
name: ledger.book
system: ledger
input: {id: id, memo?: id, reason?: string, account?: string, partner_id?: id, lines?: [any], day?: date}
repeat: find
horizon: 60s
irreversible: kept
---
{kind: table, name: accounts, owner: finance, key: [reason], value: account, rows: [{reason: sla, account: '4800'}]}
"""
INCIDENT = "{call: ledger.book, with: {id: =event.data.id, reason: =event.data.incident}}"
ACCOUNT = "with: {account: \"=table('accounts', input.reason)\"}"


def booking(steps: str, mapping: str = ACCOUNT, *more: str, operation: str = BOOK) -> Play:
    outbound = f"kind: mapping\nname: ledger-book\nto: {{operation: ledger.book}}\n{mapping}\n"
    return company(steps, operation, outbound, *more)


def later(call: str = INCIDENT) -> str:
    return f"steps:\n  - {MEMO}\n  - {call}\n"


def calls(play: Play) -> tuple[int, int]:
    return len(play.bodies("bills.memo.issue")), len(play.bodies("ledger.book"))


# ------------------------------------------------------------------ tables


async def test_a_table_without_a_row_opens_the_case_before_billing_has_acted() -> None:
    play = booking(later())
    await ask(play, incident="goodwill")
    case = play.case("invalid")
    assert calls(play) == (0, 0)
    assert "the table accounts has no row for goodwill" in case.message
    assert "ledger.book" in case.message
    assert set(case.choices) == {Choice.RETRY, Choice.UNDO, Choice.CLOSE}
    await play.resolve(case, Choice.UNDO)
    assert (play.run().status, calls(play)) == (RunStatus.UNDONE, (0, 0))


async def test_with_its_row_everything_is_sent() -> None:
    play = booking(later())
    await ask(play, incident="sla")
    assert (play.run().status, calls(play)) == (RunStatus.DONE, (1, 1))
    assert play.bodies("ledger.book") == [{"account": "4800"}]


FAULTS: dict[str, tuple[str, str]] = {
    "in a list": (INCIDENT, "with: {lines: [{account: \"=table('accounts', input.reason)\"}]}"),
    "in a repeated list": (
        INCIDENT,
        "with: {lines: {each: '[1, 2]', as: n, data: {n: =n, account: \"=table('accounts', input.reason)\"}}}",
    ),
    "by a let": (INCIDENT, "let: {account: \"table('accounts', input.reason)\"}\nwith: {account: =account}"),
    "by a let of a let": (
        INCIDENT,
        "let: {row: \"table('accounts', input.reason)\", account: row}\nwith: {account: =account}",
    ),
    "beside what an earlier result gives": (
        "{call: ledger.book, with: {id: =event.data.id, memo: =memo.id, reason: =event.data.incident}}",
        "with: {memo: =input.memo, account: \"=table('accounts', input.reason)\"}",
    ),
    "behind a true guard": (
        "{when: event.data.incident != 'none', call: ledger.book, with: {id: =event.data.id, reason: =event.data.incident}}",
        ACCOUNT,
    ),
    "in a branch": (
        f"{{choose: [{{when: 'event.data.incident == \"goodwill\"', then: [{INCIDENT}]}}]}}",
        ACCOUNT,
    ),
    "in a list of calls": (
        "{each: '[\"sla\", event.data.incident]', as: reason, do: [{call: ledger.book, with: {id: =event.data.id, reason: =reason}}]}",
        ACCOUNT,
    ),
    "after a wait": (f"{{wait: {{event: paid.v1}}}}\n  - {INCIDENT}", ACCOUNT),
    "after an approval": (
        f"{{approve: review, amount: event.data.amount, covers: [event.data.id]}}\n  - {INCIDENT}",
        ACCOUNT,
    ),
    "a field of another type": (INCIDENT, "with: {account: =int(input.reason)}"),
    "an assertion": (INCIDENT, "with: {account: =input.reason}\nassert: input.reason == 'sla'"),
    "an input": ("{call: ledger.book, with: {id: =event.data.id, reason: =string(1 / 0)}}", ACCOUNT),
    "a date": (
        "{call: ledger.book, with: {id: =event.data.id}, dates: {document: =event.data.incident}}",
        "with: {day: =dates.document}",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_of_a_later_call_is_found_before_the_first_write(name: str) -> None:
    call, mapping = FAULTS[name]
    play = booking(later(call), mapping)
    await ask(play, incident="goodwill")
    assert play.case("invalid")
    assert not play.bodies("bills.memo.issue")


LEFT_OUT = {
    "a false guard": (
        "{when: event.data.incident == 'sla', call: ledger.book, with: {id: =event.data.id, reason: =event.data.incident}}",
        ACCOUNT,
    ),
    "a false check before": (
        f"{{check: event.data.incident == 'sla', outcomes: {{failed: {{stop: refused}}}}}}\n  - {INCIDENT}",
        ACCOUNT,
    ),
    "a check of a result before": (
        f"{{check: memo.id == 'other', outcomes: {{failed: {{stop: refused}}}}}}\n  - {INCIDENT}",
        ACCOUNT,
    ),
    "a guard by a result": (
        "{when: memo.id == 'other', call: ledger.book, with: {id: =event.data.id, reason: =event.data.incident}}",
        ACCOUNT,
    ),
    "a branch by a result": (f"{{choose: [{{when: memo.id == 'other', then: [{INCIDENT}]}}]}}", ACCOUNT),
    "another branch": (f"{{choose: [{{when: 'true', then: [{{stop: refused}}]}}]}}\n  - {INCIDENT}", ACCOUNT),
    "a guard by the state": (
        "{when: run.state == 'other', call: ledger.book, with: {id: =event.data.id, reason: =event.data.incident}}",
        ACCOUNT,
    ),
    "a field that may be empty": (
        INCIDENT,
        "with: {account: \"=first(table('accounts', input.reason), null)\"}",
    ),
    "a choice with null": (
        INCIDENT,
        "with: {account: \"=input.reason == 'goodwill' ? null : table('accounts', input.reason)\"}",
    ),
    "a default": (INCIDENT, "with: {account: \"=first(table('accounts', input.reason), '4999')\"}"),
    "a reaction of the workflow's own": (
        "{call: ledger.book, with: {id: =event.data.id, reason: =event.data.incident}, outcomes: {invalid: {stop: refused}}}",
        ACCOUNT,
    ),
    "an empty list": ("{each: '[]', as: n, do: [" + INCIDENT + "]}", ACCOUNT),
    "a head that the first write changes": (
        "{call: ledger.book, with: {id: =event.data.id, reason: \"=head('invoice', event.data.invoice_id).status\"}}",
        "with: {account: \"=input.reason == 'open' ? null : table('accounts', input.reason)\"}",
    ),
}


@pytest.mark.parametrize("name", LEFT_OUT)
async def test_what_is_guarded_or_not_known_stops_nothing_before_the_first_write(name: str) -> None:
    call, mapping = LEFT_OUT[name]
    play = booking(later(call), mapping)
    await play.head("invoice", "i1", status="open", open=usd(20))
    await ask(play, incident="goodwill")
    assert len(play.bodies("bills.memo.issue")) == 1


async def test_a_later_call_that_undoes_on_such_a_fault_undoes_before_anything_was_done() -> None:
    call = "{call: ledger.book, with: {id: =event.data.id, reason: =event.data.incident}, outcomes: {invalid: undo}}"
    play = booking(later(call))
    await ask(play, incident="goodwill")
    assert (play.run().status, calls(play)) == (RunStatus.UNDONE, (0, 0))


async def test_a_result_that_leads_to_no_row_is_a_case_after_the_first_write() -> None:
    call = "{call: ledger.book, with: {id: =event.data.id, reason: =memo.state}}"
    play = booking(later(call))
    play.systems["bills"].results["bills.memo.issue"] = lambda _: {"id": "m1", "state": "goodwill"}
    await ask(play)
    assert "has no row for goodwill" in play.case("invalid").message
    assert calls(play) == (1, 0)


async def test_a_required_field_of_an_input_needs_its_row_too() -> None:
    operation = BOOK.replace("account?: string", "account: string")
    call = "{call: ledger.book, with: {id: =event.data.id, account: \"=table('accounts', event.data.incident)\"}}"
    mapping = "with: {account: =input.account}"
    play = booking(later(call), mapping, operation=operation)
    await ask(play, incident="goodwill")
    row = "account is required, and the table accounts has no row for goodwill"
    assert row in play.case("invalid").message
    assert calls(play) == (0, 0)
    only = booking(f"steps: [{call}]", mapping, operation=operation)
    await ask(only, incident="goodwill")
    assert row in only.case("invalid").message
    assert calls(only) == (0, 0)
    optional = booking(later(call), mapping)
    await ask(optional, incident="goodwill")
    assert calls(optional) == (1, 1)


VALUES = {"money": "usd(5)", "count": "7", "text": "input.reason", "written text": "'v7'"}
NO_VALUES = {"null": "null", "yes or no": "input.id == 'a1'", "a list": "[input.id]"}


def counterfoil(**fields: str) -> str:
    """Return a reconciliation by which `ledger.book` asserts a document, with these fields."""
    asserted = {"key": "input.id", **fields}
    lines = "".join(f"    {name}: {text}\n" for name, text in asserted.items())
    return (
        "kind: reconciliation\nname: booking\nobject: invoice\nleft: bills\nright: ledger\n"
        f"assert:\n  - operation: ledger.book\n{lines}"
        "observe:\n  - {event: posted.v1, key: event.data.id, legs: {gross: event.data.amount}}\n"
    )


def with_counterfoil(**fields: str) -> Play:
    return booking(later(), ACCOUNT, counterfoil(**fields))


@pytest.mark.parametrize("name", VALUES)
async def test_a_leg_of_any_type_is_known_before_the_first_write(name: str) -> None:
    value = VALUES[name].replace("usd(5)", "money('5.00', 'USD')")
    play = with_counterfoil(legs=f'{{gross: "{value}"}}')
    await ask(play, incident="sla")
    assert ([case.reason for case in play.cases()], calls(play)) == ([], (1, 1))


@pytest.mark.parametrize("name", NO_VALUES)
async def test_a_leg_without_a_value_is_found_before_the_first_write(name: str) -> None:
    play = with_counterfoil(legs=f'{{gross: "{NO_VALUES[name]}"}}')
    await ask(play, incident="sla")
    assert "leg gross of booking is neither money" in play.case("invalid").message
    assert calls(play) == (0, 0)


@pytest.mark.parametrize("field", ["key", "document", "entity", "effective", "names", "reverses", "stands"])
async def test_each_formula_of_a_counterfoil_is_tried_before_the_first_write(field: str) -> None:
    play = with_counterfoil(**{"legs": '{gross: "1"}', field: "string(1 / (size(input.id) - 2))"})
    await ask(play, incident="sla")
    assert "division by zero" in play.case("invalid").message
    assert calls(play) == (0, 0)


async def test_the_legs_of_a_counterfoil_that_does_not_stand_are_not_read() -> None:
    play = with_counterfoil(legs='{gross: "null"}', stands="false")
    await ask(play, incident="sla")
    assert calls(play) == (1, 1)


# ------------------------------------------------------------------ Links

PARTNER = "{call: ledger.book, with: {id: =event.data.id, partner_id: =event.data.invoice_id}}"
PARTY = "with: {party: \"=xref('partner', input.partner_id)\"}"


async def test_a_missing_link_of_a_later_call_is_carried_over_before_the_first_write() -> None:
    play = booking(later(PARTNER), PARTY)
    await play.head("partner", "i1", name="Ann")
    play.systems["ledger"].script["ledger.partner"] = [Rejected(ErrorClass.TRANSIENT, "later")]
    await ask(play)
    assert calls(play) == (0, 0)
    await play.advance(minutes=5)
    assert play.run("partner-sync").status is RunStatus.DONE
    assert (play.run("flow").status, calls(play)) == (RunStatus.DONE, (1, 1))


async def test_a_link_of_a_later_call_that_never_comes_is_a_case_before_the_first_write() -> None:
    play = booking(later(PARTNER), PARTY)
    await ask(play)
    await play.advance(hours=11)
    assert play.case("not_found")
    assert calls(play) == (0, 0)


async def test_a_link_that_an_earlier_call_of_the_run_creates_is_not_waited_for() -> None:
    play = booking(
        f"steps:\n  - {MEMO}\n  - {{call: ledger.partner, with: {{partner_id: =event.data.invoice_id}}}}\n  - {PARTNER}\n",
        PARTY,
    )
    await ask(play)
    assert (play.run("flow").status, calls(play)) == (RunStatus.DONE, (1, 1))


# ------------------------------------------------------------------ afterwards


async def test_a_person_retries_when_the_record_was_corrected() -> None:
    play = booking(
        "facts: {inv: {head: invoice, of: event.data.invoice_id}}\n"
        + later("{call: ledger.book, with: {id: =event.data.id, reason: =inv.status}}")
    )
    await play.head("invoice", "i1", status="odd", open=usd(1))
    await ask(play)
    case = play.case("invalid")
    await play.head("invoice", "i1", status="sla", open=usd(1))
    await play.resolve(case, Choice.RETRY)
    assert (play.run().status, calls(play)) == (RunStatus.DONE, (1, 1))


async def test_every_item_of_a_list_is_tried_before_the_first_one_is_sent() -> None:
    play = booking(
        "steps: [{each: event.data.items, as: reason, key: reason, do: [{call: ledger.book, with: {id: =event.data.id, reason: =reason}}]}]"
    )
    await ask(play, items=["sla", "goodwill"])
    assert play.case("invalid")
    assert calls(play) == (0, 0)


async def test_a_step_of_a_branch_sees_what_comes_after_the_branch() -> None:
    play = booking(f"steps:\n  - choose: [{{when: 'true', then: [{MEMO}]}}]\n  - {INCIDENT}\n")
    await ask(play, incident="goodwill")
    assert play.case("invalid")
    assert calls(play) == (0, 0)


async def test_a_signal_that_interrupts_sees_the_interrupted_steps() -> None:
    play = booking(
        f"signals: [{{event: stopped.v1, do: [{MEMO}]}}]\nsteps:\n  - {{wait: {{event: paid.v1}}}}\n  - {INCIDENT}\n"
    )
    await ask(play, incident="goodwill")
    await play.event("stopped.v1", id="s1")
    assert play.case("invalid")
    assert calls(play) == (0, 0)


async def test_a_long_list_is_tried_within_a_bound() -> None:
    rows: list[Any] = ["sla"] * 300
    play = booking(
        "steps: [{each: event.data.items, as: reason, do: [{call: ledger.book, with: {id: =event.data.id, reason: =reason}}]}]"
    )
    await ask(play, items=rows)
    assert (play.run().status, calls(play)) == (RunStatus.DONE, (0, 300))


async def test_the_example_of_two_currencies_ends_by_its_check() -> None:
    play = booking(
        "facts: {inv: {head: invoice, of: event.data.invoice_id}}\n"
        "let: {open_part: 'min(event.data.amount, inv.open)'}\n"
        "steps:\n"
        "  - {check: inv.open.currency == event.data.amount.currency, outcomes: {failed: {stop: refused}}}\n"
        "  - {id: memo, call: bills.memo.issue, with: {id: =event.data.id, amount: =open_part}}\n"
    )
    await play.head("invoice", "i1", status="open", open=Money.from_major(30, "EUR"))
    await ask(play, amount=usd(50))
    assert (play.run().state, calls(play)) == ("refused", (0, 0))
    assert not play.cases()
