"""What a report must not keep silent about: dates that are not compared, totals that do not tie, rows left out."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from counterfoil.reconcile.exports.table import ExportRefused
from counterfoil.reconcile.guess import Stated
from counterfoil.reconcile.observe import observe
from counterfoil.reconcile.reports.xlsx import write_xlsx


def export(folder: Path, name: str, header: str, *rows: str) -> str:
    path = folder / name
    path.write_text("\n".join([header, *rows, ""]), "utf-8")
    return str(path)


def test_dates_with_years_of_two_digits_are_dates_whatever_the_column_is_called(tmp_path: Path) -> None:
    days = [(5 + n, 1 + n % 9) for n in range(20)]
    left = export(
        tmp_path,
        "a.csv",
        "no;total;Datum",
        *(f"R-{n};1{n},00;{d:02}.{m:02}.2026" for n, (d, m) in enumerate(days)),
    )
    right = export(tmp_path, "b.csv", "no;total;Posted", *(f"R-{n};1{n},00;{d:02}.{m:02}.26" for n, (d, m) in enumerate(days)))  # fmt: skip
    report = observe(left, right).data()
    assert (report["guessed"]["date"]["left"], report["guessed"]["date"]["right"]) == ("Datum", "Posted")
    assert report["differences"] == []


def test_dates_that_are_not_compared_are_named(tmp_path: Path) -> None:
    left = export(tmp_path, "a.csv", "no,total,day", *(f"R-{n},{n}.50,2026-03-{n:02}" for n in range(1, 20)))
    right = export(tmp_path, "b.csv", "no,total,text", *(f"R-{n},{n}.50,x{n}" for n in range(1, 20)))
    date = observe(left, right).data()["guessed"]["date"]
    assert (date["left"], date["right"], date["confidence"]) == ("", "", 0.0)
    assert date["why"] == "not compared: no column of b.csv has dates"
    with pytest.raises(ExportRefused, match=r"The column text of b\.csv has no dates"):
        observe(left, right, Stated(date=("day", "text")))


@pytest.mark.parametrize(("stated", "words"), [("20.00", "9.00 is too much"), ("40.00", "11.00 is missing")])
def test_a_stated_total_says_what_is_missing_or_too_much(tmp_path: Path, stated: str, words: str) -> None:
    rows = ["R-1,2026-03-01,10.00", "R-2,2026-03-02,12.00", "R-3,2026-03-03,7.00"]
    left = export(tmp_path, "a.csv", "no,day,total", *rows, f"Total,,{stated}")
    right = export(tmp_path, "b.csv", "no,day,total", *rows)
    (tie,) = observe(left, right, Stated(amount=("total", "total"))).data()["stated_totals"]
    assert tie.endswith(f"the rows add up to 29.00: {words}.")


def test_a_workbook_has_the_warnings_of_the_text(tmp_path: Path) -> None:
    rows = [f"R-{n},2026-03-01,10.00" for n in range(30)]
    left = export(tmp_path, "a.csv", "no,day,total", *rows, "R-99,2026-03-01,abc", "Total,,305.00")
    report = observe(left, export(tmp_path, "b.csv", "no,day,total", *rows)).data()
    write_xlsx(report, tmp_path / "report.xlsx", "a and b")
    with zipfile.ZipFile(tmp_path / "report.xlsx") as book:
        text = "".join(book.read(name).decode() for name in book.namelist() if name.endswith(".xml"))
    assert "5.00 is missing" in text
    assert "is no number; the row is left out" in text
