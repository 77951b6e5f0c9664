"""Exports as systems and people write them: each is read to the cent, or refused with the place and the next step."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from counterfoil.reconcile.exports.queries import read_export
from counterfoil.reconcile.exports.table import ExportRefused
from counterfoil.reconcile.guess import Stated
from counterfoil.reconcile.observe import observe, observe_tables

HEAD = "Invoice,Date,Amount\n"
ROWS = "A-100,2026-01-02,1234.50\nA-200,2026-01-03,-20.00\nA-300,2026-01-04,7.25\n"
TOTAL = Decimal("1221.75")
GERMAN = "Beleg;Datum;Betrag\nA-100;02.01.2026;1.234,50\nA-200;03.01.2026;-20,00\nA-300;04.01.2026;7,25\n"

READABLE: dict[str, bytes] = {
    "plain": (HEAD + ROWS).encode(),
    "mark of UTF-8": b"\xef\xbb\xbf" + (HEAD + ROWS).encode(),
    "UTF-16 of a spreadsheet": (HEAD + ROWS).replace(",", "\t").encode("utf-16"),
    "UTF-16 without a mark": (HEAD + ROWS).encode("utf-16-le"),
    "Windows-1252": GERMAN.replace("Beleg;", "Belegnummer für Müller;").encode("cp1252"),
    "semicolons and decimal commas": GERMAN.encode(),
    "tabs": (HEAD + ROWS).replace(",", "\t").encode(),
    "bars": (HEAD + ROWS).replace(",", "|").encode(),
    "declared separator": b"sep=;\r\n" + GERMAN.replace("\n", "\r\n").encode(),
    "Windows line ends": (HEAD + ROWS).replace("\n", "\r\n").encode(),
    "old Mac line ends": (HEAD + ROWS).replace("\n", "\r").encode(),
    "no line end at the end": (HEAD + ROWS).rstrip().encode(),
    "blank lines": (HEAD + "\n" + ROWS.replace("\n", "\n\n") + "\n\n").encode(),
    "quotes with separators and lines": b'Invoice,Text,Amount\n"A-100","one, two\nthree","1,234.50"\nA-200,"say ""no""",-20.00\nA-300,x,7.25\n',
    "parentheses for negatives": (HEAD + ROWS).replace("-20.00", "(20.00)").encode(),
    "minus behind": (HEAD + ROWS).replace("-20.00", "20.00-").encode(),
    "typographic minus": (HEAD + ROWS).replace("-20.00", "\u221220.00").encode(),
    "currency signs": (HEAD + ROWS).replace("1234.50", '"$1,234.50"').replace("-20.00", "-$20.00").replace("7.25", "$7.25").encode(),
    "codes behind": (HEAD + ROWS).replace(".50", ".50 EUR").replace("20.00", "20.00 EUR").replace("7.25", "7.25 EUR").encode(),
    "Swiss thousands": b"Beleg;Datum;Betrag\nA-100;02.01.2026;1'234.50\nA-200;03.01.2026;-20.00\nA-300;04.01.2026;7.25\n",
    "French thousands": "Pièce;Date;Montant\nA-100;02/01/2026;1\u202f234,50\nA-200;13/01/2026;-20,00\nA-300;04/01/2026;7,25\n".encode(),
    "Indian thousands": b'Ref,Date,Amount\nA-100,2026-01-02,"1,00,234.50"\nA-200,2026-01-03,"-99,020.00"\nA-300,2026-01-04,7.25\n',
    "title above the header": b"Open items report\nPrinted 2026-02-01\n\n" + (HEAD + ROWS).encode(),
    "total below": (HEAD + ROWS + "Total,,1221.75\n").encode(),
    "German total below": (GERMAN + "Gesamtsumme;;1.221,75\n").encode(),
    "count and end below": (HEAD + ROWS + "\n3 rows\nEnd of report\n").encode().replace(b"3 rows", b"Records: 3"),
    "header on every page": (HEAD + ROWS[:25] + HEAD + ROWS[25:]).encode(),
    "two columns of one name": b"Invoice,Amount,Note,Note\nA-100,1234.50,a,b\nA-200,-20.00,a,b\nA-300,7.25,a,b\n",
    "nameless column": b"Invoice,,Amount\nA-100,x,1234.50\nA-200,y,-20.00\nA-300,z,7.25\n",
    "trailing separators": (HEAD + ROWS).replace("\n", ",,\n").encode(),
    "short rows": b"Invoice,Amount,Note\nA-100,1234.50\nA-200,-20.00,x\nA-300,7.25\n",
    "no header": ROWS.encode(),
    "debit and credit": b"Ref,Debit,Credit\nA-100,1234.50,\nA-200,,20.00\nA-300,7.25,\n",
    "accounting sides": (HEAD + ROWS).replace("1234.50", "1234.50 CR").replace("-20.00", "20.00 DR").replace("7.25", "7.25 CR").encode(),
    "padded cells": b"Invoice , Date , Amount\nA-100 , 2026-01-02 , 1234.50\nA-200 , 2026-01-03 , -20.00 \nA-300 , 2026-01-04 , 7.25\n",
}  # fmt: skip


