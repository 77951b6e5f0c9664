"""Pairs of books with planted causes: each is named, and none is invented, in any format and order."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from counterfoil.reconcile.compare import usual_days
from counterfoil.reconcile.exports.queries import read_export
from counterfoil.reconcile.exports.table import ExportRefused
from counterfoil.reconcile.guess import Stated
from counterfoil.reconcile.large.setwise import Layout, compare_sets
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


@pytest.mark.parametrize(
    ("form", "digits"), [("csv", 17), ("csv", 29), ("parquet", 17), ("parquet", 29), ("parquet", 38)]
)
@pytest.mark.parametrize("small_rows", [5, 20_000])
def test_sums_are_exact_however_many_digits_they_have(
    digits: int, small_rows: int, form: str, tmp_path: Path
) -> None:
    amounts = [10**digits - 1 - n for n in range(60)]
    paths = []
    for name, more in (("left", 0), ("right", -7)):
        path = tmp_path / f"{name}.{form}"
        rows = "union all ".join(
            f"select 'K-{n}' as ref, {amount + more * (n == 30)}::decimal(38, 0) as amount, 'EUR' as currency "
            for n, amount in enumerate(amounts)
        )
        with duckdb.connect() as database:
            database.execute(f"copy ({rows}) to '{path}' (format {form})")
        paths.append(str(path))
    report = observe(*paths, Stated(amount=("amount", "amount")), small_rows=small_rows).data()
    assert report["totals"] == {
        "left": {"EUR": f"{sum(amounts)}.00"},
        "right": {"EUR": f"{sum(amounts) - 7}.00"},
        "difference": {"EUR": "7.00"},
    }
    assert [d["key"] for d in report["differences"]] == ["K-30"]


@pytest.mark.parametrize(
    "comment", ["", "-- the books\n", "/* of\n June */ ", "-- one\n/* two */\n  -- three\n"]
)
def test_query_may_begin_with_comments(comment: str, tmp_path: Path) -> None:
    path = tmp_path / "books.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript("create table t (k, amount); insert into t values (1, 10), ('2', 20)")
    assert read_export(f"sqlite:{path}: {comment}select * from t").rows == 2


def test_rows_that_differ_and_do_not_fit_into_memory_are_the_same() -> None:
    results = []
    for limit in ("60MB", "1GB"):
        with duckdb.connect(config={"memory_limit": limit, "threads": 2}) as database:
            for side, letter in (("left", "A"), ("right", "B")):
                database.execute(f"""
                    create table {side}_rows as select range as row, '{letter}' || range || repeat('X', 100) as k,
                    1.00::decimal(18, 2) as a, 'EUR' as c, null::varchar as e, date '2026-01-01' as d from range(100_000)""")
            layout = Layout("k = ''", (), (("k",), ("k",)))
            result = compare_sets(database, layout, usual_days)
            rows = database.execute(
                "select count(*), sum(hash(g, l, r, l_k, r_k, kind)) from candidates"
            ).fetchall()
            results.append((result, rows))
    assert results[0] == results[1]
    assert results[0][1][0][0] == 200_000
    assert results[0][0].sums == ({"EUR": 100_000}, {"EUR": 100_000})


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
