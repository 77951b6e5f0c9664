"""Whatever is done to the Stripe twin, in any order, its amounts add up."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.contract.stripe_twin_process import Twin, running_twin
from tests.contract.trial_stripe import post

STEPS = 300


class Life:
    """Random steps over a few customers; refused steps are part of it."""

    def __init__(self, twin: Twin, seed: int) -> None:
        self.twin, self.chance = twin, random.Random(seed)
        self.answers: Counter[int] = Counter()
        card = {"payment_method": "pm_card_visa", "invoice_settings[default_payment_method]": "pm_card_visa"}
        self.customers = [str(post(twin, "/v1/customers", **card)["id"]) for _ in range(3)]
        self.rates = [
            str(post(twin, "/v1/tax_rates", display_name="VAT", percentage=rate, inclusive=inside)["id"])
            for rate, inside in (("19", "false"), ("7.7", "true"), ("0", "false"))
        ]
        product = post(twin, "/v1/products", name="Plan")["id"]
        self.price = post(twin, "/v1/prices", product=product, currency="eur", unit_amount_decimal="333.5",
                          **{"recurring[interval]": "week"})["id"]  # fmt: skip

    def all(self, kind: str, query: str = "") -> list[Any]:
        rows: list[Any] = []
        while True:
            after = f"&starting_after={rows[-1]['id']}" if rows else ""
            page = self.twin.json("GET", f"/v1/{kind}?limit=100{query}{after}")
            rows += page["data"]
            if not page["has_more"]:
                return rows

    def do(self, path: str, **form: Any) -> None:
        self.answers[self.twin.call("POST", path, urlencode(form))[0]] += 1

    def any_invoice(self) -> Any:
        found = self.twin.json("GET", "/v1/invoices?limit=15")["data"]
        return (
            self.chance.choice(found) if found else {"id": "in_none", "lines": {"data": []}, "charge": None}
        )

    def amount(self, most: int = 3000) -> int:
        return self.chance.randint(1, most)

    def draft(self) -> None:
        who = self.chance.choice(self.customers)
        made = post(self.twin, "/v1/invoices", customer=who, currency="eur",
                    pending_invoice_items_behavior=self.chance.choice(("include", "exclude")))["id"]  # fmt: skip
        for _ in range(self.chance.randint(0, 3)):
            form = {"customer": who, "invoice": made, "currency": "eur"}
            if self.chance.random() < 0.6:
                form["tax_rates[0]"] = self.chance.choice(self.rates)
            if self.chance.random() < 0.5:
                form |= {
                    "unit_amount_decimal": f"{self.amount()}.{self.amount(99):02d}",
                    "quantity": str(self.amount(9)),
                }
            else:
                form["amount"] = str(self.amount() - 400)
            self.do("/v1/invoiceitems", **form)
        if self.chance.random() < 0.8:
            self.do(f"/v1/invoices/{made}/finalize")

    def move(self) -> None:
        verb = self.chance.choice(("finalize", "pay", "pay", "void", "mark_uncollectible"))
        form = {"paid_out_of_band": "true"} if verb == "pay" and self.chance.random() < 0.3 else {}
        self.do(f"/v1/invoices/{self.any_invoice()['id']}/{verb}", **form)

    def note(self) -> None:
        invoice = self.any_invoice()
        form: dict[str, Any] = {"invoice": invoice["id"]}
        if invoice["lines"]["data"] and self.chance.random() < 0.5:
            line = self.chance.choice(invoice["lines"]["data"])
            form |= {"lines[0][type]": "invoice_line_item", "lines[0][invoice_line_item]": line["id"]}
            part = "quantity" if self.chance.random() < 0.5 else "amount"
            form[f"lines[0][{part}]"] = 1 if part == "quantity" else self.amount(max(1, abs(line["amount"])))
        else:
            form["amount"] = self.amount(1500)
        if invoice.get("status") == "paid":
            # A preview must change nothing, whatever it answers.
            self.twin.call("GET", f"/v1/credit_notes/preview?{urlencode(form)}")
            way = self.chance.choice(("credit_amount", "refund_amount", "out_of_band_amount"))
            form[way] = form.get("amount", self.amount(900))
        self.do("/v1/credit_notes", **form)

    def void_note(self) -> None:
        found = self.twin.json("GET", "/v1/credit_notes?limit=10")["data"]
        if found:
            self.do(f"/v1/credit_notes/{self.chance.choice(found)['id']}/void")

    def refund(self) -> None:
        if charge := self.any_invoice()["charge"]:
            self.do("/v1/refunds", charge=charge, amount=self.amount(800))

    def balance(self) -> None:
        who = self.chance.choice(self.customers)
        self.do(f"/v1/customers/{who}/balance_transactions", amount=self.amount(900) - 500, currency="eur")

    def subscribe(self) -> None:
        who = self.chance.choice(self.customers)
        found = self.twin.json("GET", f"/v1/subscriptions?customer={who}")["data"]
        if not found:
            self.do("/v1/subscriptions", customer=who, **{"items[0][price]": self.price, "items[0][quantity]": 3,
                                                          "default_tax_rates[0]": self.rates[0]})  # fmt: skip
        else:
            item = found[0]["items"]["data"][0]["id"]
            self.do(f"/v1/subscriptions/{found[0]['id']}", **{"items[0][id]": item,
                                                              "items[0][quantity]": self.amount(9)})  # fmt: skip

    def wait(self) -> None:
        self.twin.control("POST", "clock", {"advance": self.amount(5 * 86_400)})

    def live(self) -> None:
        steps: list[Callable[[], None]] = [self.draft, self.move, self.note, self.void_note, self.refund,
                                           self.balance, self.subscribe, self.wait]  # fmt: skip
        weights = [5, 5, 8, 2, 2, 1, 1, 1]
        for step in self.chance.choices(steps, weights, k=STEPS):
            step()


@pytest.mark.parametrize("seed", [1, 2])
def test_amounts_add_up_after_any_life(tmp_path: Path, seed: int) -> None:
    with running_twin(tmp_path / "twin.sqlite") as twin:
        twin.control("POST", "clock", {"stop": True})
        life = Life(twin, seed)
        life.live()
        invoices, notes = life.all("invoices"), life.all("credit_notes")
        charges, refunds = life.all("charges"), life.all("refunds")
        assert life.answers[200] > STEPS / 4
        assert life.answers[400] > STEPS / 20
        assert not any(status >= 500 for status in life.answers)
        assert {note["type"] + note["status"] for note in notes} == {
            "pre_paymentissued", "pre_paymentvoid", "post_paymentissued"}  # fmt: skip
        for invoice in invoices:
            lines = life.all(f"invoices/{invoice['id']}/lines")
            adds_up(invoice, lines)
            own = [note for note in notes if note["invoice"] == invoice["id"] and note["status"] == "issued"]
            for kind in ("pre_payment", "post_payment"):
                issued = sum(note["total"] for note in own if note["type"] == kind)
                assert issued == invoice[f"{kind}_credit_notes_amount"]
            assert sum(note["total"] for note in own) <= max(0, invoice["total"])
        for note in notes:
            lines = life.all(f"credit_notes/{note['id']}/lines")
            outside = sum(tax["amount"] for tax in note["tax_amounts"] if not tax["inclusive"])
            assert note["total"] == note["amount"] == note["subtotal"] + outside
            assert note["subtotal"] == sum(line["amount"] for line in lines)
            of_lines = sum(tax["amount"] for line in lines for tax in line["tax_amounts"])
            assert sum(tax["amount"] for tax in note["tax_amounts"]) == of_lines
        for charge in charges:
            back = [one["amount"] for one in refunds if one["charge"] == charge["id"]]
            assert charge["amount_refunded"] == sum(back) <= charge["amount"]
        for who in life.customers:
            moved = life.all(f"customers/{who}/balance_transactions")
            balance = twin.json("GET", f"/v1/customers/{who}")["balance"]
            assert balance == sum(one["amount"] for one in moved)
            assert not moved or balance == moved[0]["ending_balance"]
        numbers = sorted(int(one["number"].rsplit("-", 1)[1]) for one in invoices if one["number"])
        assert numbers == list(range(1, len(numbers) + 1))


def adds_up(invoice: Any, lines: list[Any]) -> None:
    outside = sum(tax["amount"] for tax in invoice["total_tax_amounts"] if not tax["inclusive"])
    assert invoice["subtotal"] == sum(line["amount"] for line in lines)
    assert invoice["total"] == invoice["subtotal"] + outside
    of_lines = sum(tax["amount"] for line in lines for tax in line["tax_amounts"])
    assert (invoice["tax"] or 0) == of_lines
    assert invoice["total_excluding_tax"] == invoice["total"] - of_lines
    assert invoice["amount_remaining"] == invoice["amount_due"] - invoice["amount_paid"]
    if invoice["status"] == "paid":
        assert invoice["amount_remaining"] == 0
    if invoice["ending_balance"] is not None:
        used = invoice["ending_balance"] - invoice["starting_balance"]
        assert invoice["amount_due"] + invoice["pre_payment_credit_notes_amount"] == invoice["total"] - used
