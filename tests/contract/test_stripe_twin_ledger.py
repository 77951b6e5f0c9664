"""Whatever happens to the money in the Stripe twin, in any order, its ledger adds up."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from counterfoil.twins.stripe.cards import CARDS
from counterfoil.twins.stripe.disputes import FEE_MINOR_UNITS
from counterfoil.twins.stripe.faults import MONEY_KINDS
from tests.contract.stripe_money import DAY
from tests.contract.stripe_twin_process import Twin, running_twin

STEPS = 300
CURRENCIES = ("eur", "usd", "jpy")


class Money:
    """Random steps with money; refused steps are part of it."""

    def __init__(self, twin: Twin, seed: int) -> None:
        self.twin, self.chance = twin, random.Random(seed)
        self.answers: Counter[int] = Counter()

    def do(self, path: str, **form: Any) -> None:
        self.answers[self.twin.call("POST", f"/v1/{path}", urlencode(form))[0]] += 1

    def control(self, name: str, **body: Any) -> None:
        self.answers[self.twin.call("POST", f"/_twin/{name}", json.dumps(body))[0]] += 1

    def charge(self) -> None:
        card = self.chance.choice(("visa", "visa", *CARDS))
        self.do("payment_intents", amount=self.chance.randint(1, 20_000), confirm="true",
                currency=self.chance.choice(CURRENCIES), payment_method=f"pm_card_{card}")  # fmt: skip

    def refund(self) -> None:
        form = {"amount": self.chance.randint(1, 9000)} if self.chance.random() < 0.7 else {}
        self.do("refunds", charge=self.twin.any("charges", self.chance), **form)

    def dispute(self) -> None:
        amount, inquiry = self.chance.randint(1, 9000), self.chance.random() < 0.3
        self.control("disputes", charge=self.twin.any("charges", self.chance), amount=amount, inquiry=inquiry)

    def answer(self) -> None:
        texts = ("winning_evidence", "losing_evidence", "escalate_inquiry_evidence", "A receipt")
        evidence = {"evidence[uncategorized_text]": self.chance.choice(texts)}
        self.do(f"disputes/{self.twin.any('disputes', self.chance)}", **evidence)

    def pay_out(self) -> None:
        amount, code = self.chance.randint(1, 9000), self.chance.choice(CURRENCIES)
        self.do("payouts", amount=amount, currency=code)

    def cancel(self) -> None:
        self.do(f"payouts/{self.twin.any('payouts', self.chance)}/cancel")

    def decide(self) -> None:
        kind = self.chance.choice(("refunds", "disputes", "payouts"))
        status = self.chance.choice(
            ("succeeded", "failed", "won", "lost", "paid", "canceled", "needs_response")
        )
        self.control("outcome", id=self.twin.any(kind, self.chance), status=status)

    def fault(self) -> None:
        self.control("faults", kind=self.chance.choice(list(MONEY_KINDS)))

    def schedule(self) -> None:
        self.control("config", payouts=self.chance.choice(("daily", "daily", "manual")))

    def wait(self) -> None:
        self.control("clock", advance=self.chance.randint(1, 3 * DAY))

    def live(self) -> None:
        steps: list[tuple[Callable[[], None], int]] = [
            (self.charge, 8), (self.refund, 4), (self.dispute, 2), (self.answer, 2), (self.pay_out, 2),
            (self.cancel, 1), (self.decide, 3), (self.fault, 1), (self.schedule, 1), (self.wait, 4),
        ]  # fmt: skip
        for step in self.chance.choices(
            [step for step, _ in steps], [weight for _, weight in steps], k=STEPS
        ):
            step()


@pytest.mark.parametrize("seed", [1, 2])
def test_the_ledger_adds_up_after_any_life(tmp_path: Path, seed: int) -> None:
    with running_twin(tmp_path / "twin.sqlite") as twin:
        twin.control("POST", "clock", {"stop": True})
        money = Money(twin, seed)
        money.live()
        entries = money.twin.all("balance_transactions")
        assert money.answers[200] > STEPS / 3
        assert money.answers[400] > STEPS / 20
        assert not any(status >= 500 for status in money.answers)
        balance = twin.json("GET", "/v1/balance")
        for code in CURRENCIES:
            of_code = [entry for entry in entries if entry["currency"] == code]
            for status in ("available", "pending"):
                total = sum(entry["net"] for entry in of_code if entry["status"] == status)
                assert [row["amount"] for row in balance[status] if row["currency"] == code] == [total]
        by_source: Counter[str] = Counter()
        for entry in entries:
            assert entry["net"] == entry["amount"] - entry["fee"]
            assert entry["fee"] == sum(fee["amount"] for fee in entry["fee_details"])
            by_source[entry["source"]] += entry["net"]
        each_source_adds_up(money, by_source)
        each_payout_adds_up(money, by_source)


def each_source_adds_up(money: Money, by_source: Counter[str]) -> None:
    refunds = money.twin.all("refunds")
    for charge in money.twin.all("charges"):
        back = [
            one["amount"] for one in refunds if one["charge"] == charge["id"] and one["status"] != "failed"
        ]
        assert charge["amount_refunded"] == sum(back) <= charge["amount_captured"]
        assert charge["refunded"] == (charge["paid"] and charge["amount_refunded"] == charge["amount"])
        assert (charge["id"] in by_source) == charge["paid"]
    for refund in refunds:
        assert by_source[refund["id"]] == (0 if refund["status"] == "failed" else -refund["amount"])
    statuses = set()
    for dispute in money.twin.all("disputes"):
        statuses.add(dispute["status"])
        moved = dispute["status"] in ("needs_response", "under_review", "lost")
        assert by_source[dispute["id"]] == (-dispute["amount"] - FEE_MINOR_UNITS if moved else 0)
    assert {"won", "lost"} <= statuses


def each_payout_adds_up(money: Money, by_source: Counter[str]) -> None:
    payouts, contained = money.twin.all("payouts"), Counter[str]()
    for payout in payouts:
        back = payout["status"] in ("failed", "canceled")
        assert by_source[payout["id"]] == (0 if back else -payout["amount"])
        assert (payout["failure_balance_transaction"] is not None) == back
        if payout["automatic"]:
            entries = money.twin.all(f"balance_transactions?payout={payout['id']}")
            contained.update(entry["id"] for entry in entries)
            assert sum(entry["net"] for entry in entries) == 0
            assert payout["balance_transaction"] in [entry["id"] for entry in entries]
            assert {entry["currency"] for entry in entries} == {payout["currency"]}
    assert set(contained.values()) == {1}
    assert {payout["automatic"] for payout in payouts} == {True, False}
    assert {"failed", "paid"} <= {payout["status"] for payout in payouts}
