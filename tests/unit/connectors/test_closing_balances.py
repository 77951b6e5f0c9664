"""Balances of bank accounts by their statements, at a date."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from counterfoil.connectors import files
from counterfoil.connectors.files.closing_balances import STATEMENT_BALANCE
from counterfoil.connectors.files.connector import FilesSystem
from counterfoil.connectors.sdk import SystemConfig
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused
from counterfoil.demo.bank import BankAccount, DemoBank, Movement
from tests.companies.bank_systems import SETTLE_SECONDS, bank, sample

MONDAY = date(2026, 3, 2)
CAMT: dict[str, Any] = {"files": "*.xml", "lists": "all", "format": "camt.053"}
CSV: dict[str, Any] = {
    "files": "operating-*.csv", "lists": "all", "id": "Reference", "header": "Date", "opening": "Beginning balance",
    "closing": "Ending balance", "amount": {"debit": "Debit", "credit": "Credit"}, "decimal": ".", "date": "%m/%d/%Y",
    "columns": {"Date": "date"}, "constants": {"account": "1000", "currency": "USD"},
}  # fmt: skip


def system(folder: Path, **books: Any) -> FilesSystem:
    settings = {"folder": str(folder), "settle": SETTLE_SECONDS, "books": books}
    return files.connect(SystemConfig("bank", "", settings=settings))


async def at(connector: FilesSystem, day: date) -> list[tuple[str, str, str, str]]:
    answer = await connector.read(STATEMENT_BALANCE, {"as_of": day.isoformat()}, 20)
    return [(row["account"], row["currency"], row["day"], row["amount"]) for row in answer["balances"]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an account in dollars, whose bank writes tables, and one in euros with statements of ISO 20022."""
    (tmp_path / "banks").mkdir()
    dollars = BankAccount("operating", "325", "USD", "csv", Decimal(100))
    euros = BankAccount("euro", "DE02120300000000202051", "EUR", "camt.053")
    for account in (dollars, euros):
        of_bank = DemoBank(account, tmp_path / "banks", tmp_path)
        of_bank.close_day(MONDAY, [Movement("fee", Decimal("-12.50"), "Monthly fee")])
        of_bank.close_day(MONDAY + timedelta(days=3), [])
        of_bank.close_day(MONDAY + timedelta(days=4), [Movement("wire", Decimal(40), "INV-1", "Globex")])
    return tmp_path


async def test_each_account_has_the_balance_of_its_last_statement_up_to_a_date(folder: Path) -> None:
    connector = system(folder, lines=CSV, euro_lines=CAMT)
    iban = "DE02120300000000202051"
    assert await at(connector, MONDAY - timedelta(days=1)) == []
    for days, stated in ((0, 0), (1, 0), (3, 3)):
        day = (MONDAY + timedelta(days=stated)).isoformat()
        assert await at(connector, MONDAY + timedelta(days=days)) == [
            ("1000", "USD", day, "87.50"),
            (iban, "EUR", day, "-12.50"),
        ]
    friday = MONDAY + timedelta(days=4)
    assert [row[3] for row in await at(connector, friday)] == ["127.50", "27.50"]
    with pytest.raises(Refused, match="the last statement of account 1000 is of 2026-03-06") as caught:
        await at(connector, friday + timedelta(days=1))
    assert caught.value.error_class is ErrorClass.NOT_FOUND
    await connector.close()


async def test_statements_that_do_not_tie_have_no_balance(folder: Path) -> None:
    path = folder / "operating-2026-03-02.csv"
    path.write_bytes(path.read_bytes().replace(b"12.50", b"12.60"))
    (folder / "euro-2026-03-05.xml").unlink()
    for books, message in (({"lines": CSV}, "a row is missing or wrong"), ({"lines": CAMT}, "is missing")):
        connector = system(folder, **books)
        with pytest.raises(Misconfigured, match=message):
            await at(connector, MONDAY)
        await connector.close()


async def test_books_without_balances_offer_none(folder: Path) -> None:
    connector = system(folder, lines={"files": "operating-*.csv", "lists": "all"})
    assert STATEMENT_BALANCE not in connector.operations
    with pytest.raises(Misconfigured, match="has no read operation"):
        await at(connector, MONDAY)


@pytest.mark.parametrize(
    "arguments", [{}, {"as_of": "yesterday"}, {"as_of": "2026-03-02", "account": "1000"}]
)
async def test_a_cut_off_is_a_date(folder: Path, arguments: dict[str, str]) -> None:
    with pytest.raises(Refused, match="the only argument must be the date as_of"):
        await system(folder, lines=CSV).read(STATEMENT_BALANCE, arguments, 20)


async def test_the_banks_of_the_page_state_their_balances(tmp_path: Path) -> None:
    """The date stands in the line of the balance: as a word of its label, or in a cell of its own."""
    (tmp_path / "operating-2026-03-02.csv").write_text(sample("statements/us/operating-2026-03-02.csv"))
    assert [row[2:] for row in await at(bank("bank-us", tmp_path), MONDAY)] == [("2026-03-02", "14967.50")]
