"""Books of the two companies as data: charts of accounts, taxes, boxes of the tax returns, and document numbers.

Accounts of the German company follow the German standard chart SKR 03; its boxes are those of the advance VAT return.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

TYPES: dict[str, dict[str, Any]] = {
    "cash": {"statement": "balance", "assets": True},
    "receivable": {"statement": "balance", "assets": True, "receivable": True},
    "assets": {"statement": "balance", "assets": True},
    "clearing": {"statement": "balance", "assets": True},
    "payable": {"statement": "balance", "payable": True},
    "liabilities": {"statement": "balance"},
    "equity": {"statement": "balance"},
    "revenue": {"statement": "income", "revenue": True},
    "expense": {"statement": "income", "expense": True},
}
"""Types of accounts, with the ERP's flags."""

BoxAmount: TypeAlias = Literal["base", "tax"]
BOX_AMOUNTS: tuple[tuple[BoxAmount, str], ...] = (("base", "taxable sales"), ("tax", "sales tax"))
"""Amounts that a box may sum, with their names in a return of sales tax."""


@dataclass(frozen=True, slots=True)
class TaxPlan:
    """Tax of one company. `rate` is a decimal fraction; the tax is booked on `account`, in invoices and credit notes."""

    name: str
    description: str
    rate: str
    account: str
    legal_notice: str = ""


@dataclass(frozen=True, slots=True)
class TaxBox:
    """Box of a tax return: the sum of the bases, or of the tax, of the named taxes."""

    code: str
    name: str
    amount: BoxAmount
    taxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CashAccounts:
    """Accounts of payments. `clearing` has the money at the processor, `disputes` what its customers dispute.

    `concessions` are reductions of a price after the invoice.
    """

    bank: str
    clearing: str
    disputes: str
    fees: str
    bank_fees: str
    bad_debt: str
    concessions: str


@dataclass(frozen=True, slots=True)
class CompanyPlan:
    """Books of one company.

    `accounts` are code, name and type; receivables and payables are reconcilable and have a party, clearing accounts are
    reconcilable without one. `cash` has the accounts of payments, `products` the revenue accounts by code of the product. `prefixes` are those of the numbers of moves, invoices and credit notes; the
    year follows. Its days are those of `zone`. `suffix` makes the logins of the users unique. `cancels_in_place` lets the
    company cancel a posted invoice without a document.
    """

    key: str
    name: str
    currency: str
    accounts: tuple[tuple[str, str, str], ...]
    receivable: str
    payable: str
    expense: str
    exchange_loss: str
    exchange_gain: str
    cash: CashAccounts
    taxes: tuple[TaxPlan, ...]
    standard_tax: str
    boxes: tuple[TaxBox, ...]
    products: dict[str, str]
    prefixes: tuple[str, str, str]
    zone: str
    suffix: str = ""
    vat_id: str | None = None
    cancels_in_place: bool = False


US = CompanyPlan(
    key="acme-us",
    name="Acme Cloud Inc.",
    currency="USD",
    accounts=(
        ("1000", "Cash", "cash"),
        ("1050", "Processor clearing", "clearing"),
        ("1070", "Disputed payments", "clearing"),
        ("1200", "Accounts receivable", "receivable"),
        ("1250", "Unbilled receivables", "assets"),
        ("2000", "Accounts payable", "payable"),
        ("2200", "Sales tax payable", "liabilities"),
        ("2210", "Sales tax payable New York", "liabilities"),
        ("2220", "Sales tax payable California", "liabilities"),
        ("2230", "Sales tax payable Texas", "liabilities"),
        ("2400", "Deferred revenue", "liabilities"),
        ("2450", "Accrued service credits", "liabilities"),
        ("3000", "Equity", "equity"),
        ("4000", "Subscription revenue", "revenue"),
        ("4001", "Enterprise subscription revenue", "revenue"),
        ("4010", "Usage revenue", "revenue"),
        ("4020", "Services revenue", "revenue"),
        ("4800", "Service credits", "revenue"),
        ("4810", "Price concessions", "revenue"),
        ("5000", "Operating expense", "expense"),
        ("5100", "Payment processing fees", "expense"),
        ("5110", "Bank fees", "expense"),
        ("5200", "Bad debt", "expense"),
        ("7900", "Currency exchange", "expense"),
    ),
    receivable="1200",
    payable="2000",
    expense="5000",
    exchange_loss="7900",
    exchange_gain="7900",
    cash=CashAccounts("1000", "1050", "1070", "5100", "5110", "5200", "4810"),
    taxes=(
        TaxPlan("STANDARD", "STANDARD", "0.20", "2200"),
        TaxPlan("EXEMPT", "EXEMPT", "0", "2200"),
        TaxPlan("US-NY", "Sales tax New York 8.875 %", "0.08875", "2210"),
        TaxPlan("US-CA", "Sales tax California 7.25 %", "0.0725", "2220"),
        TaxPlan("US-TX", "Sales tax Texas 8.25 %", "0.0825", "2230"),
    ),
    standard_tax="STANDARD",
    boxes=tuple(
        TaxBox(f"{state}-{amount}", f"{name}, {word}", amount, (f"US-{state}",))
        for state, name in (("NY", "New York"), ("CA", "California"), ("TX", "Texas"))
        for amount, word in BOX_AMOUNTS
    ),
    products={"SEAT": "4000", "API-CALL": "4010", "SLA-CREDIT": "4800"},
    prefixes=("", "INV-", "CN-"),
    zone="America/New_York",
    cancels_in_place=True,
)

