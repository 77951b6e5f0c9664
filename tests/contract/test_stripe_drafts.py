"""Credits on draft invoices: the Stripe connector adjusts and holds drafts of the twin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

from counterfoil.connectors.sdk import Absent, Confirmed, Rejected, Request
from counterfoil.connectors.stripe import Stripe, connect
from counterfoil.core.errors import ErrorClass
from tests.contract.stripe_twin_process import Twin, running_twin
from tests.contract.test_stripe_credit_lines import rate
from tests.contract.trial_stripe import (
    ADJUST,
    HOLD,
    RELEASE,
    RESTORE,
    body,
    config_of,
    customer,
    draft_invoice,
    post,
)

SECONDS = 10.0
HOUR_SECONDS = 3_600


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with running_twin(tmp_path_factory.mktemp("twin") / "twin.sqlite") as running:
        yield running


@pytest.fixture
async def connector(twin: Twin) -> AsyncIterator[Stripe]:
    created = connect(config_of(twin))
    yield created
    await created.close()


def taxed_draft(twin: Twin, who: str, *lines: tuple[int, Sequence[str]], defaults: Sequence[str] = ()) -> str:
    form = {f"default_tax_rates[{place}]": id for place, id in enumerate(defaults)}
    id = str(post(twin, "/v1/invoices", customer=who, currency="eur", auto_advance="true", **form)["id"])
    for amount, rates in lines:
        item = {f"tax_rates[{place}]": each for place, each in enumerate(rates)}
        post(twin, "/v1/invoiceitems", customer=who, invoice=id, currency="eur", amount=amount, **item)
    return id


def invoice(twin: Twin, id: str) -> Any:
    return twin.json("GET", f"/v1/invoices/{id}")


def adjust(id: str, amount: int, key: str = "k", credit: str = "CR-1", taxed: bool = True) -> Request:
    fields = {"invoice": id, "credit": credit, "amount": amount, "currency": "EUR", "taxed": taxed}
    return Request(ADJUST, f"{key}-{id}-{credit}", body(**fields))


def on(operation: str, id: str, credit: str = "CR-1") -> Request:
    return Request(operation, f"{operation}-{id}-{credit}", body(invoice=id, credit=credit))


async def done(connector: Stripe, request: Request) -> Any:
    outcome = await connector.send(request, SECONDS)
    assert isinstance(outcome, Confirmed), outcome
    return outcome.result


async def refused(connector: Stripe, request: Request) -> tuple[ErrorClass, str]:
    outcome = await connector.send(request, SECONDS)
    assert isinstance(outcome, Rejected), outcome
    return outcome.error_class, outcome.code


@pytest.mark.parametrize("amount", [1, 2_499, 2_500, 10_000, 33_333])
@pytest.mark.parametrize("inclusive", [False, True])
async def test_the_draft_is_smaller_by_exactly_the_credit(
    twin: Twin, connector: Stripe, amount: int, inclusive: bool
) -> None:
    who, sales, city = customer(twin), rate(twin, "8.25", inclusive), rate(twin, "1.875", inclusive)
    id = taxed_draft(twin, who, (20_000, [sales]), (13_337, [sales, city]), (777, []), (-100, []))
    before = invoice(twin, id)
    result = await done(connector, adjust(id, amount))
    after = invoice(twin, id)
    assert before["total"] - after["total"] == amount == result["amount"]
    assert before["tax"] - after["tax"] == result["tax"]
    # The key proves it after the answer is lost, and the same request adds nothing again.
    repeated = await connector.find(adjust(id, amount), SECONDS)
    assert isinstance(repeated, Confirmed)
    assert repeated.result == result == await done(connector, adjust(id, amount))
    assert invoice(twin, id)["total"] == after["total"]
    # What is taken back leaves the draft as it was.
    await done(connector, on(RESTORE, id))
    restored = invoice(twin, id)
    assert (restored["total"], restored["tax"]) == (before["total"], before["tax"])
    assert isinstance(await connector.find(adjust(id, amount), SECONDS), Absent)


async def test_credits_of_one_draft_add_up_to_all_of_it(twin: Twin, connector: Stripe) -> None:
    sales = rate(twin, "8.25")
    id = taxed_draft(twin, customer(twin), (9_999, []), (5_001, []), defaults=[sales])
    total = invoice(twin, id)["total"]
    parts = [total // 3, total // 3, total - 2 * (total // 3)]
    for place, part in enumerate(parts):
        assert (await done(connector, adjust(id, part, credit=f"CR-{place}")))["amount"] == part
    # The vendor rounds the tax of each line by itself, so a cent may stay between net and tax, but never in the total.
    assert invoice(twin, id)["total"] == 0
    assert abs(invoice(twin, id)["tax"]) <= 1
    assert await refused(connector, adjust(id, 1, credit="CR-9")) == (
        ErrorClass.REFUSED,
        "amount_exceeds_total",
    )
    # One of them is taken back; the others stay.
    await done(connector, on(RESTORE, id, "CR-1"))
    assert invoice(twin, id)["total"] == parts[1]


async def test_a_compensation_has_no_tax_and_an_exempt_customer_none_either(
    twin: Twin, connector: Stripe
) -> None:
    sales = rate(twin, "8.25")
    id = taxed_draft(twin, customer(twin), (10_000, [sales]))
    assert (await done(connector, adjust(id, 825, taxed=False)))["tax"] == 0
    assert (invoice(twin, id)["total"], invoice(twin, id)["tax"]) == (10_000, 825)
    who = customer(twin)
    post(twin, f"/v1/customers/{who}", tax_exempt="exempt")
    id = taxed_draft(twin, who, (10_000, [sales]))
    assert (await done(connector, adjust(id, 10_000)))["tax"] == 0
    assert invoice(twin, id)["total"] == 0
    id = taxed_draft(twin, customer(twin), (10_000, []), defaults=[sales])
    assert (await refused(connector, adjust(id, 100, taxed=False)))[1] == "default_tax_rates"


async def test_a_line_with_included_and_added_taxes_is_refused(twin: Twin, connector: Stripe) -> None:
    id = taxed_draft(twin, customer(twin), (10_000, [rate(twin, "5"), rate(twin, "7", inclusive=True)]))
    assert await refused(connector, adjust(id, 100)) == (ErrorClass.REFUSED, "mixed_tax")


async def test_a_finalized_invoice_is_neither_adjusted_nor_restored_nor_held(
    twin: Twin, connector: Stripe
) -> None:
    id = draft_invoice(twin, customer(twin))
    await done(connector, adjust(id, 2_500))
    post(twin, f"/v1/invoices/{id}/finalize")
    assert invoice(twin, id)["amount_due"] == 7_500
    for request in (adjust(id, 100, credit="CR-2"), on(RESTORE, id), on(HOLD, id)):
        assert await refused(connector, request) == (ErrorClass.REFUSED, "not_draft")
    assert isinstance(await connector.find(on(RESTORE, id), SECONDS), Absent)
    item = invoice(twin, id)["lines"]["data"][-1]["invoice_item"]
    assert twin.call("DELETE", f"/v1/invoiceitems/{item}")[0] == 400


async def test_a_held_draft_is_not_finalized_until_its_last_hold_is_released(
    twin: Twin, connector: Stripe
) -> None:
    id = draft_invoice(twin, customer(twin))
    for credit in ("CR-1", "CR-2"):
        assert (await done(connector, on(HOLD, id, credit)))["holds"]
    twin.control("POST", "clock", {"advance": 3 * HOUR_SECONDS})
    assert invoice(twin, id)["status"] == "draft"
    assert not (await done(connector, on(RELEASE, id, "CR-1")))["advances"]
    twin.control("POST", "clock", {"advance": 3 * HOUR_SECONDS})
    assert invoice(twin, id)["status"] == "draft"
    assert (await done(connector, on(RELEASE, id, "CR-2")))["advances"]
    twin.control("POST", "clock", {"advance": 3 * HOUR_SECONDS})
    assert invoice(twin, id)["status"] == "paid"
    assert invoice(twin, id)["metadata"] == {}


async def test_an_invoice_that_a_person_finalized_is_collected_after_its_release(
    twin: Twin, connector: Stripe
) -> None:
    id = draft_invoice(twin, customer(twin))
    await done(connector, on(HOLD, id))
    post(twin, f"/v1/invoices/{id}/finalize")
    twin.control("POST", "clock", {"advance": 2 * HOUR_SECONDS})
    assert invoice(twin, id)["status"] == "open"
    assert (await done(connector, on(RELEASE, id)))["advances"]
    twin.control("POST", "clock", {"advance": 2 * HOUR_SECONDS})
    assert invoice(twin, id)["status"] == "paid"


async def test_a_draft_that_a_person_finalizes_anyway_stays_as_it_is(twin: Twin, connector: Stripe) -> None:
    id = draft_invoice(twin, customer(twin))
    post(twin, f"/v1/invoices/{id}", auto_advance="false")
    assert not (await done(connector, on(HOLD, id)))["holds"]
    assert not (await done(connector, on(RELEASE, id)))["advances"]
    assert (invoice(twin, id)["auto_advance"], invoice(twin, id)["metadata"]) == (False, {})
