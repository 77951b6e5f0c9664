"""A proof explores that a table has no row for a value of the input, as a fault."""

from __future__ import annotations

import pytest

from counterfoil.model import Model
from counterfoil.prove.explore import prove
from counterfoil.prove.start_values import StartValueFinder
from counterfoil.prove.world import ProofContext, World
from tests.unit.prove.test_proofs import acme
from tests.unit.rules.test_look_ahead import ACCOUNT, INCIDENT, booking, later

BY_RESULT = "{call: ledger.book, with: {id: =event.data.id, reason: =memo.state}}"
NEEDED = {
    "a look-up": (ACCOUNT, ("accounts",)),
    "a let": ("let: {a: \"table('accounts', input.reason)\"}\nwith: {account: =a}", ("accounts",)),
    "an argument": ("with: {account: \"=string(table('accounts', input.reason))\"}", ("accounts",)),
    "two tables": (
        "with: {account: \"=first(table('accounts', input.reason), table('accounts', input.id))\"}",
        ("accounts",),
    ),
    "a written key": ("with: {account: \"=table('accounts', 'sla')\"}", ()),
    "a default": ("with: {account: \"=first(table('accounts', input.reason), '4999')\"}", ()),
    "null": ("with: {account: \"=first(table('accounts', input.reason), null)\"}", ()),
}


def context_of(steps: str, mapping: str = ACCOUNT) -> ProofContext:
    model = booking(steps, mapping).model
    return ProofContext(model, model.workflow("flow"))


def started(context: ProofContext) -> World:
    start = StartValueFinder(context.model, context.definition).find()[0]
    return context.start(start, frozenset(context.misses.tables))


@pytest.mark.parametrize("name", NEEDED)
def test_a_row_is_needed_where_its_key_comes_from_the_input(name: str) -> None:
    mapping, tables = NEEDED[name]
    assert context_of(later(), mapping).misses.tables == tables


def test_without_a_row_the_run_parks_before_its_first_write() -> None:
    world = started(context_of(later(INCIDENT)))
    assert ([case.reason for case in world.cases], world.effects) == (["invalid"], ())


def test_a_key_from_an_earlier_result_is_missed_after_the_first_write() -> None:
    world = started(context_of(later(BY_RESULT)))
    assert (world.cases, [effect.operation for effect in world.effects]) == ((), ["bills.memo.issue"])


def test_a_proof_counts_a_missing_row_as_a_fault() -> None:
    model: Model = acme()
    assert ProofContext(model, model.workflow("support-credit-to-erp")).misses.tables == (
        "credit_returns",
        "credit_treatments",
        "gl_credit",
        "revenue_accounts",
        "tax_accounts",
    )
    none, one = prove(model, "credit-takeback", 0), prove(model, "credit-takeback", 1)
    assert none.holds
    assert one.holds
    assert one.states[0] == none.states[0]
