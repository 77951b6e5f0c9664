"""Tables of banks: titles and trailers, amounts with their side, and balances that the rows must give."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from counterfoil.connectors.files.reader import FileRefused
from counterfoil.connectors.files.readers import reader_of
from counterfoil.connectors.files.settings import BookFiles
from counterfoil.connectors.sdk import WrongConfiguration
from tests.companies.bank_systems import bank, book_of, lines, rows, sample
from tests.unit.connectors.test_files import listed, system

US = sample("statements/us/operating-2026-03-02.csv")
GERMAN = sample("statements/second/umsaetze-2026-03.csv")


def write(folder: Path, text: str, encoding: str = "cp1252") -> Path:
    path = folder / "umsaetze-1.csv"
    path.write_bytes(text.encode(encoding))
    return path


async def test_debits_and_credits_in_two_columns_below_a_summary(tmp_path: Path) -> None:
    write(tmp_path, US)
    wire, fee = [delivery.body for delivery in await lines(bank("bank-us", tmp_path))]
    assert (wire["amount"], wire["Date"], wire["currency"], wire["account"]) == (
        "4980.00",
        "2026-03-02",
        "USD",
        "325 0098",
    )
    assert (fee["amount"], fee["Debit"], fee["Credit"], fee["Running Bal."]) == (
        "-12.50",
        "12.50",
        None,
        "14967.50",
    )


async def test_an_amount_with_a_column_of_its_side_between_titles_and_balances(tmp_path: Path) -> None:
    write(tmp_path, GERMAN)
    credit, debit = [delivery.body for delivery in await lines(bank("bank-second", tmp_path))]
    assert (credit["amount"], credit["Verwendungszweck"]) == ("1190.00", "RE-2026-17; Skonto")
    assert (debit["amount"], debit["Buchungstag"], debit["Verwendungszweck"]) == (
        "-12.90",
        "2026-03-03",
        "Kontoführung",
    )
    assert credit["row_id"] != debit["row_id"]


US_FAULTS: dict[str, tuple[str, str, str]] = {
    "no header": ("Date,Reference", "Day,Reference", "none of the first 200 lines has `Date` as its first cell"),
    "no opening": ("Beginning bal", "Begining bal", "no line outside of the rows begins with `Beginning balance`"),
    "two openings": ("Total credits", "Beginning balance", "line 3: a second line begins with `Beginning balance`"),
    "no number": ('"14,967.50"\n\n', "none\n\n", "line 5: this line states one balance, and it has 0 numbers"),
    "two numbers": (',"14,967.50"\n\n', "1,2\n\n", "line 5: this line states one balance, and it has 2 numbers"),
    "amount": ('"4,980.00","14', '"4,890.00","14', "the opening balance 10000.00 and the rows over 4877.50 give 14877.50"),
    "both sides": ("fee,12.50,,", "fee,12.50,12.50,", "line 9: an amount stands in one of the columns `Debit` and `Credit`"),
    "no side": ("fee,12.50,,", "fee,,,", "line 9: an amount stands in one of the columns `Debit` and `Credit`, and here in nei"),
    "sign": ("fee,12.50,,", "fee,-12.50,,", "line 9: `-12.50` in the column `Debit` has a sign of its own"),
    "date": ("03/02/2026,OPER2026030200002", "02.03.2026,OPER2026030200002", "line 9: `02.03.2026` in the column `Date`"),
    "cells": ("Monthly fee,12.50,,", "Monthly fee,12.50,,,", "line 9: there are 9 cells, and the header has 8"),
    "constant": ("Name,Desc", "currency,Desc", "has a column `currency` of its own"),
    "cut": ('"14,967.50"\n', '"14,967.50"', "line 9: the last line has no end"),
}  # fmt: skip
GERMAN_FAULTS: dict[str, tuple[str, str, str]] = {
    "no trailer": ("Anfangssaldo;", "Anfang;", "line 8: `Anfang` in the column `Buchungstag` is no date"),
    "cut": ("Anfangssaldo;01.03.2026;;;;5.000,00;H;EUR\n", "", "`Endsaldo` in the column `Buchungstag` is no date"),
    "cut rows": (GERMAN[GERMAN.index("Anfang") :], "", "no line begins with `Anfangssaldo`, which ends the rows"),
    "no closing": ("Endsaldo", "Saldo", "no line outside of the rows begins with `Endsaldo` and states a balance"),
    "side": ("12,90;S", "12,90;X", "line 6: `X` in the column `Soll/Haben` is neither `H` nor `S`"),
    "wrong side": ("12,90;S", "12,90;H", "the closing balance is 6177.10"),
    "balance without side": ("6.177,10;H", "6.177,10;", "line 9: the balance has no `H` or `S`"),
    "sign": ("12,90;S", "-12,90;S", "line 6: `-12.90` in the column `Umsatz` has a sign of its own"),
    "empty": ("12,90;S", ";S", "line 6: the column `Umsatz` has no amount"),
    "mark": ("12,90;S", "12.90;S", "line 6: `12.90` in the column `Umsatz` is no number such as 1.234,50"),
    "row missing": ("03.03.2026;03.03.2026;;;Kontoführung;12,90;S;EUR\n", "", "a row is missing or wrong"),
}  # fmt: skip


@pytest.mark.parametrize("fault", US_FAULTS)
async def test_a_faulty_american_file_is_refused_with_its_place(tmp_path: Path, fault: str) -> None:
    old, new, expected = US_FAULTS[fault]
    assert US.count(old) >= 1
    text = US[: US.rindex(old)] + new + US[US.rindex(old) + len(old) :]
    path = write(tmp_path, text)
    with pytest.raises(FileRefused) as raised:
        rows("bank-us", path)
    assert expected in str(raised.value)


@pytest.mark.parametrize("fault", GERMAN_FAULTS)
async def test_a_faulty_german_file_is_refused_with_its_place(tmp_path: Path, fault: str) -> None:
    old, new, expected = GERMAN_FAULTS[fault]
    assert GERMAN.count(old) == 1
    path = write(tmp_path, GERMAN.replace(old, new))
    with pytest.raises(FileRefused) as raised:
        rows("bank-second", path)
    assert expected in str(raised.value)


def test_no_changed_line_or_byte_gives_another_total(tmp_path: Path) -> None:
    """Each line left out, doubled or exchanged with the next, and each byte replaced: refused, or the same total."""
    for system_, text in (("bank-us", US), ("bank-second", GERMAN)):
        total = _total(rows(system_, write(tmp_path, text)))
        accepted = refused = 0
        for mutant in _mutants(text):
            try:
                changed = rows(system_, write(tmp_path, mutant))
            except FileRefused:
                refused += 1
            else:
                accepted += 1
                assert _total(changed) == total, mutant
        assert min(accepted, refused) > 20


def _total(found: list[dict[str, Any]]) -> tuple[Any, ...]:
    return sum(Decimal(row["amount"]) for row in found), {row["account"] for row in found}


def _mutants(text: str) -> list[str]:
    parts = text.splitlines(keepends=True)
    changed = [parts[:n] + parts[n + 1 :] for n in range(len(parts))]
    changed += [parts[: n + 1] + parts[n:] for n in range(len(parts))]
    changed += [[*parts[:n], *parts[n : n + 2][::-1], *parts[n + 2 :]] for n in range(len(parts) - 1)]
    replaced = [
        text[:n] + ("9" if n % 4 and text[n] != "9" else ",") + text[n + 1 :] for n in range(len(text))
    ]
    return ["".join(lines_) for lines_ in changed] + replaced


async def test_a_signed_column_and_titles_of_a_workbook(tmp_path: Path) -> None:
    workbook = openpyxl.Workbook()
    for cells in (
        ["Statement of March"],
        ["Opening", 100.5],
        [],
        ["Day", "Betrag"],
        ["2026-03-01", -0.5],
        ["Closing", 100],
    ):
        workbook.active.append(cells)
    workbook.save(tmp_path / "book.xlsx")
    workbook.close()
    book: dict[str, Any] = {
        "files": "book.xlsx", "header": "Day", "trailer": "Closing", "opening": "Opening", "closing": "Closing",
        "amount": {"column": "Betrag"}, "decimal": ".", "constants": {"currency": "EUR"},
    }  # fmt: skip
    (row,) = await listed(system(tmp_path, **book))
    assert (row.body["amount"], row.body["currency"]) == ("-0.5", "EUR")


@pytest.mark.parametrize(
    ("book", "expected"),
    [
        ({"amount": {"debit": "D"}}, "write `column`, or `column` with `sign`, `plus` and `minus`"),
        ({"amount": {"column": "A", "sign": "S", "plus": "H", "minus": "H"}}, "are the same word"),
        ({"amount": {"colunm": "A"}}, "did you mean `column`?"),
        ({"opening": "O"}, "`opening` and `closing` belong together"),
        ({"opening": "O", "closing": "C"}, "need `amount` and `decimal`"),
        ({"header": "A", "format": "jsonl"}, "`jsonl` has rows alone"),
        ({"id": "a", "format": "camt.053"}, "a statement has its own columns and balances; remove `id`"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    tmp_path: Path, book: dict[str, Any], expected: str
) -> None:
    with pytest.raises(WrongConfiguration) as raised:
        system(tmp_path, files="a.csv", **book)
    assert expected in str(raised.value)


def test_labels_of_a_table_are_refused_for_a_file_of_rows_alone() -> None:
    with pytest.raises(FileRefused, match=r"a\.jsonl has rows alone"):
        reader_of(Path("a.jsonl"), BookFiles(files="*.*", lists="all", trailer="Sum"))


def test_the_dialects_of_the_page_are_complete() -> None:
    assert book_of("bank-us").is_framed
    assert book_of("bank-second").is_framed
    assert book_of("bank-de").is_statement
