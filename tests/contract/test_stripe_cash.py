"""Money of the billing twin through its connector: reads, parts of payouts, balances, and books as events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from counterfoil.connectors.sdk import Delivery
from counterfoil.connectors.stripe import Stripe, connect
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain
from tests.contract.stripe_money import DAY, HOUR, advance
from tests.contract.stripe_twin_process import Twin, running_twin
from tests.contract.trial_stripe import charged, config_of, customer, open_invoice, post

SECONDS = 10.0
MONDAY = 1_924_819_200
"""00:00 UTC of a Monday in the future."""
FEE = 320
"""The fee of a charge of 100.00."""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with running_twin(tmp_path_factory.mktemp("twin") / "twin.sqlite") as running:
        yield running


@pytest.fixture
def twin(process: Twin) -> Twin:
    """An empty twin whose clock stands at noon of a Monday."""
    process.control("POST", "reset")
    process.control("POST", "clock", {"stop": True})
    process.control("POST", "clock", {"set": MONDAY + DAY // 2})
    return process


@pytest.fixture
async def connector(twin: Twin) -> AsyncIterator[Stripe]:
    created = connect(config_of(twin))
    yield created
    await created.close()


async def read(connector: Stripe, name: str, **arguments: Any) -> Any:
    return await connector.read(f"billing.{name}", arguments, SECONDS)


async def listed(connector: Stripe, book: str) -> list[Delivery]:
    page = await connector.list_book(book, None, 100, SECONDS)
    assert not page.more
    return list(page.deliveries)


async def moments(connector: Stripe, book: str) -> list[tuple[str, int]]:
    """Return the events of a book with their times, in seconds since the noon of the first day."""
    return [(each.type, each.body["created"] - MONDAY - DAY // 2) for each in await listed(connector, book)]


def decide(twin: Twin, id: str, status: str, **more: Any) -> None:
    twin.control("POST", "outcome", {"id": id, "status": status, **more})


# -- payments, refunds, disputes


async def test_a_collection_shows_the_disputes_of_its_charges_until_they_are_over(
    twin: Twin, connector: Stripe
) -> None:
    invoice = open_invoice(twin, customer(twin))
    charge = post(twin, f"/v1/invoices/{invoice}/pay")["charge"]
    dispute = twin.control("POST", "disputes", {"charge": charge, "amount": 4_000})
    standing = await read(connector, "collection.get", invoice=invoice)
    due = dispute["evidence_details"]["due_by"]
    assert standing["disputes"] == [{"id": dispute["id"], "amount": 4_000, "due_by": due}]
    # The vendor leaves a disputed invoice paid, so nothing of it is open.
    assert (standing["charged"], standing["paid"], standing["open"]) == (10_000, 10_000, 0)
    decide(twin, dispute["id"], "lost")
    assert (await read(connector, "collection.get", invoice=invoice))["disputes"] == []


async def test_a_payment_is_read_with_its_fee_and_invoice(twin: Twin, connector: Stripe) -> None:
    who = customer(twin)
    invoice = open_invoice(twin, who)
    charge = post(twin, f"/v1/invoices/{invoice}/pay")["charge"]
    payment = await read(connector, "payment.get", id=charge)
    assert (payment["invoice"], payment["customer"], payment["amount"]) == (invoice, who, 10_000)
    entry = payment["balance_transaction"]
    assert (entry["fee"], entry["net"], entry["currency"], entry["exchange_rate"]) == (
        FEE, 10_000 - FEE, "eur", None)  # fmt: skip
    assert payment["failure_balance_transaction"] is None


async def test_a_declined_payment_moved_no_money(twin: Twin, connector: Stripe) -> None:
    twin.fault("decline_charge", decline_code="insufficient_funds")
    twin.call(
        "POST", "/v1/payment_intents", "amount=500&currency=eur&payment_method=pm_card_visa&confirm=true"
    )
    charge = twin.all("charges")[0]["id"]
    payment = await read(connector, "payment.get", id=charge)
    assert (payment["status"], payment["balance_transaction"]) == ("failed", None)
    assert await moments(connector, "charges") == [("charge.failed", 0)]


async def test_a_refund_is_read_with_its_note_and_its_failure(twin: Twin, connector: Stripe) -> None:
    who = customer(twin)
    invoice = open_invoice(twin, who)
    charge = post(twin, f"/v1/invoices/{invoice}/pay")["charge"]
    note = post(twin, "/v1/credit_notes", invoice=invoice, amount=700, refund_amount=700)
    plain = post(twin, "/v1/refunds", charge=charge, amount=300)["id"]
    refund = await read(connector, "refund.get", id=note["refund"])
    assert (refund["credit_note"], refund["invoice"], refund["customer"], refund["charge"]) == (
        note["id"], invoice, who, charge)  # fmt: skip
    assert refund["balance_transaction"]["net"] == -700
    advance(twin, HOUR)
    decide(twin, plain, "failed", failure_reason="lost_or_stolen_card")
    failed = await read(connector, "refund.get", id=plain)
    assert (failed["credit_note"], failed["status"], failed["failure_reason"]) == (
        None, "failed", "lost_or_stolen_card")  # fmt: skip
    entry = failed["failure_balance_transaction"]
    assert (entry["net"], entry["created"]) == (300, MONDAY + DAY // 2 + HOUR)


async def test_what_goes_back_without_a_note_is_counted_until_it_fails_or_is_won(
    twin: Twin, connector: Stripe
) -> None:
    invoice = open_invoice(twin, customer(twin))
    charge = post(twin, f"/v1/invoices/{invoice}/pay")["charge"]
    note = post(twin, "/v1/credit_notes", invoice=invoice, amount=700, refund_amount=700)
    plain = post(twin, "/v1/refunds", charge=charge, amount=300)["id"]
    disputes = [
        twin.control("POST", "disputes", {"charge": charge, "amount": amount})["id"]
        for amount in (2000, 1000)
    ]
    twin.control("POST", "disputes", {"charge": charge, "amount": 400, "inquiry": True})
    assert (await read(connector, "refund.get", id=note["refund"]))["repaid"] == 3300
    decide(twin, disputes[0], "won")
    decide(twin, disputes[1], "lost")
    assert (await read(connector, "dispute.get", id=disputes[0]))["repaid"] == 1300
    advance(twin, HOUR)
    decide(twin, plain, "failed")
    assert (await read(connector, "refund.get", id=plain))["repaid"] == 1000


async def test_a_refund_of_a_note_can_fail_and_leaves_the_note(twin: Twin, connector: Stripe) -> None:
    invoice = open_invoice(twin, customer(twin))
    charge = post(twin, f"/v1/invoices/{invoice}/pay")["charge"]
    note = post(twin, "/v1/credit_notes", invoice=invoice, amount=700, refund_amount=700)
    advance(twin, 5 * DAY)
    decide(twin, note["refund"], "failed")
    refund = await read(connector, "refund.get", id=note["refund"])
    assert (refund["status"], refund["credit_note"]) == ("failed", note["id"])
    assert refund["failure_balance_transaction"]["net"] == 700
    assert (await read(connector, "credit_memo.get", id=note["id"]))["status"] == "issued"
    assert (await read(connector, "payment.get", id=charge))["amount_refunded"] == 0


async def test_a_charge_is_disputed_after_a_refund_and_several_times(twin: Twin, connector: Stripe) -> None:
    charge = charged(twin)
    post(twin, "/v1/refunds", charge=charge, amount=4000)
    ids = [
        twin.control("POST", "disputes", {"charge": charge, "amount": amount})["id"]
        for amount in (6000, 4000)
    ]
    disputes = [await read(connector, "dispute.get", id=id) for id in ids]
    assert [sum(row["net"] for row in one["balance_transactions"]) for one in disputes] == [-7500, -5500]
    assert [one["evidence_details"]["due_by"] for one in disputes] == [MONDAY + 15 * DAY - 1] * 2
    assert (await read(connector, "payment.get", id=charge))["disputed"] is True


async def test_a_debit_is_read_and_listed_while_it_is_on_its_way(twin: Twin, connector: Stripe) -> None:
    ids = [charged(twin, f"pm_{account}") for account in ("success_de", "failed_de")]
    pending = await read(connector, "payment.get", id=ids[0])
    assert (pending["status"], pending["balance_transaction"]["net"]) == ("pending", 9920)
    assert await moments(connector, "charges") == [("charge.pending", 0)] * 2
    advance(twin, 4 * DAY)
    failed = await read(connector, "payment.get", id=ids[1])
    assert (failed["status"], failed["failure_balance_transaction"]["net"]) == ("failed", -9920)
    assert await moments(connector, "charges") == [("charge.failed", 4 * DAY), ("charge.succeeded", 0)]
    assert (await read(connector, "balance.get"))["balances"] == [total(pending=9920)]


async def test_a_debit_is_in_no_balance_before_it_succeeds(twin: Twin, connector: Stripe) -> None:
    """Its payment, once it is one, has the date of the submission, and so has its money. A failed one has none at any time."""
    charged(twin)
    for account in ("success_de", "failed_de"):
        charged(twin, f"pm_{account}")
    assert (await read(connector, "balance.get"))["balances"] == [total(9680, processing=19_840)]
    advance(twin, 4 * DAY)
    assert (await read(connector, "balance.get"))["balances"] == [total(9680, pending=9920)]
    for days, answer in ((0, total(9680, 9920, processing=9920)), (4, total(9680, 9920)), (5, total(19_600))):
        advance(twin, DAY)
        as_of = datetime.fromtimestamp(MONDAY + days * DAY, UTC).date().isoformat()
        assert (await read(connector, "balance.get", as_of=as_of))["balances"] == [answer]


async def test_a_dispute_is_read_with_its_movements_and_customer(twin: Twin, connector: Stripe) -> None:
    who = customer(twin)
    invoice = open_invoice(twin, who)
    charge = post(twin, f"/v1/invoices/{invoice}/pay")["charge"]
    id = twin.control("POST", "disputes", {"charge": charge, "amount": 4000})["id"]
    dispute = await read(connector, "dispute.get", id=id)
    assert (dispute["charge"], dispute["customer"], dispute["invoice"]) == (charge, who, invoice)
    assert [(row["amount"], row["fee"]) for row in dispute["balance_transactions"]] == [(-4000, 1500)]


@pytest.mark.parametrize("name", ["payment.get", "refund.get", "dispute.get", "payout.get"])
async def test_a_read_takes_one_id_of_its_kind(connector: Stripe, name: str) -> None:
    for arguments in ({}, {"id": "../x"}, {"id": "ch_1", "more": 1}):
        with pytest.raises(Refused) as caught:
            await read(connector, name, **arguments)
        assert (caught.value.error_class, caught.value.code) == (ErrorClass.INVALID, "id")
    with pytest.raises(Refused) as missing:
        await read(connector, name, id="none_1")
    assert missing.value.error_class is ErrorClass.NOT_FOUND


# -- payouts


def parts(payout: Any) -> dict[str, int]:
    assert {part["currency"] for part in payout["parts"]} <= {payout["currency"]}
    return {part["kind"]: part["amount"] for part in payout["parts"]}


async def test_an_automatic_payout_has_parts_that_add_up_to_it(twin: Twin, connector: Stripe) -> None:
    first, second = charged(twin), charged(twin)
    failed = post(twin, "/v1/refunds", charge=first, amount=2000)["id"]
    post(twin, "/v1/refunds", charge=first, amount=1000)
    decide(twin, failed, "failed")
    won, _ = (
        twin.control("POST", "disputes", {"charge": second, "amount": amount})["id"]
        for amount in (3000, 4000)
    )
    decide(twin, won, "won")
    manual = post(twin, "/v1/payouts", amount=500, currency="eur")["id"]
    twin.control("POST", "config", {"payouts": "daily"})
    advance(twin, DAY)
    automatic = twin.all("payouts")[0]["id"]
    payout = await read(connector, "payout.get", id=automatic)
    assert (payout["manual"], sum(parts(payout).values())) == (False, payout["amount"])
    assert parts(payout) == {
        "charges": 20_000, "refunds": -1000, "disputes": -7000, "dispute_reversals": 3000, "adjustments": -500,
        "fees": -2 * FEE - 1500,
    }  # fmt: skip
    by_hand = await read(connector, "payout.get", id=manual)
    assert (by_hand["manual"], by_hand["parts"], by_hand["amount"]) == (True, [], 500)


async def test_parts_come_from_all_pages(twin: Twin, connector: Stripe) -> None:
    twin.control("POST", "config", {"payouts": "daily"})
    charge = charged(twin, amount=20_000)
    for _ in range(120):
        post(twin, "/v1/refunds", charge=charge, amount=10)
    advance(twin, DAY)
    payout = await read(connector, "payout.get", id=twin.all("payouts")[0]["id"])
    assert parts(payout) == {"charges": 20_000, "refunds": -1200, "fees": -610}


async def test_a_negative_payout_and_one_after_a_failure_have_parts(twin: Twin, connector: Stripe) -> None:
    twin.control("POST", "config", {"payouts": "daily"})
    charge = charged(twin)
    advance(twin, DAY)
    first = twin.all("payouts")[0]["id"]
    twin.control("POST", "disputes", {"charge": charge})
    advance(twin, DAY)
    debit = await read(connector, "payout.get", id=twin.all("payouts")[0]["id"])
    assert (debit["amount"], parts(debit)) == (-11_500, {"disputes": -10_000, "fees": -1500})
    decide(twin, first, "failed")
    advance(twin, DAY)
    again = await read(connector, "payout.get", id=twin.all("payouts")[0]["id"])
    assert (again["amount"], parts(again)) == (9680, {"adjustments": 9680})


@pytest.mark.parametrize("currency", ["huf", "twd"])
async def test_the_rest_of_a_payout_in_steps_is_a_reserve(
    twin: Twin, connector: Stripe, currency: str
) -> None:
    twin.control("POST", "config", {"payouts": "daily"})
    reserves = []
    for _ in range(2):
        charged(twin, amount=20_070, currency=currency)
        advance(twin, DAY)
        payout = await read(connector, "payout.get", id=twin.all("payouts")[0]["id"])
        assert sum(parts(payout).values()) == payout["amount"]
        reserves.append(parts(payout)["reserves"])
    assert reserves == [-58, 42]


async def test_a_payout_has_parts_of_every_kind(twin: Twin, connector: Stripe) -> None:
    twin.control("POST", "config", {"payouts": "daily", "fee_tax": 19, "dispute_fee": "kept"})
    charge = charged(twin, amount=20_000)
    for account in ("pm_success_de", "pm_failed_de"):
        post(twin, "/v1/payment_intents", amount=5000, currency="eur", payment_method=account, confirm="true")
    won = twin.control("POST", "disputes", {"charge": charge, "amount": 1000})["id"]
    decide(twin, won, "won")
    post(twin, "/v1/refunds", charge=charge, amount=400)
    amounts = {"adjustment": 70, "reserved_funds": -900, "stripe_fee": -200, "tax_fee": -38}
    for type, amount in amounts.items():
        twin.control("POST", "movements", {"type": type, "amount": amount, "currency": "eur"})
    advance(twin, 5 * DAY)
    payouts = [await read(connector, "payout.get", id=row["id"]) for row in reversed(twin.all("payouts"))]
    assert [parts(payout) for payout in payouts] == [
        {
            "charges": 20_000, "fees": -610 - 1500 - 200, "fee_tax": -116 - 285 - 38, "disputes": -1000,
            "dispute_reversals": 1000, "refunds": -400, "adjustments": 70, "reserves": -900,
        },
        {"charges": 5000, "fees": -40, "fee_tax": -8},
    ]  # fmt: skip
    assert [sum(parts(payout).values()) - payout["amount"] for payout in payouts] == [0, 0]


# -- balances


def total(
    available: int = 0, pending: int = 0, in_transit: int = 0, currency: str = "eur", processing: int = 0
) -> dict[str, Any]:
    return {
        "currency": currency, "available": available, "pending": pending, "in_transit": in_transit,
        "processing": processing, "total": available + pending + in_transit,
    }  # fmt: skip


async def test_the_balance_counts_payouts_until_they_arrive(twin: Twin, connector: Stripe) -> None:
    charged(twin)
    charged(twin, "pm_card_visa", 5000)
    charged(twin, currency="usd")
    post(twin, "/v1/payouts", amount=9000, currency="eur")
    expected = [total(680, 4825, 9000), total(9680, currency="usd")]
    assert (await read(connector, "balance.get"))["balances"] == expected
    advance(twin, HOUR)
    assert (await read(connector, "balance.get"))["balances"] == expected
    advance(twin, 2 * DAY)
    assert (await read(connector, "balance.get"))["balances"][0] == total(5505)


async def test_an_earlier_balance_is_what_it_was(twin: Twin, connector: Stripe) -> None:
    charge = charged(twin)
    charged(twin, "pm_card_visa", 5000)
    payout = post(twin, "/v1/payouts", amount=9000, currency="eur")["id"]
    advance(twin, 10 * DAY)
    post(twin, "/v1/refunds", charge=charge, amount=100)
    decide(twin, payout, "failed")
    charged(twin, currency="usd")
    noon, usd = datetime.fromtimestamp(MONDAY + DAY // 2, UTC), total(currency="usd")
    answers = [
        await read(connector, "balance.get", as_of=as_of)
        for as_of in (
            noon.isoformat(),
            "2030-12-29",
            "2030-12-30",
            "2031-01-05",
            "2031-01-15",
        )
    ]
    assert [answer["balances"] for answer in answers] == [
        [total(680, 4825, 9000), usd],
        [total(), usd],
        [total(680, 4825, 9000), usd],
        [total(5505), usd],
        [total(14_405), total(9680, currency="usd")],
    ]


async def test_a_date_ends_in_the_zone_of_the_system(twin: Twin) -> None:
    twin.control("POST", "clock", {"set": MONDAY + DAY - HOUR // 2})
    charged(twin)
    for zone, available in (("UTC", 9680), ("Europe/Berlin", 0)):
        connector = connect(config_of(twin, {"zone": zone}))
        day = datetime.fromtimestamp(MONDAY, UTC).date().isoformat()
        assert (await read(connector, "balance.get", as_of=day))["balances"] == [total(available)]
        await connector.close()


async def test_a_cut_off_is_a_date_or_an_exact_time(connector: Stripe) -> None:
    for arguments in ({"as_of": "yesterday"}, {"as_of": "2031-01-01T00:00:00"}, {"at": "2031-01-01"}):
        with pytest.raises(Refused) as caught:
            await read(connector, "balance.get", **arguments)
        assert caught.value.error_class is ErrorClass.INVALID


async def test_a_balance_without_answer_is_no_balance(twin: Twin, connector: Stripe) -> None:
    charged(twin)
    twin.fault("status", status=500, match={"path": "/v1/balance_transactions"})
    with pytest.raises(TryAgain):
        await read(connector, "balance.get", as_of="2031-01-01")
    with pytest.raises(Misconfigured):
        await read(connector, "balance.set")


async def test_the_movements_of_a_customer_balance_are_listed(twin: Twin, connector: Stripe) -> None:
    who = customer(twin)
    post(twin, f"/v1/customers/{who}/balance_transactions", amount=-4000, currency="eur")
    first = open_invoice(twin, who)
    paid = open_invoice(twin, who)
    post(twin, f"/v1/invoices/{paid}/pay")
    note = post(twin, "/v1/credit_notes", invoice=paid, amount=500, credit_amount=500)["id"]
    answer = await read(connector, "customer_balance.list", customer=who)
    assert (answer["customer"], answer["currency"], answer["balance"]) == (who, "eur", -500)
    assert [
        (row["amount"], row["type"], row["invoice"], row["credit_note"]) for row in answer["movements"]
    ] == [
        (-500, "credit_note", paid, note),
        (4000, "applied_to_invoice", first, None),
        (-4000, "adjustment", None, None),
    ]


# -- books


async def test_charges_and_refunds_are_listed_as_their_events(twin: Twin, connector: Stripe) -> None:
    charge = charged(twin)
    advance(twin, HOUR)
    done, failed = (post(twin, "/v1/refunds", charge=charge, amount=100)["id"] for _ in range(2))
    advance(twin, HOUR)
    decide(twin, failed, "failed")
    assert await moments(connector, "charges") == [("charge.succeeded", 0)]
    rows = await listed(connector, "refunds")
    assert [(each.body["data"]["object"]["id"], each.type) for each in rows] == [
        (failed, "refund.created"), (failed, "refund.updated"), (done, "refund.created"), (done, "refund.updated"),
    ]  # fmt: skip
    assert await moments(connector, "refunds") == [
        ("refund.created", HOUR), ("refund.updated", 2 * HOUR), ("refund.created", HOUR), ("refund.updated", 2 * HOUR),
    ]  # fmt: skip
    sent = twin.all("events?type=refund.updated")[0]["data"]["object"]
    assert rows[1].body["data"]["object"] == sent, "the same object as in the event, without expanded parts"


async def test_disputes_are_listed_with_their_money_and_their_end(twin: Twin, connector: Stripe) -> None:
    charge = charged(twin)
    ids = [twin.control("POST", "disputes", {"charge": charge, "amount": 1000})["id"] for _ in range(3)]
    twin.control("POST", "disputes", {"charge": charge, "amount": 1000, "inquiry": True})
    advance(twin, HOUR)
    decide(twin, ids[0], "won")
    decide(twin, ids[1], "lost")
    opened = ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
    rows = await listed(connector, "disputes")
    assert [each.type for each in rows] == [
        "charge.dispute.created", "charge.dispute.updated",
        *opened, "charge.dispute.updated",
        *opened, "charge.dispute.closed",
        *opened, "charge.dispute.funds_reinstated", "charge.dispute.closed",
    ]  # fmt: skip
    sent = {(row["type"], row["data"]["object"]["id"], row["created"]) for row in twin.all("events")}
    timed = [each for each in rows if "/state/" not in each.ext_id]
    assert {(each.type, each.body["data"]["object"]["id"], each.body["created"]) for each in timed} <= sent


async def test_payouts_are_listed_by_what_happened_to_them(twin: Twin, connector: Stripe) -> None:
    charged(twin, amount=100_000)
    ids = [post(twin, "/v1/payouts", amount=1000, currency="eur")["id"] for _ in range(5)]
    post(twin, f"/v1/payouts/{ids[0]}/cancel")
    decide(twin, ids[1], "paid")
    decide(twin, ids[2], "paid")
    advance(twin, HOUR)
    decide(twin, ids[2], "failed")
    decide(twin, ids[3], "failed")
    assert await moments(connector, "payouts") == [
        ("payout.created", 0), ("payout.updated", HOUR),
        ("payout.created", 0), ("payout.failed", HOUR),
        ("payout.created", 0), ("payout.paid", 0), ("payout.failed", HOUR),
        ("payout.created", 0), ("payout.paid", 0),
        ("payout.created", 0), ("payout.canceled", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("book", ["charges", "refunds", "disputes", "payouts"])
async def test_books_of_money_repeat_what_did_not_change(twin: Twin, connector: Stripe, book: str) -> None:
    charge = charged(twin)
    refund = post(twin, "/v1/refunds", charge=charge, amount=100)["id"]
    twin.control("POST", "disputes", {"charge": charge, "amount": 1000})
    post(twin, "/v1/payouts", amount=1000, currency="eur")
    before = {each.ext_id: each.identity for each in await listed(connector, book)}
    advance(twin, 60)
    charged(twin)
    decide(twin, refund, "failed")
    after = {each.ext_id: each.identity for each in await listed(connector, book)}
    changed = {id for id in before if after.get(id) != before[id]}
    assert {id.split("/")[2] for id in changed} == ({"state"} if book == "refunds" else set())
