"""The connector of Tryton on two companies of one real ERP: numbers, taxes by code, foreign currency and access."""

from __future__ import annotations

import base64
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import astuple, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from counterfoil.change.connector_config import configuration
from counterfoil.connectors.sdk import Absent, Confirmed, Connector, Outcome, Rejected, Request, SystemConfig
from counterfoil.connectors.tryton import connect, document_body, settings
from counterfoil.connectors.tryton.document_body import line_amount
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused
from counterfoil.core.wire import write_json
from counterfoil.demo.erp.charts import DE, DOLLARS_PER_EURO, US
from counterfoil.demo.erp.client import ErpClient, ErpError
from counterfoil.model import read as read_model
from tests.erp_system import Erp, running
from tests.patience import PATIENCE_SECONDS

TIMEOUT = 30.0
SYSTEM = """\
kind: system
name: {name}
doc: The ledger of one company.
role: erp
connector: tryton
owner: finance
account: acme
url: http://127.0.0.1:1
settings:
  database: erp
  company: env:{variable}
  receivable: "1200"
  payment_term: Net 30
  loopback: true
secrets: {{key: env:TEST_ERP_KEY}}
"""
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def erp() -> Iterator[Erp]:
    with running() as system:
        yield system


@pytest.fixture
async def us(erp: Erp) -> AsyncIterator[Connector]:
    built = connect(erp.config())
    yield built
    await built.close()


@pytest.fixture
async def de(erp: Erp) -> AsyncIterator[Connector]:
    built = connect(erp.config(company="acme-de"))
    yield built
    await built.close()


@pytest.fixture
async def accountant(erp: Erp) -> AsyncIterator[ErpClient]:
    """The controller of the German company."""
    async with erp.client(company="acme-de") as client:
        yield client


def fresh(kind: str) -> str:
    """A canonical id that no other test has used."""
    return f"{kind}_{next(_numbers):04d}"


def request(operation: str, **body: Any) -> Request:
    return Request(operation, fresh("key"), write_json(body))


async def done(connector: Connector, asked: Request) -> dict[str, Any]:
    outcome = await connector.send(asked, TIMEOUT)
    assert isinstance(outcome, Confirmed), outcome
    return dict(outcome.result)


async def customer(connector: Connector) -> tuple[int, str]:
    code = fresh("cus")
    party = await done(connector, request("erp.party.upsert", code=code, name="Globex", country="DE"))
    return int(party["id"]), code


def document(party: int, net: str, account: str, on: date, currency: str, **changes: Any) -> dict[str, Any]:
    """A document of one line without tax; with a negative net a credit memo."""
    quantity = -1 if net.startswith("-") else 1
    line = {"description": "Seats", "quantity": quantity, "unit_price": net.lstrip("-"), "account": account}
    head = {"reference": fresh("doc"), "party": party, "currency": currency, "invoice_date": on.isoformat()}
    return head | {"lines": [line]} | changes


def taxed(code: str, account: str, base: str, amount: str) -> dict[str, str]:
    return {"code": code, "account": account, "base": base, "amount": amount, "description": code}


async def posted(connector: Connector, **body: Any) -> dict[str, Any]:
    negative = any(Decimal(line["quantity"]) < 0 for line in body["lines"])
    return await done(connector, request("erp.credit_memo.post" if negative else "erp.invoice.post", **body))


async def read(connector: Connector, **key: Any) -> dict[str, Any]:
    answer = await connector.read("erp.invoice.get", key, TIMEOUT)
    assert isinstance(answer, dict)
    return answer


def amounts(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(row["code"], row["account"], row["base"], row["amount"]) for row in body["taxes"]]


