"""Taxes of both companies from billing to the ERP's tax returns: each code by itself, also where nothing is charged."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from counterfoil.core.case import Choice
from counterfoil.core.foil import FoilState
from counterfoil.core.money import Money
from counterfoil.demo.billing import BillingClient
from counterfoil.demo.erp.client import ErpClient
from tests.companies.acme import GERMAN_KEY, SOON, Company, company
from tests.contract.stripe_twin_process import KEY
from tests.served import INVOICE, Served, served, until

pytestmark = [pytest.mark.xdist_group("taxes"), pytest.mark.timeout(900)]

NET_CENTS = 10_000
RATES = {
    "us": {"TX": ("US-TX", "8.25"), "NY": ("US-NY", "8.875"), "CA": ("US-CA", "7.5")},
    "de": {"19": ("DE", "19"), "7": ("DE", "7"), "0": ("DE", "0")},
}
"""Jurisdiction and percentage of billing's tax rates, by account and name."""


@dataclass(frozen=True)
class Sale:
    """Invoice with a line of 100.00 for each tax rate, or several of them (`19+0`), and what the ERP must then have booked."""

    account: str
    rates: tuple[str, ...]
    taxes: Mapping[str, tuple[str, str]]
    """Base and tax by the ERP's tax code."""
    revenue: tuple[str, ...]
    exempt: str = "none"
    inclusive: bool = False


SALES = {
    "two states": Sale("us", ("TX", "NY"), {"US-TX": ("100.00", "8.25"), "US-NY": ("100.00", "8.88")}, ("4020", "4020")),
    "exempt customer": Sale("us", ("TX",), {"EXEMPT": ("100.00", "0.00")}, ("4020",), exempt="exempt"),
    "no tax": Sale("us", ("",), {}, ("4020",)),
    "tax included": Sale("us", ("TX",), {"US-TX": ("92.38", "7.62")}, ("4020",), inclusive=True),
    "two rates": Sale("de", ("19", "7"), {"USt19": ("100.00", "19.00"), "USt7": ("100.00", "7.00")}, ("8420", "8300")),
    "reverse charge": Sale("de", ("19",), {"USt0-RC": ("100.00", "0.00")}, ("8337",), exempt="reverse"),
    "exempt": Sale("de", ("19",), {"USt0-EXEMPT": ("100.00", "0.00")}, ("8100",), exempt="exempt"),
    "export": Sale("de", ("0",), {"USt0-ZERO": ("100.00", "0.00")}, ("8120",)),
    "two taxes of one line": Sale(
        "de", ("19+0",), {"USt19": ("100.00", "19.00"), "USt0-ZERO": ("100.00", "0.00")}, ("8420",)
    ),
}  # fmt: skip
NEW_RATE = Sale("us", ("CA",), {"US-CA": ("100.00", "7.50")}, ("4020",))
"""Sale with a percentage that the table of tax codes has no row for, until finance adds it."""
NEW_ROW = "US-CA,7.5,standard_rated,2020-01-01,US-CA\n"
EVERY = {**SALES, "new rate": NEW_RATE}
COMPANIES = {"us": "acme-us", "de": "acme-de"}
CURRENCIES = {"us": "USD", "de": "EUR"}
GERMAN_RETURN = {
    "81": "200.00",
    "86": "100.00",
    "21": "100.00",
    "48": "100.00",
    "43": "200.00",
    "USt": "45.00",
}
AMERICAN_RETURN = {
    "NY-base": "100.00", "NY-tax": "8.88", "TX-base": "192.38", "TX-tax": "15.87", "CA-base": "100.00", "CA-tax": "7.50",
}  # fmt: skip


@dataclass(frozen=True)
class Books:
    """What the systems show at the end. `documents` and `foils` are by the name of the sale."""

    documents: Mapping[str, dict[str, Any]]
    foils: Mapping[str, Any]
    returns: Mapping[str, Mapping[str, Decimal]]
    message: str
    """Of the Case about the new rate."""
    posted_before: tuple[int, int]
    """Runs and documents while that Case was open."""


class Biller:
    """Creates invoices in one billing account."""

    def __init__(self, billing: BillingClient, currency: str, rates: Mapping[str, tuple[str, str]]) -> None:
        self._billing = billing
        self._currency = currency
        self._rates = rates
        self._ids: dict[tuple[str, bool], str] = {}

    async def bill(self, sale: Sale) -> str:
        """Create and finalize the invoice, and return its id."""
        customer = (await self._billing.post("customers", {"name": "Globex", "tax_exempt": sale.exempt}))[
            "id"
        ]
        values = {"customer": customer, "currency": self._currency, "collection_method": "send_invoice"}
        invoice = (await self._billing.post("invoices", {**values, "days_until_due": 30}))["id"]
        for name in sale.rates:
            item = {"customer": customer, "invoice": invoice, "currency": self._currency, "amount": NET_CENTS}
            names = name.split("+") if name else []
            rates = {"tax_rates": [await self._rate(rate, sale.inclusive) for rate in names]}
            await self._billing.post("invoiceitems", {**item, "description": name or "Seats", **rates})
        await self._billing.post(f"invoices/{invoice}/finalize", {"auto_advance": False})
        return str(invoice)

    async def _rate(self, name: str, inclusive: bool) -> str:
        if (name, inclusive) not in self._ids:
            jurisdiction, percentage = self._rates[name]
            rate = {"display_name": name, "jurisdiction": jurisdiction, "percentage": percentage}
            made = await self._billing.post("tax_rates", {**rate, "inclusive": inclusive})
            self._ids[name, inclusive] = str(made["id"])
        return self._ids[name, inclusive]


