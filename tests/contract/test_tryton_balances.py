"""Open credit memos of a customer on the real ERP: the list of them, their use for an invoice, and its return."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from counterfoil.connectors.sdk import Absent, Confirmed, Connector
from counterfoil.connectors.tryton import connect
from counterfoil.core.errors import ErrorClass, Refused
from tests.contract.test_tryton_entries import entry, line, state, states, taken_back
from tests.contract.trial_tryton import TIMEOUT, changes, customer, done, invoice, listed, refused, request
from tests.erp_system import Erp


@pytest.fixture
async def us(erp: Erp) -> AsyncIterator[Connector]:
    built = connect(erp.config())
    yield built
    await built.close()


async def open_credits(us: Connector, party: int, currency: str = "USD") -> list[tuple[int, Decimal]]:
    answer = await us.read("erp.open_credit.list", {"party": party, "currency": currency}, TIMEOUT)
    assert [credit["place"] for credit in answer["credits"]] == list(range(len(answer["credits"])))
    return [(credit["id"], credit["open"]) for credit in answer["credits"]]


async def applied(us: Connector, document: dict[str, Any]) -> tuple[str, Decimal]:
    bodies = {each.body["id"]: each.body for each in await listed(us, "invoices", 100)}
    return bodies[document["id"]]["state"], bodies[document["id"]]["applied"]


async def test_open_credits_are_listed_with_the_oldest_first(erp: Erp, us: Connector) -> None:
    party, other = await customer(us), await customer(us)
    assert await open_credits(us, party) == []
    older = await invoice(us, party, "-30.00", erp.today)
    same_day = await invoice(us, party, "-5.00", erp.today)
    await invoice(us, party, "100.00", erp.today)
    await invoice(us, other, "-7.00", erp.today)
    euro = await invoice(us, party, "-9.00", erp.today, currency="EUR")
    assert await open_credits(us, party) == [
        (older["id"], Decimal("30.00")),
        (same_day["id"], Decimal("5.00")),
    ]
    assert await open_credits(us, party, "EUR") == [(euro["id"], Decimal("9.00"))]
    refund = (line("1200", "30.00", party, older["id"]), line("1050", "-30.00"))
    await done(us, request("erp.refund.post", **entry(erp.today, *refund)))
    assert [number for number, _ in await open_credits(us, party)] == [same_day["id"]]
    with pytest.raises(Refused):
        await us.read("erp.open_credit.list", {"customer": party}, TIMEOUT)


async def test_credits_pay_an_invoice_in_parts_and_are_open_again(erp: Erp, us: Connector) -> None:
    party = await customer(us)
    memos = [await invoice(us, party, amount, erp.today) for amount in ("-30.00", "-40.00")]
    bill = await invoice(us, party, "100.00", erp.today)
    parts = (line("1200", "30.00", party, memos[0]["id"]), line("1200", "20.00", party, memos[1]["id"]))
    draw = request("erp.balance.apply", **entry(erp.today, *parts, line("1200", "-50.00", party, bill["id"])))
    _, cursor = await changes(us, "invoices", None)
    assert await us.find(draw, TIMEOUT) == Absent()
    result = await done(us, draw)
    assert states(result) == [("paid", 0), ("posted", Decimal("-20.00")), ("posted", Decimal("50.00"))]
    assert await us.find(draw, TIMEOUT) == Confirmed(result)
    assert await open_credits(us, party) == [(memos[1]["id"], Decimal("20.00"))]
    # The feed tells what is used of each memo, of the one that is used in part, too.
    delivered = {each.body["id"]: each.body["applied"] for each in (await changes(us, "invoices", cursor))[0]}
    assert {memo["id"]: delivered.get(memo["id"]) for memo in memos} == {
        memos[0]["id"]: Decimal("-30.00"),
        memos[1]["id"]: Decimal("-20.00"),
    }
    again = await refused(us, draw)
    assert again.error_class is ErrorClass.ALREADY_DONE
    # The request for the return does not name the memos.
    back = [line("1200", "-50.00", party), line("1200", "50.00", party, bill["id"])]
    release = taken_back("erp.balance.release", draw, erp.today, lines=back)
    assert await us.find(release, TIMEOUT) == Absent()
    result = await done(us, release)
    assert await us.find(release, TIMEOUT) == Confirmed(result)
    assert await us.find(draw, TIMEOUT) != Absent()
    assert await open_credits(us, party) == [
        (memos[0]["id"], Decimal("30.00")),
        (memos[1]["id"], Decimal("40.00")),
    ]
    assert await state(us, bill) == ("posted", Decimal("100.00"))
    assert [await applied(us, memo) for memo in memos] == [("posted", 0), ("posted", 0)]
    assert (await refused(us, taken_back("erp.balance.release", draw, erp.today, lines=back))).code == (
        "already_reversed"
    )


async def test_credits_pay_what_a_refund_left_on_account(erp: Erp, us: Connector) -> None:
    """The credit is settled by the refund, and nothing is left on the account of the customer."""
    party = await customer(us)
    memo = await invoice(us, party, "-30.00", erp.today)
    await done(
        us,
        request("erp.refund.post", **entry(erp.today, line("1200", "30.00", party), line("1050", "-30.00"))),
    )
    lines = (line("1200", "30.00", party, memo["id"]), line("1200", "-30.00", party))
    used = await done(us, request("erp.balance.apply", **entry(erp.today, *lines)))
    assert states(used) == [("paid", 0)]
    assert await open_credits(us, party) == []
    async with erp.client() as accountant:
        open_lines = [["party", "=", party], ["account.code", "=", "1200"], ["reconciliation", "=", None]]
        assert await accountant.search("account.move.line", open_lines, ["debit"]) == []