async def test_companies_post_the_same_reference_each_with_its_own_numbers(
    erp: Erp, us: Connector, de: Connector, accountant: ErpClient
) -> None:
    party, code = await customer(us)
    reference, year = fresh("inv"), erp.german_today.year
    own = document(party, "100.00", "4000", erp.today, "USD", reference=reference)
    other = document(party, "90.00", "8400", erp.german_today, "EUR", reference=reference)
    in_us = await posted(us, **own)
    assert await de.find(request("erp.invoice.post", **other), TIMEOUT) == Absent()
    in_de = await posted(de, **other)
    memo = await posted(de, **document(party, "-30.00", "8720", erp.german_today, "EUR"))
    assert (in_us["company"], in_de["company"]) == tuple(
        erp.seed["companies"][key]["company"] for key in ("acme-us", "acme-de")
    )
    assert in_us["number"].startswith(f"INV-{year}-")
    assert in_de["number"].startswith(f"DE-{year}-")
    assert memo["number"].startswith(f"DE-G-{year}-")
    assert in_de["move"].startswith(f"DE-B-{year}-")
    assert (in_us["total"], in_de["total"]) == (Decimal("100.00"), Decimal("90.00"))
    assert await read(us, reference=reference) == in_us
    assert await read(de, reference=reference) == in_de
    assert {row["number"] for row in await accountant.invoices(reference)} == {in_de["number"]}
    async with erp.client() as american:
        assert await american.open_items(code) == {(code, "USD"): Decimal("100.00")}
    assert await accountant.open_items(code) == {(code, "EUR"): Decimal("60.00")}


async def test_numbers_of_a_company_have_no_gaps_when_the_other_one_posts(
    erp: Erp, us: Connector, de: Connector
) -> None:
    party, _ = await customer(us)
    numbers = []
    for _ in range(3):
        body = await posted(de, **document(party, "1.00", "8400", erp.german_today, "EUR"))
        numbers.append(int(body["number"].rpartition("-")[2]))
        await posted(us, **document(party, "1.00", "4000", erp.today, "USD"))
    assert numbers == list(range(numbers[0], numbers[0] + 3))


async def test_taxes_are_read_back_by_code_with_base_account_and_amount(
    erp: Erp, de: Connector, accountant: ErpClient
) -> None:
    party, _ = await customer(de)
    month = f"{erp.german_today:%Y-%m}"
    before = await accountant.tax_return(month)
    lines = [
        {"description": "Seats", "quantity": 1, "unit_price": "200.00", "account": "8400"},
        {"description": "Handbook", "quantity": 3, "unit_price": "33.3333", "account": "8300"},
    ]
    # The billing system rounds by line, so its cents are not those that the ERP would compute.
    rows = [taxed("USt19", "1776", "200.00", "38.00"), taxed("USt7", "1771", "100.00", "6.99")]
    asked = document(party, "1.00", "8400", erp.german_today, "EUR", lines=lines, manual_taxes=rows)
    body = await posted(de, **asked)
    assert amounts(body) == [
        ("USt19", "1776", Decimal("200.00"), Decimal("38.00")),
        ("USt7", "1771", Decimal("100.00"), Decimal("6.99")),
    ]
    assert body["lines"] == [
        {"account": "8400", "net": Decimal("200.00"), "description": "Seats"},
        {"account": "8300", "net": Decimal("100.00"), "description": "Handbook"},
    ]
    assert (body["untaxed"], body["tax"], body["journal"]) == (Decimal("300.00"), Decimal("44.99"), "REV")
    assert (body["functional"], body["rate"], body["cancel_move"]) == (None, None, None)
    memo = taxed("USt19", "1776", "-50.00", "-9.50")
    credit = await posted(
        de, **document(party, "-50.00", "8720", erp.german_today, "EUR", manual_taxes=[memo])
    )
    assert amounts(credit) == [("USt19", "1776", Decimal("-50.00"), Decimal("-9.50"))]
    after = await accountant.tax_return(month)
    # Named taxes count in the tax return, credit memos against invoices.
    assert {box: after[box] - before[box] for box in ("81", "86", "USt")} == {
        "81": Decimal("150.00"),
        "86": Decimal("100.00"),
        "USt": Decimal("35.49"),
    }


