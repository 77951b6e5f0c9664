"""Credit memos that take the tax of an invoice with them, issued by the Stripe connector on the twin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from counterfoil.connectors.sdk import Confirmed, Rejected, Request
from counterfoil.connectors.stripe import Stripe, connect
from counterfoil.core.errors import ErrorClass
from tests.contract.stripe_twin_process import Twin, running_twin
from tests.contract.trial_stripe import ISSUE, body, config_of, customer, post

SECONDS = 10.0
LINES = 25
NET_CENTS = 1_337


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with running_twin(tmp_path_factory.mktemp("twin") / "twin.sqlite") as running:
        yield running


@pytest.fixture
async def connector(twin: Twin) -> AsyncIterator[Stripe]:
    created = connect(config_of(twin))
    yield created
    await created.close()


def rate(twin: Twin, percentage: str, inclusive: bool = False) -> str:
    form = {
        "display_name": "Tax",
        "percentage": percentage,
        "jurisdiction": "US-TX",
        "inclusive": str(inclusive).lower(),
    }
    return str(post(twin, "/v1/tax_rates", **form)["id"])


def invoice(twin: Twin, *rates: str, lines: int = LINES) -> dict[str, Any]:
    """Return an open invoice whose lines have the rates in turn; an empty rate is none."""
    who = customer(twin)
    id = str(post(twin, "/v1/invoices", customer=who, currency="eur")["id"])
    for first in range(0, lines, 10):
        form: dict[str, Any] = {}
        for place, number in enumerate(range(first, min(first + 10, lines))):
            form |= {
                f"lines[{place}][amount]": NET_CENTS + number,
                f"lines[{place}][description]": f"line {number}",
            }
            if rates[number % len(rates)]:
                form[f"lines[{place}][tax_rates][0]"] = rates[number % len(rates)]
        post(twin, f"/v1/invoices/{id}/add_lines", **form)
    return dict(post(twin, f"/v1/invoices/{id}/finalize"))


def issue(document: dict[str, Any], amount: int, key: str, **more: Any) -> Request:
    return Request(
        ISSUE, key, body(invoice=document["id"], amount=amount, currency="eur", taxed=True, **more)
    )


async def issued(connector: Stripe, request: Request) -> dict[str, Any]:
    outcome = await connector.send(request, SECONDS)
    assert isinstance(outcome, Confirmed), outcome
    return dict(outcome.result)


def sums(memos: list[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """Return base and tax of each rate over several memos."""
    rates = {tax["tax_rate"] for memo in memos for tax in memo["taxes"]}
    return {
        id: (
            sum(tax["base"] for memo in memos for tax in memo["taxes"] if tax["tax_rate"] == id),
            sum(tax["amount"] for memo in memos for tax in memo["taxes"] if tax["tax_rate"] == id),
        )
        for id in rates
    }


async def test_the_last_credit_takes_the_rest_of_each_tax(twin: Twin, connector: Stripe) -> None:
    document = invoice(twin, rate(twin, "8.25"), rate(twin, "19", inclusive=True), rate(twin, "8.875"), "")
    memos = [await issued(connector, issue(document, amount, f"part-{amount}")) for amount in (9_999, 10_000)]
    rest = document["total"] - 19_999
    memos.append(await issued(connector, issue(document, rest, "rest")))
    assert [memo["total"] for memo in memos] == [9_999, 10_000, rest]
    of_invoice = {
        tax["tax_rate"]: (tax["taxable_amount"], tax["amount"]) for tax in document["total_tax_amounts"]
    }
    assert sums(memos) == of_invoice
    assert set(memos[0]["tax_rates"]) == set(of_invoice)
    assert twin.json("GET", f"/v1/invoices/{document['id']}")["amount_remaining"] == 0


async def test_the_same_request_after_another_memo_is_still_the_same_memo(
    twin: Twin, connector: Stripe
) -> None:
    document = invoice(twin, rate(twin, "8.25"), lines=2)
    first = issue(document, 500, "first")
    result = await issued(connector, first)
    await issued(connector, issue(document, 300, "second"))
    assert await issued(connector, first) == result
    assert len(twin.json("GET", f"/v1/credit_notes?invoice={document['id']}")["data"]) == 2
    finding = await connector.find(first, SECONDS)
    assert isinstance(finding, Confirmed)
    assert finding.result == result


async def test_a_void_memo_gives_its_part_back(twin: Twin, connector: Stripe) -> None:
    document = invoice(twin, rate(twin, "8.25"), lines=1)
    note = await issued(connector, issue(document, document["total"] - 100, "void"))
    post(twin, f"/v1/credit_notes/{note['id']}/void")
    assert (await issued(connector, issue(document, document["total"], "again")))["tax"] == document["tax"]


async def test_a_paid_invoice_is_refunded_with_its_tax(twin: Twin, connector: Stripe) -> None:
    document = invoice(twin, rate(twin, "8.25"), lines=1)
    paid = post(twin, f"/v1/invoices/{document['id']}/pay")
    memo = await issued(connector, issue(document, 1_000, "refund", refund_amount=1_000))
    assert (memo["type"], memo["total"], memo["tax"]) == ("post_payment", 1_000, 76)
    (refund,) = twin.json("GET", f"/v1/refunds?charge={paid['charge']}")["data"]
    assert refund["amount"] == 1_000


async def test_more_than_the_lines_have_left_is_not_sent(twin: Twin, connector: Stripe) -> None:
    document = invoice(twin, rate(twin, "8.25"), lines=1)
    outcome = await connector.send(issue(document, document["total"] + 1, "over"), SECONDS)
    assert isinstance(outcome, Rejected)
    assert outcome.error_class is ErrorClass.REFUSED
    assert twin.json("GET", f"/v1/credit_notes?invoice={document['id']}")["data"] == []
