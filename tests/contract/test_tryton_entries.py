"""Entries of payments by the connector of Tryton on the real ERP: receipts, refunds, disputes, payouts and write-offs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from counterfoil.connectors.sdk import Absent, Confirmed, Connector, Rejected, Request, Unknown
from counterfoil.connectors.tryton import connect
from counterfoil.core.errors import ErrorClass
from counterfoil.demo.erp.charts import DOLLARS_PER_EURO
from counterfoil.demo.erp.client import ErpClient
from counterfoil.demo.proxy import Proxy
from tests.contract.trial_tryton import (
    TIMEOUT,
    changes,
    conforms,
    customer,
    done,
    fresh,
    invoice,
    listed,
    refused,
    request,
)
from tests.erp_system import Erp


@pytest.fixture
async def us(erp: Erp) -> AsyncIterator[Connector]:
    built = connect(erp.config())
    yield built
    await built.close()


@pytest.fixture
async def accountant(erp: Erp) -> AsyncIterator[ErpClient]:
    async with erp.client() as client:
        yield client


def line(account: str, amount: str, party: int | None = None, document: int | None = None) -> dict[str, Any]:
    return {"account": account, "amount": amount, "party": party, "document": document}


def entry(on: date, *lines: dict[str, Any], **changes: Any) -> dict[str, Any]:
    head = {"reference": fresh("entry"), "date": on.isoformat(), "currency": "USD", "description": "ch_1"}
    return head | {"lines": list(lines)} | changes


def receipt(on: date, party: int, bill: dict[str, Any], amount: str, **changes: Any) -> Request:
    lines = (line("1050", amount), line("1200", f"-{amount}", party, bill["id"]))
    return request("erp.receipt.post", **entry(on, *lines, **changes))


def taken_back(operation: str, former: Request, on: date, **changes: Any) -> Request:
    """The request that takes a former entry back in full."""
    body = json.loads(former.body)
    lines = [each | {"amount": str(-Decimal(each["amount"]))} for each in body["lines"]]
    head = {"reference": fresh("back"), "date": on.isoformat(), "lines": lines, "reverses": body["reference"]}
    return request(operation, **(body | head | changes))


def weeks_after(on: date) -> date:
    """A day with another exchange rate, which changes with the month."""
    return on + timedelta(days=62)


def states(result: dict[str, Any]) -> list[tuple[str, Decimal]]:
    return [(each["state"], each["open"]) for each in result["documents"]]


async def state(connector: Connector, document: dict[str, Any]) -> tuple[str, Decimal]:
    body = await connector.read("erp.invoice.get", {"id": document["id"]}, TIMEOUT)
    return body["state"], body["amount_to_pay"]


async def described(accountant: ErpClient, reference: str) -> list[dict[str, Any]]:
    """The entries of a reference as the ERP itself has them."""
    domain = [["description", "like", f"[{reference.replace('_', chr(92) + '_')}]%"]]
    return await accountant.search("account.move", domain, ["number", "state"])


async def lines_of(accountant: ErpClient, number: str) -> list[dict[str, Any]]:
    fields = ["account.code", "debit", "credit", "reconciliation", "amount_second_currency"]
    return await accountant.search("account.move.line", [["move.number", "=", number]], fields)


async def test_receipt_in_full_pays_the_invoice(erp: Erp, us: Connector, accountant: ErpClient) -> None:
    party = await customer(us)
    bill = await invoice(us, party, "100.00", erp.today)
    before = await accountant.trial_balance()
    lines = (
        line("1050", "100.00"),
        line("1200", "-100.00", party, bill["id"]),
        line("5100", "3.20"),
        line("1050", "-3.20"),
        line("5110", "0.00"),
    )
    asked = request("erp.receipt.post", **entry(erp.today, *lines))
    assert await us.find(asked, TIMEOUT) == Absent()
    result = await done(us, asked)
    assert result["documents"] == [
        {
            "id": bill["id"],
            "number": bill["number"],
            "reference": bill["reference"],
            "open": 0,
            "state": "paid",
        }
    ]
    assert (result["date"], result["period"]) == (erp.today.isoformat(), f"{erp.today:%Y-%m}")
    assert [(each["account"], each["amount"]) for each in result["lines"]] == [
        (each["account"], Decimal(each["amount"])) for each in lines[:-1]
    ]
    assert result["exchange_difference"] == 0
    assert await us.find(asked, TIMEOUT) == Confirmed(result)
    after = await accountant.trial_balance()
    moved = {code: after[code] - before.get(code, 0) for code in after}
    assert {code: amount for code, amount in moved.items() if amount} == {
        "1050": Decimal("96.80"), "1200": Decimal("-100.00"), "5100": Decimal("3.20"),
    }  # fmt: skip
    again = await refused(us, asked)
    assert again.error_class is ErrorClass.ALREADY_DONE
    assert len(await described(accountant, json.loads(asked.body)["reference"])) == 1


async def test_receipts_in_part_and_then_too_much(erp: Erp, us: Connector) -> None:
    party = await customer(us)
    bill = await invoice(us, party, "100.00", erp.today)
    first = await done(us, receipt(erp.today, party, bill, "60.00"))
    assert states(first) == [("posted", Decimal("40.00"))]
    outcome = await refused(us, receipt(erp.today, party, bill, "40.01"))
    assert (outcome.error_class, outcome.code) == (ErrorClass.CONFLICT, "amount_exceeds_open")
    assert states(await done(us, receipt(erp.today, party, bill, "40.00"))) == [("paid", Decimal(0))]
    outcome = await refused(us, receipt(erp.today, party, bill, "1.00"))
    assert outcome.code == "amount_exceeds_open"


async def test_one_entry_over_several_invoices_with_a_rest_on_account_applied_later(
    erp: Erp, us: Connector, accountant: ErpClient
) -> None:
    party = await customer(us)
    bills = [await invoice(us, party, amount, erp.today) for amount in ("10.00", "20.00", "30.00")]
    lines = (
        line("1000", "67.00"),
        line("1200", "-10.00", party, bills[0]["id"]),
        line("1200", "-20.00", party, bills[1]["id"]),
        line("1200", "-25.00", party, bills[2]["id"]),
        line("1200", "-12.00", party),
    )
    result = await done(us, request("erp.receipt.post", **entry(erp.today, *lines)))
    assert states(result) == [("paid", 0), ("paid", 0), ("posted", Decimal("5.00"))]

    def applied(amount: str, to: dict[str, Any]) -> Request:
        pair = (line("1200", amount, party), line("1200", f"-{amount}", party, to["id"]))
        return request("erp.balance.apply", **entry(erp.today, *pair))

    assert states(await done(us, applied("5.00", bills[2]))) == [("paid", 0)]
    later = await invoice(us, party, "50.00", erp.today)
    outcome = await refused(us, applied("7.01", later))
    assert (outcome.error_class, outcome.code) == (ErrorClass.CONFLICT, "amount_exceeds_open")
    assert states(await done(us, applied("7.00", later))) == [("posted", Decimal("43.00"))]
    on_account = [["party", "=", party], ["account.code", "=", "1200"], ["reconciliation", "=", None]]
    open_lines = await accountant.search("account.move.line", on_account, ["debit", "credit"])
    # Only the last invoice and its payment are open: the money on account is reconciled with its applications.
    assert sorted(each["debit"] - each["credit"] for each in open_lines) == [Decimal(-7), Decimal(50)]


async def test_receipt_returned_weeks_later_opens_the_invoice_for_another_payment(
    erp: Erp, us: Connector, accountant: ErpClient
) -> None:
    party = await customer(us)
    later = weeks_after(erp.today)
    bill = await invoice(us, party, "100.00", erp.today)
    part = receipt(erp.today, party, bill, "30.00")
    await done(us, part)
    rest = receipt(erp.today, party, bill, "70.00")
    assert states(await done(us, rest)) == [("paid", 0)]
    back = taken_back("erp.receipt.return", rest, later)
    assert await us.find(back, TIMEOUT) == Absent()
    result = await done(us, back)
    assert states(result) == [("posted", Decimal("70.00"))]
    assert result["reverses"] == json.loads(rest.body)["reference"]
    assert await us.find(back, TIMEOUT) == Confirmed(result)
    assert await state(us, bill) == ("posted", Decimal("70.00"))
    assert isinstance(await us.find(rest, TIMEOUT), Confirmed)
    twice = await refused(us, taken_back("erp.receipt.return", rest, later))
    assert (twice.error_class, twice.code) == (ErrorClass.CONFLICT, "already_reversed")
    assert states(await done(us, receipt(later, party, bill, "70.00"))) == [("paid", 0)]
    assert isinstance(await us.find(back, TIMEOUT), Confirmed)
    assert isinstance(await us.find(rest, TIMEOUT), Confirmed)
    # The other payment may be returned, too.
    assert states(await done(us, taken_back("erp.receipt.return", part, later))) == [
        ("posted", Decimal("30.00"))
    ]


async def test_return_of_a_whole_payment_is_divided_as_its_receipt_was(erp: Erp, us: Connector) -> None:
    party = await customer(us)
    bill = await invoice(us, party, "60.00", erp.today)
    lines = (line("1050", "100.00"), line("1200", "-60.00", party, bill["id"]), line("1200", "-40.00", party))
    former = request("erp.receipt.post", **entry(erp.today, *lines))
    await done(us, former)
    assert await state(us, bill) == ("paid", 0)
    whole = [line("1050", "-100.00"), line("1200", "100.00", party, bill["id"])]
    asked = taken_back("erp.receipt.return", former, weeks_after(erp.today), lines=whole)
    assert states(await done(us, asked)) == [("posted", Decimal("60.00"))]
    assert isinstance(await us.find(asked, TIMEOUT), Confirmed)
    # Nothing is left on account: neither of the payment nor of its return.
    both = (line("1200", "0.01", party), line("1200", "-0.01", party, bill["id"]))
    outcome = await refused(us, request("erp.balance.apply", **entry(erp.today, *both)))
    assert outcome.code == "amount_exceeds_open"


async def test_part_of_a_receipt_is_returned_twice_but_not_beyond_its_amount(erp: Erp, us: Connector) -> None:
    party = await customer(us)
    bill = await invoice(us, party, "100.00", erp.today)
    paid = receipt(erp.today, party, bill, "100.00")
    await done(us, paid)

    def part(amount: str) -> Request:
        lines = [line("1050", f"-{amount}"), line("1200", amount, party, bill["id"])]
        return taken_back("erp.receipt.return", paid, erp.today, lines=lines)

    first = part("60.00")
    assert states(await done(us, first)) == [("posted", Decimal("60.00"))]
    assert (await refused(us, part("40.01"))).code == "already_reversed"
    assert states(await done(us, part("40.00"))) == [("posted", Decimal("100.00"))]
    assert isinstance(await us.find(first, TIMEOUT), Confirmed)


async def test_refund_of_a_memo_and_its_failure(erp: Erp, us: Connector) -> None:
    party = await customer(us)
    memo = await invoice(us, party, "-25.00", erp.today)
    lines = (line("1200", "25.00", party, memo["id"]), line("1050", "-25.00"))
    too_much = (line("1200", "25.01", party, memo["id"]), line("1050", "-25.01"))
    assert (await refused(us, request("erp.refund.post", **entry(erp.today, *too_much)))).code == (
        "amount_exceeds_open"
    )
    refund = request("erp.refund.post", **entry(erp.today, *lines))
    assert states(await done(us, refund)) == [("paid", 0)]
    failed = await done(us, taken_back("erp.refund.return", refund, erp.today))
    assert states(failed) == [("posted", Decimal("-25.00"))]
    assert states(await done(us, request("erp.refund.post", **entry(erp.today, *lines)))) == [("paid", 0)]


async def test_dispute_is_lost_in_part_and_released_in_part(
    erp: Erp, us: Connector, accountant: ErpClient
) -> None:
    before = await accountant.trial_balance()
    fee = (line("5100", "15.00"), line("1050", "-15.00"))
    dispute = request(
        "erp.dispute.post", **entry(erp.today, line("1070", "100.00"), line("1050", "-100.00"), *fee)
    )
    held = await done(us, dispute)
    lose = [line("5200", "60.00"), line("1070", "-60.00")]
    await done(us, taken_back("erp.dispute.lose", dispute, erp.today, lines=lose))
    release = [line("1050", "40.00"), line("1070", "-40.00")]
    await done(us, taken_back("erp.dispute.release", dispute, erp.today, lines=release))
    again = await refused(us, taken_back("erp.dispute.release", dispute, erp.today, lines=release))
    assert again.code == "already_reversed"
    after = await accountant.trial_balance()
    moved = {code: after[code] - before.get(code, 0) for code in after}
    assert {code: amount for code, amount in moved.items() if amount} == {
        "1050": Decimal("-75.00"), "5100": Decimal("15.00"), "5200": Decimal("60.00"),
    }  # fmt: skip
    whole = request("erp.dispute.post", **entry(erp.today, line("1070", "9.00"), line("1050", "-9.00")))
    await done(us, whole)
    won = await done(us, taken_back("erp.dispute.release", whole, erp.today))
    assert all(each["reconciliation"] for each in await lines_of(accountant, won["number"]))
    assert not any(each["reconciliation"] for each in await lines_of(accountant, held["number"]))


async def test_payout_fails_and_is_taken_back_once(erp: Erp, us: Connector) -> None:
    parts = line("1050", "-90.00") | {"text": "charges"}, line("1050", "10.00") | {"text": "fees"}
    payout = request("erp.payout.post", **entry(erp.today, line("1000", "80.00"), *parts))
    await done(us, payout)
    back = taken_back("erp.payout.return", payout, erp.today)
    result = await done(us, back)
    # Each kind of money keeps its text, also where it comes back.
    assert {(each["text"], each["amount"]) for each in result["lines"]} == {
        (None, Decimal("-80.00")), ("charges", Decimal("90.00")), ("fees", Decimal("-10.00")),
    }  # fmt: skip
    assert (await refused(us, taken_back("erp.payout.return", payout, erp.today))).code == "already_reversed"
    unknown = taken_back("erp.payout.return", payout, erp.today, reverses="no such entry")
    answer = await refused(us, unknown)
    assert (answer.error_class, answer.code) == ("not_found", "unknown_entry")
    stranger = [line("5200", "1.00"), line("5110", "-1.00")]
    nothing = taken_back("erp.payout.return", back, erp.today, lines=stranger)
    assert (await refused(us, nothing)).code == "reverses_nothing"


async def test_write_off_and_its_recovery(erp: Erp, us: Connector) -> None:
    party = await customer(us)
    bill = await invoice(us, party, "100.00", erp.today)
    await done(us, receipt(erp.today, party, bill, "20.00"))
    lines = (line("5200", "80.00"), line("1200", "-80.00", party, bill["id"]))
    write_off = request("erp.write_off.post", **entry(erp.today, *lines))
    assert states(await done(us, write_off)) == [("paid", 0)]
    # The ERP warns before a reconciliation with a write-off is opened, and the connector answers for this one only.
    recovered = await done(us, taken_back("erp.write_off.recover", write_off, erp.today))
    assert states(recovered) == [("posted", Decimal("80.00"))]


async def test_write_off_is_recovered_in_parts_and_written_off_again(erp: Erp, us: Connector) -> None:
    party = await customer(us)
    bill = await invoice(us, party, "100.00", erp.today)
    name = fresh("bill")

    def lines(amount: str) -> list[dict[str, Any]]:
        return [line("5200", amount), line("1200", str(-Decimal(amount)), party, bill["id"])]

    async def marks() -> Counter[tuple[str, Decimal]]:
        """What settles the invoice, by the reference in its text, without payments."""
        body = await us.read("erp.invoice.get", {"id": bill["id"]}, TIMEOUT)
        rows = [(row["text"].partition("]")[0][1:], row["amount"]) for row in body["allocations"]]
        return Counter((text.removeprefix(name), amount) for text, amount in rows if text.startswith(name))

    first = request("erp.write_off.post", **entry(erp.today, *lines("100.00"), reference=f"{name}/write-off"))
    assert states(await done(us, first)) == [("paid", 0)]
    for nth, amount in enumerate(("40.00", "60.00"), 1):
        back = f"{name}/write-off/recovered/{nth}"
        part = taken_back(
            "erp.write_off.recover", first, erp.today, reference=back, lines=lines(f"-{amount}")
        )
        assert states(await done(us, part)) == [("posted", Decimal(amount))]
        if nth == 1:
            assert await marks() == {("/write-off", 100): 1, ("/write-off/recovered/1", -40): 1}
        last = receipt(erp.today, party, bill, amount)
        assert states(await done(us, last)) == [("paid", 0)]
    more = taken_back("erp.write_off.recover", first, erp.today, lines=lines("-0.01"))
    assert (await refused(us, more)).code == "already_reversed"
    # The last payment comes back, and what is open then is given up again.
    assert states(await done(us, taken_back("erp.receipt.return", last, erp.today))) == [
        ("posted", Decimal(60))
    ]
    second = entry(erp.today, *lines("60.00"), reference=f"{name}/write-off/2")
    assert states(await done(us, request("erp.write_off.post", **second))) == [("paid", 0)]
    every = await marks()
    assert every["/write-off/2", Decimal(60)] == 1
    assert sum(amount * count for (_, amount), count in every.items()) == 60, every


@pytest.mark.parametrize("currency", ["USD", "EUR"])
async def test_accrual_and_its_reversal_leave_nothing(
    erp: Erp, us: Connector, accountant: ErpClient, currency: str
) -> None:
    """In a foreign currency the reversal has the rate of the accrual: an estimate makes no gain and no loss."""
    opens = erp.today.replace(day=1)
    closes = opens - timedelta(days=1)
    balances = await accountant.trial_balance()
    before = {code: amount for code, amount in balances.items() if amount}
    opening = (await accountant.trial_balance(closes)).get("2450", Decimal(0))
    lines = (line("4800", "33.33"), line("2450", "-33.33"))
    posted = request("erp.accrual.post", **entry(closes, *lines, currency=currency))
    accrual = await done(us, posted)
    assert (accrual["date"], accrual["period"]) == (closes.isoformat(), f"{closes:%Y-%m}")
    booked = cents(Decimal("33.33") * (rate(closes) if currency == "EUR" else 1))
    assert (await accountant.trial_balance(closes))["2450"] - opening == -booked
    back = await done(us, taken_back("erp.accrual.reverse", posted, opens))
    assert (back["date"], back["exchange_difference"]) == (opens.isoformat(), 0)
    assert back["reverses"] == accrual["reference"]
    after = await accountant.trial_balance()
    assert {code: amount for code, amount in after.items() if amount} == before
    assert (await refused(us, posted)).error_class is ErrorClass.ALREADY_DONE
    outcome = await refused(us, taken_back("erp.accrual.reverse", posted, opens))
    assert outcome.code == "already_reversed"
    journals = await accountant.search("account.move", [["number", "=", accrual["number"]]], ["journal.code"])
    assert [each["journal"]["code"] for each in journals] == ["ACC"]


async def test_parallel_requests_of_one_reference_leave_one_entry(
    erp: Erp, us: Connector, accountant: ErpClient
) -> None:
    party = await customer(us)
    bill = await invoice(us, party, "100.00", erp.today)
    others = [connect(erp.config()) for _ in range(2)]
    for amount in ("10.00", "90.00"):
        asked = receipt(erp.today, party, bill, amount)
        outcomes = await asyncio.gather(*(each.send(asked, TIMEOUT) for each in (us, us, *others)))
        assert sum(isinstance(outcome, Confirmed) for outcome in outcomes) <= 1, outcomes
        for outcome in outcomes:
            allowed = (ErrorClass.TRANSIENT, ErrorClass.ALREADY_DONE)
            settled = isinstance(outcome, Rejected) and outcome.error_class in allowed
            assert isinstance(outcome, Confirmed) or settled, outcome
        if not isinstance(await us.find(asked, TIMEOUT), Confirmed):
            await done(us, asked)
        entries = await described(accountant, json.loads(asked.body)["reference"])
        assert [each["state"] for each in entries] == ["posted"]
    for each in others:
        await each.close()
    assert await state(us, bill) == ("paid", 0)


async def test_same_reference_with_other_content_is_refused(erp: Erp, us: Connector) -> None:
    first = entry(erp.today, line("1000", "8.00"), line("1050", "-8.00"))
    await done(us, request("erp.payout.post", **first))
    other = [line("1000", "9.00"), line("1050", "-9.00")]
    asked = request("erp.payout.post", **first | {"lines": other})
    outcome = await refused(us, asked)
    assert (outcome.error_class, outcome.code) == (ErrorClass.CONFLICT, "other_content")
    assert await us.find(asked, TIMEOUT) == outcome


async def test_posted_entry_stays_on_its_day_though_a_repeat_has_another(erp: Erp, us: Connector) -> None:
    """Its month may be closed when the same fact arrives again, which then is dated on the first open day."""
    first = entry(erp.today, line("1000", "8.00"), line("1050", "-8.00"))
    result = await done(us, request("erp.payout.post", **first))
    asked = request("erp.payout.post", **first | {"date": weeks_after(erp.today).isoformat()})
    outcome = await refused(us, asked)
    assert (outcome.error_class, outcome.code) == (ErrorClass.ALREADY_DONE, "posted")
    assert await us.find(asked, TIMEOUT) == Confirmed(result)


async def test_reference_is_matched_exactly(erp: Erp, us: Connector) -> None:
    """`_` and `%` are wildcards of the ERP's search, which ignores case as well."""
    mark = fresh("po")
    references = [f"{mark}_a%b", f"{mark}xaxb", f"{mark}_A%b", f"{mark}_a%b c", f"{mark}_a\\%b"]
    for reference in references:
        lines = (line("1000", "1.00"), line("1050", "-1.00"))
        asked = request("erp.payout.post", **entry(erp.today, *lines, reference=reference))
        assert await us.find(asked, TIMEOUT) == Absent()
        assert (await done(us, asked))["reference"] == reference
        assert isinstance(await us.find(asked, TIMEOUT), Confirmed)


