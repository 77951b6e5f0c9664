"""The demonstration's bank: what it writes is what the connector reads, in every form, and a day closes once."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterfoil.connectors.files.readers.camt import VERSIONS
from counterfoil.demo.bank import BankAccount, DayClosed, DemoBank, Movement, MovementPart
from counterfoil.demo.bank.camt_file import camt_file
from counterfoil.demo.bank.day import ClosedDay
from counterfoil.demo.bank.movements import BookedLine, movement_of
from tests.companies.bank_systems import SETTLE_SECONDS, bank, lines, rows, sample

GERMAN = BankAccount("german", "DE02120300000000202051", "EUR", "camt.053", Decimal("1000.00"))
AMERICAN = BankAccount("operating", "325 0098", "USD", "csv", Decimal("10000.00"))
DAY = date(2026, 3, 2)

TEXTS = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=40
).map(lambda text: " ".join(text.split()) or "INV-1")
AMOUNTS = st.decimals(min_value=-99_999, max_value=99_999, places=2).filter(lambda amount: amount != 0)
PARTS = st.lists(
    st.builds(MovementPart, st.decimals(min_value="0.01", max_value=9_999, places=2), TEXTS, TEXTS, TEXTS),
    min_size=2,
    max_size=4,
).map(tuple)
MOVEMENTS = st.one_of(
    st.builds(
        Movement, st.sampled_from(["payout", "wire", "return", "fee"]), AMOUNTS, TEXTS, st.none() | TEXTS
    ),
    st.builds(Movement, st.just("wire"), AMOUNTS.map(abs), TEXTS, TEXTS, charges=AMOUNTS.map(abs)),
    PARTS.map(lambda parts: Movement("wire", sum(part.amount for part in parts), "Batch", parts=parts)),
)
DAYS = st.lists(st.lists(MOVEMENTS, max_size=4), min_size=1, max_size=3)


def read(system: str, folder: Path) -> list[dict[str, Any]]:
    time.sleep(SETTLE_SECONDS)
    return [delivery.body for delivery in asyncio.run(lines(bank(system, folder)))]


@settings(max_examples=15, deadline=None)
@given(DAYS)
def test_the_connector_reads_what_the_bank_booked(days: list[list[Movement]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        for account, system in ((GERMAN, "bank-de"), (AMERICAN, "bank-us")):
            demo = DemoBank(account, home / "state", home / system)
            for number, movements in enumerate(days):
                demo.close_day(DAY + timedelta(days=number), movements)
            booked = [
                (movement, DAY + timedelta(days=number))
                for number, day in enumerate(days)
                for movement in day
            ]
            found = read(system, home / system)
            assert demo.balance == account.opening + sum(movement.amount for movement, _ in booked)
            shape = _camt_row if system == "bank-de" else _csv_row
            assert [shape(row) for row in found] == [
                row for movement, day in booked for row in _expected(movement, day, system)
            ]
            assert len({row.get("reference") or row["Reference"] for row in found}) == len(found)


def _camt_row(row: Mapping[str, Any]) -> tuple[Any, ...]:
    about = (row["currency"], row["booked_on"], row["counterparty_name"], row["remittance"])
    return (Decimal(row["amount"]), *about, Decimal(row["charges"] or 0))


def _csv_row(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        Decimal(row["amount"]), row["currency"], row["Date"], row["Name"] or None, row["Description"], Decimal(0),
    )  # fmt: skip


def _expected(movement: Movement, day: date, system: str) -> list[tuple[Any, ...]]:
    """Return the rows of a movement. A statement of ISO 20022 has one for each of its parts."""
    if system == "bank-us":
        return [(movement.amount, "USD", str(day), movement.counterparty, movement.text, Decimal(0))]
    if movement.parts:
        return [
            (part.amount, "EUR", str(day), part.counterparty, part.text, Decimal(0))
            for part in movement.parts
        ]
    about = (movement.amount, "EUR", str(day), movement.counterparty, movement.text)
    return [(*about, -movement.charges)]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_of_a_statement_has_the_same_rows(tmp_path: Path, version: Any) -> None:
    movements = (
        Movement("wire", Decimal("990.00"), "INV-1", "Initech", "DE75512108001245126199", "E2E", Decimal(10)),
        Movement("return", Decimal("-20.00"), "INV-0 returned", "Hooli"),
    )
    booked = tuple(BookedLine(movement, f"R-{n}", Decimal(0), DAY) for n, movement in enumerate(movements))
    closed = ClosedDay(GERMAN.number, "EUR", 2, DAY, 1, 1, Decimal(0), Decimal(970), booked)
    (tmp_path / "a.xml").write_bytes(camt_file(closed, version))
    first, second = rows("bank-de", tmp_path / "a.xml")
    assert (first["counterparty_name"], first["counterparty_iban"]) == ("Initech", "DE75512108001245126199")
    assert (first["amount"], first["charges"], first["end_to_end_id"], first["kind"]) == (
        "990.00",
        "-10.00",
        "E2E",
        "PMNT-RCDT-XBCT",
    )
    assert (second["amount"], second["reversal"], second["counterparty_name"]) == ("-20.00", True, "Hooli")


def test_the_american_file_is_that_of_the_page(tmp_path: Path) -> None:
    movements = [
        Movement("wire", Decimal("4980.00"), "INV-1001 INV-1002 INV-1003", "Initech Software"),
        Movement("fee", Decimal("-12.50"), "Monthly fee"),
    ]
    path = DemoBank(AMERICAN, tmp_path / "state", tmp_path / "us").close_day(DAY, movements)
    assert path.name == "operating-2026-03-02.csv"
    assert path.read_text("utf-8") == sample(f"statements/us/{path.name}")


def test_a_day_closes_once_and_a_bank_that_was_killed_writes_the_same_file_again(tmp_path: Path) -> None:
    demo = DemoBank(GERMAN, tmp_path / "state", tmp_path / "de")
    movements = [Movement("payout", Decimal("12.34"), "PAYOUT po_1", "Processor")]
    content = demo.close_day(DAY, movements).read_bytes()
    with pytest.raises(DayClosed, match="the bank has closed 2026-03-02"):
        demo.close_day(DAY, movements)
    (tmp_path / "state" / "german.json").unlink()  # killed between the statement and the state
    again = DemoBank(GERMAN, tmp_path / "state", tmp_path / "de")
    assert again.last_day is None
    assert again.close_day(DAY, movements).read_bytes() == content
    assert (again.balance, again.last_day) == (Decimal("1012.34"), DAY)
    assert [path.name for path in (tmp_path / "de").iterdir()] == ["german-2026-03-02.xml"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"kind": "gift", "amount": "1", "text": "a"}, "`gift` is none of payout"),
        ({"kind": "wire", "amount": "1", "text": "a\nb"}, "write one printable line"),
        ({"kind": "wire", "amount": "1", "text": "a", "charges": "-1"}, "are negative"),
        (
            {
                "kind": "wire",
                "amount": "2",
                "text": "a",
                "parts": [{"amount": "1", "text": "a", "counterparty": "b", "reference": "c"}],
            },
            "the parts do not add up",
        ),
    ],
)
def test_a_faulty_movement_is_refused(content: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        movement_of(content)


def test_an_amount_with_too_many_digits_is_refused(tmp_path: Path) -> None:
    demo = DemoBank(GERMAN, tmp_path, tmp_path)
    with pytest.raises(ValueError, match=r"0\.001 has more digits than EUR"):
        demo.close_day(DAY, [Movement("fee", Decimal("0.001"), "Fee")])
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_closes_a_day(tmp_path: Path) -> None:
    (tmp_path / "day.json").write_text(json.dumps([{"kind": "fee", "amount": "-3.50", "text": "Fee"}]))
    command = [
        sys.executable, "-m", "counterfoil.demo.bank", "close", "--home", tmp_path / "state", "--folder", tmp_path / "de",
        "--name", "german", "--number", GERMAN.number, "--currency", "EUR", "--form", "camt.053", "--opening", "10",
        "--day", "2026-03-02", tmp_path / "day.json",
    ]  # fmt: skip
    answer = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    (row,) = rows("bank-de", Path(answer.stdout.strip()))
    assert (row["amount"], row["remittance"]) == ("-3.50", "Fee")
