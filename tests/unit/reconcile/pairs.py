"""Pairs of books with planted causes: rows of both sides, and the differences that a comparison must name."""

from __future__ import annotations

import csv
import json
import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

CENT = Decimal("0.01")
HEADERS = (
    {
        "key": "Invoice No",
        "date": "Date",
        "ccy": "Currency",
        "amount": "Gross",
        "entity": "Company",
        "fee": "Fee",
    },
    {
        "key": "ref",
        "date": "posting_date",
        "ccy": "ccy",
        "amount": "amount",
        "entity": "entity",
        "fee": "fee",
    },
    {
        "key": "Belegnummer",
        "date": "Buchungsdatum",
        "ccy": "Währung",
        "amount": "Betrag",
        "entity": "Mandant",
        "fee": "Gebühr",
    },
    {
        "key": "documentId",
        "date": "createdAt",
        "ccy": "currencyCode",
        "amount": "totalAmount",
        "entity": "legalEntity",
        "fee": "feeAmount",
    },
)
FORMATS = ("comma", "semicolon", "jsonl", "xlsx", "parquet")


@dataclass
class Row:
    key: str
    day: date
    currency: str
    amount: Decimal
    entity: str
    fee: Decimal = Decimal(0)


@dataclass
class Pair:
    left: list[Row]
    right: list[Row]
    expected: list[tuple[str, str]] = field(default_factory=list)
    """Cause and key of each planted difference."""
    opposite: bool = False
    matched: int = 0


def pair(seed: int) -> Pair:
    """Return two books whose differences are known."""
    r = random.Random(seed)
    rows = r.randint(60, 160)
    currencies = ["EUR"] if r.random() < 0.6 else ["EUR", "USD"]
    entities = ["DE01", "US01"]
    lag = r.choice([0, 0, 2])
    start = date(2026, r.randint(1, 11), 1)
    made = Pair([], [], opposite=r.random() < 0.3)
    prefix = r.choice(["INV-", "R", "2026/", "DOC"])
    keys = r.sample(range(1000, 9999), rows)
    causes = ["missing_left", "missing_right", "amount", "sign", "duplicate_left", "duplicate_right", "entity", "period",
              "rounding", "tax", "fee", "split", "joined"] + (["currency"] if len(currencies) > 1 else [])  # fmt: skip
    plan = [c for c in causes for _ in range(r.randint(0, 2))]
    plan += ["equal"] * (rows - len(plan))
    r.shuffle(plan)
    used: set[Decimal] = set()
    for number, cause in zip(keys, plan, strict=True):
        amount = Decimal(r.randint(2_000, 900_000)) * CENT
        while amount in used:
            amount += CENT
        used.add(amount)
        day = start + timedelta(days=r.randint(0, 24))
        left = Row(f"{prefix}{number}", day, r.choice(currencies), amount, r.choice(entities))
        right = Row(left.key, day + timedelta(days=r.randint(0, lag)), left.currency, amount, left.entity)
        _plant(made, r, cause, left, right)
    r.shuffle(made.right)
    if made.opposite:
        for row in made.right:
            row.amount = -row.amount
    return made