async def test_faults_are_refused_before_anything_is_entered(
    erp: Erp, us: Connector, accountant: ErpClient
) -> None:
    party, stranger = await customer(us), await customer(us)
    bill = await invoice(us, party, "10.00", erp.today)
    euros = await invoice(us, party, "10.00", erp.today, currency="EUR")
    paying = [line("1050", "5.00"), line("1200", "-5.00", party, bill["id"])]
    faults: list[tuple[str, list[dict[str, Any]]]] = [
        ("unbalanced", [line("1000", "5.00"), line("1050", "-4.00")]),
        ("unknown_account", [line("1000", "5.00"), line("1051", "-5.00")]),
        ("party", [line("1000", "5.00"), line("1200", "-5.00")]),
        ("party", [line("1000", "5.00", party), line("1050", "-5.00")]),
        ("input", [line("1000", "0.00")]),
        ("other_party", [paying[0], line("1200", "-5.00", stranger, bill["id"])]),
        ("other_account", [line("1200", "-5.00", party), line("1050", "5.00", None, bill["id"])]),
        ("other_currency", [paying[0], line("1200", "-5.00", party, euros["id"])]),
        ("unknown_document", [paying[0], line("1200", "-5.00", party, 999_999)]),
        ("amount_exceeds_open", [line("1050", "-5.00"), line("1200", "5.00", party, bill["id"])]),
    ]
    before = await accountant.search("account.move", [], ["id"])
    for code, lines in faults:
        outcome = await refused(us, request("erp.receipt.post", **entry(erp.today, *lines)))
        assert outcome.code == code
    none = date(erp.today.year + 5, 1, 1)
    assert (await refused(us, request("erp.receipt.post", **entry(none, *paying)))).code == "no_period"
    name = f"{erp.today.year - 1}-03"
    await accountant.close_period(name)
    try:
        on = date(erp.today.year - 1, 3, 4)
        outcome = await refused(us, request("erp.receipt.post", **entry(on, *paying)))
    finally:
        await accountant.reopen_period(name)
    assert (outcome.error_class, outcome.code) == (ErrorClass.PERIOD_CLOSED, name)
    assert await accountant.search("account.move", [], ["id"]) == before


