"""Writes the books of a company into the ERP: accounts, fiscal years, taxes and boxes of the tax return.

It runs in the seeding process only. Each list of records is one call, because a call costs more than a record.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from counterfoil.core.money import exponent
from counterfoil.demo.erp.charts import CURRENCIES, DOLLARS_PER_EURO, FIRST_RATES, TYPES, CompanyPlan, TaxBox


def model(name: str) -> Any:
    """Return a model of the ERP by its name."""
    # Late import: the ERP's pool reads its configuration when it is imported.
    from proteus import Model

    return Model.get(name)


def create(name: str, /, **values: Any) -> Any:
    """Create and return one record."""
    record = model(name)(**values)
    record.save()
    return record


def create_currencies(years: range) -> dict[str, Any]:
    """Create the currencies with a rate from the first of each month of `years`. Return them by code."""
    currencies = {}
    for code, name, number in CURRENCIES:
        currency = model("currency.currency")(name=name, symbol=code, code=code, numeric_code=number)
        currency.digits = exponent(code)
        currency.rounding = Decimal(1).scaleb(-currency.digits)
        rates = {date(2020, 1, 1): FIRST_RATES[code]}
        if code == "USD":
            rates |= {
                date(year, month, 1): rate
                for year in years
                for month, rate in enumerate(DOLLARS_PER_EURO, start=1)
            }
        for day, rate in rates.items():
            line = currency.rates.new()
            line.date = day
            line.rate = Decimal(rate)
        currency.save()
        currencies[code] = currency
    return currencies


def create_accounts(plan: CompanyPlan, company: Any) -> dict[str, int]:
    """Create the chart of accounts and the defaults that name its accounts. Return the ids by code."""
    type_of = model("account.account.type")
    kinds = {
        name: type_of(name=name.capitalize(), company=company, **values) for name, values in TYPES.items()
    }
    type_of.save(list(kinds.values()))
    accounts: dict[str, Any] = {}
    for code, name, kind in plan.accounts:
        account = model("account.account")(code=code, name=name, company=company, type=kinds[kind])
        account.party_required = kind in ("receivable", "payable")
        account.reconcile = account.party_required or kind == "clearing"
        accounts[code] = account
    model("account.account").save(list(accounts.values()))
    (exchange,) = model("account.journal").find([("code", "=", "EXC")])
    configuration = model("account.configuration")(1)
    configuration.default_account_receivable = accounts[plan.receivable]
    configuration.default_account_payable = accounts[plan.payable]
    configuration.currency_exchange_journal = exchange
    configuration.currency_exchange_debit_account = accounts[plan.exchange_loss]
    configuration.currency_exchange_credit_account = accounts[plan.exchange_gain]
    configuration.save()
    return {code: account.id for code, account in accounts.items()}


def create_years(plan: CompanyPlan, company: Any, years: range) -> list[int]:
    """Create a fiscal year per calendar year, with monthly periods and its own gapless document numbers."""
    sequence_type = model("ir.sequence.type")
    (invoices,) = sequence_type.find([("name", "=", "Invoice")], limit=1)
    (moves,) = sequence_type.find([("name", "=", "Account Move")], limit=1)

    def sequence(name: str, kind: Any, prefix: str) -> Any:
        record = model("ir.sequence.strict")(name=name, sequence_type=kind, company=company)
        record.prefix = prefix
        record.padding = 5
        return record

    of_moves, of_invoices, of_credit_notes = plan.prefixes
    for year in years:
        numbers = [
            sequence(f"Move {year}", moves, f"{of_moves}{year}-"),
            sequence(f"Invoice {year}", invoices, f"{of_invoices}{year}-"),
            sequence(f"Credit note {year}", invoices, f"{of_credit_notes}{year}-"),
        ]
        model("ir.sequence.strict").save(numbers)
        fiscal_year = model("account.fiscalyear")(name=str(year), company=company)
        fiscal_year.start_date = date(year, 1, 1)
        fiscal_year.end_date = date(year, 12, 31)
        fiscal_year.move_sequence = numbers[0]
        (documents,) = fiscal_year.invoice_sequences
        documents.out_invoice_sequence = documents.in_invoice_sequence = numbers[1]
        documents.out_credit_note_sequence = documents.in_credit_note_sequence = numbers[2]
        fiscal_year.save()
        fiscal_year.click("create_period")
    return list(years)


def create_taxes(plan: CompanyPlan, company: Any, accounts: dict[str, int]) -> dict[str, int]:
    """Create the taxes and the boxes of the tax return. Return the ids of the taxes by name."""
    taxes = {}
    for each in plan.taxes:
        tax = model("account.tax")(name=each.name, description=each.description, company=company)
        tax.type = "percentage"
        tax.rate = Decimal(each.rate)
        tax.invoice_account = tax.credit_note_account = model("account.account")(accounts[each.account])
        tax.legal_notice = each.legal_notice or None
        taxes[each.name] = tax
    model("account.tax").save(list(taxes.values()))
    model("account.tax.code").save(
        [_box(box, company, [taxes[name] for name in box.taxes]) for box in plan.boxes]
    )
    return {name: tax.id for name, tax in taxes.items()}


def _box(box: TaxBox, company: Any, taxes: Sequence[Any]) -> Any:
    """Return a box with its lines: invoices of each tax, less its credit notes."""
    code = model("account.tax.code")(name=box.name, code=box.code, company=company)
    for tax in taxes:
        for kind, operator in (("invoice", "+"), ("credit", "-")):
            line = code.lines.new()
            line.tax = tax
            line.amount = box.amount
            line.type = kind
            line.operator = operator
    return code
