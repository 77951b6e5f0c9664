"""Books of Acme's systems, read through the systems' own interfaces: billing's lists, and documents and entries of the ERP.

A legal entity has one billing account and one company in the ERP. Totals are by currency of the document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from counterfoil.demo.billing import BillingClient
from counterfoil.demo.erp.client import ErpClient
from tests.companies.acme import GERMAN_KEY, Company
from tests.contract.stripe_twin_process import KEY

KEYS = {"acme-us": KEY, "acme-de": GERMAN_KEY}
"""Legal entity -> key of its billing account."""
HOME = "acme-us"
INVOICES, CREDITS, DEBITS = "invoice-in-erp", "credit-in-erp", "debit-in-erp"
PAYMENTS, REFUNDS = "payment-in-erp", "refund-in-erp"
RULES = (INVOICES, CREDITS, DEBITS, PAYMENTS, REFUNDS)
OURS = ("cred_",)
"""Beginnings of the references of credit memos that support asked for."""
Totals = Mapping[str, Decimal]
"""Amounts by currency, without zeros."""


@dataclass(frozen=True)
class Books:
    """Totals that the systems' own interfaces give."""

    invoices: Totals
    """Billing's list: invoices that are neither drafts nor void."""
    credits: Totals
    """Billing's list: credit notes that are not void."""
    debits: Totals
    """Billing's balance transactions of customers that charge a credit back."""
    payments: Totals
    """Billing's list: what was paid of the invoices, by card or transfer."""
    refunds: Totals
    """Billing's list: what went back to customers and did not fail."""
    posted_invoices: Totals
    """Posted customer invoices of the ERP, less what was taken back or cancelled."""
    posted_credits: Totals
    """Posted credit memos of the ERP that take no invoice back; positive."""
    posted_debits: Totals
    """Posted debit memos of the ERP."""
    posted_payments: Totals
    """Receipts of the ERP: what the entries of payments take from the receivable account."""
    posted_refunds: Totals
    """Refunds of the ERP: what their entries add to the receivable account."""
    by_hand: Totals
    """Those of the posted invoices that have no reference."""
    receivable: Totals
    """Balance of the receivable account in the ERP's trial balance, by document currency."""
    open_items: Totals
    """Lines of the receivable account that are not reconciled."""


@dataclass(frozen=True)
class Billed:
    """Lists of one billing account: invoices that are no drafts, credit notes and customers."""

    invoices: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    customers: list[dict[str, Any]]

    @property
    def issued(self) -> list[dict[str, Any]]:
        return [invoice for invoice in self.invoices if invoice["status"] != "void"]


@dataclass(frozen=True)
class Entry:
    """One posted line of the ERP. `amount` is in the currency of the document, `functional` in that of the company.

    `description` is that of its entry, which begins with our reference.
    """

    account: str
    currency: str
    amount: Decimal
    functional: Decimal
    unsettled: bool
    description: str


async def books(systems: Company, entity: str = HOME, credits: tuple[str, ...] = OURS) -> Books:
    """Read the totals of a legal entity. `credits` are the beginnings of the references of its credit memos."""
    async with BillingClient(systems.twin.url, KEYS[entity]) as billing:
        lists = await billed(billing)
        debits = await _charged_back(billing, lists)
        refunds = [refund for refund in await billing.all("refunds") if refund["status"] == "succeeded"]
    async with systems.of_erp(company=entity) as erp:
        company = systems.erp_seed["companies"][entity]
        *posted, by_hand = await _posted(erp, company["company"], credits)
        lines = await entries(erp, company["company"], company["currency"])
        of_account = [line for line in lines if line.account == company["receivable"]]
        balance = (await erp.trial_balance()).get(company["receivable"], Decimal(0))
    assert balance == sum((line.functional for line in of_account), Decimal(0))
    return Books(
        total((i["currency"], i["total"]) for i in lists.issued),
        total((n["currency"], n["total"]) for n in lists.notes),
        debits,
        total((i["currency"], i["amount_paid"]) for i in lists.issued),
        total((r["currency"], r["amount"]) for r in refunds),
        *posted,
        plus((-1, by_currency(line for line in of_account if line.description.startswith("[paym")))),
        by_currency(line for line in of_account if line.description.startswith("[refu")),
        by_hand,
        by_currency(of_account),
        by_currency(line for line in of_account if line.unsettled),
    )


async def billed(billing: BillingClient) -> Billed:
    invoices = [invoice for invoice in await billing.all("invoices") if invoice["status"] != "draft"]
    notes = [note for note in await billing.all("credit_notes") if note["status"] != "void"]
    return Billed(invoices, notes, await billing.all("customers"))


async def _charged_back(billing: BillingClient, lists: Billed) -> Totals:
    debits: list[tuple[str, int]] = []
    for customer in lists.customers:
        for change in await billing.all(f"customers/{customer['id']}/balance_transactions"):
            if change["type"] == "adjustment" and change["amount"] > 0:
                debits.append((change["currency"], change["amount"]))
    return total(debits)


async def documents(erp: ErpClient, company: int) -> list[dict[str, Any]]:
    """Return the customer documents of a company that have an entry, also those that were cancelled afterwards."""
    fields = [
        "number", "reference", "description", "state", "total_amount", "tax_amount", "currency.code", "party.code",
        "move.id", "cancel_move.id",
    ]  # fmt: skip
    domain = [
        ["company", "=", company], ["type", "=", "out"], ["state", "in", ["posted", "paid", "cancelled"]],
        ["move", "!=", None],
    ]  # fmt: skip
    return await erp.search("account.invoice", domain, fields)


