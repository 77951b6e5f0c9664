"""Whatever offers, schedules and usage the Stripe twin gets, in any order: its bills are what was used and agreed."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.contract.stripe_twin_process import Twin, running_twin
from tests.contract.test_stripe_twin_sums import adds_up
from tests.contract.trial_stripe import post

STEPS = 250
DAY = 86_400


@dataclass(frozen=True)
class Usage:
    """An accepted meter event. Times are those of the twin's clock, in seconds."""

    customer: str
    value: int
    at: int
    received: int
    canceled: int | None = None


class Life:
    """Random steps over a few customers; refused steps are part of it."""

    def __init__(self, twin: Twin, seed: int) -> None:
        self.twin, self.chance = twin, random.Random(seed)
        self.answers: Counter[int] = Counter()
        self.used: dict[str, Usage] = {}
        card = {"payment_method": "pm_card_visa", "invoice_settings[default_payment_method]": "pm_card_visa"}
        self.customers = [str(post(twin, "/v1/customers", **card)["id"]) for _ in range(3)]
        self.rates = [
            str(post(twin, "/v1/tax_rates", display_name="VAT", percentage=rate, inclusive=inside)["id"])
            for rate, inside in (("19", "false"), ("7", "true"))
        ]
        self.product = post(twin, "/v1/products", name="Plan")["id"]
        meter = post(twin, "/v1/billing/meters", display_name="Calls", event_name="calls",
                     **{"default_aggregation[formula]": "sum"})["id"]  # fmt: skip
        self.once = self.price("4990")
        self.weekly = [self.price("333.5", interval="week"), self.price("1200", interval="week")]
        self.metered = self.price("12.25", interval="week", usage_type="metered", meter=meter)

    def price(self, unit: str, **recurring: str) -> str:
        form = {f"recurring[{name}]": value for name, value in recurring.items()}
        made = post(
            self.twin, "/v1/prices", product=self.product, currency="eur", unit_amount_decimal=unit, **form
        )
        return str(made["id"])

    def do(self, path: str, **form: Any) -> Any:
        status, _, answer = self.twin.call("POST", path, urlencode(form))
        self.answers[status] += 1
        return json.loads(answer) if status == 200 else None

    @property
    def now(self) -> int:
        return int(self.twin.control("GET", "state")["clock"])

    def items(self, name: str) -> dict[str, Any]:
        """Form fields of one or two recurring lines."""
        prices = self.chance.sample([*self.weekly, self.metered], self.chance.randint(1, 2))
        form: dict[str, Any] = {}
        for number, price in enumerate(prices):
            form[f"{name}[{number}][price]"] = price
            if price != self.metered:
                form[f"{name}[{number}][quantity]"] = self.chance.randint(1, 9)
            if self.chance.random() < 0.5:
                form[f"{name}[{number}][tax_rates][0]"] = self.chance.choice(self.rates)
        return form

    def quote(self) -> None:
        form = self.items("line_items") if self.chance.random() < 0.7 else {}
        if not form or self.chance.random() < 0.5:
            form[f"line_items[{len(form)}][price]"] = self.once
        if self.chance.random() < 0.3:
            form["subscription_data[effective_date]"] = self.now + self.chance.randint(1, 20) * DAY
        self.do("/v1/quotes", customer=self.chance.choice(self.customers), **form)

    def move_quote(self) -> None:
        id, verb = (
            self.twin.any("quotes", self.chance),
            self.chance.choice(("finalize", "finalize", "accept", "accept", "cancel")),
        )
        self.do(f"/v1/quotes/{id}/{verb}")

    def schedule(self) -> None:
        form: dict[str, Any] = {"customer": self.chance.choice(self.customers)}
        for number in range(self.chance.randint(1, 3)):
            form |= self.items(f"phases[{number}][items]")
            form[f"phases[{number}][iterations]"] = self.chance.randint(1, 2)
            form[f"phases[{number}][proration_behavior]"] = self.chance.choice(("none", "create_prorations"))
        if self.chance.random() < 0.4:
            form["start_date"] = self.now + self.chance.randint(1, 15) * DAY
        self.do("/v1/subscription_schedules", end_behavior=self.chance.choice(("cancel", "release")), **form)

    def move_schedule(self) -> None:
        verb = self.chance.choice(("cancel", "release"))
        self.do(f"/v1/subscription_schedules/{self.twin.any('subscription_schedules', self.chance)}/{verb}")

    def take_over(self) -> None:
        self.do("/v1/subscription_schedules", from_subscription=self.twin.any("subscriptions", self.chance))

    def use(self) -> None:
        who, value = self.chance.choice(self.customers), self.chance.randint(-20, 90)
        now, identifier = self.now, f"n{self.chance.randint(0, 60)}"
        at = now - self.chance.choice((0, 0, 3000, 2 * DAY, 40 * DAY))
        payload = {"payload[stripe_customer_id]": who, "payload[value]": value}
        if self.do(
            "/v1/billing/meter_events", event_name="calls", identifier=identifier, timestamp=at, **payload
        ):
            self.used[f"{identifier}:{now}"] = Usage(who, value, at, now)

    def take_back(self) -> None:
        if self.used:
            key, usage = list(self.used.items())[-1]
            form = {"event_name": "calls", "type": "cancel", "cancel[identifier]": key.partition(":")[0]}
            if self.do("/v1/billing/meter_event_adjustments", **form):
                self.used[key] = replace(usage, canceled=self.now)

    def status(self) -> None:
        who = self.chance.choice(self.customers)
        self.do(f"/v1/customers/{who}", tax_exempt=self.chance.choice(("none", "exempt", "reverse")))

    def balance(self) -> None:
        path = f"/v1/customers/{self.chance.choice(self.customers)}/balance_transactions"
        self.do(path, amount=self.chance.randint(-900, 400), currency="eur")

    def credit(self) -> None:
        invoice = self.twin.json("GET", "/v1/invoices?limit=20&status=paid")["data"]
        if invoice:
            amount = self.chance.randint(1, 900)
            way = self.chance.choice(("credit_amount", "refund_amount", "out_of_band_amount"))
            self.do(
                "/v1/credit_notes", invoice=self.chance.choice(invoice)["id"], amount=amount, **{way: amount}
            )

    def wait(self) -> None:
        self.twin.control("POST", "clock", {"advance": self.chance.randint(1, 4 * DAY)})

    def live(self) -> None:
        steps: list[tuple[Callable[[], None], int]] = [
            (self.quote, 4), (self.move_quote, 8), (self.schedule, 3), (self.move_schedule, 1), (self.take_over, 1),
            (self.use, 12), (self.take_back, 2), (self.status, 2), (self.balance, 2), (self.credit, 2), (self.wait, 4),
        ]  # fmt: skip
        for step in self.chance.choices(
            [step for step, _ in steps], [weight for _, weight in steps], k=STEPS
        ):
            step()
            # No two steps share a second, so that the order of events and bills shows in their times.
            self.twin.control("POST", "clock", {"advance": 1})


