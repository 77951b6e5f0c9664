"""Fills an empty ERP: schema, company, books, taxes, products, users and keys. It runs as a separate process.

Usage: `python -m counterfoil.demo.erp.seed FOLDER YYYY-MM-DD`, called by `prepare`.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from counterfoil.core.private_file import write_private
from counterfoil.demo.erp.prepare import CONFIG, DATABASE, SEED

# code, name, kind of account; receivables and payables are reconcilable and have a party
ACCOUNTS = (
    ("1000", "Cash", "cash"),
    ("1200", "Accounts receivable", "receivable"),
    ("1250", "Unbilled receivables", "assets"),
    ("2000", "Accounts payable", "payable"),
    ("2200", "Sales tax payable", "liabilities"),
    ("2400", "Deferred revenue", "liabilities"),
    ("3000", "Equity", "equity"),
    ("4000", "Subscription revenue", "revenue"),
    ("4010", "Usage revenue", "revenue"),
    ("4800", "Service credits", "revenue"),
    ("5000", "Operating expense", "expense"),
    ("7900", "Currency exchange", "expense"),
)
TYPES: dict[str, dict[str, Any]] = {
    "cash": {"statement": "balance", "assets": True},
    "receivable": {"statement": "balance", "assets": True, "receivable": True},
    "assets": {"statement": "balance", "assets": True},
    "payable": {"statement": "balance", "payable": True},
    "liabilities": {"statement": "balance"},
    "equity": {"statement": "balance"},
    "revenue": {"statement": "income", "revenue": True},
    "expense": {"statement": "income", "expense": True},
}
PRODUCTS = (("SEAT", "Seat", "25.00", "4000"), ("API-CALL", "API calls", "0.40", "4010"))
CREDIT_PRODUCT = ("SLA-CREDIT", "Service credit", "0", "4800")
COUNTRIES = (("US", "United States"), ("DE", "Germany"), ("GB", "United Kingdom"), ("NL", "Netherlands"))
TAXES = (("STANDARD", "0.20"), ("EXEMPT", "0"))

# login, name, groups
USERS = (
    ("orchestrator", "Orchestrator", ("Accounting", "Integration")),
    ("reader", "Reader", ("Book readers",)),
    ("controller", "Controller", ("Accounting", "Accounting Administration")),
)
# Models that the group "Book readers" may read; it may write none.
READABLE = (
    "account.account", "account.account.type", "account.configuration", "account.fiscalyear",
    "account.invoice", "account.invoice.line", "account.invoice.payment_term", "account.invoice.tax",
    "account.journal", "account.move", "account.move.line", "account.move.reconciliation", "account.period",
    "account.tax", "party.address", "party.identifier", "party.party",
)  # fmt: skip


def build(folder: Path, today: date) -> None:
    """Create the schema and every record that the story needs, then write seed.json."""
    password = secrets.token_urlsafe(24)
    _schema(folder, password)
    from proteus import config

    settings = config.set_trytond(DATABASE, user="admin", config_file=str(folder / CONFIG))
    for item in _model("ir.module.config_wizard.item").find([("state", "!=", "done")]):
        item.state = "done"
        item.save()
    company, currencies = _company(settings)
    accounts = _accounts(company)
    years = _years(company, range(today.year - 1, today.year + 2))
    taxes = _taxes(company, accounts)
    term = _payment_term()
    products = _products(accounts, taxes["STANDARD"])
    _groups()
    users = {login: _user(company, login, name, groups) for login, name, groups in USERS}
    (journal,) = _model("account.journal").find([("type", "=", "revenue")], limit=1)
    _countries()
    applications = _create("account.journal", name="Applications", code="APP", type="general")
    seed = {
        "database": DATABASE,
        "company": company.id,
        "currencies": currencies,
        "accounts": accounts,
        "fiscal_years": years,
        "taxes": taxes,
        "payment_term": {"id": term.id, "name": term.name},
        "journals": {"revenue": journal.code, "applications": applications.code},
        "products": products,
        "users": users,
        "key": users["orchestrator"]["key"],
        "reader_key": users["reader"]["key"],
        "controller_key": users["controller"]["key"],
        "admin_password": password,
        "today": today.isoformat(),
    }
    write_private(folder / SEED, json.dumps(seed, indent=1).encode())


def _model(name: str) -> Any:
    # Late import: the ERP's pool reads its configuration when it is imported.
    from proteus import Model

    return Model.get(name)


def _create(model: str, **values: Any) -> Any:
    record = _model(model)(**values)
    record.save()
    return record


def _schema(folder: Path, password: str) -> None:
    from trytond import config

    (folder / "data" / f"{DATABASE}.sqlite").touch()
    passfile = folder / "admin-password"
    write_private(passfile, password.encode())
    os.environ["TRYTONPASSFILE"] = str(passfile)
    config.update_etc([str(folder / CONFIG)])
    from trytond import admin

    try:
        admin.run(argparse.Namespace(
            database_names=[DATABASE], update=["account_invoice"], languages=[], activatedeps=True, indexes=True,
            email="", password=False, reset_password=False, test_email=None, update_modules_list=False,
            hostname=None, validate=None, validate_percentage=100, export_translations=False,
        ))  # fmt: skip
    finally:
        passfile.unlink()


def _company(settings: Any) -> tuple[Any, dict[str, int]]:
    """Create the company. Its books are in US dollars; euros are a document currency."""
    from proteus import Wizard

    currencies = {
        code: _currency(code, name, number, rate)
        for code, name, number, rate in (("USD", "US Dollar", "840", "1.0"), ("EUR", "Euro", "978", "0.8"))
    }
    party = _create("party.party", name="Acme Cloud Inc.")
    wizard = Wizard("company.company.config")
    wizard.execute("company")
    wizard.form.party = party
    wizard.form.currency = currencies["USD"]
    wizard.execute("add")
    (company,) = _model("company.company").find()
    settings._context = _model("res.user").get_preferences(True, {})
    return company, {code: currency.id for code, currency in currencies.items()}


def _currency(code: str, name: str, number: str, rate: str) -> Any:
    currency = _model("currency.currency")(name=name, symbol=code, code=code, numeric_code=number)
    currency.rounding = Decimal("0.01")
    currency.digits = 2
    line = currency.rates.new()
    line.date = date(2020, 1, 1)
    line.rate = Decimal(rate)
    currency.save()
    return currency


def _accounts(company: Any) -> dict[str, int]:
    kinds: dict[str, Any] = {}
    for name, values in TYPES.items():
        kinds[name] = _create("account.account.type", name=name.capitalize(), company=company, **values)
    accounts: dict[str, Any] = {}
    for code, name, kind_name in ACCOUNTS:
        account = _model("account.account")(code=code, name=name, company=company, type=kinds[kind_name])
        account.reconcile = account.party_required = kind_name in ("receivable", "payable")
        account.deferral = TYPES[kind_name]["statement"] == "balance"
        account.save()
        accounts[code] = account
    configuration = _model("account.configuration")(1)
    configuration.default_account_receivable = accounts["1200"]
    configuration.default_account_payable = accounts["2000"]
    configuration.currency_exchange_debit_account = accounts["7900"]
    configuration.currency_exchange_credit_account = accounts["7900"]
    configuration.save()
    return {code: account.id for code, account in accounts.items()}


def _years(company: Any, years: range) -> list[int]:
    """Create a fiscal year per calendar year, with monthly periods and its own gapless document numbers."""
    sequence_type = _model("ir.sequence.type")
    (invoices,) = sequence_type.find([("name", "=", "Invoice")], limit=1)
    (moves,) = sequence_type.find([("name", "=", "Account Move")], limit=1)

    def sequence(name: str, kind: Any, prefix: str) -> Any:
        record = _model("ir.sequence.strict")(name=name, sequence_type=kind, company=company)
        record.prefix = prefix
        record.padding = 5
        record.save()
        return record

    for year in years:
        fiscal_year = _model("account.fiscalyear")(name=str(year), company=company)
        fiscal_year.start_date = date(year, 1, 1)
        fiscal_year.end_date = date(year, 12, 31)
        fiscal_year.move_sequence = sequence(f"Move {year}", moves, f"{year}-")
        (numbers,) = fiscal_year.invoice_sequences
        numbers.out_invoice_sequence = numbers.in_invoice_sequence = sequence(
            f"Invoice {year}", invoices, f"INV-{year}-"
        )
        numbers.out_credit_note_sequence = numbers.in_credit_note_sequence = sequence(
            f"Credit note {year}", invoices, f"CN-{year}-"
        )
        fiscal_year.save()
        fiscal_year.click("create_period")
    return list(years)


def _taxes(company: Any, accounts: dict[str, int]) -> dict[str, int]:
    payable = _model("account.account")(accounts["2200"])
    taxes = {}
    for name, rate in TAXES:
        tax = _model("account.tax")(name=name, description=name, company=company, type="percentage")
        tax.rate = Decimal(rate)
        tax.invoice_account = tax.credit_note_account = payable
        tax.save()
        taxes[name] = tax.id
    return taxes


def _countries() -> None:
    for code, name in COUNTRIES:
        _create("country.country", code=code, name=name)


def _payment_term() -> Any:
    term = _model("account.invoice.payment_term")(name="Net 30")
    term.lines.new(type="remainder").relativedeltas.new().days = 30
    term.save()
    return term


def _products(accounts: dict[str, int], default_tax: int) -> dict[str, int]:
    """Create the products. As in a real set-up they have the default tax, so manual tax rows raise a warning."""
    account_of = _model("account.account")
    (unit,) = _model("product.uom").find([("name", "=", "Unit")], limit=1)
    products = {}
    for code, name, price, account in (*PRODUCTS, CREDIT_PRODUCT):
        category = _model("product.category")(name=f"{name} category", accounting=True)
        category.account_revenue = account_of(accounts[account])
        category.account_expense = account_of(accounts["5000"])
        if code != CREDIT_PRODUCT[0]:
            category.customer_taxes.append(_model("account.tax")(default_tax))
        category.save()
        template = _model("product.template")(name=name, type="service", default_uom=unit)
        template.list_price = Decimal(price)
        template.account_category = category
        template.save()
        (product,) = template.products
        product.suffix_code = code
        product.save()
        products[code] = product.id
    return products


def _groups() -> None:
    """Create the groups. Book readers may read. Integration may confirm the warnings that the ERP raises at posting."""
    for name, models, writes in (
        ("Book readers", READABLE, False),
        ("Integration", ("res.user.warning",), True),
    ):
        group = _create("res.group", name=name)
        for model in models:
            access = _model("ir.model.access")(model=model, group=group)
            access.perm_read = True
            access.perm_write = access.perm_create = access.perm_delete = writes
            access.save()


def _user(company: Any, login: str, name: str, groups: tuple[str, ...]) -> dict[str, Any]:
    user = _model("res.user")(name=name, login=login)
    group = _model("res.group")
    for group_name in groups:
        (member_of,) = group.find([("name", "=", group_name)])
        user.groups.append(member_of)
    user.companies.append(_model("company.company")(company.id))
    user.company = _model("company.company")(company.id)
    user.password = password = secrets.token_urlsafe(24)
    user.save()
    application = _create("res.user.application", user=user, application="rest")
    if application.state != "validated":
        application.click("validate_")
    return {"id": user.id, "key": application.key, "login": login, "password": password}


if __name__ == "__main__":
    build(Path(sys.argv[1]), date.fromisoformat(sys.argv[2]))