async def _posted(erp: ErpClient, company: int, ours: tuple[str, ...]) -> list[Totals]:
    """Sum the posted invoices, credit memos, debit memos and documents by hand.

    A cancelling entry that is no document of its own takes its invoice out.
    """
    rows = await documents(erp, company)
    moves = {row["move"]["id"] for row in rows}
    invoices, credits, debits, by_hand = (dict[str, Decimal]() for _ in range(4))
    for row in rows:
        amount, currency, reference = row["total_amount"], row["currency"]["code"], row["reference"] or ""
        if row["cancel_move"] and row["cancel_move"]["id"] not in moves:
            continue
        if amount < 0 and reference.startswith(ours):
            credits[currency] = credits.get(currency, Decimal(0)) - amount
        elif reference.endswith("/undo"):
            debits[currency] = debits.get(currency, Decimal(0)) + amount
        else:
            for sums in (invoices,) if reference else (invoices, by_hand):
                sums[currency] = sums.get(currency, Decimal(0)) + amount
    return [without_zeros(sums) for sums in (invoices, credits, debits, by_hand)]


async def entries(erp: ErpClient, company: int, home: str) -> list[Entry]:
    """Return every posted line of a company whose currency is `home`."""
    posted = [["move.company", "=", company], ["move.state", "=", "posted"]]
    fields = [
        "account.code", "debit", "credit", "amount_second_currency", "second_currency.code", "reconciliation",
        "move.description",
    ]  # fmt: skip
    lines = []
    for line in await erp.search("account.move.line", posted, fields):
        functional = line["debit"] - line["credit"]
        currency, amount = home, functional
        if line["second_currency"]:
            currency, amount = line["second_currency"]["code"], line["amount_second_currency"]
        unsettled = line["reconciliation"] is None
        description = line["move"]["description"] or ""
        lines.append(Entry(line["account"]["code"], currency, amount, functional, unsettled, description))
    return lines


def total(amounts: Iterable[tuple[str, int]]) -> Totals:
    """Sum billing's amounts in minor units by currency, in major units."""
    sums = dict[str, Decimal]()
    for currency, minor in amounts:
        name = currency.upper()
        sums[name] = sums.get(name, Decimal(0)) + Decimal(minor).scaleb(-2)
    return without_zeros(sums)


def by_currency(lines: Iterable[Entry]) -> Totals:
    sums = dict[str, Decimal]()
    for line in lines:
        sums[line.currency] = sums.get(line.currency, Decimal(0)) + line.amount
    return without_zeros(sums)


def plus(*parts: tuple[int, Totals]) -> Totals:
    """Add totals, each with its sign."""
    sums = dict[str, Decimal]()
    for sign, totals in parts:
        for currency, amount in totals.items():
            sums[currency] = sums.get(currency, Decimal(0)) + sign * amount
    return without_zeros(sums)


def without_zeros(totals: Mapping[str, Decimal]) -> Totals:
    return {currency: amount for currency, amount in totals.items() if amount}


# ------------------------------------------------------------------ the server's own totals


def total_of(forward: Mapping[str, Any], side: str, entity: str = HOME) -> Totals:
    """Return a column of a roll-forward by currency."""
    lines = [line for line in forward["lines"] if line["entity"] == entity]
    return without_zeros({line["currency"]: Decimal(line[side]["amount"]) for line in lines})


def differences(own: Books, forward: Mapping[str, Any], entity: str = HOME) -> list[str]:
    """Compare the server's roll-forwards, by name, with the books. Return a line for each that differs."""
    asserted = {name: total_of(part, "asserted", entity) for name, part in forward.items()}
    observed = {name: total_of(part, "observed", entity) for name, part in forward.items()}
    receivable = plus(
        (1, observed[INVOICES]), (-1, observed[CREDITS]), (1, observed[DEBITS]), (-1, observed[PAYMENTS]),
        (1, observed[REFUNDS]),
    )  # fmt: skip
    compared = {
        "invoices that billing asserts": (asserted[INVOICES], own.invoices),
        "credits that billing asserts": (asserted[CREDITS], own.credits),
        "debits that billing asserts": (asserted[DEBITS], own.debits),
        "payments that billing asserts": (asserted[PAYMENTS], own.payments),
        "payments that the ERP shows": (observed[PAYMENTS], own.posted_payments),
        "refunds that billing asserts": (asserted[REFUNDS], own.refunds),
        "refunds that the ERP shows": (observed[REFUNDS], own.posted_refunds),
        "invoices that the ERP shows": (observed[INVOICES], own.posted_invoices),
        "credits that the ERP shows": (observed[CREDITS], own.posted_credits),
        "debits that the ERP shows": (observed[DEBITS], own.posted_debits),
        "receivables": (receivable, own.receivable),
        "open items": (receivable, own.open_items),
    }
    differing = [
        f"{entity}, {name}: {dict(ours)} here, {dict(theirs)} in the books"
        for name, (ours, theirs) in compared.items()
        if ours != theirs
    ]
    unbalanced = [line for part in forward.values() for line in part["lines"] if not line["balanced"]]
    return differing + [f"not balanced: {line}" for line in unbalanced]
