"""Who must agree to a waiver: by the largest difference of any leg, not of the total alone."""

from __future__ import annotations

import pytest

from counterfoil.core.document import LegKind, LegRule
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.terms import Legs, Terms
from counterfoil.flow.runs.match_decisions import waive
from counterfoil.store.memory import MemoryStore
from counterfoil.store.port.documents import decision_of
from counterfoil.web.api.match_words import describe
from tests.contract.store import samples as s
from tests.unit.rules.driver import model_of

MODEL_TEXT = """
{kind: role, name: finance}
---
{kind: role, name: boss}
---
kind: reconciliation
name: credits
owner: finance
object: credit
left: billing
right: erp
legs: {total: {total: true}, net: {}, tax: {}, seats: {}}
foil: {event: issued.v1, key: event.data.id, legs: {total: event.data.total}}
observe: {event: shown.v1, key: event.data.id, legs: {total: event.data.total}}
waive: accept
cap: {USD: 20000}
---
kind: policy
name: accept
owner: finance
approval: {currency: USD, matrix: [{up_to: 10, automatic: true}, {up_to: 100, roles: [boss]}]}
"""
MODEL = model_of(MODEL_TEXT)
TERMS = Terms(legs={"total": LegRule(total=True), "net": LegRule(), "tax": LegRule(), "seats": LegRule()})
ASSERTED: Legs = {
    "total": Money(12000, "USD"),
    "net": Money(10000, "USD"),
    "tax": Money(2000, "USD"),
    "seats": 5,
}
STORIES: dict[str, tuple[Legs, str]] = {
    "a small total": ({"total": Money(11950, "USD"), "net": Money(9950, "USD")}, "done"),
    "net and tax exchanged": ({"net": Money(2000, "USD"), "tax": Money(10000, "USD")}, "requested"),
    "a small total that hides a large net": (
        {"total": Money(11999, "USD"), "net": Money(5000, "USD"), "tax": Money(6999, "USD")}, "requested",
    ),
    "above every tier": ({"net": Money(-90000, "USD"), "tax": Money(102000, "USD")}, "tier"),
    "a count": ({"seats": 3}, "requested"),
}  # fmt: skip


async def broken(store: MemoryStore, shown: Legs, entity: str = "") -> Foil:
    await store.apply(s.receive(s.receipt("r")))
    foil: Foil = s.foil(legs=ASSERTED, terms=TERMS, owner="finance", entity=entity)
    observed: Observation = s.observation(legs=ASSERTED | shown, terms=TERMS, event="evt_1", entity=entity)
    await store.apply(s.admit(1, events=(s.event(),), foils=(foil,), observations=(observed,)))
    row = await store.foil(foil.id)
    assert row is not None
    assert row.state is FoilState.BROKEN
    return row


@pytest.mark.parametrize("name", STORIES)
async def test_the_largest_difference_decides_who_must_agree(name: str) -> None:
    shown, verdict = STORIES[name]
    store = MemoryStore()
    foil = await broken(store, shown)
    answer = await waive(store, MODEL, foil.id, "ann", "a note")
    assert answer.verdict == verdict


async def test_a_legal_entity_decides_by_its_own_overlay() -> None:
    """Fifty US cents are waived at once in general, and by a person of another role in the German company."""
    text = """---
kind: overlay
name: german
of: {legal_entity: acme-de}
changes: [{kind: policy, name: accept, set: {approval: {matrix: [{roles: [finance], quorum: 2}]}}}]
"""
    store, model = MemoryStore(), model_of(MODEL_TEXT + text)
    foil = await broken(store, STORIES["a small total"][0], entity="acme-de")
    answer = await waive(store, model, foil.id, "ann", "a note")
    approval = await store.approval(answer.approval or "")
    assert approval is not None
    assert (answer.verdict, approval.roles, approval.quorum) == ("requested", ("finance",), 2)


async def test_the_approver_sees_the_difference_that_decides() -> None:
    store = MemoryStore()
    foil = await broken(store, STORIES["a small total that hides a large net"][0])
    answer = await waive(store, MODEL, foil.id, "ann", "a note")
    approval = await store.approval(answer.approval or "")
    assert approval is not None
    assert str(approval.amount) == "50.00 USD"
    assert describe(decision_of(approval), [foil], []).endswith(
        "0.01 USD less than asserted, net 50.00 USD less than asserted, tax 49.99 USD more than asserted"
    )


async def test_differences_of_legs_count_against_the_cap() -> None:
    store = MemoryStore()
    foil = await broken(store, {"net": Money(9001, "USD"), "tax": Money(2999, "USD")})
    assert await store.apply(s.decide(s.waive(foil, cap=998))) == "cap"
    assert await store.apply(s.decide(s.waive(foil, cap=999))) == "done"
    row = await store.foil(foil.id)
    assert row is not None
    assert (row.state, row.difference) == (FoilState.WAIVED, (Money(999, "USD"),))


def test_a_difference_of_another_currency_does_not_hide_that_of_the_total() -> None:
    functional = {"total": Money(-5, "EUR"), "functional": Money(900, "USD"), "code": "S"}
    residual = {"total": -5, "functional": 900}
    rules = Terms(legs={"total": LegRule(total=True), "code": LegRule(kind=LegKind.EQUAL)})
    assert s.foil(legs=functional, residual=residual, terms=rules).difference == (Money(-5, "EUR"),)
    assert s.foil(legs=functional, residual={"total": 0, "functional": 900}, terms=rules).difference == (
        Money(900, "USD"),
    )
