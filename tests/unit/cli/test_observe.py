"""`counterfoil observe` on files: text, JSON, XLSX, HTML and a draft; exit codes and refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import openpyxl
import pytest

from counterfoil.cli import commands

Run = Callable[..., tuple[int, str, str]]
LEFT = "ref,date,currency,amount\nR-1,2026-01-02,EUR,10.00\n=R-2,2026-01-03,EUR,20.00\nR-3,2026-01-04,EUR,30.00\n"
RIGHT = LEFT.replace("20.00", "26.50")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["counterfoil", *words])
        with pytest.raises(SystemExit) as ended:
            commands.run(words)
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return command


@pytest.fixture
def exports(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "left.csv").write_text(LEFT)
    (tmp_path / "right.csv").write_text(RIGHT)
    return str(tmp_path / "left.csv"), str(tmp_path / "right.csv")


def test_json_has_the_shape_that_programs_read(run: Run, exports: tuple[str, str]) -> None:
    code, out, _ = run("observe", *exports, "--format", "json")
    report = json.loads(out)
    assert code == 1
    assert {"key", "amount", "currency", "date"} <= report["guessed"].keys()
    assert report["matched"] == 2
    assert report["totals"] == {
        "left": {"EUR": "60.00"},
        "right": {"EUR": "66.50"},
        "difference": {"EUR": "-6.50"},
    }
    (difference,) = report["differences"]
    wanted = {
        "cause": "amount",
        "key": "=R-2",
        "left": "20.00",
        "right": "26.50",
        "amount": "-6.50",
        "currency": "EUR",
    }
    assert {name: difference[name] for name in wanted} == wanted


def test_equal_exports_end_with_zero(run: Run, exports: tuple[str, str]) -> None:
    code, out, _ = run("observe", exports[0], exports[0])
    assert code == 0
    assert "3 matches, no differences." in out


def test_reports_are_written_with_numbers_and_without_formulas(
    run: Run, exports: tuple[str, str], tmp_path: Path
) -> None:
    files = [tmp_path / "a.xlsx", tmp_path / "b.xlsx"]
    for file in files:
        run("observe", *exports, "--xlsx", str(file), "--html", str(tmp_path / "page.html"))
    assert files[0].read_bytes() == files[1].read_bytes()
    sheet: Any = openpyxl.load_workbook(files[0])["differences"]
    cells = list(next(iter(sheet.iter_rows(min_row=2))))
    assert [cell.value for cell in cells[:6]] == ["other amount", "=R-2", 20, 26.5, -6.5, "EUR"]
    assert cells[1].data_type == "s"
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "2 matches, 1 difference" in page
    assert "<script" not in page
    assert not re.search(r"(src|href)=", page)


def test_the_draft_passes_the_check(run: Run, exports: tuple[str, str], tmp_path: Path) -> None:
    run("observe", *exports, "--write", str(tmp_path / "draft"))
    assert run("check", str(tmp_path / "draft"))[:2] == (0, "10 documents, 0 errors, 0 warnings\n")
    code, _, error = run("observe", *exports, "--write", str(tmp_path / "draft"))
    assert code == 2
    assert "exists already" in error


def test_guesses_are_overridden_by_options(run: Run, exports: tuple[str, str]) -> None:
    words = (
        "--keys",
        "ref=ref",
        "--amount",
        "amount",
        "--currency",
        "USD",
        "--sign",
        "same",
        "--date",
        "date",
    )
    _, out, _ = run("observe", *exports, *words, "--format", "json")
    report = json.loads(out)
    assert {g["confidence"] for g in report["guessed"].values()} == {1.0}
    assert report["totals"]["difference"] == {"USD": "-6.50"}


def test_queries_of_sqlite_are_exports(run: Run, tmp_path: Path, exports: tuple[str, str]) -> None:
    database = apsw.Connection(str(tmp_path / "books.db"))
    database.execute("create table entry (ref text, amount text)")
    database.execute("insert into entry values ('R-1', '10.00'), ('=R-2', '20.00')")
    database.close()
    code, out, _ = run(
        "observe", exports[0], f"sqlite:{tmp_path / 'books.db'}: select * from entry", "--format", "json"
    )
    assert code == 1
    assert [(d["cause"], d["key"]) for d in json.loads(out)["differences"]] == [("missing_right", "R-3")]
    code, _, error = run("observe", exports[0], f"sqlite:{tmp_path / 'books.db'}: select * from absent")
    assert (code, "no such table: absent" in error) == (2, True), error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "observe needs two exports"),
        (("nowhere.csv", "nowhere.csv"), "nowhere.csv cannot be read: No such file or directory"),
        (("sqlite:books.db", "x.csv"), "A query is written as"),
        (("left-*.csv", "x.csv"), "No file fits left-*.csv"),
    ],
)
def test_refusals_say_what_to_do(run: Run, words: tuple[str, ...], message: str) -> None:
    code, _, error = run("observe", *words)
    assert code == 2
    assert message in error


def test_the_samples_of_the_package_are_compared(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("observe", "--samples", str(tmp_path / "sample"))
    assert code == 0
    words = out.rpartition("counterfoil ")[2].split()
    code, out, _ = run(*words, "--format", "json")
    report = json.loads(out)
    assert code == 1
    assert report["causes"] == {
        "amount": 1, "duplicate_right": 1, "missing_left": 1, "missing_right": 1, "period": 1, "rounding": 1,
        "sign": 1, "tax": 1,
    }  # fmt: skip
    assert report["matched"] == 34


def test_a_report_that_cannot_be_written_is_refused(
    run: Run, exports: tuple[str, str], tmp_path: Path
) -> None:
    for option, name in (("--xlsx", "report.xlsx"), ("--html", "report.html")):
        code, _, error = run("observe", *exports, option, str(tmp_path / "nowhere" / name))
        assert code == 2
        assert f"{name} cannot be written: No such file or directory." in error


def test_a_draft_without_keys_of_their_own_has_placeholders_for_systems(run: Run, tmp_path: Path) -> None:
    left, right = tmp_path / "bills.csv", tmp_path / "bank.csv"
    left.write_text("Invoice,Total\n" + "".join(f"RE-{n}-2026,{n}1.50\n" for n in range(10, 30)))
    right.write_text(
        "Text,Amount\n" + "".join(f"transfer RE-{n}-2026 thanks,{n}1.50\n" for n in range(10, 30))
    )
    code, _, notes = run("observe", str(left), str(right), "--write", str(tmp_path / "draft"))
    assert (code, "exports" in notes) == (0, False)
    assert "connector: external" in (tmp_path / "draft" / "reconciliation.yaml").read_text("utf-8")
    assert run("check", str(tmp_path / "draft"))[:2] == (0, "8 documents, 0 errors, 0 warnings\n")
