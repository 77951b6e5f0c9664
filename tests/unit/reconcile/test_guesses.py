"""Guesses about two exports: keys in other notations, inside of texts, or missing; signs, dates, fees and several files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from counterfoil.reconcile.exports.table import ExportRefused
from counterfoil.reconcile.guess import Stated
from counterfoil.reconcile.observe import observe


def report(folder: Path, left: str, right: str, stated: Stated | None = None) -> dict[str, Any]:
    for name, text in (("left.csv", left), ("right.csv", right)):
        (folder / name).write_text(text)
    return observe(str(folder / "left.csv"), str(folder / "right.csv"), stated).data()


def named(data: Mapping[str, Any]) -> Counter[tuple[str, str]]:
    return Counter((d["cause"], d["key"]) for d in data["differences"])


def rows(header: str, *lines: str) -> str:
    return "\n".join((header, *lines)) + "\n"


def many(header: str, line: str, numbers: range = range(1001, 1021)) -> str:
    """Return a row for each number; `{n}` is the number and `{a}` an amount of it."""
    return rows(
        header, *(line.format(n=n, a=f"{n * 7 % 900 + 10}.{n % 90 + 10}", d=n % 28 + 1) for n in numbers)
    )


def test_keys_in_another_notation_are_the_same(tmp_path: Path) -> None:
    data = report(
        tmp_path,
        many("Invoice,Total", "INV-{n},{a}"),
        many("document,amount", "inv00{n},{a}", range(1002, 1022)),
    )
    assert data["matched"] == 19
    assert named(data) == {("missing_right", "INV-1001"): 1, ("missing_left", "inv001021"): 1}
    assert "without punctuation" in data["guessed"]["key"]["why"]


def test_one_wire_over_several_invoices_is_matched_by_its_text(tmp_path: Path) -> None:
    left = rows("Invoice,Due,Amount", "INV-1001,2026-01-05,100.00", "INV-1002,2026-01-05,50.00", "INV-1003,2026-01-06,75.00",
                "INV-1004,2026-01-06,20.00")  # fmt: skip
    right = rows("Booked,Text,Amount", "2026-01-07,Wire Acme INV-1001 INV-1002 thanks,150.00",
                 "2026-01-08,SEPA INV-1003,70.00", "2026-01-09,Interest,1.00")  # fmt: skip
    data = report(tmp_path, left, right)
    assert data["guessed"]["key"]["right"] == ["Text"]
    assert data["matched_by_shape"] == {"n:1": 1}
    assert named(data) == {
        ("amount", "INV-1003"): 1,
        ("missing_right", "INV-1004"): 1,
        ("missing_left", "Interest"): 1,
    }


def test_rows_without_a_common_key_are_paired_by_amount_and_say_so(tmp_path: Path) -> None:
    left = rows(
        "Name,Date,Amount", "Acme,2026-01-05,100.00", "Beta,2026-01-06,100.00", "Gamma,2026-01-07,30.00"
    )
    right = rows("Payee,Booked,Amount", "X1,2026-01-05,100.00", "X2,2026-01-07,30.00", "X3,2026-01-09,8.00")
    data = report(tmp_path, left, right)
    assert data["matched"] == 2
    assert named(data) == {("missing_right", ""): 1, ("missing_left", ""): 1}
    assert data["guessed"]["key"]["confidence"] < 0.5


def test_opposite_signs_are_no_difference(tmp_path: Path) -> None:
    data = report(tmp_path, many("ref,amount", "R-{n},{a}"), many("ref,amount", "R-{n},-{a}"))
    assert (data["matched"], data["differences"]) == (20, [])
    assert data["guessed"]["sign"]["right"] == "opposite"


def test_day_and_month_are_those_that_fit_the_other_side(tmp_path: Path) -> None:
    left = rows("ref,date,amount", *(f"R-{n},0{n}/0{n + 2}/2026,{n}.50" for n in range(1, 8)))
    right = rows("ref,date,amount", *(f"R-{n},2026-0{n + 2}-0{n},{n}.50" for n in range(1, 8)))
    data = report(tmp_path, left, right)
    assert (data["matched"], data["differences"]) == (7, [])


def test_a_fee_is_named_by_its_column_or_by_its_rate(tmp_path: Path) -> None:
    left = many("charge,gross", "ch_{n},{a}") + "ch_9001,200.00\nch_9002,100.00\n"
    right = many("charge,amount,fee", "ch_{n},{a},0") + "ch_9001,195.65,4.35\nch_9002,96.80,0\n"
    data = report(tmp_path, left, right)
    assert named(data) == {("fee", "ch_9001"): 1, ("fee", "ch_9002"): 1}
    assert "2.9 % and 0.30" in data["differences"][1]["why"]


def test_gross_is_compared_with_gross_and_not_with_net(tmp_path: Path) -> None:
    left = many("invoice,net,tax,gross", "INV-{n},1.00,0.19,{a}")
    right = many("invoice,amount", "INV-{n},{a}")
    data = report(tmp_path, left, right)
    assert data["guessed"]["amount"]["left"] == "gross"
    assert data["differences"] == []


def test_names_of_entities_are_learned(tmp_path: Path) -> None:
    left = rows(
        "ref,company,amount",
        *(f"R-{n},{'Acme Inc.' if n % 2 else 'Acme GmbH'},{n}.50" for n in range(1000, 1040)),
    )
    right = rows(
        "ref,ledger,amount",
        *(f"R-{n},{'US01' if n % 2 or n == 1020 else 'DE01'},{n}.50" for n in range(1000, 1040)),
    )
    data = report(tmp_path, left, right)
    assert named(data) == {("entity", "R-1020"): 1}


def test_a_typing_error_in_a_key_is_suggested_and_not_matched(tmp_path: Path) -> None:
    data = report(
        tmp_path,
        many("ref,amount", "REF-{n},{a}") + "REF-2001,91.17\n",
        many("ref,amount", "REF-{n},{a}") + "REF-2010,91.17\n",
    )
    assert named(data) == {("missing_right", "REF-2001"): 1, ("missing_left", "REF-2010"): 1}
    assert "perhaps 'REF-2010'" in data["differences"][0]["why"]


@pytest.mark.parametrize(
    ("stated", "guess"),
    [
        (Stated(amount=("net", "net")), ("amount", "net")),
        (Stated(keys=(("second", "second"),)), ("key", ["second"])),
        (Stated(currency=("CHF", "CHF")), ("currency", "CHF")),
    ],
)
def test_each_guess_can_be_overridden(tmp_path: Path, stated: Stated, guess: tuple[str, Any]) -> None:
    text = many("first,second,net,gross", "A-{n},B-{n},{a},9{a}")
    data = report(tmp_path, text, text, stated)
    assert data["guessed"][guess[0]]["left"] == guess[1]
    assert data["guessed"][guess[0]]["confidence"] == 1.0
    assert data["matched"] == 20


def test_a_stated_column_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    text = many("ref,amount", "R-{n},{a}")
    with pytest.raises(ExportRefused, match=r"left\.csv has no column 'betrag'; it has: ref, amount"):
        report(tmp_path, text, text, Stated(amount=("betrag", "amount")))


def test_shuffled_and_split_books_give_the_same_report(tmp_path: Path) -> None:
    lines = many("ref,amount", "R-{n},{a}").splitlines()
    right = rows("ref,amount", *reversed(lines[3:]))
    whole = report(tmp_path, rows(*lines), right)
    (tmp_path / "a.csv").write_text(rows("ref,amount", *lines[9:]))
    (tmp_path / "b.csv").write_text(
        rows("amount,ref", *(",".join(reversed(line.split(","))) for line in lines[1:9]))
    )
    split = observe(f"{tmp_path / 'a.csv'},{tmp_path / 'b.csv'}", str(tmp_path / "right.csv")).data()
    assert (split["matched"], split["totals"]) == (whole["matched"], whole["totals"])
    assert named(split) == named(whole) == {("missing_right", "R-1001"): 1, ("missing_right", "R-1002"): 1}