async def test_lines_that_are_reconciled_otherwise_are_not_taken(
    erp: Erp, us: Connector, accountant: ErpClient
) -> None:
    """The ERP would move lines from one reconciliation into another, and leave the first one unbalanced."""
    party = await customer(us)
    bill = await invoice(us, party, "40.00", erp.today)
    on_account = (line("1000", "40.00"), line("1200", "-40.00", party))
    money = await done(us, request("erp.receipt.post", **entry(erp.today, *on_account)))
    domain = [["party", "=", party], ["account.code", "=", "1200"]]
    both = [each["id"] for each in await accountant.search("account.move.line", domain, ["id"])]
    company = erp.seed["companies"]["acme-us"]["company"]
    values = {"company": company, "date": erp.today, "lines": [["add", both]]}
    by_hand = await accountant.create("account.move.reconciliation", values)
    assert await state(us, bill) == ("paid", 0)
    outcome = await refused(us, receipt(erp.today, party, bill, "40.00"))
    assert outcome.code == "amount_exceeds_open"
    (of_money,) = [each for each in await lines_of(accountant, money["number"]) if each["credit"]]
    assert of_money["reconciliation"] == by_hand["id"]


async def test_state_written_by_hand_does_not_count(erp: Erp, us: Connector, accountant: ErpClient) -> None:
    party = await customer(us)
    bill = await invoice(us, party, "40.00", erp.today)
    asked = receipt(erp.today, party, bill, "40.00")
    await accountant.write("account.invoice", bill["id"], {"state": "paid"})
    assert await state(us, bill) == ("posted", Decimal("40.00"))
    outcome = await refused(us, asked)
    assert (outcome.error_class, outcome.code) == (ErrorClass.CONFLICT, "state_by_hand")
    assert await us.find(asked, TIMEOUT) == Absent()
    await accountant.write("account.invoice", bill["id"], {"state": "posted", "reference": "by hand"})
    assert states(await done(us, asked)) == [("paid", 0)]
    await accountant.write("account.invoice", bill["id"], {"state": "posted"})
    assert await state(us, bill) == ("paid", 0)
    finding = await us.find(asked, TIMEOUT)
    assert isinstance(finding, Confirmed)
    assert states(dict(finding.result)) == [("paid", 0)]