@pytest.mark.parametrize("name", READABLE)
def test_a_messy_export_is_read_to_the_cent(name: str, tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_bytes(READABLE[name])
    table = read_export(str(path))
    assert len(table) == 3, table.data
    observed = observe_tables(table, read_export(str(path)), Stated())
    report = observed.data()
    assert sum(Decimal(amount) for amount in report["totals"]["left"].values()) == TOTAL, report
    assert report["matched"] == 3
    assert observed.agrees, report


REFUSED: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.csv", b"", "a.csv is empty"),
    "blank": ("a.csv", b" \n\n", "a.csv is empty"),
    "only a header": ("a.csv", HEAD.encode(), "has columns but no rows"),
    "cut in a row": ("a.csv", (HEAD + ROWS + "A-400,2026-01").encode(), "ends inside line 5, which has 2 of 3 columns"),
    "cut in quotes": ("a.csv", (HEAD + ROWS + 'A-400,"2026').encode(), "ends inside the quotes that line 5 opens"),
    "too many values": ("a.csv", (HEAD + ROWS + "A-400,2026-01-05,1,234.50\n").encode(), "line 5 has 4 values"),
    "binary": ("a.csv", bytes(range(256)) * 20, "is no text"),
    "no amounts": ("a.csv", b"Name,City\nAnn,Berlin\nBob,Paris\n", "has no column of amounts"),
    "cut JSON": ("a.json", b'[{"id": "A-1", "amount": 1.50}, {"id": "A-2", "am', "The export is not complete"),
    "cut JSON lines": ("a.jsonl", b'{"id": "A-1", "amount": 1.50}\n{"id": "A-2", "amou', "line 2"),
    "broken JSON line": ("a.jsonl", b'{"id": 1}\n{id: 2}\n{"id": 3}\n', "line 2: Expecting property name"),
    "JSON without records": ("a.json", b'{"total": 5}', "has no list of records"),
    "a list of numbers": ("a.json", b"[1, 2]", "a record is an object"),
    "no Parquet": ("a.parquet", b"PAR1 but not really", "is no complete Parquet file"),
    "no XLSX": ("a.xlsx", b"PK\x03\x04 cut", "is no complete XLSX file"),
    "old Excel": ("a.xls", b"\xd0\xcf\x11\xe0", "save it as .xlsx or .csv"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_an_unusable_export_is_refused_with_its_place(name: str, tmp_path: Path) -> None:
    file, content, message = REFUSED[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ExportRefused, match=message):
        observe(str(tmp_path / file), str(tmp_path / file))


def test_a_total_that_the_rows_do_not_add_up_to_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEAD + ROWS + "Total,,1300.00\n")
    observed = observe(str(path), str(path))
    assert not observed.agrees
    assert (
        observed.ties[0]
        == "a.csv, line 5 states a total of 1300.00, and the rows add up to 1221.75: 78.25 is missing."
    )


def test_a_row_without_a_readable_amount_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEAD + ROWS * 10 + "A-900,2026-01-05,n/a\n")
    report = observe(str(path), str(path)).data()
    assert report["unreadable"][0] == {"side": "left", "place": 32, "amount": "n/a"}
