"""Two legal entities in one folder: facts of each by its own system, calls by the system that stands for the other."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from textwrap import dedent, indent

import pytest

from counterfoil.core.document import in_ledger
from counterfoil.core.finding import errors
from counterfoil.model import Model, kinds, read
from counterfoil.testing.run import Suite
from tests.companies.base import COMPLETE_POLICY, documents

COMPANY = documents(
    COMPLETE_POLICY,
    dedent("""\
    kind: role
    name: finance
    may: [runs:any:read]
    ---
    {kind: legal_entity, name: acme-us, title: Acme Inc., country: US, currency: USD, zone: America/New_York, default: true}
    ---
    {kind: legal_entity, name: acme-de, title: Acme GmbH, country: DE, currency: EUR, zone: Europe/Berlin, region: eu}
    ---
    {kind: system, name: bills, role: billing, connector: external, owner: finance, legal_entity: acme-us}
    ---
    {kind: system, name: bills-de, role: billing, connector: external, owner: finance, legal_entity: acme-de, stands_for: bills}
    ---
    {kind: system, name: books, role: erp, connector: external, owner: finance, legal_entity: acme-us}
    ---
    {kind: system, name: books-de, role: erp, connector: external, owner: finance, legal_entity: acme-de, stands_for: books}
    ---
    {kind: system, name: desk, role: support, connector: external, owner: finance}
    ---
    {kind: object, name: invoice, system: bills, fields: {total: money}}
    ---
    {kind: event, name: invoice.issued.v1, object: invoice, data: {invoice_id: id, total: money}}
    ---
    {kind: event, name: ticket.noted.v1, data: {invoice_id: id}}
    ---
    kind: mapping
    name: from-desk
    from: {system: desk, type: ticket}
    let: {invoice: "canon('invoice', body.invoice, 'bills')"}
    emit:
      type: ticket.noted.v1
      key: =body.id
      version: =body.version
      legal_entity: "=head('invoice', invoice).legal_entity"
      data: {invoice_id: =invoice}
    ---
    kind: workflow
    name: note
    owner: finance
    failure: careful
    start: {event: ticket.noted.v1, key: event.data.invoice_id}
    steps: [{check: run.legal_entity == 'acme-de', outcomes: {failed: park}, becomes: noted}]
    ---
    {kind: event, name: invoice.booked.v1, data: {invoice_id: id, number: string, total: money}}
    ---
    kind: mapping
    name: from-bills
    from: {system: bills, type: invoice}
    emit:
      type: invoice.issued.v1
      key: =body.id
      version: =body.version
      data: {invoice_id: "=canon('invoice', body.id)", total: "=money(body.total, body.currency)"}
    ---
    kind: mapping
    name: from-books
    from: {system: books, type: entry}
    emit:
      type: invoice.booked.v1
      key: =body.number
      version: =body.version
      data: {invoice_id: =body.reference, number: =body.number, total: "=money(body.total, body.currency)"}
    ---
    kind: operation
    name: books.invoice.post
    system: books
    input: {invoice_id: id, total: money, account: string, bill: string}
    output: {number: string}
    repeat: find
    horizon: 60s
    negative: false
    irreversible: a posted entry stays
    ---
    kind: table
    name: accounts
    owner: finance
    key: [entity]
    value: account
    valid_from: since
    rows:
      - {entity: acme-us, account: "4000", since: "2020-01-01"}
      - {entity: acme-de, account: "8400", since: "2020-01-01"}
      - {entity: acme-de, account: "8401", since: "2030-01-01"}
    ---
    kind: mapping
    name: to-books
    to: {operation: books.invoice.post, system: books}
    with:
      reference: =input.invoice_id
      total: =major(input.total)
      account: =input.account
      bills: ["=input.bill", "=xref('invoice', input.invoice_id, 'bills')"]
    returns: {result: {number: =string(result.number)}}
    ---
    kind: workflow
    name: post
    owner: finance
    failure: careful
    start: {event: invoice.issued.v1, key: event.data.invoice_id}
    serial: {key: event.data.invoice_id, hold: effects}
    steps:
      - call: books.invoice.post
        with:
          invoice_id: =event.data.invoice_id
          total: =event.data.total
          account: "=table('accounts', run.legal_entity)"
          bill: "=xref('invoice', event.data.invoice_id, 'bills')"
        becomes: posted
      - wait: {foils: all, until: +1d}
        outcomes: {timeout: park}
        becomes: reconciled
    ---
    kind: reconciliation
    name: booked
    owner: finance
    object: invoice
    left: bills
    right: books
    key: event.data.invoice_id
    legs: {gross: {total: true}}
    assert:
      - {event: invoice.issued.v1, document: event.data.invoice_id, legs: {gross: event.data.total}, due: +1d}
    observe:
      - {event: invoice.booked.v1, document: event.data.number, legs: {gross: event.data.total}}
    unmatched: {grace: +1d}
    """),
)
GERMAN = "- {receipt: invoice, from: bills-de, body: {id: in-1, version: 1, total: 119, currency: EUR}}\n"
HOME = "- {receipt: invoice, from: bills, body: {id: in-1, version: 1, total: 100, currency: USD}}\n"


def booked(system: str, total: str) -> str:
    """Return the step by which a ledger shows the invoice `in-1` of its billing system. Both ledgers number from one."""
    canonical = {"books": "bills", "books-de": "bills-de"}[system]
    return (
        f"- {{receipt: entry, from: {system}, body: {{number: E-1, version: 2, "
        f"reference: \"=canon('invoice', 'in-1', '{canonical}')\", {total}}}}}\n"
    )


def model_in(folder: Path, test: str = "") -> Model:
    (folder / "company.yaml").write_text(f"{COMPANY}---\n{test}" if test else COMPANY)
    model, findings = read(folder)
    assert [str(finding) for finding in errors(findings)] == []
    return model


def differences(folder: Path, given: str, expect: str) -> list[str]:
    """Return the lines of the difference of one test in the company."""
    test = f"kind: test\nname: it\ngiven:\n{indent(given, '  ')}expect:\n{indent(dedent(expect), '  ')}\n"
    model = model_in(folder, test)
    suite = Suite(model)
    try:
        (document,) = [document for document, _ in model.documents_of(kinds.Test)]
        return suite.result(document).difference.splitlines()
    finally:
        suite.close()


def test_a_run_calls_the_system_of_its_entity(tmp_path: Path) -> None:
    expect = """\
    events:
      - {type: invoice.issued.v1, system: bills-de, legal_entity: acme-de}
      - {type: invoice.issued.v1, system: bills, legal_entity: acme-us}
    runs:
      - {workflow: post, legal_entity: acme-de, state: posted}
      - {workflow: post, legal_entity: acme-us, state: posted}
    effects:
      - {operation: books.invoice.post, system: books-de, state: confirmed, input: {account: '8400', total: 119 EUR}}
      - {operation: books.invoice.post, system: books, state: confirmed, input: {account: '4000', total: 100 USD}}
    foils:
      - {reconciliation: booked, legal_entity: acme-de, asserted: {gross: 119 EUR}}
      - {reconciliation: booked, legal_entity: acme-us, asserted: {gross: 100 USD}}
    cases: []
    only: [events, runs, effects, foils]
    """
    assert differences(tmp_path, GERMAN + HOME, expect) == []


@pytest.mark.parametrize("system", ["books", "books-de"])
def test_the_books_of_another_entity_do_not_match(tmp_path: Path, system: str) -> None:
    given = GERMAN + booked("books-de", "total: 119, currency: EUR").replace(
        "from: books-de", f"from: {system}"
    )
    state = "matched" if system == "books-de" else "broken"
    reason = "" if system == "books-de" else ", reason: entity"
    expect = f"foils: [{{reconciliation: booked, state: {state}{reason}, legal_entity: acme-de}}]"
    assert differences(tmp_path, given, expect) == []


def test_ids_are_those_of_the_system_that_stands_for_the_named_one(tmp_path: Path) -> None:
    expect = """\
    effects:
      - {operation: books.invoice.post, system: books-de, request: {bills: [in-1, in-1]}}
      - {operation: books.invoice.post, system: books, request: {bills: [in-1, in-1]}}
    cases: []
    """
    assert differences(tmp_path, GERMAN + HOME, expect) == []


BOTH = (
    HOME
    + GERMAN
    + booked("books", "total: 100, currency: USD")
    + booked("books-de", "total: 119, currency: EUR")
)


def test_equal_numbers_of_two_ledgers_are_two_documents(tmp_path: Path) -> None:
    expect = """\
    foils:
      - {reconciliation: booked, state: matched, legal_entity: acme-us, asserted: {gross: 100 USD}}
      - {reconciliation: booked, state: matched, legal_entity: acme-de, asserted: {gross: 119 EUR}}
    unmatched: []
    """
    assert differences(tmp_path, BOTH, expect) == []


def test_equal_numbers_that_nothing_asserts_are_two_items(tmp_path: Path) -> None:
    given = "".join(booked(system, "total: 7, currency: EUR") for system in ("books", "books-de"))
    expect = """\
    unmatched:
      - {reconciliation: booked, document: E-1, legal_entity: acme-us, amounts: {gross: 7 EUR}}
      - {reconciliation: booked, document: E-1, legal_entity: acme-de, amounts: {gross: 7 EUR}}
    """
    assert differences(tmp_path, given, expect) == []


def test_a_number_that_names_a_system_as_well_is_held(tmp_path: Path) -> None:
    foreign = in_ledger("books-de", "E-1")
    given = BOTH + booked("books", "total: 1, currency: USD").replace("E-1", foreign)
    expect = """\
    foils:
      - {reconciliation: booked, state: matched, legal_entity: acme-us}
      - {reconciliation: booked, state: matched, legal_entity: acme-de}
    cases: [{reason: routing_failed, message: names a system as well}]
    """
    assert differences(tmp_path, given, expect) == []


@pytest.mark.parametrize("invoice", [HOME, GERMAN])
def test_a_refused_posting_and_its_missing_document_are_one_case(tmp_path: Path, invoice: str) -> None:
    answer = "- {answer: books.invoice.post, refused: invalid, message: no such account}\n"
    expect = "cases: [{reason: invalid, message: no such account}]\nonly: [cases]"
    assert differences(tmp_path, answer + invoice + "- {after: 2d}\n", expect) == []


def test_a_shared_system_names_records_of_either_account(tmp_path: Path) -> None:
    given = GERMAN + "- {receipt: ticket, from: desk, body: {id: t-1, version: 1, invoice: in-1}}\n"
    expect = "runs: [{workflow: note, legal_entity: acme-de, state: noted, status: done}]"
    assert differences(tmp_path, given, expect) == []


def test_a_system_tells_no_facts_of_another_entity(tmp_path: Path) -> None:
    given = (
        "- {event: invoice.booked.v1, from: books-de, legal_entity: acme-us,"
        " data: {invoice_id: i-1, number: N-1, total: 5 EUR}}\n"
    )
    expect = "cases: [{reason: ownership, message: books-de belongs to the legal entity acme-de}]\nevents: []"
    assert differences(tmp_path, given, expect) == []


def test_a_stand_in_has_operations_mappings_and_ids_of_its_own(tmp_path: Path) -> None:
    model = model_in(tmp_path)
    german, home = model.at("acme-de", date(2026, 5, 1)), model.at("acme-us", date(2026, 5, 1))
    assert german.operations["books.invoice.post"].system == "books-de"
    assert german.workflow("post").operations["books.invoice.post"].system == "books-de"
    assert home is model
    assert home.operations["books.invoice.post"].system == "books"
    assert [m.system for m in model.inbound("books-de", "entry")] == ["books-de"]
    assert [m.system for m in model.inbound("books", "entry")] == ["books"]
    assert model.family("books-de") == "books"
    assert model.members("books") == ["books", "books-de"]


def test_a_table_answers_for_the_day_that_follows_its_keys(tmp_path: Path) -> None:
    model = model_in(tmp_path)
    today = date(2026, 5, 1)
    assert model.lookup_table("accounts", ["acme-de"], today) == "8400"
    assert model.lookup_table("accounts", ["acme-de", date(2031, 1, 1)], today) == "8401"
    assert model.lookup_table("accounts", ["acme-de", datetime(2019, 1, 1, tzinfo=UTC)], today) is None