MOVE = b"/erp/rest/model/account.move"
WRITES = (b"POST " + MOVE + b" HTTP", b"/post HTTP", b"POST " + MOVE + b".reconciliation HTTP")
"""Writes of a receipt in full: entering, posting, reconciling."""
FURTHER_WRITES = (b"DELETE " + MOVE + b".reconciliation", b"PUT " + MOVE + b".line")
"""Further writes of its return: opening the reconciliation, linking the new line to the invoice."""


async def interrupted(erp: Erp, connector: Connector, asked: Request, lost: bytes) -> dict[str, Any]:
    """The result of a request that is repeated after one answer was lost."""
    async with Proxy(erp.port) as proxy:
        through = connect(erp.config(proxy.url))
        proxy.lose_next_answer(lost)
        assert isinstance(await through.send(asked, TIMEOUT), Unknown)
        assert proxy.counts.lost == 1
        finding = await through.find(asked, TIMEOUT)
        await through.close()
    if isinstance(finding, Rejected):
        assert (finding.error_class, finding.code) == (ErrorClass.TRANSIENT, "unfinished")
        return await done(connector, asked)
    assert isinstance(finding, Confirmed), finding
    return dict(finding.result)


async def test_interrupted_receipts_and_returns_are_finished_by_the_same_request(
    erp: Erp, us: Connector, accountant: ErpClient
) -> None:
    """One invoice is paid and open again in turn; every write loses its answer once."""
    party = await customer(us)
    bill = await invoice(us, party, "40.00", erp.today)
    for lost in (*WRITES, *FURTHER_WRITES):
        paid = receipt(erp.today, party, bill, "40.00")
        result = await (interrupted(erp, us, paid, lost) if lost in WRITES else done(us, paid))
        assert states(result) == [("paid", 0)], lost
        back = taken_back("erp.receipt.return", paid, erp.today)
        assert states(await interrupted(erp, us, back, lost)) == [("posted", Decimal("40.00"))], lost
        for asked in (paid, back):
            assert len(await described(accountant, json.loads(asked.body)["reference"])) == 1
    assert (await refused(us, back)).error_class is ErrorClass.ALREADY_DONE


