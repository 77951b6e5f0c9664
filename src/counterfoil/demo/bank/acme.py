"""The accounts of the example company at its banks, and the folders into which these write their statements."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import TypeAlias

from counterfoil.demo.bank.account import BankAccount, DemoBank

AccountPlace: TypeAlias = tuple[str, str]
"""Legal entity and currency."""
ACCOUNTS: Mapping[AccountPlace, BankAccount] = {
    ("acme-us", "USD"): BankAccount("operating", "325 0098", "USD", "csv"),
    ("acme-us", "EUR"): BankAccount("euro", "325 0099", "EUR", "csv"),
    ("acme-de", "EUR"): BankAccount("german", "DE02120300000000202051", "EUR", "camt.053"),
    ("acme-de", "USD"): BankAccount("dollar", "DE75512108001245126199", "USD", "camt.053"),
}


def statements_of(home: Path, entity: str) -> Path:
    """Return the folder with the statements of a company."""
    return home / "statements" / entity


def open_accounts(home: Path, today: date) -> Mapping[AccountPlace, DemoBank]:
    """Return the bank of each account. A new account has an empty statement of the day before."""
    banks = {
        place: DemoBank(account, home / "bank", statements_of(home, place[0]))
        for place, account in ACCOUNTS.items()
    }
    for bank in banks.values():
        if bank.last_day is None:
            bank.close_day(today - timedelta(days=1), [])
    return banks