async def test_a_write_off_lowers_the_tax_return_and_its_recovery_raises_it_again(
    erp: Erp, de: Connector, accountant: ErpClient
) -> None:
    party, _ = await customer(de)
    month, today = f"{erp.german_today:%Y-%m}", erp.german_today.isoformat()
    before = await accountant.tax_return(month)

    async def since() -> dict[str, Decimal]:
        after = await accountant.tax_return(month)
        return {box: after[box] - before[box] for box in ("81", "86", "USt")}

    rows = [taxed("USt19", "1776", "100.00", "19.00")]
    bill = await posted(
        de, **document(party, "100.00", "8400", erp.german_today, "EUR", manual_taxes=rows, total="119.00")
    )

    def entry(sign: int, gross: str, base: str, tax: str, **changes: Any) -> dict[str, Any]:
        def correction(part: str, amount: str) -> list[dict[str, Any]]:
            return [{"tax": "USt19", "part": part, "amount": str(-sign * Decimal(amount))}]

        lines = [
            {"account": "2400", "amount": str(sign * Decimal(base)), "taxes": correction("base", base)},
            {"account": "1776", "amount": str(sign * Decimal(tax)), "taxes": correction("tax", tax)},
            {
                "account": "1400",
                "amount": str(-sign * Decimal(gross)),
                "party": party,
                "document": bill["id"],
            },
        ]
        return {"date": today, "currency": "EUR", "description": "", "lines": lines} | changes

    name = fresh("bill")
    lost = entry(1, "119.00", "100.00", "19.00", reference=f"{name}/write-off")
    result = await done(de, request("erp.write_off.post", **lost))
    assert [(each["state"], each["open"]) for each in result["documents"]] == [("paid", 0)]
    assert await since() == {"81": 0, "86": 0, "USt": 0}
    assert await de.find(request("erp.write_off.post", **lost), TIMEOUT) == Confirmed(result)
    parts = [("40.00", "33.61", "6.39"), ("79.00", "66.39", "12.61")]
    for nth, (gross, base, tax) in enumerate(parts):
        reference = f"{name}/write-off/recovered/{nth}"
        back = entry(-1, gross, base, tax, reference=reference, reverses=f"{name}/write-off")
        await done(de, request("erp.write_off.recover", **back))
        if nth == 0:
            assert await since() == {"81": Decimal("33.61"), "86": 0, "USt": Decimal("6.39")}
    assert await since() == {"81": Decimal("100.00"), "86": 0, "USt": Decimal("19.00")}