def rate(on: date) -> Decimal:
    return Decimal(DOLLARS_PER_EURO[on.month - 1])


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"))


async def test_foreign_receipt_books_the_realised_difference_and_its_return_takes_it_back(
    erp: Erp, us: Connector, accountant: ErpClient
) -> None:
    party = await customer(us)
    paid = weeks_after(erp.today)
    bill = await invoice(us, party, "100.01", erp.today, currency="EUR")
    debt = bill["functional"]["total"]
    part = receipt(paid, party, bill, "33.33", currency="EUR")
    first = await done(us, part)
    of_part = cents(debt * Decimal("33.33") / Decimal("100.01"))
    assert first["exchange_difference"] == of_part - cents(Decimal("33.33") * rate(paid))
    assert states(first) == [("posted", Decimal("66.68"))]
    fee = (line("5100", "2.00"), line("1050", "-2.00"))
    lines = (line("1050", "66.68"), line("1200", "-66.68", party, bill["id"]), *fee)
    rest = request("erp.receipt.post", **entry(paid, *lines, currency="EUR"))
    second = await done(us, rest)
    assert states(second) == [("paid", 0)]
    by_account = {(each["account"], each["currency"]): each["functional"] for each in second["lines"]}
    # The last payment takes the rest of the debt, whatever the rounding of the first one was.
    assert by_account["1200", "EUR"] == of_part - debt
    assert sum(each["functional"] for each in second["lines"]) == 0
    assert by_account["7900", "USD"] == second["exchange_difference"] != 0
    back = await done(us, taken_back("erp.receipt.return", rest, weeks_after(paid)))
    assert back["exchange_difference"] == -second["exchange_difference"]
    assert states(back) == [("posted", Decimal("66.68"))]
    async with erp.client() as american:
        code = (await american.search("party.party", [["id", "=", party]], ["code"]))[0]["code"]
        assert await american.open_items(code) == {(code, "EUR"): Decimal("66.68")}