DE = CompanyPlan(
    key="acme-de",
    name="Acme Cloud GmbH",
    currency="EUR",
    accounts=(
        ("0800", "Gezeichnetes Kapital", "equity"),
        ("0970", "Sonstige Rückstellungen", "liabilities"),
        ("0990", "Passive Rechnungsabgrenzung", "liabilities"),
        ("1200", "Bank", "cash"),
        ("1360", "Geldtransit Zahlungsdienstleister", "clearing"),
        ("1370", "Strittige Zahlungen", "clearing"),
        ("1400", "Forderungen", "receivable"),
        ("1409", "Noch nicht abgerechnete Leistungen", "assets"),
        ("1600", "Verbindlichkeiten", "payable"),
        ("1770", "Umsatzsteuer ohne Zahllast", "liabilities"),
        ("1771", "Umsatzsteuer 7 %", "liabilities"),
        ("1776", "Umsatzsteuer 19 %", "liabilities"),
        ("2150", "Aufwendungen aus Kursdifferenzen", "expense"),
        ("2400", "Forderungsverluste", "expense"),
        ("2660", "Erträge aus Kursdifferenzen", "revenue"),
        ("4900", "Sonstige betriebliche Aufwendungen", "expense"),
        ("4970", "Gebühren der Zahlungsdienstleister", "expense"),
        ("4971", "Nebenkosten des Geldverkehrs", "expense"),
        ("8100", "Steuerfreie Umsätze ohne Vorsteuerabzug", "revenue"),
        ("8120", "Steuerfreie Umsätze Drittland", "revenue"),
        ("8125", "Steuerfreie innergemeinschaftliche Lieferungen", "revenue"),
        ("8300", "Erlöse 7 % USt", "revenue"),
        ("8337", "Erlöse Reverse Charge", "revenue"),
        ("8400", "Erlöse 19 % USt", "revenue"),
        ("8401", "Erlöse Enterprise 19 % USt", "revenue"),
        ("8410", "Erlöse Nutzung 19 % USt", "revenue"),
        ("8420", "Erlöse Dienstleistungen 19 % USt", "revenue"),
        ("8710", "Erlösschmälerungen 7 % USt", "revenue"),
        ("8720", "Erlösschmälerungen 19 % USt", "revenue"),
        ("8730", "Gewährte Nachlässe", "revenue"),
    ),
    receivable="1400",
    payable="1600",
    expense="4900",
    exchange_loss="2150",
    exchange_gain="2660",
    cash=CashAccounts("1200", "1360", "1370", "4970", "4971", "2400", "8730"),
    taxes=(
        TaxPlan("USt19", "Umsatzsteuer 19 %", "0.19", "1776"),
        TaxPlan("USt7", "Umsatzsteuer 7 %", "0.07", "1771"),
        TaxPlan(
            "USt0-RC",
            "Reverse Charge",
            "0",
            "1770",
            "Steuerschuldnerschaft des Leistungsempfängers",  # words required by section 14a (1) UStG
        ),
        TaxPlan("USt0-EXEMPT", "Steuerfrei", "0", "1770", "Steuerfrei nach § 4 UStG"),
        TaxPlan("USt0-ZERO", "Steuerfrei Drittland", "0", "1770", "Steuerfrei nach § 4 Nr. 1a UStG"),
    ),
    standard_tax="USt19",
    boxes=(
        TaxBox("81", "Umsätze 19 %", "base", ("USt19",)),
        TaxBox("86", "Umsätze 7 %", "base", ("USt7",)),
        TaxBox("21", "Sonstige Leistungen nach § 18b UStG", "base", ("USt0-RC",)),
        TaxBox("48", "Steuerfreie Umsätze ohne Vorsteuerabzug", "base", ("USt0-EXEMPT",)),
        TaxBox("43", "Steuerfreie Umsätze mit Vorsteuerabzug", "base", ("USt0-ZERO",)),
        TaxBox("USt", "Umsatzsteuer", "tax", ("USt19", "USt7")),
    ),
    products={"SEAT": "8400", "API-CALL": "8410", "SLA-CREDIT": "8720"},
    prefixes=("DE-B-", "DE-", "DE-G-"),
    zone="Europe/Berlin",
    suffix="-de",
    vat_id="DE123456788",
)

PLANS = (US, DE)
"""The companies. The first is that of the fields at the top of seed.json."""

PRODUCTS = (
    ("SEAT", "Seat", "25.00"),
    ("API-CALL", "API calls", "0.40"),
    ("SLA-CREDIT", "Service credit", "0"),
)
"""Products of both companies: code, name and list price."""
UNTAXED_PRODUCTS = ("SLA-CREDIT",)
"""Products without the default tax of their company."""

CURRENCIES = (
    ("USD", "US Dollar", "840"),
    ("EUR", "Euro", "978"),
    ("ISK", "Icelandic Krona", "352"),
    ("JPY", "Yen", "392"),
    ("KWD", "Kuwaiti Dinar", "414"),
    ("MGA", "Malagasy Ariary", "969"),
    ("UGX", "Uganda Shilling", "800"),
)
"""Currencies: ISO code, name and numeric code. The last five have none, two or three decimals, which billing sends otherwise."""
FIRST_RATES = {
    "EUR": "1.0",
    "USD": "1.25",
    "ISK": "145",
    "JPY": "160",
    "KWD": "0.35",
    "MGA": "5000",
    "UGX": "4200",
}
"""Rates from 1 January 2020, in units per euro: the euro is the base, as in the rates of the European Central Bank."""
DOLLARS_PER_EURO = (
    "1.0850", "1.0790", "1.0830", "1.0910", "1.1240", "1.1420",
    "1.1690", "1.1640", "1.1720", "1.1560", "1.1530", "1.1600",
)  # fmt: skip
"""Rate of the US dollar from the first of each month, in every year of the books."""