async def test_lines_with_other_amounts_than_computed_show_those_of_the_erp(
    erp: Erp, de: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    party, _ = await customer(de)
    line = {"description": "Calls", "quantity": "12.5", "unit_price": "0.0333", "account": "8410"}
    lines = [line, line | {"quantity": 3, "account": "8400"}]
    body = await posted(de, **document(party, "1.00", "8410", erp.german_today, "EUR", lines=lines))
    assert [row["net"] for row in body["lines"]] == [Decimal("0.42"), Decimal("0.10")]
    monkeypatch.setattr(document_body, "line_amount", lambda *_: Decimal("7.77"))
    assert await read(de, id=body["id"]) == body


async def test_taxes_of_the_same_amount_differ_by_their_code(erp: Erp, us: Connector) -> None:
    party, _ = await customer(us)
    bodies = [
        await posted(
            us,
            **document(
                party, "100.00", "4000", erp.today, "USD", manual_taxes=[taxed(*row, "100.00", "7.25")]
            ),
        )
        for row in (("US-CA", "2220"), ("US-NY", "2210"))
    ]
    rows = [body["taxes"][0] for body in bodies]
    assert [row["amount"] for row in rows] == [Decimal("7.25")] * 2
    assert [(row["code"], row["account"]) for row in rows] == [("US-CA", "2220"), ("US-NY", "2210")]


@pytest.mark.parametrize(
    ("code", "account", "box"),
    [("USt0-RC", "8337", "21"), ("USt0-EXEMPT", "8100", "48"), ("USt0-ZERO", "8120", "43")],
)
async def test_untaxed_sales_have_a_row_with_their_base(
    erp: Erp, de: Connector, accountant: ErpClient, code: str, account: str, box: str
) -> None:
    """As a tax of the line, which the ERP also counts in the tax return, and as a row by hand."""
    party, _ = await customer(de)
    month = f"{erp.german_today:%Y-%m}"
    before = (await accountant.tax_return(month))[box]
    expected = [(code, "1770", Decimal("80.00"), Decimal(0))]
    asked = document(party, "80.00", account, erp.german_today, "EUR")
    asked["lines"][0]["taxes"] = [{"code": code}]
    body = await posted(de, **asked)
    assert (amounts(body), body["tax"], body["total"]) == (expected, 0, Decimal("80.00"))
    assert (await accountant.tax_return(month))[box] - before == Decimal("80.00")
    by_hand = document(
        party, "80.00", account, erp.german_today, "EUR", manual_taxes=[taxed(code, "1770", "80.00", "0.00")]
    )
    assert amounts(await posted(de, **by_hand)) == expected


async def test_document_with_other_taxes_than_those_of_its_product_posts_after_the_warning(
    erp: Erp, de: Connector
) -> None:
    party, _ = await customer(de)
    asked = document(party, "50.00", "8337", erp.german_today, "EUR")
    asked["lines"][0] |= {"product": "SEAT", "taxes": [{"code": "USt0-RC"}]}
    outcome = await de.send(request("erp.invoice.post", **asked), TIMEOUT)
    assert isinstance(outcome, Rejected)
    assert (outcome.error_class, outcome.code) == (ErrorClass.WARNING, "invoice_taxes")
    body = await posted(de, **asked, accept_warnings=["invoice_taxes"])
    assert amounts(body) == [("USt0-RC", "1770", Decimal("50.00"), Decimal(0))]
    # The product has the standard tax of each company, so this line has the default taxes.
    asked = document(party, "50.00", "8400", erp.german_today, "EUR")
    asked["lines"][0] |= {"product": "SEAT", "taxes": [{"code": "USt19"}]}
    assert (await posted(de, **asked))["tax"] == Decimal("9.50")


async def test_account_and_tax_of_the_other_company_are_refused(
    erp: Erp, us: Connector, de: Connector, accountant: ErpClient
) -> None:
    party, code = await customer(us)

    async def code_of(connector: Connector, **body: Any) -> str:
        outcome: Outcome = await connector.send(request("erp.invoice.post", **body), TIMEOUT)
        assert isinstance(outcome, Rejected), outcome
        assert outcome.error_class is ErrorClass.INVALID
        return outcome.code

    assert await code_of(de, **document(party, "1.00", "4000", erp.german_today, "EUR")) == "unknown_account"
    assert await code_of(us, **document(party, "1.00", "8400", erp.today, "USD")) == "unknown_account"
    foreign = [taxed("US-NY", "1776", "1.00", "0.19")]
    asked = document(party, "1.00", "8400", erp.german_today, "EUR", manual_taxes=foreign)
    assert await code_of(de, **asked) == "unknown_tax"
    assert await accountant.open_items(code) == {}
    # The ERP itself guards the ids, too.
    (mine,) = await accountant.search("account.account", [["code", "=", "1400"]], ["id"])
    theirs = erp.seed["companies"]["acme-us"]["accounts"]["4000"]
    lines = [{"account": mine["id"], "debit": 1, "credit": 0}, {"account": theirs, "debit": 0, "credit": 1}]
    (period,) = await accountant.search(
        "account.period", [["name", "=", f"{erp.german_today:%Y-%m}"]], ["id"]
    )
    (journal,) = await accountant.search("account.journal", [["code", "=", "MISC"]], ["id"])
    entry = {
        "company": erp.seed["companies"]["acme-de"]["company"], "journal": journal["id"], "period": period["id"],
        "date": erp.german_today, "lines": [["create", [{**line, "party": party} for line in lines]]],
    }  # fmt: skip
    with pytest.raises(ErpError):
        await accountant.create("account.move", entry)


async def test_user_of_one_company_sees_nothing_of_the_other(erp: Erp, us: Connector, de: Connector) -> None:
    party, _ = await customer(de)
    hidden = await posted(de, **document(party, "12.00", "8400", erp.german_today, "EUR"))
    async with erp.client() as american:
        of_german = [["company", "=", erp.seed["companies"]["acme-de"]["company"]]]
        for model in ("account.invoice", "account.account", "account.period", "account.tax", "account.move"):
            assert await american.search(model, of_german, ["id"]) == [], model
        with pytest.raises(ErpError) as caught:
            await american.get("account.invoice", hidden["id"], ["number"])
        assert caught.value.status == 404
    with pytest.raises(Refused) as unseen:
        await read(us, id=hidden["id"])
    assert unseen.value.error_class is ErrorClass.NOT_FOUND
    # A system whose company is not that of its user sees and posts nothing.
    config = erp.config()
    strange = connect(
        replace(config, settings={**config.settings, "company": erp.seed["companies"]["acme-de"]["company"]})
    )
    page = await strange.poll("invoices", None, 10, TIMEOUT)
    outcome = await strange.send(
        request("erp.invoice.post", **document(party, "1.00", "8400", erp.german_today, "EUR")), TIMEOUT
    )
    await strange.close()
    assert page.deliveries == []
    assert isinstance(outcome, Rejected)


async def test_user_of_both_companies_reads_only_those_of_its_system(
    erp: Erp, us: Connector, de: Connector
) -> None:
    """An administrator sees both companies, so here the connector itself keeps them apart."""
    party, _ = await customer(us)
    reference = fresh("inv")
    mine = await posted(us, **document(party, "5.00", "4000", erp.today, "USD", reference=reference))
    theirs = await posted(de, **document(party, "6.00", "8400", erp.german_today, "EUR", reference=reference))
    both = connect(await of_both(erp))
    assert (await read(both, reference=reference))["id"] == mine["id"]
    with pytest.raises(Refused) as other:
        await read(both, id=theirs["id"])
    applied = await both.send(
        request(
            "erp.credit.apply",
            invoice=theirs["id"],
            credit=theirs["id"],
            amount="1.00",
            date=erp.german_today.isoformat(),
        ),
        TIMEOUT,
    )
    delivered, cursor = [], None
    while True:
        page = await both.poll("invoices", cursor, 100, TIMEOUT)
        delivered += [each.body for each in page.deliveries]
        cursor = page.cursor
        if not page.more:
            break
    await both.close()
    assert other.value.error_class is ErrorClass.NOT_FOUND
    assert isinstance(applied, Rejected)
    assert applied.code == "unknown_document"
    assert {body["company"] for body in delivered} == {mine["company"]}
    assert mine["id"] in {body["id"] for body in delivered}


async def of_both(erp: Erp) -> SystemConfig:
    """The settings of the US company, with a new key of the administrator."""
    basic = base64.b64encode(f"admin:{erp.seed['admin_password']}".encode()).decode()
    async with httpx2.AsyncClient(base_url=erp.url, trust_env=False, timeout=PATIENCE_SECONDS) as http:

        async def call(method: str, *params: Any) -> Any:
            body = {"id": 1, "method": method, "params": [*params, {}]}
            answer = await http.post("/erp/rpc/", json=body, headers={"authorization": f"Basic {basic}"})
            return answer.json()["result"]

        (user,) = await call("model.res.user.search", [["login", "=", "admin"]], 0, None, None)
        application = "model.res.user.application"
        (number,) = await call(f"{application}.create", [{"user": user, "application": "rest"}])
        (row,) = await call(f"{application}.read", [number], ["key", "state"])
        if row["state"] != "validated":
            await call(f"{application}.validate_", [number])
    return replace(erp.config(), secrets={"key": row["key"]})


async def test_foreign_currency_reads_back_in_company_currency_at_the_recorded_rate(
    erp: Erp, us: Connector
) -> None:
    party, code = await customer(us)
    rate = Decimal(DOLLARS_PER_EURO[erp.today.month - 1])
    tax = taxed("US-NY", "2210", "100.01", "8.88")
    asked = document(party, "100.01", "4000", erp.today, "EUR", manual_taxes=[tax])
    body = await posted(us, **asked)

    def dollars(euros: str) -> Decimal:
        return line_amount(Decimal(euros), rate, Decimal("0.01"))

    untaxed, of_tax, total = dollars("100.01"), dollars("8.88"), dollars("108.89")
    assert body["functional"] == {
        "currency": "USD",
        "untaxed": untaxed,
        "tax": of_tax,
        "total": total,
        "rounding": total - untaxed - of_tax,
    }
    first = erp.today.replace(day=1).isoformat()
    assert body["rate"] == {"value": rate, "date": first, "source": "erp", "type": "spot"}
    assert (body["currency"], body["total"]) == ("EUR", Decimal("108.89"))
    assert body["lines"][0]["net"] == Decimal("100.01")
    reader = connect(erp.config(person="reader"))
    assert await read(reader, id=body["id"]) == body
    await reader.close()
    async with erp.client() as american:
        assert await american.open_items(code) == {(code, "EUR"): Decimal("108.89")}
        (entry,) = await american.search("account.move", [["number", "=", body["move"]]], ["id"])
        lines = await american.search(
            "account.move.line", [["move", "=", entry["id"]]], ["debit", "credit", "account.code"]
        )
    booked = {line["account"]["code"]: line["debit"] - line["credit"] for line in lines}
    assert (booked["1200"], booked["4000"], booked["2210"]) == (total, -untaxed, -of_tax)
    assert booked.get("7900", 0) == untaxed + of_tax - total


async def test_rates_of_several_months_and_both_directions(erp: Erp, us: Connector, de: Connector) -> None:
    """One page of the feed, so that the documents of it have rates of their own dates."""
    party, _ = await customer(us)
    year = erp.today.year - 1
    days = [date(year, 11, 1), date(year, 11, 30), date(year, 12, 15)]
    expected = {}
    _, cursor = await swept(us, None)
    for on in days:
        body = await posted(
            us,
            **document(party, "-10.00", "4800", on, "EUR", accept_warnings=["invoice_payment_term"]),
        )
        rate = Decimal(DOLLARS_PER_EURO[on.month - 1])
        expected[body["id"]] = (rate, on.replace(day=1).isoformat(), -rate * 10)
    domestic = await posted(us, **document(party, "3.00", "4000", erp.today, "USD"))
    bodies, _ = await swept(us, cursor)
    assert {
        body["id"]: (body["rate"]["value"], body["rate"]["date"], body["functional"]["total"])
        for body in bodies
        if body["id"] in expected
    } == expected
    assert [body["functional"] for body in bodies if body["id"] == domestic["id"]] == [None]
    in_euros = await posted(de, **document(party, "100.00", "8400", erp.german_today, "USD"))
    inverse = (1 / Decimal(DOLLARS_PER_EURO[erp.german_today.month - 1])).quantize(Decimal("0.0000000001"))
    assert in_euros["rate"]["value"] == inverse
    assert in_euros["functional"]["currency"] == "EUR"
    assert in_euros["functional"]["total"] == (100 * inverse).quantize(Decimal("0.01"))


async def swept(connector: Connector, cursor: str | None) -> tuple[list[dict[str, Any]], str]:
    bodies: list[dict[str, Any]] = []
    while True:
        page = await connector.poll("invoices", cursor, 100, TIMEOUT)
        bodies += [each.body for each in page.deliveries]
        cursor = page.cursor
        if not page.more:
            return bodies, cursor


async def test_periods_are_those_of_one_company(
    erp: Erp, us: Connector, de: Connector, accountant: ErpClient
) -> None:
    party, _ = await customer(de)
    on = date(erp.german_today.year - 1, 5, 12)
    name = f"{on:%Y-%m}"
    warnings = ["invoice_payment_term"]
    await accountant.close_period(name)
    try:
        ours = document(party, "4.00", "8400", on, "EUR", accept_warnings=warnings)
        outcome = await de.send(request("erp.invoice.post", **ours), TIMEOUT)
        assert isinstance(outcome, Rejected)
        assert (outcome.error_class, outcome.code) == (ErrorClass.PERIOD_CLOSED, name)
        theirs = document(party, "4.00", "4000", on, "USD", accept_warnings=warnings)
        assert (await posted(us, **theirs))["period"] == name
        span = {"from": f"{name}-01", "to": f"{name}-31"}
        states = [
            [(period["name"], period["state"]) for period in await one.read("erp.period.list", span, TIMEOUT)]
            for one in (us, de)
        ]
        assert states == [[(name, "open")], [(name, "closed")]]
    finally:
        await accountant.reopen_period(name)


async def test_entering_by_hand_and_books_of_each_company(
    erp: Erp, de: Connector, accountant: ErpClient
) -> None:
    _, code = await customer(de)
    before = await accountant.trial_balance()
    reference = fresh("hand")
    number = await accountant.enter(Decimal("100.00"), code, reference, account="8300", tax="USt7")
    assert number.startswith(f"DE-{erp.german_today.year}-")
    assert (await accountant.enter(Decimal("-20.00"), code)).startswith(f"DE-G-{erp.german_today.year}-")
    after = await accountant.trial_balance()
    moved = {account: after[account] - before.get(account, Decimal(0)) for account in after}
    assert {account: amount for account, amount in moved.items() if amount} == {
        "1400": Decimal("87.00"), "1771": Decimal("-7.00"), "8300": Decimal("-100.00"), "8720": Decimal("20.00"),
    }  # fmt: skip
    assert amounts(await read(de, reference=reference)) == [
        ("USt7", "1771", Decimal("100.00"), Decimal("7.00"))
    ]
    balance = await de.read("erp.trial_balance", {}, TIMEOUT)
    assert balance["currency"] == "EUR"
    assert {row["account"] for row in balance["accounts"]} == {code for code, _, _ in DE.accounts}
    assert sum(row["balance"] for row in balance["accounts"]) == 0


async def test_an_account_has_a_balance_in_each_currency_of_its_documents(
    de: Connector, accountant: ErpClient
) -> None:
    async def balances() -> dict[str, Decimal]:
        answer = await de.read("erp.account.balance", {"account": "1400"}, TIMEOUT)
        return {row["currency"]: row["amount"] for row in answer["balances"]}

    _, code = await customer(de)
    before = await balances()
    for amount, currency in (("100.00", "EUR"), ("-30.00", "EUR"), ("50.00", "USD"), ("-8.00", "USD")):
        await accountant.enter(Decimal(amount), code, fresh("hand"), currency=currency)
    after = await balances()
    moved = {name: amount - before.get(name, Decimal(0)) for name, amount in after.items()}
    assert {name: amount for name, amount in moved.items() if amount} == {
        "EUR": Decimal("70.00"),
        "USD": Decimal("42.00"),
    }


def test_two_systems_of_a_folder_read_their_company_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, variable in (("erp-us", "TEST_ERP_US"), ("erp-de", "TEST_ERP_DE")):
        text = SYSTEM.format(name=name, variable=variable)
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("TEST_ERP_US", "1")
    monkeypatch.setenv("TEST_ERP_DE", "2")
    monkeypatch.setenv("TEST_ERP_KEY", "secret")
    model, findings = read_model(tmp_path)
    assert [finding for finding in findings if "company" in str(finding)] == []
    companies = {
        name: settings.read(configuration(model, system, tmp_path).config)[0].company
        for name, system in model.systems.items()
    }
    assert companies == {"erp-us": 1, "erp-de": 2}


@pytest.mark.parametrize("companies", [{}, {"companies": {"acme-us": {"company": 1, "users": {}}}}])
def test_an_erp_of_an_earlier_version_is_named_as_such(companies: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured, match="prepared by an earlier version"):
        ErpClient.of({"database": "erp", "company": 1, "users": {}} | companies, "http://127.0.0.1:1")


def test_line_amount_is_rounded_half_to_even_to_the_currency() -> None:
    cents = Decimal("0.01")
    assert line_amount(Decimal("0.5"), Decimal("0.05"), cents) == Decimal("0.02")
    assert line_amount(Decimal("1.5"), Decimal("0.05"), cents) == Decimal("0.08")
    assert line_amount(Decimal("-3"), Decimal("33.3333"), cents) == Decimal("-100.00")
    assert line_amount(None, None, cents) == 0


def test_plans_name_only_accounts_and_taxes_of_their_own_chart() -> None:
    for plan in (US, DE):
        codes = {code for code, _, _ in plan.accounts}
        taxes = {tax.name for tax in plan.taxes}
        defaults = {plan.receivable, plan.payable, plan.expense, plan.exchange_loss, plan.exchange_gain}
        assert set(astuple(plan.cash)) <= codes
        assert defaults | set(plan.products.values()) | {tax.account for tax in plan.taxes} <= codes
        assert {plan.standard_tax} | {name for box in plan.boxes for name in box.taxes} <= taxes