async def test_each_company_books_exchange_differences_on_its_accounts(erp: Erp) -> None:
    """Dollars in the German company: a gain, then a loss, each on its own account."""
    german = connect(erp.config(company="acme-de"))
    try:
        today = erp.german_today
        for month in (2, 9):  # the lowest and the highest rate of a year
            later = date(today.year + (month <= today.month), month, 5)
            party = await customer(german)
            sale = {"description": "Seats", "quantity": 1, "unit_price": "200.00", "account": "8400"}
            bill = await invoice(german, party, "200.00", today, lines=[sale])
            lines = (line("1360", "200.00"), line("1400", "-200.00", party, bill["id"]))
            result = await done(german, request("erp.receipt.post", **entry(later, *lines)))
            difference = bill["functional"]["total"] - cents(200 / rate(later))
            assert result["exchange_difference"] == difference
            assert states(result) == [("paid", 0)]
            accounts = {each["account"] for each in result["lines"]} - {"1360", "1400"}
            # In one of these two months the rate of the day is that of the invoice.
            assert accounts == ({"2150"} if difference > 0 else {"2660"} if difference else set())
        asked = {"account": "1360"}
        before = {
            each["currency"]: each["amount"]
            for each in (await german.read("erp.account.balance", asked, TIMEOUT))["balances"]
        }
        assert before["USD"] == 400
        own = entry(erp.german_today, line("1200", "-7.00"), line("1360", "7.00"), currency="EUR")
        await done(german, request("erp.payout.post", **own))
        after = (await german.read("erp.account.balance", asked, TIMEOUT))["balances"]
        assert after == [
            {"currency": "EUR", "amount": before["EUR"] + 7},
            {"currency": "USD", "amount": before["USD"]},
        ]
    finally:
        await german.close()