def _plant(made: Pair, r: random.Random, cause: str, left: Row, right: Row) -> None:
    lefts, rights = [left], [right]
    match cause:
        case "missing_left":
            lefts = []
        case "missing_right":
            rights = []
        case "amount":
            right.amount += Decimal(r.choice([-1, 1])) * Decimal(r.randint(1_117, 1_900)) * CENT + Decimal(
                "0.07"
            )
            if _is_usual(left.amount, right.amount):
                right.amount += Decimal("0.37")
        case "sign":
            right.amount = -right.amount
        case "duplicate_left":
            lefts = [left, Row(**vars(left))]
        case "duplicate_right":
            rights = [right, Row(**vars(right))]
        case "entity":
            right.entity = "US01" if left.entity == "DE01" else "DE01"
        case "period":
            right.day = left.day + timedelta(days=40)
        case "rounding":
            right.amount += r.choice([-1, 1]) * CENT
        case "tax":
            right.amount = (left.amount * Decimal("1.19")).quantize(CENT, ROUND_HALF_UP)
        case "fee":
            fee = (left.amount * Decimal("0.029") + Decimal("0.30")).quantize(CENT, ROUND_HALF_UP)
            right.amount, right.fee = left.amount - fee, fee
        case "currency":
            right.currency = "USD" if left.currency == "EUR" else "EUR"
        case "split":
            part = (left.amount / 3).quantize(CENT)
            rights = [
                Row(**vars(right) | {"amount": part}),
                Row(**vars(right) | {"amount": left.amount - part}),
            ]
        case "joined":
            part = (left.amount / 4).quantize(CENT)
            lefts = [Row(**vars(left) | {"amount": part}), Row(**vars(left) | {"amount": left.amount - part})]
    made.left += lefts
    made.right += rights
    if cause in ("equal", "split", "joined"):
        made.matched += 1
    else:
        made.expected.append((cause, left.key))
        made.matched += cause.startswith("duplicate")


def _is_usual(a: Decimal, b: Decimal) -> bool:
    from counterfoil.reconcile.causes import FEES, TAX_PERCENTAGES

    larger, smaller = max(a, b), min(a, b)
    taxes = (abs(larger - smaller * (100 + p) / 100) for p in TAX_PERCENTAGES)
    fees = (abs(larger - smaller - larger * p / 100 - fixed) for p, fixed in FEES)
    return any(gap < Decimal("0.02") for gap in (*taxes, *fees))


# ------------------------------------------------------------------ files


def write(
    rows: list[Row], folder: Path, name: str, format: str, headers: dict[str, str], *, fees: bool = True
) -> Path:
    """Write rows as an export."""
    columns = ["key", "date", "ccy", "amount", "entity", *(["fee"] if fees else [])]
    names = [headers[c] for c in columns]
    plain = [
        [row.key, row.day, row.currency, row.amount, row.entity, *([row.fee] if fees else [])] for row in rows
    ]
    if format == "comma":
        path = folder / f"{name}.csv"
        _csv(path, names, [[*map(str, line)] for line in plain], ",")
    elif format == "semicolon":
        path = folder / f"{name}.csv"
        _csv(path, names, [[_german(cell) for cell in line] for line in plain], ";")
    elif format == "jsonl":
        path = folder / f"{name}.jsonl"
        path.write_text(
            "".join(json.dumps(dict(zip(names, map(_json, line), strict=True))) + "\n" for line in plain)
        )
    elif format == "xlsx":
        import xlsxwriter

        path = folder / f"{name}.xlsx"
        with xlsxwriter.Workbook(str(path), {"default_date_format": "yyyy-mm-dd"}) as book:
            sheet = book.add_worksheet()
            sheet.write_row(0, 0, names)
            for n, line in enumerate(plain, 1):
                for column, cell in enumerate(line):
                    value = float(cell) if isinstance(cell, Decimal) else cell
                    (sheet.write_datetime if isinstance(value, date) else sheet.write)(n, column, value)
    else:
        import duckdb

        path = folder / f"{name}.parquet"
        with duckdb.connect() as database:
            types = {"date": "date", "amount": "decimal(18,2)", "fee": "decimal(18,2)"}
            definition = ", ".join(
                f'"{n}" {types.get(c, "varchar")}' for n, c in zip(names, columns, strict=True)
            )
            database.execute(f"create table t ({definition})")
            database.executemany(f"insert into t values ({', '.join('?' * len(names))})", plain)
            database.execute(f"copy t to '{path}' (format parquet)")
    return path


def _csv(path: Path, names: list[str], rows: list[list[str]], separator: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows([names, *rows])


def _german(cell: Any) -> str:
    if isinstance(cell, date):
        return f"{cell:%d.%m.%Y}"
    if isinstance(cell, Decimal):
        return f"{cell:,.2f}".replace(",", " ").replace(".", ",").replace(" ", ".")
    return str(cell)


def _json(cell: Any) -> Any:
    return float(cell) if isinstance(cell, Decimal) else str(cell)
