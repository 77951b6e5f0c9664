"""Pairs of books with planted causes: each is named, and none is invented, in any format and order."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from counterfoil.reconcile.exports.table import ExportRefused
from counterfoil.reconcile.observe import Observed, observe
from tests.unit.reconcile.pairs import FORMATS, HEADERS, Pair, pair, write

SEEDS = 200


def observed(made: Pair, folder: Path, seed: int) -> Observed:
    r = random.Random(seed)
    left, right = (
        write(rows, folder, name, r.choice(FORMATS), r.choice(HEADERS))
        for rows, name in ((made.left, "left"), (made.right, "right"))
    )
    return observe(str(left), str(right))


@pytest.mark.parametrize("seed", range(0, SEEDS, 8))
def test_large_path_gives_the_same_report(seed: int, tmp_path: Path) -> None:
    made = pair(seed)
    left, right = (
        str(
            write(rows, tmp_path, name, FORMATS[(seed // 8 + n) % len(FORMATS)], HEADERS[seed % len(HEADERS)])
        )
        for rows, name, n in ((made.left, "left", 0), (made.right, "right", seed // 40))
    )
    assert observe(left, right, small_rows=5).data() == observe(left, right).data()


@pytest.mark.parametrize("seed", range(1, SEEDS, 25))
@pytest.mark.parametrize("prefix", ["INV-", " Inv  no ", "Größe "])
def test_parquet_in_place_gives_the_same_report(
    seed: int, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pair(seed)
    for row in made.right:
        row.key = prefix.swapcase() + row.key
    for row in made.left:
        row.key = prefix.strip() + " " * prefix.endswith(" ") + row.key
    left, right = (
        str(write(rows, tmp_path, name, "parquet", HEADERS[seed % len(HEADERS)]))
        for rows, name in ((made.left, "left"), (made.right, "right"))
    )
    expected = observe(left, right).data()
    assert expected["matched"] == made.matched
    if prefix.isascii():
        monkeypatch.delattr("counterfoil.reconcile.large.spool.SpoolBuilder.add")
    assert observe(left, right, small_rows=5).data() == expected


@pytest.mark.parametrize("paired", [11_990, 4_000])
@pytest.mark.parametrize("prefix", ["INV-", "inv "])
def test_roles_by_pairs_of_first_rows_give_the_same_differences(
    paired: int, prefix: str, tmp_path: Path
) -> None:
    files = []
    for side in ("left", "right"):
        files.append(str(tmp_path / f"{side}.parquet"))
        key = f"if(i < {paired}, '{prefix}', '{side}-') || i as invoice"
        amount = f"(i + 0.25 + if(i % 100 = 1 and '{side}' = 'left', 0.37, 0))::decimal(18, 2) as amount"
        with duckdb.connect() as database:
            database.execute(
                f"copy (select {key}, {amount}, date '2026-01-01' + (i % 300)::int as booked "
                f"from range(12000) t(i)) to '{files[-1]}' (format parquet)"
            )
    reports = [observe(*files, small_rows=rows).data() for rows in (5, 20_000)]
    assert reports[0]["differences"]
    assert len({str(report["guessed"].pop("key")["left"]) for report in reports}) == 1
    for report in reports:
        del report["guessed"]
    assert reports[0] == reports[1]


def test_rows_beyond_those_that_are_judged_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("counterfoil.reconcile.large.setwise.MAX_JUDGED_ROWS", 5)
    made = pair(3)
    left, right = (
        str(write(rows, tmp_path, name, "comma", HEADERS[0]))
        for rows, name in ((made.left, "left"), (made.right, "right"))
    )
    whole, bounded = observe(left, right), observe(left, right, small_rows=5)
    assert bounded.unjudged
    assert not bounded.agrees
    assert whole.data()["totals"] == bounded.data()["totals"]
    listed = bounded.data()["differences"]
    assert listed
    assert [d for d in whole.data()["differences"] if d in listed] == listed


def test_keys_inside_of_texts_are_compared_in_memory_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"2026-01-07,Wire INV-{n} thanks,{n}.25" for n in range(1001, 1040)]
    bills = [f"INV-{n},2026-01-05,{n}.25" for n in range(1001, 1041)]
    (tmp_path / "a.csv").write_text("\n".join(["Invoice,Due,Amount", *bills]) + "\n")
    (tmp_path / "b.csv").write_text("\n".join(["Booked,Text,Amount", *texts]) + "\n")
    files = [str(tmp_path / f"{name}.csv") for name in ("a", "b")]
    assert observe(*files, small_rows=5).data() == observe(*files).data()
    monkeypatch.setattr("counterfoil.reconcile.large.engine.MAX_WHOLE_ROWS", 30)
    with pytest.raises(ExportRefused, match="--keys LEFT=RIGHT"):
        observe(*files, small_rows=5)


def test_empty_keys_and_amounts_are_the_same_on_both_paths(tmp_path: Path) -> None:
    lines = [f"A{n},{n}.50,2026-03-{n % 28 + 1:02}" for n in range(1, 60)]
    (tmp_path / "a.csv").write_text(
        "\n".join(["Invoice,Amount,Date", *lines, ",3.10,2026-03-01", "A900,,2026-03-02", ",,2026-03-03"])
    )
    (tmp_path / "b.csv").write_text(
        "\n".join(["Invoice,Amount,Date", *lines[:-1], "A58,58.50,2026-03-01", ",3.10,2026-03-01"])
    )
    for name in ("a", "b"):
        with duckdb.connect() as database:
            database.execute(f"copy (from '{tmp_path}/{name}.csv') to '{tmp_path}/{name}.parquet'")
    for suffix in ("csv", "parquet"):
        files = [str(tmp_path / f"{name}.{suffix}") for name in ("a", "b")]
        report = observe(*files).data()
        assert report["unreadable"]
        assert observe(*files, small_rows=5).data() == report


def causes(report: dict[str, Any]) -> Counter[tuple[str, str]]:
    return Counter((d["cause"], d["key"]) for d in report["differences"])


@pytest.mark.parametrize("seed", range(SEEDS))
def test_planted_causes_are_named_and_none_is_invented(seed: int, tmp_path: Path) -> None:
    made = pair(seed)
    result = observed(made, tmp_path, seed)
    report = result.data()
    assert causes(report) == Counter(made.expected), report["guessed"]
    assert report["matched"] == made.matched
    assert result.agrees is (not made.expected)
    sums: dict[str, Decimal] = {}
    for difference in report["differences"]:
        for currency, amount in difference["amounts"].items():
            sums[currency] = sums.get(currency, Decimal(0)) + Decimal(amount)
    totals = {currency: Decimal(amount) for currency, amount in report["totals"]["difference"].items()}
    assert {c: a for c, a in sums.items() if a} == {c: a for c, a in totals.items() if a}
