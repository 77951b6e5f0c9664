"""Whatever happens to the money in the Stripe twin, in any order, its ledger adds up, and the connector shows it as it was."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from counterfoil.connectors.sdk import Delivery
from counterfoil.connectors.stripe import Stripe, connect
from counterfoil.twins.stripe.balance import MOVEMENTS
from counterfoil.twins.stripe.bank_accounts import ACCOUNTS
from counterfoil.twins.stripe.cards import CARDS
from counterfoil.twins.stripe.disputes import FEE_MINOR_UNITS
from counterfoil.twins.stripe.faults import MONEY_KINDS
from tests.contract.stripe_money import DAY
from tests.contract.stripe_twin_process import Twin, running_twin
from tests.contract.trial_stripe import config_of

STEPS = 300
CURRENCIES = ("eur", "usd", "jpy")
OUTCOMES = {
    "charges": ("succeeded", "failed"),
    "refunds": ("succeeded", "failed"),
    "disputes": ("won", "lost", "needs_response"),
    "payouts": ("paid", "failed", "won"),
}
"""Statuses that a bank decides, and one that it cannot."""
SECONDS = 20.0
TAX_MINOR_UNITS = 285
"""Tax of 19 % on the fee of a dispute."""
BOOKS = ("charges", "refunds", "disputes", "payouts")
LISTED = {
    "charge.succeeded", "charge.failed", "refund.created", "charge.dispute.created", "charge.dispute.closed",
    "charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated", "payout.created", "payout.paid",
    "payout.failed", "payout.canceled",
}  # fmt: skip
"""Types of events that stay true of their object, so that the books show all of them."""


class Money:
    """Random steps with money; refused steps are part of it. `moments` are the balances before each passing of time."""

    def __init__(self, twin: Twin, seed: int) -> None:
        self.twin, self.chance = twin, random.Random(seed)
        self.answers: Counter[int] = Counter()
        self.moments: list[tuple[int, Any]] = []

    def do(self, path: str, **form: Any) -> None:
        self.answers[self.twin.call("POST", f"/v1/{path}", urlencode(form))[0]] += 1

    def control(self, name: str, **body: Any) -> None:
        self.answers[self.twin.call("POST", f"/_twin/{name}", json.dumps(body))[0]] += 1

    def charge(self) -> None:
        cards = (f"card_{card}" for card in ("visa", "visa", *CARDS))
        method = self.chance.choice((*cards, *ACCOUNTS))
        self.do("payment_intents", amount=self.chance.randint(1, 20_000), confirm="true",
                currency=self.chance.choice(CURRENCIES), payment_method=f"pm_{method}")  # fmt: skip

    def move(self) -> None:
        type, amount = self.chance.choice(MOVEMENTS), self.chance.randint(-500, 500)
        self.control("movements", type=type, amount=amount, currency=self.chance.choice(CURRENCIES))

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
        kind = self.chance.choice(list(OUTCOMES))
        status = self.chance.choice(OUTCOMES[kind])
        self.control("outcome", id=self.twin.any(kind, self.chance), status=status)

    def fault(self) -> None:
        self.control("faults", kind=self.chance.choice(list(MONEY_KINDS)))

    def configure(self) -> None:
        self.control("config", payouts=self.chance.choice(("daily", "daily", "manual")),
                     dispute_fee=self.chance.choice(("returned", "kept")), fee_tax=self.chance.choice((0, 19)),
                     debit_balance=self.chance.choice(("submission", "success")))  # fmt: skip

    def wait(self) -> None:
        self.control("clock", advance=self.chance.randint(1, 3 * DAY))

    async def live(self, connector: Stripe) -> None:
        steps: list[tuple[Callable[[], None], int]] = [
            (self.charge, 8), (self.refund, 4), (self.dispute, 2), (self.answer, 2), (self.pay_out, 2),
            (self.cancel, 1), (self.decide, 5), (self.fault, 1), (self.configure, 1), (self.move, 1), (self.wait, 4),
        ]  # fmt: skip
        for step in self.chance.choices(
            [step for step, _ in steps], [weight for _, weight in steps], k=STEPS
        ):
            if step == self.wait:
                clock = self.twin.control("GET", "state")["clock"]
                self.moments.append((clock, await connector.read("billing.balance.get", {}, SECONDS)))
            step()


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_ledger_adds_up_after_any_life(tmp_path: Path, seed: int) -> None:
    with running_twin(tmp_path / "twin.sqlite") as twin:
        twin.control("POST", "clock", {"stop": True})
        money = Money(twin, seed)
        connector = connect(config_of(twin))
        await money.live(connector)
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
        each_source_adds_up(money, by_source, {entry["id"]: entry["net"] for entry in entries})
        each_payout_adds_up(money, by_source)
        await each_payout_has_its_parts(money, connector)
        await each_balance_is_what_it_was(money, connector)
        await each_event_is_listed(money, connector)
        await connector.close()


async def each_payout_has_its_parts(money: Money, connector: Stripe) -> None:
    for payout in money.twin.all("payouts"):
        shown = await connector.read("billing.payout.get", {"id": payout["id"]}, SECONDS)
        assert shown["manual"] is not payout["automatic"]
        parts = sum(part["amount"] for part in shown["parts"])
        assert parts == (payout["amount"] if payout["automatic"] else 0)


async def each_balance_is_what_it_was(money: Money, connector: Stripe) -> None:
    """Check each earlier balance. A currency that came later is shown with zeros.

    A debit that was on its way then may have succeeded since, so its money is counted with the other money.
    """
    assert len(money.moments) > STEPS / 20
    for clock, present in money.moments:
        as_of = datetime.fromtimestamp(clock, UTC).isoformat()
        past = await connector.read("billing.balance.get", {"as_of": as_of}, SECONDS)
        rows, expected = (
            {
                row["currency"]: (row["in_transit"], row["total"] + row["processing"])
                for row in answer["balances"]
                if row["in_transit"] or row["total"] + row["processing"]
            }
            for answer in (past, present)
        )
        assert rows == expected, as_of


async def each_event_is_listed(money: Money, connector: Stripe) -> None:
    """Check that books and events show the same facts, at the same second where the object has it."""
    listed: list[Delivery] = []
    for book in BOOKS:
        cursor, more = None, True
        while more:
            page = await connector.list_book(book, cursor, 50, SECONDS)
            listed += page.deliveries
            cursor, more = page.cursor, page.more
    events = money.twin.all("events")
    sent = {fact_of(event) for event in events}
    debits = {
        one["id"] for one in money.twin.all("charges") if one["payment_method_details"]["type"] != "card"
    }
    oldest = min(created for *_, created in sent)
    for delivery in listed:
        type, id, created = fact = fact_of(delivery.body)
        timed = "/state/" not in delivery.ext_id and id not in debits and type != "charge.dispute.closed"
        assert not timed or created <= oldest or fact in sent
    names = {fact_of(delivery.body)[:2] for delivery in listed}
    at_once = {
        payout["id"]
        for payout in money.twin.all("payouts?expand[]=data.failure_balance_transaction")
        if (back := payout["failure_balance_transaction"]) and back["created"] <= payout["arrival_date"]
    }
    missing = {fact[:2] for fact in sent if fact[0] in LISTED} - names
    assert {(type, id) for type, id in missing if id not in at_once} == set()


def fact_of(event: Any) -> tuple[str, str, int]:
    return event["type"], event["data"]["object"].get("id", ""), event["created"]


def each_source_adds_up(money: Money, by_source: Counter[str], nets: dict[str, int]) -> None:
    refunds = money.twin.all("refunds")
    for charge in money.twin.all("charges"):
        back = [
            one["amount"] for one in refunds if one["charge"] == charge["id"] and one["status"] != "failed"
        ]
        assert charge["amount_refunded"] == sum(back) <= charge["amount_captured"]
        assert charge["refunded"] == (charge["paid"] and charge["amount_refunded"] == charge["amount"])
        moved = charge["balance_transaction"] is not None and charge["failure_balance_transaction"] is None
        assert by_source[charge["id"]] == (nets[charge["balance_transaction"]] if moved else 0)
        assert moved or not charge["paid"]
    for refund in refunds:
        assert by_source[refund["id"]] == (0 if refund["status"] == "failed" else -refund["amount"])
    statuses = set()
    for dispute in money.twin.all("disputes"):
        statuses.add(dispute["status"])
        moved = dispute["status"] in ("needs_response", "under_review", "lost")
        left = by_source[dispute["id"]] + (dispute["amount"] if moved else 0)
        fees = (FEE_MINOR_UNITS, FEE_MINOR_UNITS + TAX_MINOR_UNITS)
        assert -left in (fees if moved else (0, *fees))
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
