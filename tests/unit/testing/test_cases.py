"""The steps and expectations of tests as files, and the words of a difference."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest

from counterfoil.core.finding import errors
from counterfoil.model import kinds, read
from counterfoil.testing.run import Suite
from tests.companies.base import COMPLETE_POLICY, documents

COMPANY = documents(
    COMPLETE_POLICY,
    """\
    kind: role
    name: finance
    may: [runs:any:read, approvals:any:read, approvals:own:decide, cases:any:read, cases:own:resolve]
    """.replace("    ", ""),
    dedent("""\
    kind: role
    name: agent
    may: [runs:any:read]
    ---
    kind: system
    name: bank
    role: bank
    connector: external
    owner: finance
    ---
    kind: event
    name: payment.requested.v1
    produced: http
    data: {payment_id: id, amount: money, "note?": string, requested_by: string}
    ---
    kind: event
    name: payment.noted.v1
    produced: http
    data: {payment_id: id}
    ---
    kind: operation
    name: bank.payment.send
    system: bank
    input: {payment_id: id, amount: money, account: string}
    output: {number: string, amount: money, sent_on: date}
    repeat: find
    horizon: 60s
    negative: false
    irreversible: money that was sent is sent
    ---
    kind: table
    name: accounts
    owner: finance
    key: [currency]
    value: account
    rows: [{currency: USD, account: "1000"}]
    ---
    kind: mapping
    name: to-bank
    to: {operation: bank.payment.send}
    with:
      id: =input.payment_id
      value: =major(input.amount)
      currency: =input.amount.currency
      account: =input.account
    returns:
      result:
        number: =string(result.id)
        amount: =money(result.value, result.currency)
        sent_on: =date(result.sent)
      compare: [amount]
    ---
    kind: policy
    name: large-payment
    owner: finance
    approval:
      currency: USD
      requester: event.data.requested_by
      expires: 2d
      negative: false
      matrix: [{up_to: 100, automatic: true}, {roles: [finance]}]
    ---
    kind: workflow
    name: pay
    owner: finance
    failure: careful
    start: {event: payment.requested.v1, key: event.data.payment_id}
    serial: {key: event.data.payment_id, hold: effects}
    steps:
      - approve: large-payment
        amount: event.data.amount
        covers: [event.data.amount, event.data.payment_id]
        becomes: approved
      - id: payment
        call: bank.payment.send
        with:
          payment_id: =event.data.payment_id
          amount: =event.data.amount
          account: "=table('accounts', event.data.amount.currency)"
        becomes: sent
      - wait: {event: payment.noted.v1, where: event.data.payment_id == run.key, until: +2d}
        outcomes: {timeout: park}
        becomes: noted
    """),
)
ASKED = "- {event: payment.requested.v1, from: bank, data: {payment_id: P-1, amount: 50.00 USD, requested_by: agent}}\n"
LARGE = ASKED.replace("50.00", "500.00")


def differences(folder: Path, given: str, expect: str, more: str = "") -> list[str]:
    """Return the lines of the difference of one test in the small company."""
    test = (
        f"kind: test\nname: it\n{more}given:\n{indent(given, '  ')}expect:\n{indent(dedent(expect), '  ')}\n"
    )
    (folder / "company.yaml").write_text(f"{COMPANY}---\n{test}")
    model, findings = read(folder)
    assert [str(finding) for finding in errors(findings)] == []
    suite = Suite(model)
    try:
        (document,) = [document for document, _ in model.documents_of(kinds.Test)]
        return suite.result(document).difference.splitlines()
    finally:
        suite.close()


PASSING = [
    ("a system answers plausibly", ASKED,
     ("effects: [{operation: bank.payment.send, state: confirmed, only: [input, request, result],"
     " input: {payment_id: P-1, amount: 50 USD, account: '1000'},"
     " request: {id: P-1, value: 50, currency: USD, account: '1000'},"
     " result: {number: '1', amount: 50.00 USD, sent_on: '=today'}}]")),
    ("a lasting result", "- {answer: bank.payment.send, result: {id: 77}}\n" + ASKED,
     "effects: [{operation: bank.payment.send, result: {number: '77', amount: 50.00 USD}}]"),
    ("a refusal for one call", "- {answer: bank.payment.send, refused: throttled, code: '429'}\n" + ASKED + "- {after: 1m}\n",
     "effects: [{operation: bank.payment.send, state: confirmed, attempts: 2}]"),
    ("an answer that is lost", "- {answer: bank.payment.send, fault: lost}\n" + ASKED + "- {after: 1m}\n",
     "effects: [{operation: bank.payment.send, state: confirmed, attempts: 1}]\ncases: []"),
    ("a call that never arrives", "- {answer: bank.payment.send, fault: timeout}\n" + ASKED + "- {after: 10m}\n",
     "effects: [{operation: bank.payment.send, state: absent}, {operation: bank.payment.send, state: confirmed}]\ncases: []"),
    ("a condition on the request", "- {answer: bank.payment.send, request: {id: P-2}, refused: invalid}\n" + ASKED,
     "runs: [{workflow: pay, state: sent}]"),
    ("an outage", "- {down: bank, for: 1m}\n" + ASKED + "- {after: 20m}\n", "runs: [{workflow: pay, state: sent}]"),
    ("an open approval", LARGE, "approvals: [{policy: large-payment, state: open, roles: [finance], amount: 500 USD}]\neffects: []"),
    ("a granted approval", LARGE + "- {approve: large-payment, by: finance}\n", "runs: [{workflow: pay, state: sent}]"),
    ("a rejected approval", LARGE + "- {reject: large-payment, by: finance}\n", "cases: [{reason: rejected}]\neffects: []"),
    ("a refused vote", LARGE + "- {approve: large-payment, by: agent, refused: true}\n", "effects: []"),
    ("an expired approval", LARGE + "- {after: 2d}\n", "approvals: [{policy: large-payment, state: expired}]"),
    ("a decision on a Case", "- {answer: bank.payment.send, refused: invalid}\n" + ASKED
     + "- {resolve: invalid, by: finance, choice: retry}\n",
     "cases: [{reason: invalid, state: resolved}]\nruns: [{workflow: pay, state: sent}]"),
    ("an event that is waited for", ASKED + "- {event: payment.noted.v1, from: bank, data: {payment_id: P-1}}\n",
     "runs: [{workflow: pay, state: noted, status: done}]"),
    ("words of what a Run waits for", ASKED, "runs: [{workflow: pay, waits_for: event payment.noted.v1}]"),
    ("counts", ASKED, "runs: [{workflow: pay, times: 1}]\ncases: [{reason: unknown, times: 0}]"),
    ("complete lists", ASKED, "effects: [{operation: bank.payment.send}]\nonly: [effects, cases]"),
    ("nothing, where there is nothing", ASKED, "effects: [{operation: bank.payment.send, error: '=null'}]"),
    ("a formula", ASKED, "events: [{type: payment.requested.v1, data: {payment_id: \"='P-' + string(1)\"}}]"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "expect"), [row[1:] for row in PASSING], ids=[row[0] for row in PASSING])
def test_it_passes(tmp_path: Path, given: str, expect: str) -> None:
    assert differences(tmp_path, given, expect) == []


DIFFERENT = [
    ("another value", ASKED, "effects: [{operation: bank.payment.send, input: {amount: 51.00 USD}}]",
     ["effects[0] bank.payment.send: none is as expected", "    input.amount: expected 51.00 USD, actual 50.00 USD"]),
    ("another type", ASKED, "effects: [{operation: bank.payment.send, request: {value: '50.00'}}]",
     ["effects[0] bank.payment.send: none is as expected", "    request.value: expected the text '50.00', actual the number 50.00"]),
    ("a key that is close", ASKED, "effects: [{operation: bank.payment.send, request: {currencey: USD}}]",
     ["effects[0] bank.payment.send: none is as expected", "    request.currencey: expected USD, actual nothing (did you mean `currency`?)"]),
    ("a value too many", ASKED, "effects: [{operation: bank.payment.send, only: [input], input: {payment_id: P-1, account: '1000'}}]",
     ["effects[0] bank.payment.send: none is as expected", "    input.amount: not expected, actual 50.00 USD"]),
    ("none of that name", LARGE, "effects: [{operation: bank.payment.send}]",
     ["effects[0] bank.payment.send: there is none", "    there are no effects"]),
    ("others of that kind", ASKED, "events: [{type: payment.noted.v1}]",
     ["events[0] payment.noted.v1: there is none", "    there are: payment.requested.v1; did you mean `payment.requested.v1`?"]),
    ("what a Run waits for", LARGE, "runs: [{workflow: pay, state: sent}]",
     ["runs[0] pay: none is as expected", "    state: expected sent, actual started",
      "    it waits for approval of 500.00 USD by finance until 2026-01-17 09:00 UTC"]),
    ("the Case that may be the cause", "- {answer: bank.payment.send, refused: invalid, message: no such account}\n" + ASKED,
     "effects: [{operation: bank.payment.send, state: confirmed}]",
     ["effects[0] bank.payment.send: none is as expected", "    state: expected confirmed, actual refused",
      "open Cases:", "    invalid, open, 50.00 USD, bank.payment.send: invalid: no such account"]),
    ("no text, where there is one", ASKED, "runs: [{workflow: pay, waits_for: ''}]",
     ["runs[0] pay: none is as expected",
      "    waits_for: expected '', actual event payment.noted.v1 until 2026-01-17 09:00 UTC"]),
    ("nothing in a map", ASKED, "effects: [{operation: bank.payment.send, input: {}}]",
     ["effects[0] bank.payment.send: none is as expected", "    input.account: not expected, actual 1000",
      "    input.amount: not expected, actual 50.00 USD", "    input.payment_id: not expected, actual P-1"]),
    ("fewer than expected", ASKED, "runs: [{workflow: pay}, {workflow: pay}]",
     ["runs[1] pay: expected one more; there is only 1"]),
    ("another count", ASKED, "runs: [{workflow: pay, times: 2}]", ["runs[0] pay: expected 2, actual 1"]),
    ("a record that nothing expects", ASKED, "effects: []",
     ["effects: not expected, but there:", "    bank.payment.send, confirmed"]),
    ("no open approval", ASKED + "- {approve: large-payment, by: finance}\n", "effects: []",
     ["given[1]: no approval of large-payment is open; large-payment is granted"]),
    ("a vote without the right", LARGE + "- {approve: large-payment, by: agent}\n", "effects: []",
     ["given[1]: the vote of agent on large-payment was refused: requester"]),
    ("a vote that should be refused", LARGE + "- {approve: large-payment, by: finance, refused: true}\n", "effects: []",
     ["given[1]: the vote of finance on large-payment was accepted"]),
    ("no open Case", ASKED + "- {resolve: unknown, by: finance, choice: retry}\n", "effects: []",
     ["given[1]: no Case unknown is open; open Cases: none"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expect", "lines"), [row[1:] for row in DIFFERENT], ids=[row[0] for row in DIFFERENT]
)
def test_a_difference_is_said_in_words(tmp_path: Path, given: str, expect: str, lines: list[str]) -> None:
    assert differences(tmp_path, given, expect) == lines


def test_rows_of_a_table_hold_for_one_test(tmp_path: Path) -> None:
    rows = 'tables: {accounts: [{currency: USD, account: "2000"}]}\n'
    expect = "effects: [{operation: bank.payment.send, request: {account: '2000'}}]"
    assert differences(tmp_path, ASKED, expect, rows) == []


def test_the_most_general_entry_leaves_the_special_record_to_the_other(tmp_path: Path) -> None:
    second = ASKED.replace("P-1", "P-2")
    expect = "runs: [{workflow: pay}, {workflow: pay, key: P-1}]"
    assert differences(tmp_path, ASKED + second, expect) == []


def test_time_passes_only_where_the_test_says_so(tmp_path: Path) -> None:
    refused = "- {answer: bank.payment.send, refused: transient}\n"
    expect = "effects: [{operation: bank.payment.send, attempts: 1}]"
    assert differences(tmp_path, refused + ASKED, expect) == []


TWO_EVENTS = documents(
    COMPLETE_POLICY,
    dedent("""\
    {kind: role, name: finance, may: [runs:any:read]}
    ---
    {kind: system, name: bills, role: billing, connector: external, owner: finance}
    ---
    {kind: object, name: invoice, system: bills, fields: {status: string}}
    ---
    {kind: event, name: invoice.requested.v1, produced: http, data: {invoice_id: id}}
    ---
    {kind: event, name: invoice.changed.v1, object: invoice, produced: http, data: {invoice_id: id, status: string}}
    ---
    kind: workflow
    name: open-and-pay
    owner: finance
    failure: careful
    start: {event: invoice.requested.v1, key: event.data.invoice_id}
    steps:
      - {emit: invoice.changed.v1, data: {invoice_id: =event.data.invoice_id, status: open}}
      - {emit: invoice.changed.v1, data: {invoice_id: =event.data.invoice_id, status: paid}}
      - stop: done
    ---
    kind: test
    name: in-order
    given:
      - {event: invoice.requested.v1, data: {invoice_id: I-1}}
      - {after: 1h}
    expect:
      cases: []
      events: [{type: invoice.changed.v1, times: 2}]
    """),
)


def test_events_of_one_turn_do_not_contradict_each_other(tmp_path: Path) -> None:
    """The later one counts. With one version for both, a Case `tie` would say that their order is unknown."""
    (tmp_path / "company.yaml").write_text(TWO_EVENTS)
    model, findings = read(tmp_path)
    assert [str(finding) for finding in errors(findings)] == []
    suite = Suite(model)
    try:
        (result,) = suite.results([document for document, _ in model.documents_of(kinds.Test)])
    finally:
        suite.close()
    assert result.difference == ""
