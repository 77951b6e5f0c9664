"""Each entry of the example's ledger on an account of cash or receivables has exactly one reconciliation that observes it."""

from __future__ import annotations

from itertools import product

import pytest

from counterfoil.core.money import Money
from counterfoil.rules.templates import truth
from tests.unit.rules.acme import model

ACCOUNTS = ("receivable", "disputed", "clearing", "bank")
BY_PREFIX = {
    "paym-1": "payment-in-erp",
    "paym-1/return": "payment-in-erp",
    "paym-1/cancelled": "payment-in-erp",
    "refu-1/cancelled": "refund-in-erp",
    "disp-1/won": "dispute-in-erp",
    "disp-1/won/cancelled": "dispute-in-erp",
    "payo-1/return": "payout-in-erp",
    "bank-1/cancelled": "bank-fee-in-erp",
    "I-1/write-off": "write-off-in-erp",
    "I-1/recovered/cancelled": "write-off-in-erp",
}
"""Reconciliation of an entry with each reference."""


def observers(reference: str | None, amounts: dict[str, int]) -> list[str]:
    data = {name: Money(minor, "USD") for name, minor in amounts.items()}
    names = {"event": {"data": data | ({} if reference is None else {"reference": reference})}}
    rules = model().foils_by_observation("erp.entry_posted.v1")
    return [rule.name for rule in rules if truth(rule.when, names, None)]


def test_an_entry_by_hand_has_one_observer_if_it_moves_one_of_the_accounts() -> None:
    wrong = []
    for signs in product((0, 5, -5), repeat=6):
        amounts = dict(zip((*ACCOUNTS, "lost", "fees"), signs, strict=True))
        moves = any(amounts[name] for name in ACCOUNTS)
        if len(names := observers(None, amounts)) != int(moves):
            wrong.append((amounts, names))
    assert wrong == []


@pytest.mark.parametrize(("reference", "name"), BY_PREFIX.items())
def test_an_entry_of_ours_is_observed_by_its_reference(reference: str, name: str) -> None:
    amounts = dict.fromkeys((*ACCOUNTS, "lost", "fees"), 5)
    assert observers(reference, amounts) == [name]