@pytest.mark.parametrize("seed", [1, 2])
def test_bills_are_what_was_used_and_agreed_after_any_life(tmp_path: Path, seed: int) -> None:
    with running_twin(tmp_path / "twin.sqlite") as twin:
        twin.control("POST", "clock", {"stop": True})
        life = Life(twin, seed)
        life.live()
        assert not any(status >= 500 for status in life.answers)
        assert life.answers[200] > STEPS / 2
        assert life.answers[400] > STEPS / 50
        usage_is_billed(life)
        schedules_hold(life)
        balances_hold(life)
        assert {"accepted", "canceled"} <= {quote["status"] for quote in life.twin.all("quotes")}


def usage_is_billed(life: Life) -> None:
    """Every line of usage has what was known of its period when its invoice was finalized."""
    billed = 0
    for invoice in life.twin.all("invoices"):
        lines = life.twin.all(f"invoices/{invoice['id']}/lines")
        adds_up(invoice, lines)
        final = invoice["status_transitions"]["finalized_at"]
        for line in lines:
            if not line["price"] or line["price"]["id"] != life.metered or final is None:
                continue
            period = line["period"]
            quantity = sum(
                usage.value
                for usage in life.used.values()
                if usage.customer == invoice["customer"]
                and period["start"] <= usage.at < period["end"]
                and usage.received < final
                and (usage.canceled is None or usage.canceled >= final)
            )
            assert line["quantity"] == max(0, quantity)
            billed += line["quantity"] > 0
    assert billed


def schedules_hold(life: Life) -> None:
    """The subscription of an active schedule has the items of the current phase, and a later one has none."""
    schedules = life.twin.all("subscription_schedules")
    assert {"active", "completed", "released", "canceled"} <= {one["status"] for one in schedules}
    for schedule in schedules:
        phases = schedule["phases"]
        assert [phase["start_date"] for phase in phases[1:]] == [phase["end_date"] for phase in phases[:-1]]
        if schedule["status"] == "not_started":
            assert (schedule["subscription"], schedule["current_phase"]) == (None, None)
        if schedule["status"] != "active":
            continue
        start = schedule["current_phase"]["start_date"]
        phase = next(phase for phase in phases if phase["start_date"] == start)
        subscription = life.twin.json("GET", f"/v1/subscriptions/{schedule['subscription']}")
        agreed = {item["price"]: item.get("quantity") for item in phase["items"]}
        assert {item["price"]["id"]: item.get("quantity") for item in subscription["items"]["data"]} == agreed
        assert subscription["schedule"] == schedule["id"]


def balances_hold(life: Life) -> None:
    """Each transaction ends with the balance that the next one starts from."""
    for who in life.customers:
        balance = 0
        for entry in reversed(life.twin.all(f"customers/{who}/balance_transactions")):
            balance += entry["amount"]
            assert entry["ending_balance"] == balance
        assert life.twin.json("GET", f"/v1/customers/{who}")["balance"] == balance
