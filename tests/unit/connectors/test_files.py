"""The files connector: exports of every format, files that are not complete, and what a second delivery brings."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pytest

from counterfoil.connectors import files
from counterfoil.connectors.files.cells import decimal_text
from counterfoil.connectors.files.connector import FilesSystem
from counterfoil.connectors.sdk import Delivery, SystemConfig, WrongConfiguration
from counterfoil.core.errors import Misconfigured, TryAgain

ROWS = [("A-1", "1234.50", "2026-03-01"), ("A-2", "-20.00", "2026-03-02"), ("A-3", "0.05", "2026-03-31")]
BOOK: Mapping[str, Any] = {"id": "number", "columns": {"total": "decimal", "day": "date"}}
SETTLE_SECONDS = 0.01


def system(folder: Path, **book: Any) -> FilesSystem:
    settings = {"folder": str(folder), "settle": SETTLE_SECONDS, "books": {"book": book}}
    return files.connect(SystemConfig("erp", "", settings=settings))


async def listed(connector: FilesSystem, limit: int = 2) -> list[Delivery]:
    """Read a book to its end."""
    deliveries: list[Delivery] = []
    cursor: str | None = None
    while True:
        page = await connector.list_book("book", cursor, limit, 20)
        deliveries += page.deliveries
        cursor = page.cursor
        if not page.more:
            await connector.close()
            return deliveries


async def fed(connector: FilesSystem, cursor: str | None = None) -> tuple[list[Delivery], str]:
    """Read a feed to its present end."""
    deliveries: list[Delivery] = []
    while True:
        page = await connector.poll("book", cursor, 2, 20)
        deliveries += page.deliveries
        cursor = page.cursor
        if not page.more:
            return deliveries, cursor


async def refused(folder: Path, error: type[Exception] = Misconfigured, **book: Any) -> str:
    connector = system(folder, **book)
    with pytest.raises(error) as raised:
        await connector.list_book("book", None, 10, 5)
    await connector.close()
    return str(raised.value)


def ids(deliveries: list[Delivery]) -> list[str]:
    return [delivery.ext_id for delivery in deliveries]


# ------------------------------------------------------------------ formats


def write_csv(folder: Path) -> dict[str, Any]:
    text = "number;total;day\nA-1;1.234,50;01.03.2026\nA-2;20,00-;02.03.2026\nA-3;0,05;31.03.2026\n"
    (folder / "book.csv").write_text(text)
    return {"files": "book.csv", "date": "%d.%m.%Y"}


def write_windows_csv(folder: Path) -> dict[str, Any]:
    text = 'number\ttotal\tday\r\nA-1\t"1,234.50"\t2026-03-01\r\nA-2\t(20.00)\t2026-03-02\r\nA-3\t.05\t2026-03-31'
    (folder / "book.txt").write_bytes(text.encode("utf-16"))
    return {"files": "book.txt", "unterminated": True}


def write_json_lines(folder: Path) -> dict[str, Any]:
    lines = [f'{{"number": "{n}", "total": {t}, "day": "{d}"}}\n' for n, t, d in ROWS]
    (folder / "book.jsonl").write_text("".join(lines))
    return {"files": "book.jsonl"}


def write_parquet(folder: Path) -> dict[str, Any]:
    values = ", ".join(f"('{n}', {t}::decimal(12, 2), date '{d}')" for n, t, d in ROWS)
    with duckdb.connect() as database:
        database.execute(
            f"copy (from (values {values}) t(number, total, day)) to '{folder / 'book.parquet'}' (format parquet)"
        )
    return {"files": "book.parquet"}


def write_xlsx(folder: Path) -> dict[str, Any]:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    sheet.append(["number", "total", "day"])
    for number, total, day in ROWS:
        sheet.append([number, total, day])  # texts, as many exports write them
    workbook.save(folder / "book.xlsx")
    workbook.close()
    return {"files": "book.xlsx"}


@pytest.mark.parametrize("write", [write_csv, write_windows_csv, write_json_lines, write_parquet, write_xlsx])
async def test_every_format_delivers_the_same_rows_exactly(tmp_path: Path, write: Any) -> None:
    deliveries = await listed(system(tmp_path, **BOOK, **write(tmp_path)))
    assert [tuple(delivery.body.values()) for delivery in deliveries] == ROWS
    assert {delivery.type for delivery in deliveries} == {"book"}
    assert [ext_id.rpartition("/")[0] for ext_id in ids(deliveries)] == ["book/A-1", "book/A-2", "book/A-3"]


async def test_numbers_of_spreadsheets_and_of_floating_point_columns_become_decimal_texts(
    tmp_path: Path,
) -> None:
    workbook = openpyxl.Workbook()
    workbook.active.append(["number", "total"])
    workbook.active.append(["A-1", 0.1 + 0.2])
    workbook.active.append(["A-2", 12])
    workbook.save(tmp_path / "book.xlsx")
    workbook.close()
    (one, two) = await listed(system(tmp_path, files="book.xlsx", id="number"))
    assert (one.body["total"], two.body["total"]) == ("0.3", 12)
    with duckdb.connect() as database:
        text = "select 1 as number, 12.1::double as total, timestamptz '2026-03-01 01:00:00+01' as at"
        database.execute(f"copy ({text}) to '{tmp_path / 'book.parquet'}' (format parquet)")
    (row,) = await listed(system(tmp_path, files="*.parquet", lists="newest", id="number"))
    assert row.body == {"number": 1, "total": "12.1", "at": "2026-03-01T00:00:00.000000Z"}


@pytest.mark.parametrize(
    ("text", "mark", "expected"),
    [
        ("1,234,567.80", ".", "1234567.80"),
        ("1.234.567,80", ",", "1234567.80"),
        ("1 234,5", ",", "1234.5"),
        ("1'234.5", ".", "1234.5"),
        ("-7", ".", "-7"),
        ("7-", ".", "-7"),
        ("+7", ",", "7"),
        ("(7.10)", ".", "-7.10"),
        ("\u22127", ".", "-7"),
        (",5", ",", "0.5"),
        ("1,23", ".", None),
        ("1,2345", ".", None),
        ("12a", ".", None),
        ("1.", ".", None),
        ("", ".", None),
        ("-", ".", None),
        ("1e5", ".", None),
    ],
)
def test_numbers_of_exports_are_read_by_their_mark(text: str, mark: Any, expected: str | None) -> None:
    assert decimal_text(text, mark) == expected


async def test_a_decimal_mark_is_recognized_from_the_whole_file_or_must_be_stated(tmp_path: Path) -> None:
    path, book = tmp_path / "book.csv", {"files": "book.csv", "columns": {"total": "decimal"}}
    path.write_text("total;no\n1.234;1\n5,5;2\n")
    assert [d.body["total"] for d in await listed(system(tmp_path, **book))] == ["1234", "5.5"]
    path.write_text("total;no\n1.234;1\n")
    message = await refused(tmp_path, **book)
    assert "`1.234` in line 2 has two readings" in message
    (row,) = await listed(system(tmp_path, decimal=".", **book))
    assert row.body["total"] == "1.234"
    path.write_text("total;no\n1,5;1\n1.5;2\n")
    assert "book.csv, line 3: `1.5` in the column `total` has another decimal mark than `1,5` in line 2" in (
        await refused(tmp_path, **book)
    )


# ------------------------------------------------------------------ faults, with their place

FAULTS: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "empty": (b"", {}, "book.csv is empty"),
    "header": (b"nummer,total\n1,2\n", {}, "line 1: there is no column `number`; did you mean `nummer`?"),
    "twice": (b"number,a,a\n1,2,3\n", {}, "line 1: two columns have the name `a`"),
    "encoding": (b"number,name\n1,M\xfcller\n", {}, "line 2: the text is not utf-8 (byte 0xFC at column 4)"),
    "stated": ("number\n€\n".encode(), {"encoding": "ascii"}, "line 2: the text is not ascii"),
    "zero byte": ("number,a\n1,2\n".encode("utf-16-le"), {}, "line 1: there is a zero byte"),
    "cells": (b"number,a\n1,2\n2\n3,4\n", {}, "line 3: there are 1 cells, and the header has 2"),
    "cut": (b"number,total\n1,20.5", {}, "line 2: the last line has no end"),
    "quotes": (b'number,a\n1,"x\n2,y\n', {}, "line 2: the file ends inside quotes that this line opens"),
    "same id": (b"number,a\n1,2\n2,2\n1,3\n", {}, "line 4: number 1 stands in line 2 too"),
    "no id": (b"number,a\n,2\n", {}, "line 2: the id column `number` has no plain value"),
    "number": (b"number,a\n1,x\n", {"columns": {"a": "decimal"}}, "line 2: `x` in the column `a` is no number"),
    "date": (b"number,a\n1,1.3.26\n", {"columns": {"a": "date"}}, "is no date such as 2026-03-28; state `date`"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_faulty_file_is_refused_whole_with_its_line(tmp_path: Path, fault: str) -> None:
    content, book, expected = FAULTS[fault]
    (tmp_path / "book.csv").write_bytes(content)
    assert expected in await refused(tmp_path, files="book.csv", id="number", **book)
    connector = system(tmp_path, files="book.csv", id="number", **book)
    with pytest.raises(Misconfigured):
        await connector.poll("book", None, 1, 5)
    await connector.close()


@pytest.mark.parametrize("write", [write_json_lines, write_parquet, write_xlsx])
async def test_a_file_that_was_cut_is_refused(tmp_path: Path, write: Any) -> None:
    book = write(tmp_path)
    path = tmp_path / book["files"]
    os.truncate(path, path.stat().st_size - 9)
    assert path.name in await refused(tmp_path, **BOOK, **book)


async def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "book.csv"
    path.write_text("number,total\n1,2")

    async def finish() -> None:
        for text in ("\n", "2,", "3\n"):
            await asyncio.sleep(0.05)
            with path.open("a") as file:
                file.write(text)

    settings = {"folder": str(tmp_path), "settle": 0.3, "books": {"book": {"files": "book.csv"}}}
    connector = files.connect(SystemConfig("erp", "", settings=settings))
    deliveries, _ = await asyncio.gather(listed(connector), finish())
    assert [delivery.body["number"] for delivery in deliveries] == ["1", "2"]
    path.write_text("number\n1\n")
    with pytest.raises(TryAgain, match="is still being written"):
        await connector.list_book("book", None, 1, 0.1)
    path.write_text("number\n1\n")
    assert not (await connector.poll("book", None, 1, 0.1)).deliveries
    await connector.close()


@pytest.mark.parametrize("change", ["append", "replace", "remove"])
async def test_a_book_that_changes_under_a_sweep_ends_it_with_its_name(tmp_path: Path, change: str) -> None:
    path = tmp_path / "book.csv"
    path.write_text("number\n1\n2\n3\n")
    connector = system(tmp_path, files="book.csv", id="number")
    page = await connector.list_book("book", None, 2, 5)
    if change == "append":
        path.write_text(path.read_text() + "4\n")
    elif change == "replace":
        (tmp_path / "other.tmp").write_text("number\n1\n2\n4\n")
        (tmp_path / "other.tmp").rename(path)
    else:
        path.unlink()
    with pytest.raises((Misconfigured, TryAgain), match=r"book\.csv"):
        await connector.list_book("book", page.cursor, 2, 5)
    with pytest.raises(Misconfigured, match=r"changed while the sweep read it|no file book"):
        await connector.list_book("book", page.cursor, 2, 5)
    await connector.close()


async def test_another_process_resumes_a_sweep_of_an_unchanged_file(tmp_path: Path) -> None:
    path = tmp_path / "book.csv"
    path.write_text("number\n1\n2\n3\n")
    first = system(tmp_path, files="book.csv", id="number")
    page = await first.list_book("book", None, 2, 5)
    await first.close()
    os.utime(path, (1, 1))  # a copy on another machine has other times
    second = system(tmp_path, files="book.csv", id="number")
    rest = await second.list_book("book", page.cursor, 2, 5)
    assert [delivery.body["number"] for delivery in rest.deliveries] == ["3"]
    await second.close()


async def test_a_large_file_is_inspected_over_several_calls(tmp_path: Path) -> None:
    lines = "".join(f"{n}\n" for n in range(20_000))
    (tmp_path / "book.csv").write_text(f"number\n{lines}")
    connector = system(tmp_path, files="book.csv", id="number")
    await asyncio.sleep(SETTLE_SECONDS)
    calls, cursor, count = 0, "", 0
    while True:
        page = await connector.list_book("book", cursor, 10_000, 0.02 if not count else 20)
        calls, cursor, count = calls + 1, page.cursor, count + len(page.deliveries)
        if not page.more:
            break
    assert count == 20_000
    assert calls > 4
    await connector.close()


# ------------------------------------------------------------------ one delivery for one row


async def test_a_file_under_another_name_brings_nothing_twice(tmp_path: Path) -> None:
    text = "day,text\n2026-03-01,Card\n2026-03-01,Card\n2026-03-02,Fee\n"
    (tmp_path / "may.csv").write_text(text)
    connector = system(tmp_path, files="*.csv", lists="all")
    first, cursor = await fed(connector)
    assert len(set(ids(first))) == 3
    (tmp_path / "may (1).csv").write_text(text)
    again, cursor = await fed(connector, cursor)
    assert ids(again) == ids(first)
    (tmp_path / "june.csv").write_text(text + "2026-03-01,Card\n")
    more, _ = await fed(connector, cursor)
    assert set(ids(more)) > set(ids(first))
    assert len(set(ids(more))) == 4
    assert len(ids(await listed(connector))) == 4


async def test_a_changed_row_is_a_new_version_and_the_newest_file_counts(tmp_path: Path) -> None:
    (tmp_path / "b-9.csv").write_text("number,total\n1,10\n2,20\n")
    (tmp_path / "b-10.csv").write_text("total,number\n10,1\n25,2\n30,3\n")
    deliveries = await listed(system(tmp_path, files="b-*.csv", lists="all", id="number"))
    assert [(d.body["number"], d.body["total"]) for d in deliveries] == [
        ("1", "10"),
        ("2", "25"),
        ("3", "30"),
    ]
    newest = await listed(system(tmp_path, files="b-*.csv", lists="newest", id="number"))
    assert ids(newest) == ids(deliveries)
    (tmp_path / "b-10.csv").write_text("total,number\n10,1\n26,2\n30,3\n")
    changed = await listed(system(tmp_path, files="b-*.csv", lists="newest", id="number"))
    assert [one == other for one, other in zip(ids(changed), ids(newest), strict=True)] == [True, False, True]


async def test_stated_version_columns_tell_a_state_that_came_back_from_the_first_one(tmp_path: Path) -> None:
    path, versions = tmp_path / "book.csv", []
    for state, version in (("open", 1), ("paid", 2), ("open", 3)):
        path.write_text(f"number,state,changed\n1,{state},{version}\n")
        (delivery,) = await listed(system(tmp_path, files="book.csv", id="number", version="changed"))
        versions.append(delivery.ext_id)
    assert len(set(versions)) == 3


async def test_a_file_that_arrives_late_with_an_early_name_and_date_is_fed(tmp_path: Path) -> None:
    (tmp_path / "b-2.csv").write_text("number\n2\n")
    connector = system(tmp_path, files="b-*.csv", lists="all", id="number")
    _, cursor = await fed(connector)
    late = tmp_path / "b-1.csv"
    late.write_text("number\n1\n")
    os.utime(late, (1, 1))
    deliveries, cursor = await fed(connector, cursor)
    assert [delivery.body["number"] for delivery in deliveries] == ["1"]
    assert (await fed(connector, cursor))[0] == []


# ------------------------------------------------------------------ the folder


@pytest.mark.parametrize("pattern", ["../other.csv", "/etc/passwd", "a/../../x.csv", "..", ""])
def test_a_pattern_that_leads_out_of_the_folder_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(WrongConfiguration, match="leads out of the folder"):
        system(tmp_path, files=pattern)


@pytest.mark.parametrize("link", ["file", "folder"])
async def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path, link: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    (outside / "book.csv").write_text("number\n1\n")
    if link == "file":
        (folder / "book.csv").symlink_to(outside / "book.csv")
    else:
        (folder / "sub").symlink_to(outside)
    pattern = "book.csv" if link == "file" else "sub/*.csv"
    assert "leads out of the folder" in await refused(folder, files=pattern, lists="all")


async def test_a_missing_folder_may_come_back_and_a_missing_book_is_named(tmp_path: Path) -> None:
    assert "cannot be read" in await refused(tmp_path / "away", TryAgain, files="book.csv")
    assert "there is no file book.csv" in await refused(tmp_path, files="book.csv")
    (tmp_path / ".book.csv").write_text("number\n1\n")
    assert "there is no file *.csv" in await refused(tmp_path, files="*.csv", lists="all")


def test_faults_of_settings_are_reported_at_once_with_near_names(tmp_path: Path) -> None:
    book = {"files": "a-*.csv", "colums": {}, "columns": {"a": "decimals"}, "encoding": "utf-99", "date": "x"}
    config = SystemConfig(
        "erp", "https://x.example.com", settings={"folder": str(tmp_path), "books": {"b": book}, "setle": 1}
    )
    with pytest.raises(WrongConfiguration) as raised:
        files.connect(config)
    text = str(raised.value)
    for part in (
        "books.b.colums: unknown setting `colums`; did you mean `columns`?",
        "did you mean `decimal`?",
        "`utf-99` is no encoding",
        "`x` is no form of a date",
        "did you mean `settle`?",
        "a system of files has no address",
    ):
        assert part in text
    with pytest.raises(WrongConfiguration, match="`lists` is missing: write `newest`"):
        system(tmp_path, files="a-*.csv")


async def test_numbers_of_json_lines_stay_numbers(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"a": 1.50, "b": {"c": 2}}\n')
    (row,) = await listed(system(tmp_path, files="b.jsonl"))
    assert row.body.pop("row_id") == row.ext_id.removeprefix("book/")
    assert row.body == {"a": Decimal("1.50"), "b": {"c": 2}}
    (tmp_path / "b.jsonl").write_text('{"row_id": 1}\n')
    assert "the column `row_id` has a name of its own meaning" in await refused(tmp_path, files="b.jsonl")
    (row,) = await listed(system(tmp_path, files="b.jsonl", id="row_id"))
    assert row.body == {"row_id": 1}


@pytest.mark.parametrize(
    ("text", "point", "comma"),
    [
        ("0.123", "0.123", None),
        ("0,123", None, "0.123"),
        ("1.234", "1.234", "1234"),
        ("012.345", "012.345", None),
        ("10.000", "10.000", "10000"),
    ],
)
def test_no_group_of_thousands_begins_with_a_zero(text: str, point: str | None, comma: str | None) -> None:
    assert (decimal_text(text, "."), decimal_text(text, ",")) == (point, comma)
