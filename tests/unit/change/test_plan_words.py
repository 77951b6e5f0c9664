"""Rows of a table in the words of a plan, as approvers read them."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from counterfoil.change.difference import DocumentChange
from counterfoil.change.plan_words import change_lines
from counterfoil.change.table_diff import RowChange

KEY = ("US-CA", "7.5")
NEXT_YEAR = date(2027, 1, 1)


def row(**more: Any) -> RowChange:
    values: dict[str, Any] = {
        "change": "added",
        "begins": None,
        "ends": None,
        "old": None,
        "new": "CA",
        "standing": "today",
    }
    return RowChange(key=KEY, **{**values, **more})


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (row(), "row US-CA, 7.5 is new: CA"),
        (row(begins=NEXT_YEAR, standing="later"), "row US-CA, 7.5 is new: CA from 2027-01-01, not in force yet"),
        (row(change="removed", old="CA", new=None, ends=NEXT_YEAR), "row US-CA, 7.5 is removed; it was CA to before 2027-01-01"),
        (row(change="changed", old="TX"), "row US-CA, 7.5 is now CA; before it was TX"),
        (row(change="changed", old="TX", standing="past"), "row US-CA, 7.5 is now CA; before it was TX, no longer in force"),
        (row(change="changed", old="CA", beside=("note",)), "row US-CA, 7.5 has other note"),
    ],
)  # fmt: skip
def test_a_row_is_told_with_its_values_and_days(changed: RowChange, line: str) -> None:
    change = DocumentChange(
        kind="table", name="tax_codes", change="changed", classes=(), breaking=False, affects=(), details=(), place="",
        rows=(changed,),
    )  # fmt: skip
    assert list(change_lines(change)) == [line]
