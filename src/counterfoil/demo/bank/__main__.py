"""Command line of the bank: `close` books the movements of a day from a JSON file and writes the statement."""

from __future__ import annotations

import argparse
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

from counterfoil.demo.bank.account import BankAccount, DemoBank
from counterfoil.demo.bank.movements import movement_of


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m counterfoil.demo.bank", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    close = commands.add_parser("close", help="close a day; print the path of its statement")
    close.add_argument("--home", required=True, type=Path, help="folder of the bank's state")
    close.add_argument("--folder", required=True, type=Path, help="folder that gets the statements")
    close.add_argument("--name", required=True, help="name of the account in names of files")
    close.add_argument("--number", required=True, help="IBAN or number of the account")
    close.add_argument("--currency", required=True)
    close.add_argument("--form", required=True, choices=["camt.053", "csv"])
    close.add_argument("--opening", type=Decimal, default=Decimal(0), help="balance before the first day")
    close.add_argument("--day", required=True, type=date.fromisoformat)
    close.add_argument("movements", type=Path, help="JSON list of movements; amounts are texts")
    options = parser.parse_args()
    account = BankAccount(options.name, options.number, options.currency, options.form, options.opening)
    movements = [movement_of(content) for content in json.loads(options.movements.read_bytes())]
    print(DemoBank(account, options.home, options.folder).close_day(options.day, movements))


if __name__ == "__main__":
    main()
