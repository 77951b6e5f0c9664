"""Values to begin with: both sides of whatever formulas compare, and no two that lead the same way."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterfoil.core.money import Money
from counterfoil.prove.start_values import MAX_STARTS, StartValueFinder
from tests.unit.prove.test_planted_workflows import planted
from tests.unit.prove.test_proofs import acme


def beginnings(name: str, folder: Path) -> StartValueFinder:
    model = planted(name, folder)
    definition = model.workflow("credit")
    return StartValueFinder(model, definition, tuple(i.formula for i in definition.invariants))


@pytest.mark.parametrize("name", ["sound", "step-that-never-runs", "items-left", "larger-than-open"])
def test_each_beginning_leads_elsewhere_and_the_first_holds(name: str, tmp_path: Path) -> None:
    finder = beginnings(name, tmp_path)
    starts = finder.find()
    signatures = [finder.signature(dict(b.values)) for b in starts]
    assert len(set(signatures)) == len(starts) <= MAX_STARTS
    assert finder.score(dict(starts[0].values), [(must, True) for must in finder.candidates.musts])[0] == 0
    assert starts[0].text == ""
    assert all(b.text for b in starts[1:])


def test_a_matrix_and_a_limit_are_tried_at_their_borders(tmp_path: Path) -> None:
    amounts = {b.values["event"]["amount"] for b in beginnings("sound", tmp_path).find()}
    assert Money(10_000, "USD") in amounts  # the highest that is approved by itself
    assert Money(500_001, "USD") in amounts  # one cent above the limit
    assert any(10_000 < a.minor <= 500_000 for a in amounts)  # an approval is required


def test_a_list_is_tried_empty_with_one_and_with_two(tmp_path: Path) -> None:
    sizes = {len(b.values["event"]["items"]) for b in beginnings("items-left", tmp_path).find()}
    assert sizes == {0, 1, 2}


def test_amounts_of_own_invariants_are_weighed_against_the_event(tmp_path: Path) -> None:
    orders = {
        (b.values["event"]["amount"].minor > b.values["head:invoice"]["open"].minor)
        for b in beginnings("larger-than-open", tmp_path).find()
    }
    assert orders == {True, False}


ONE_WAY = {
    "balance-adjustment": "items of a list whose sum is exactly an amount of the event are not drawn",
    "payout-to-erp": "amounts on both sides of a limit in a table are not drawn",
    "exchange-at-its-rate": "the rates of the items of a list are not drawn",
    "reversal-at-its-rate": "rates that agree to a hundredth of a percent are not drawn",
}
"""Workflows of the example with a check that no beginning can decide both ways, and why."""


@pytest.mark.parametrize("workflow", sorted(acme().workflows))
def test_each_check_comes_out_both_ways(workflow: str) -> None:
    model = acme()
    finder = StartValueFinder(model, model.workflow(workflow), (), model.default_entity)
    starts = finder.find()
    one_way = [
        must.text
        for must in finder.candidates.musts
        if len({finder.score(dict(b.values), [(must, True)])[0] for b in starts}) < 2
    ]
    assert bool(one_way) == (workflow in ONE_WAY), one_way