async def test_foreign_money_on_account_is_applied_at_its_own_amount(erp: Erp, us: Connector) -> None:
    party = await customer(us)
    paid = erp.today - timedelta(days=62)
    received = (line("1050", "50.00"), line("1200", "-50.00", party))
    await done(us, request("erp.receipt.post", **entry(paid, *received, currency="EUR")))
    bill = await invoice(us, party, "50.00", erp.today, currency="EUR")
    lines = (line("1200", "50.00", party), line("1200", "-50.00", party, bill["id"]))
    result = await done(us, request("erp.balance.apply", **entry(erp.today, *lines, currency="EUR")))
    assert result["exchange_difference"] == bill["functional"]["total"] - cents(50 * rate(paid))
    assert states(result) == [("paid", 0)]


async def test_foreign_refund_of_a_memo_books_the_difference_of_their_rates(erp: Erp, us: Connector) -> None:
    party = await customer(us)
    # A year ago no memo has a number yet, and half a year apart the rates differ.
    earlier = date(erp.today.year - 1, (erp.today.month + 5) % 12 + 1, 15)
    past = {"currency": "EUR", "accept_warnings": ["invoice_payment_term"]}
    memo = await invoice(us, party, "-66.66", earlier, **past)
    lines = (line("1050", "-66.66"), line("1200", "66.66", party, memo["id"]))
    refund = request("erp.refund.post", **entry(erp.today, *lines, currency="EUR"))
    result = await done(us, refund)
    difference = cents(Decimal("66.66") * rate(erp.today)) + memo["functional"]["total"]
    assert result["exchange_difference"] == difference != 0
    assert states(result) == [("paid", 0)]
    back = await done(us, taken_back("erp.refund.return", refund, erp.today))
    assert back["exchange_difference"] == -difference


async def test_revaluation_and_its_reversal_change_no_balance_of_documents(
    erp: Erp, us: Connector, accountant: ErpClient
) -> None:
    """A month-end revaluation changes what the ledger has in its own currency, and nothing of the documents."""
    party = await customer(us)
    bill = await invoice(us, party, "70.00", erp.today, currency="EUR")

    async def balances() -> list[dict[str, Any]]:
        return list((await us.read("erp.account.balance", {"account": "1200"}, TIMEOUT))["balances"])

    before, in_dollars = await balances(), (await accountant.trial_balance())["1200"]
    deliveries, cursor = await changes(us, "entries", None)
    for amount in (Decimal("5.00"), Decimal("-5.00")):
        await revalue(erp, accountant, party, amount)
        assert await balances() == before
        dollars = (await accountant.trial_balance())["1200"]
        assert dollars == in_dollars + max(amount, Decimal(0))
    deliveries, _ = await changes(us, "entries", cursor)
    # Both are entries by hand on receivables, over nothing in the currency of the documents.
    owed = [[line for line in each.body["lines"] if line["account"] == "1200"] for each in deliveries]
    assert [(line["amount"], line["currency"]) for lines in owed for line in lines] == [(0, "EUR")] * 2
    # The receipt settles the invoice at its own amount, as if there had been no revaluation.
    result = await done(us, receipt(erp.today, party, bill, "70.00", currency="EUR"))
    assert (states(result), result["exchange_difference"]) == ([("paid", 0)], 0)


async def revalue(erp: Erp, accountant: ErpClient, party: int, amount: Decimal) -> None:
    """Enter by hand what open receivables in euro are worth more. The amount in euro is zero."""
    (euro,) = await accountant.search("currency.currency", [["code", "=", "EUR"]], ["id"])
    ours = ["company", "=", erp.seed["company"]]
    (period,) = await accountant.search("account.period", [["name", "=", f"{erp.today:%Y-%m}"], ours], ["id"])
    (journal,) = await accountant.search("account.journal", [["code", "=", "EXC"]], ["id"])
    debit, credit = max(amount, Decimal(0)), max(-amount, Decimal(0))
    accounts = erp.seed["accounts"]
    receivable = {
        "account": accounts["1200"], "party": party, "debit": debit, "credit": credit,
        "second_currency": euro["id"], "amount_second_currency": Decimal(0),
    }  # fmt: skip
    gain = {"account": accounts["7900"], "debit": credit, "credit": debit}
    values = {
        "company": erp.seed["company"], "journal": journal["id"], "period": period["id"], "date": erp.today,
        "description": "Revaluation", "lines": [["create", [receivable, gain]]],
    }  # fmt: skip
    move = await accountant.create("account.move", values)
    await accountant.act("account.move", move["id"], "post")