async def play(systems: Company) -> Books:
    async with (
        served(systems, systems.governance(SOON)) as s,
        BillingClient(systems.twin.url, KEY) as american,
        BillingClient(systems.twin.url, GERMAN_KEY) as german,
    ):
        billers = {"us": Biller(american, "usd", RATES["us"]), "de": Biller(german, "eur", RATES["de"])}
        late = await billers["us"].bill(NEW_RATE)
        case = await s.case("mapping_failed")
        ids = {name: await billers[sale.account].bill(sale) for name, sale in SALES.items()}
        foils = {name: await _matched(s, id_) for name, id_ in ids.items()}
        before = len(await s.runs(INVOICE)), sum([await _posted(systems, key) for key in COMPANIES.values()])
        table = s.folder / "tables" / "tax_codes.csv"
        table.write_text(table.read_text() + NEW_ROW)
        await s.change()
        await s.app.resolve_case(case.id, "fiona", Choice.RETRY, "the row is there now")
        foils["new rate"] = await _matched(s, late)
        returns, documents = {}, {}
        for account, key in COMPANIES.items():
            async with systems.of_erp(company=key) as erp:
                posted = {document["reference"]: document for document in await erp.invoices()}
                (month,) = {str(document["invoice_date"])[:7] for document in posted.values()}
                returns[account] = await erp.tax_return(month)
                for name, sale in EVERY.items():
                    if sale.account == account:
                        documents[name] = await _booked(erp, posted[foils[name].key])
        await s.sound()
        return Books(documents, foils, returns, case.message, before)


async def _posted(systems: Company, key: str) -> int:
    async with systems.of_erp(company=key) as erp:
        return len(await erp.invoices())


async def _matched(s: Served, invoice: str) -> Any:
    """Wait until the counterfoil of an invoice of billing is matched, and return it."""

    async def look() -> Any:
        dump = await s.dump()
        keys = {link.canonical for link in dump.links if link.ext_id == invoice}
        return next((f for f in dump.foils if f.key in keys and f.state is FoilState.MATCHED), None)

    return await until(f"{invoice} is matched", look, state=s.report)


async def _booked(erp: ErpClient, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return revenue accounts, and base and tax by code, as the ERP itself has them."""
    of_document = ["invoice", "=", document["id"]]
    lines = await erp.search("account.invoice.line", [of_document], ["account.code"])
    taxes = await erp.search("account.invoice.tax", [of_document], ["tax.name", "base", "amount"])
    return {
        "revenue": tuple(line["account"]["code"] for line in sorted(lines, key=lambda line: line["id"])),
        "taxes": {tax["tax"]["name"]: (tax["base"], tax["amount"]) for tax in taxes},
    }


@pytest.fixture(scope="module")
def books() -> Books:
    with company() as systems:
        return asyncio.run(play(systems))


@pytest.mark.parametrize("name", EVERY)
def test_the_erp_books_each_tax_under_its_code_and_each_line_on_its_account(books: Books, name: str) -> None:
    sale = EVERY[name]
    expected = {code: (Decimal(base), Decimal(tax)) for code, (base, tax) in sale.taxes.items()}
    assert books.documents[name] == {"revenue": sale.revenue, "taxes": expected}


@pytest.mark.parametrize("name", EVERY)
def test_the_counterfoil_has_base_and_tax_of_each_code(books: Books, name: str) -> None:
    legs = {leg: value for leg, value in books.foils[name].legs.items() if leg.startswith("taxes")}
    expected = {
        f"taxes[{code}].{part}": Money.from_major(Decimal(amount), CURRENCIES[EVERY[name].account])
        for code, amounts in EVERY[name].taxes.items()
        for part, amount in zip(("base", "amount"), amounts, strict=True)
    }
    assert legs == (expected or {"taxes": 0})


@pytest.mark.parametrize(("account", "boxes"), [("us", AMERICAN_RETURN), ("de", GERMAN_RETURN)])
def test_the_tax_return_of_each_company_has_its_own_sales(
    books: Books, account: str, boxes: Mapping[str, str]
) -> None:
    assert books.returns[account] == {box: Decimal(amount) for box, amount in boxes.items()}


def test_a_tax_rate_without_a_code_is_a_case_and_nothing_is_posted_until_finance_adds_it(
    books: Books,
) -> None:
    assert "the table tax_codes has no row for US-CA, 7.5, standard_rated" in books.message
    assert books.posted_before == (len(SALES), len(SALES))
