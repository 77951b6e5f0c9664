"""Fills an empty ERP: schema, two companies, books, taxes, products, users and keys. It runs as a separate process.

Usage: `python -m counterfoil.demo.erp.seed FOLDER YYYY-MM-DD`, called by `prepare`.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from counterfoil.core.private_file import write_private
from counterfoil.demo.erp.books import (
    create,
    create_accounts,
    create_currencies,
    create_taxes,
    create_years,
    model,
)
from counterfoil.demo.erp.charts import PLANS, PRODUCTS, UNTAXED_PRODUCTS
from counterfoil.demo.erp.prepare import CONFIG, DATABASE, SEED

COUNTRIES = (("US", "United States"), ("DE", "Germany"), ("GB", "United Kingdom"), ("NL", "Netherlands"))

# Journals beside those of the ERP, which has CASH for payments: name, code and type.
JOURNALS = (
    ("Applications", "APP", "general"),
    ("Write-offs", "WO", "write-off"),
    ("Accruals", "ACC", "general"),
)
# role, name, groups; the login is the role with the suffix of the company
USERS = (
    ("orchestrator", "Orchestrator", ("Accounting", "Integration")),
    ("reader", "Reader", ("Book readers",)),
    ("controller", "Controller", ("Accounting", "Accounting Administration")),
)
FIRST = (
    "company", "accounts", "fiscal_years", "taxes", "payment_term", "journals", "products", "users", "key",
    "reader_key", "controller_key",
)  # fmt: skip
"""Fields of the first company that seed.json has also at its top."""
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
    for item in model("ir.module.config_wizard.item").find([("state", "!=", "done")]):
        item.state = "done"
        item.save()
    years = range(today.year - 1, today.year + 2)
    currencies = create_currencies(years)
    companies = _companies(settings, currencies)
    _groups()
    for name, code, kind in JOURNALS:
        create("account.journal", name=name, code=code, type=kind)
    journals = {"revenue": "REV", "cash": "CASH", "applications": "APP", "write_offs": "WO"}
    shared = {"payment_term": _payment_term(), "journals": journals}
    _countries()
    books = {}
    for plan in PLANS:
        company = companies[plan.key]
        _work_for(settings, company)
        accounts = create_accounts(plan, company)
        books[plan.key] = {
            "company": company.id,
            "name": plan.name,
            "currency": plan.currency,
            "receivable": plan.receivable,
            "revenue": plan.products["SEAT"],
            "credits": plan.products["SLA-CREDIT"],
            "cash": asdict(plan.cash),
            "accounts": accounts,
            "fiscal_years": create_years(plan, company, years),
            "taxes": create_taxes(plan, company, accounts),
            **shared,
        }
    products = _products(settings, companies, books)
    for plan in PLANS:
        users = {
            role: _user(companies[plan.key], role + plan.suffix, name, groups) for role, name, groups in USERS
        }
        books[plan.key] |= {"products": products, "users": users}
        books[plan.key] |= {
            "key" if role == "orchestrator" else f"{role}_key": users[role]["key"] for role in users
        }
    of_first = {name: value for name, value in books[PLANS[0].key].items() if name in FIRST}
    seed = {
        "database": DATABASE,
        "currencies": {code: currency.id for code, currency in currencies.items()},
        **of_first,
        "companies": books,
        "admin_password": password,
        "today": today.isoformat(),
    }
    write_private(folder / SEED, json.dumps(seed, indent=1).encode())


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


def _companies(settings: Any, currencies: dict[str, Any]) -> dict[str, Any]:
    """Create the companies, and let the administrator work for all. Return them by key."""
    from proteus import Wizard

    companies: dict[str, Any] = {}
    for plan in PLANS:
        party = model("party.party")(name=plan.name)
        if plan.vat_id is not None:
            party.identifiers.new(type="eu_vat", code=plan.vat_id)
        party.save()
        if companies:
            companies[plan.key] = create("company.company", party=party, currency=currencies[plan.currency])
            continue
        wizard = Wizard("company.company.config")
        wizard.execute("company")
        wizard.form.party = party
        wizard.form.currency = currencies[plan.currency]
        wizard.execute("add")
        (companies[plan.key],) = model("company.company").find()
    for plan in PLANS:
        # Without a zone the ERP takes a document of the company's own day for one of the future.
        companies[plan.key].timezone = plan.zone
        companies[plan.key].cancel_invoice_out = plan.cancels_in_place
        companies[plan.key].save()
    (administrator,) = model("res.user").find([("login", "=", "admin")])
    of_administrator = {company.id for company in administrator.companies}
    for company in companies.values():
        if company.id not in of_administrator:
            administrator.companies.append(model("company.company")(company.id))
    # With "one", the ERP shows the company of the user's first call, whatever later calls name.
    administrator.company_filter = "all"
    administrator.save()
    return companies


def _work_for(settings: Any, company: Any) -> None:
    """Make the following records those of a company."""
    settings._context = {**model("res.user").get_preferences(True, {}), "company": company.id}


def _countries() -> None:
    country = model("country.country")
    country.save([country(code=code, name=name) for code, name in COUNTRIES])


def _payment_term() -> dict[str, Any]:
    term = model("account.invoice.payment_term")(name="Net 30")
    term.lines.new(type="remainder").relativedeltas.new().days = 30
    term.save()
    return {"id": term.id, "name": term.name}


def _products(settings: Any, companies: dict[str, Any], books: dict[str, dict[str, Any]]) -> dict[str, int]:
    """Create the products. As in a real set-up they have the default tax, so manual tax rows raise a warning.

    Products and categories belong to all companies; the accounts of a category are those of one.
    """
    (unit,) = model("product.uom").find([("name", "=", "Unit")], limit=1)
    categories = {
        code: create("product.category", name=f"{name} category", accounting=True)
        for code, name, _ in PRODUCTS
    }
    for plan in PLANS:
        _work_for(settings, companies[plan.key])
        accounts = books[plan.key]["accounts"]
        for code, category in categories.items():
            in_company = model("product.category")(category.id)
            in_company.account_revenue = model("account.account")(accounts[plan.products[code]])
            in_company.account_expense = model("account.account")(accounts[plan.expense])
            in_company.save()
    products = {}
    for code, name, price in PRODUCTS:
        category = model("product.category")(categories[code].id)
        if code not in UNTAXED_PRODUCTS:
            # After the accounts of every company: an account replaces the taxes of its category.
            for plan in PLANS:
                tax = books[plan.key]["taxes"][plan.standard_tax]
                category.customer_taxes.append(model("account.tax")(tax))
            category.save()
        template = model("product.template")(name=name, type="service", default_uom=unit)
        template.list_price = Decimal(price)
        template.account_category = category
        template.save()
        (product,) = template.products
        product.suffix_code = code
        product.save()
        products[code] = product.id
    return products


def _groups() -> None:
    """Create the groups. Book readers may read.

    Integration may confirm the warnings of the ERP, and take a reconciliation back when a payment is returned.
    """
    readers, integration = (create("res.group", name=name) for name in ("Book readers", "Integration"))
    rights: list[tuple[Any, str, Sequence[str]]] = [
        *((readers, readable, ("read",)) for readable in READABLE),
        (integration, "res.user.warning", ("read", "write", "create", "delete")),
        (integration, "account.move.reconciliation", ("read", "delete")),
    ]
    for group, name, verbs in rights:
        access = model("ir.model.access")(model=name, group=group)
        for verb in ("read", "write", "create", "delete"):
            setattr(access, f"perm_{verb}", verb in verbs)
        access.save()


def _user(company: Any, login: str, name: str, groups: tuple[str, ...]) -> dict[str, Any]:
    user = model("res.user")(name=name, login=login)
    group = model("res.group")
    for group_name in groups:
        (member_of,) = group.find([("name", "=", group_name)])
        user.groups.append(member_of)
    user.companies.append(model("company.company")(company.id))
    user.company = model("company.company")(company.id)
    user.password = password = secrets.token_urlsafe(24)
    user.save()
    application = create("res.user.application", user=user, application="rest")
    if application.state != "validated":
        application.click("validate_")
    return {"id": user.id, "key": application.key, "login": login, "password": password}


if __name__ == "__main__":
    build(Path(sys.argv[1]), date.fromisoformat(sys.argv[2]))
