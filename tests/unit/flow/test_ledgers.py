"""A store from before documents of two ledgers had names of their own: equal numbers are two documents afterwards."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from counterfoil.core.document import in_ledger
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.worker.rebuild import digest_of, rebuild_documents
from counterfoil.model import Model, kinds
from counterfoil.rules import matching
from counterfoil.store.check import violations
from counterfoil.store.port.documents import PutMatchBasis
from tests.unit.flow.test_default_entity import KeepingSuite
from tests.unit.testing.test_entities import BOTH, model_in

END = datetime(2026, 2, 1, tzinfo=UTC)
TEST = f"kind: test\nname: both\ngiven:\n{''.join('  ' + line + chr(10) for line in BOTH.splitlines())}expect: {{cases: []}}\n"


def after_upgrade(model: Model, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """Return the rows that the former reading of documents wrote, and those after the present one was read again."""
    suite = KeepingSuite(model)
    try:
        (document,) = [document for document, _ in model.documents_of(kinds.Test)]
        with monkeypatch.context() as former:
            former.setattr(matching, "_name", lambda _, document: document)
            suite.result(document)
        run = suite._loop.run
        digest = PutMatchBasis(rule="booked", digest="former", at=END)
        run(suite.store.apply(digest))
        before = run(suite.store.dump())
        assert run(rebuild_documents(suite.store, Releases(suite.store, model))) == 1
        assert run(rebuild_documents(suite.store, Releases(suite.store, model))) == 0
        return before, run(suite.store.dump())
    finally:
        suite.close()


def test_documents_of_two_ledgers_with_one_number_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = after_upgrade(model_in(tmp_path, TEST), monkeypatch)
    assert [o.document for o in before.observations] == ["E-1"]
    assert sorted(f.state.value for f in before.foils) == ["matched", "open"]
    assert {(o.document, o.number, o.ledger, o.entity) for o in after.observations} == {
        ("E-1", "E-1", "books", "acme-us"),
        (in_ledger("books-de", "E-1"), "E-1", "books-de", "acme-de"),
    }
    assert {(f.state.value, f.entity) for f in after.foils} == {
        ("matched", "acme-us"),
        ("matched", "acme-de"),
    }
    assert violations(after, END) == []


def test_a_form_without_stand_ins_is_read_as_before(tmp_path: Path) -> None:
    model = model_in(tmp_path)
    alone = Model.from_documents(
        [d.data for d in model.documents if "stands_for" not in d.data and d.kind != "test"]
    )
    assert digest_of(alone, "booked") != digest_of(model, "booked")
    assert alone.foils_by_observation("invoice.booked.v1")[0].ledgers.by_entity == {}


CALLED = """\
kind: operation
name: bills.credit.issue
system: bills
input: {credit_id: id, total: money}
output: {number: string}
repeat: find
horizon: 60s
negative: false
irreversible: a credit that was issued stays
---
kind: mapping
name: to-bills
to: {operation: bills.credit.issue, system: bills}
with: {reference: =input.credit_id, total: =major(input.total)}
returns: {result: {number: =string(result.number)}}
---
{kind: event, name: credit.asked.v1, produced: http, data: {credit_id: id, total: money}}
---
{kind: event, name: credit.issued.v1, produced: http, data: {credit_id: id, total: money}}
---
kind: workflow
name: credit
owner: finance
failure: careful
start: {event: credit.asked.v1, key: event.data.credit_id}
serial: {key: event.data.credit_id, hold: effects}
steps:
  - call: bills.credit.issue
    with: {credit_id: =event.data.credit_id, total: =event.data.total}
    becomes: issued
  - wait: {foils: all, until: +1d}
    outcomes: {timeout: park}
    becomes: reconciled
---
kind: reconciliation
name: credited
owner: finance
object: invoice
left: bills
right: books
legs: {gross: {total: true}}
assert:
  - {operation: bills.credit.issue, key: input.credit_id, document: input.credit_id, legs: {gross: input.total}, due: +1d}
  - {event: credit.issued.v1, key: event.data.credit_id, document: event.data.credit_id, legs: {gross: event.data.total}, due: +1d}
observe:
  - {event: invoice.booked.v1, key: event.data.invoice_id, document: event.data.number, legs: {gross: event.data.total}}
unmatched: {grace: +1d}
---
kind: test
name: asked
given:
  - {event: credit.asked.v1, from: bills-de, legal_entity: acme-de, data: {credit_id: CR-1, total: 5 EUR}}
expect: {cases: []}
"""


def test_the_document_of_a_call_takes_its_name_before_its_event_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_in(tmp_path, CALLED)
    suite = KeepingSuite(model)
    try:
        (document,) = [document for document, _ in model.documents_of(kinds.Test)]
        with monkeypatch.context() as former:
            former.setattr(matching, "_name", lambda _, document: document)
            suite.result(document)
        run = suite._loop.run
        before = run(suite.store.dump())
        assert [(f.document, f.effect is not None) for f in before.foils] == [("CR-1", True)]
        run(suite.store.apply(PutMatchBasis(rule="credited", digest="former", at=END)))
        run(rebuild_documents(suite.store, Releases(suite.store, model)))
        after = run(suite.store.dump())
    finally:
        suite.close()
    assert [f.document for f in after.foils] == [in_ledger("bills-de", "CR-1")]
    assert violations(after, END) == []