async def test_feed_has_entries_of_ours_and_those_by_hand(
    erp: Erp, us: Connector, accountant: ErpClient
) -> None:
    _, cursor = await changes(us, "entries", None)
    party = await customer(us)
    bill = await invoice(us, party, "100.00", erp.today)
    paid = receipt(erp.today, party, bill, "100.00")
    posted = await done(us, paid)
    by_hand = await entered(erp, accountant, ("1000", "12.00"), ("5110", "-12.00"))
    await entered(erp, accountant, ("5000", "13.00"), ("5110", "-13.00"))
    owed = await entered(erp, accountant, ("1200", "14.00"), ("5000", "-14.00"), customer=party)
    (move,) = await accountant.search("account.move", [["number", "=", owed]], ["id"])
    lines = ("1200", "-14.00"), ("5000", "14.00")
    origin = f"account.move,{move['id']}"
    owed_back = await entered(erp, accountant, *lines, customer=party, origin=origin)
    back = await done(us, taken_back("erp.receipt.return", paid, erp.today))
    deliveries, cursor = await changes(us, "entries", cursor)
    bodies = {each.body["number"]: each.body for each in deliveries}
    assert set(bodies) == {posted["number"], by_hand, owed, owed_back, back["number"]}
    assert {each.type for each in deliveries} == {"entry"}
    (code,) = await accountant.search("party.party", [["id", "=", party]], ["code"])
    ours = bodies[posted["number"]]
    assert (ours["reference"], ours["description"]) == (json.loads(paid.body)["reference"], "ch_1")
    assert ours["lines"][1] == {
        "account": "1200", "amount": Decimal("-100.00"), "currency": "USD", "functional": Decimal("-100.00"),
        "party": code["code"], "document": bill["reference"], "text": None,
    }  # fmt: skip
    other = bodies[by_hand]
    assert (other["reference"], other["description"], other["reverses"]) == (None, "By hand", None)
    assert bodies[back["number"]]["reverses"] == ours["reference"]
    assert (bodies[owed_back]["reverses"], bodies[owed_back]["reversed_number"]) == (owed, owed)
    assert await changes(us, "entries", cursor) == ([], cursor)
    book = {each.body["number"]: each for each in await listed(us, "entries", 50)}
    assert book[posted["number"]].ext_id in {each.ext_id for each in deliveries}
    assert set(bodies) <= set(book)


async def test_cancellation_by_hand_counts_as_a_reversal_and_hides_no_entry(
    erp: Erp, us: Connector, accountant: ErpClient
) -> None:
    """The ERP's own cancellation copies the description of an entry, with our reference, and names it as its origin."""
    payout = request("erp.payout.post", **entry(erp.today, line("1000", "12.00"), line("1050", "-12.00")))
    posted = await done(us, payout)
    _, cursor = await changes(us, "entries", None)
    copied = {"description": f"[{posted['reference']}] ch_1", "origin": f"account.move,{posted['id']}"}
    number = await entered(erp, accountant, ("1000", "-12.00"), ("1050", "12.00"), **copied)
    assert await us.find(payout, TIMEOUT) == Confirmed(posted)
    deliveries, _ = await changes(us, "entries", cursor)
    (body,) = [each.body for each in deliveries if each.body["number"] == number]
    assert (body["reference"], body["reverses"]) == (None, posted["reference"])
    assert body["reversed_number"] == posted["number"]
    again = await refused(us, taken_back("erp.payout.return", payout, erp.today))
    assert again.code == "already_reversed"


async def entered(
    erp: Erp, accountant: ErpClient, *lines: tuple[str, str], customer: int | None = None, **values: Any
) -> str:
    """The number of an entry that an accountant made and posted."""
    (period,) = await accountant.search("account.period", [["name", "=", f"{erp.today:%Y-%m}"]], ["id"])
    (journal,) = await accountant.search("account.journal", [["code", "=", "CASH"]], ["id"])
    accounts = erp.seed["companies"]["acme-us"]["accounts"]
    sides = [
        {
            "account": accounts[code],
            "debit": max(Decimal(amount), Decimal(0)),
            "credit": max(-Decimal(amount), Decimal(0)),
            "party": customer if code == "1200" else None,
        }
        for code, amount in lines
    ]
    move = await accountant.create("account.move", {
        "company": erp.seed["companies"]["acme-us"]["company"], "journal": journal["id"], "period": period["id"],
        "date": erp.today, "description": "By hand", "lines": [["create", sides]], **values,
    })  # fmt: skip
    await accountant.act("account.move", move["id"], "post")
    return str((await accountant.get("account.move", move["id"], ["number"]))["number"])


@pytest.mark.parametrize("operation", ["erp.receipt.post", "erp.receipt.return"])
async def test_receipts_and_parts_of_their_returns_conform(
    erp: Erp, us: Connector, accountant: ErpClient, operation: str
) -> None:
    """The other operations of entries differ by their names and journals only."""
    party = await customer(us)
    bill = await invoice(us, party, "1000.00", erp.today)
    paid = receipt(erp.today, party, bill, "900.00")
    if operation == "erp.receipt.return":
        await done(us, paid)

    async def count(asked: Request) -> int:
        return len(await described(accountant, json.loads(asked.body)["reference"]))

    def part() -> Any:
        lines = [line("1050", "-1.00"), line("1200", "1.00", party, bill["id"])]
        return json.loads(taken_back(operation, paid, erp.today, lines=lines).body)

    def unbalanced() -> Any:
        return entry(erp.today, line("1050", "1.00"), line("1200", "-2.00", party))

    def payment() -> Any:
        return json.loads(receipt(erp.today, party, bill, "1.00").body)

    samples = (part if operation == "erp.receipt.return" else payment, unbalanced)
    await conforms(us, erp.config(), count, operation, samples, ("id", "number", "reference"))
