"""Cancellation of posted invoices on the real ERP: in place, and by a credit memo with a number of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from counterfoil.connectors.sdk import Absent, Confirmed, Connector
from counterfoil.connectors.tryton import connect
from tests.contract.trial_tryton import (
    TIMEOUT,
    changes,
    conforms,
    customer,
    done,
    fresh,
    invoice,
    refused,
    request,
)
from tests.erp_system import Erp


@pytest.fixture
async def us(erp: Erp) -> AsyncIterator[Connector]:
    built = connect(erp.config())
    yield built
    await built.close()


def taxed(erp: Erp) -> dict[str, Any]:
    """Changes that add a tax of 8.25 on 100.00, as billing computed it."""
    tax = {"code": "US-TX", "account": "2230", "base": "100.00", "amount": "8.25", "description": "US-TX"}
    return {"manual_taxes": [tax], "total": "108.25"}


async def state(connector: Connector, document: dict[str, Any]) -> tuple[str, Decimal]:
    body = await connector.read("erp.invoice.get", {"id": document["id"]}, TIMEOUT)
    return body["state"], body["amount_to_pay"]


async def test_a_cancellation_memo_takes_lines_and_taxes_back(erp: Erp, us: Connector) -> None:
    party = await customer(us)
    bill = await invoice(us, party, "100.00", erp.today, **taxed(erp))
    _, cursor = await changes(us, "invoices", None)
    _, entries = await changes(us, "entries", None)
    about = {"invoice": bill["id"], "total": "108.25", "invoice_date": erp.today.isoformat()}
    asked = request("erp.cancellation.post", reference=f"{bill['reference']}/void", **about)
    assert await us.find(asked, TIMEOUT) == Absent()
    memo = await done(us, asked)
    assert await us.find(asked, TIMEOUT) == Confirmed(memo)
    assert (memo["total"], memo["untaxed"], memo["number"] != bill["number"]) == (
        Decimal("-108.25"), Decimal("-100.00"), True)  # fmt: skip
    assert [(line["account"], line["net"]) for line in memo["lines"]] == [
        (line["account"], -line["net"]) for line in bill["lines"]
    ]
    assert [(tax["code"], tax["base"], tax["amount"]) for tax in memo["taxes"]] == [
        ("US-TX", Decimal("-100.00"), Decimal("-8.25"))
    ]
    applied = {"credit": memo["id"], "invoice": bill["id"], "amount": "108.25", "date": erp.today.isoformat()}
    await done(us, request("erp.credit.apply", **applied))
    assert (await state(us, bill), await state(us, memo)) == (("paid", 0), ("paid", 0))
    # Its entries are ours: none looks as if a person had made it.
    (applied_entry,) = [each.body for each in (await changes(us, "entries", entries))[0]]
    assert applied_entry["reference"] == f"{memo['reference']}/application/{bill['reference']}"
    # Whoever reads the books sees which invoice it takes back.
    deliveries, _ = await changes(us, "invoices", cursor)
    (shown, *_) = [each.body for each in reversed(deliveries) if each.body["id"] == memo["id"]]
    assert shown["reverses"] == {name: bill[name] for name in ("id", "number", "reference")}


async def test_an_unpaid_invoice_is_cancelled_in_place(erp: Erp, us: Connector) -> None:
    party = await customer(us)
    bill = await invoice(us, party, "100.00", erp.today, **taxed(erp))
    _, entries = await changes(us, "entries", None)
    asked = request("erp.invoice.void", invoice=bill["id"], total="108.25")
    assert await us.find(asked, TIMEOUT) == Absent()
    result = await done(us, asked)
    assert (result["state"], result["amount_to_pay"]) == ("cancelled", 0)
    assert (await changes(us, "entries", entries))[0] == []  # its reversal in the ledger is no entry by hand
    assert await us.find(asked, TIMEOUT) == Confirmed(result)
    assert (await refused(us, asked)).code == "cancelled"


@pytest.mark.parametrize("operation", ["erp.invoice.void", "erp.cancellation.post"])
async def test_what_is_paid_or_over_another_amount_is_not_cancelled(
    erp: Erp, us: Connector, operation: str
) -> None:
    party = await customer(us)
    bill, credit = [await invoice(us, party, amount, erp.today) for amount in ("100.00", "-10.00")]
    more = {"reference": fresh("void"), "invoice_date": erp.today.isoformat()}
    about = {"invoice": bill["id"], **(more if operation == "erp.cancellation.post" else {})}
    assert (await refused(us, request(operation, total="90.00", **about))).code == "amount_changed"
    applied = {
        "credit": credit["id"],
        "invoice": bill["id"],
        "amount": "10.00",
        "date": erp.today.isoformat(),
    }
    await done(us, request("erp.credit.apply", **applied))
    assert (await refused(us, request(operation, total="100.00", **about))).code == "applied"


async def test_what_credit_memos_have_left_is_cancelled_with_the_rest_of_each_tax(
    erp: Erp, us: Connector
) -> None:
    party = await customer(us)
    bill = await invoice(us, party, "100.00", erp.today, **taxed(erp))
    tax = {"code": "US-TX", "account": "2230", "base": "-33.33", "amount": "-2.75", "description": "US-TX"}
    credit = await invoice(us, party, "-33.33", erp.today, manual_taxes=[tax], total="-36.08")
    goodwill = await invoice(us, party, "-20.00", erp.today)
    day = erp.today.isoformat()
    for memo, amount in ((credit, "36.08"), (goodwill, "10.00")):
        await done(
            us,
            request("erp.credit.apply", credit=memo["id"], invoice=bill["id"], amount=amount, date=day),
        )
    about = {"reference": fresh("void"), "invoice": bill["id"], "invoice_date": day}
    too_much = await refused(us, request("erp.cancellation.post", total="108.25", **about))
    in_place = await refused(us, request("erp.invoice.void", invoice=bill["id"], total="62.17"))
    assert (too_much.code, in_place.code) == ("applied", "applied")
    rest = await done(us, request("erp.cancellation.post", total="62.17", **about))
    assert [(line["account"], line["net"]) for line in rest["lines"]] == [("4000", Decimal("-56.67"))]
    assert [(tax["code"], tax["base"], tax["amount"]) for tax in rest["taxes"]] == [
        ("US-TX", Decimal("-66.67"), Decimal("-5.50"))
    ]
    await done(
        us, request("erp.credit.apply", credit=rest["id"], invoice=bill["id"], amount="62.17", date=day)
    )
    assert (await state(us, bill), await state(us, rest)) == (("paid", 0), ("paid", 0))


async def test_an_invoice_whose_write_off_was_taken_back_is_cancelled(erp: Erp, us: Connector) -> None:
    party = await customer(us)
    bill = await invoice(us, party, "50.00", erp.today)
    loss = {
        "reference": fresh("loss"),
        "date": erp.today.isoformat(),
        "currency": "USD",
        "description": "Bad debt",
        "lines": [
            {"account": "5200", "amount": "50.00"},
            {"account": "1200", "amount": "-50.00", "party": party, "document": bill["id"]},
        ],
    }
    await done(us, request("erp.write_off.post", **loss))
    back = {"reference": f"{loss['reference']}/back", "reverses": loss["reference"]}
    lines = [{**line, "amount": str(-Decimal(str(line["amount"])))} for line in loss["lines"]]
    await done(us, request("erp.write_off.recover", **{**loss, **back, "lines": lines}))
    about = {"reference": fresh("void"), "invoice": bill["id"], "invoice_date": erp.today.isoformat()}
    memo = await done(us, request("erp.cancellation.post", total="50.00", **about))
    applied = {"credit": memo["id"], "invoice": bill["id"], "amount": "50.00", "date": erp.today.isoformat()}
    await done(us, request("erp.credit.apply", **applied))
    assert (await state(us, bill), await state(us, memo)) == (("paid", 0), ("paid", 0))


@pytest.mark.timeout(300)
async def test_conformance_of_cancellations(erp: Erp, us: Connector) -> None:
    party = await customer(us)
    bills = [(await invoice(us, party, "7.00", erp.today))["id"] for _ in range(20)]
    day = erp.today.isoformat()

    async def count(asked: Any) -> int:
        return int(isinstance(await us.find(asked, TIMEOUT), Confirmed))

    def memo() -> Any:
        return {"reference": fresh("void"), "invoice": bills.pop(), "total": "7.00", "invoice_date": day}

    def too_much() -> Any:
        return memo() | {"total": "8.00"}

    await conforms(
        us, erp.config(), count, "erp.cancellation.post", (memo, too_much), ("id", "number", "reference")
    )


@pytest.mark.timeout(300)
async def test_conformance_of_cancellation_in_place(erp: Erp, us: Connector) -> None:
    party = await customer(us)
    bills = [(await invoice(us, party, "7.00", erp.today))["id"] for _ in range(20)]

    async def count(asked: Any) -> int:
        return int(isinstance(await us.find(asked, TIMEOUT), Confirmed))

    def whole() -> Any:
        return {"invoice": bills.pop(), "total": "7.00"}

    def too_much() -> Any:
        return whole() | {"total": "8.00"}

    await conforms(us, erp.config(), count, "erp.invoice.void", (whole, too_much), ("id", "number", "state"))
