"""Set-wise comparison in DuckDB: which groups of one key agree, and the rows of those that do not.

A join says at once what agrees where keys do not repeat on both sides. Where they do, both sides are grouped by key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

MAX_JUDGED_ROWS = 400_000
"""Rows of both sides that Python judges; groups beyond are counted only."""
LIST_ROWS = 1_024
"""Rows in a list of those that differ, where all of one kind do not fit into memory."""
_SHAPE = (
    "case when nl = 1 then case when nr = 1 then '1:1' else '1:n' end when nr = 1 then 'n:1' else 'n:m' end"
)


@dataclass(slots=True)
class SetResult:
    """Groups that agree, by their shape. The table `candidates` has the rows of the others."""

    unique: bool
    """No key stands on both sides and repeats."""
    overlap: float
    """Share of the rows of the smaller side that have a pair, where keys are unique."""
    shapes: Counter[str] = field(default_factory=Counter)
    lags: Counter[int] = field(default_factory=Counter)
    unjudged_groups: int = 0
    """Groups that differ, or may, and whose rows are too many to judge."""
    unjudged: dict[str, Decimal] = field(default_factory=dict)
    """Left sums by currency of these groups."""
    sums: tuple[dict[str, Decimal], dict[str, Decimal]] = field(default_factory=lambda: ({}, {}))
    """Sums by currency of all rows of each side."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns of the rows that are compared."""

    inexact: str
    """SQL of keys `k` that SQL may read otherwise than Python."""
    compared: tuple[str, ...] = ("c", "e")
    """Currency and entity, if not all rows of both sides have the same."""
    carried: tuple[Sequence[str], Sequence[str]] = ((), ())
    """Columns of each side that the rows of differences keep, as `l_NAME` and `r_NAME`."""
    currencies: tuple[str, str] = ("l.c", "r.c")
    """SQL of each side's currency: the column, or the constant that all rows have."""


def compare_sets(
    database: Any, layout: Layout, usual_days_of: Callable[[Counter[int]], int]
) -> SetResult | None:
    """Compare `left_rows` and `right_rows`; return None if a key is inexact.

    `usual_days_of` returns the usual days of a count of lags.
    """
    result = _join(database, layout)
    if result is None:
        return None
    if not result.unique:
        _group(database, layout)
    for lag, n in database.execute(
        "select lag, sum(n) from groups where lag is not null group by lag"
    ).fetchall():
        result.lags[int(lag)] += int(n)
    usual = usual_days_of(result.lags)
    # In another month, but within the usual days: a match.
    matched = f"kind = 'agree' or (kind = 'month' and lag <= {usual})"
    result.shapes.update(
        {
            shape: int(n)
            for shape, n in database.execute(
                f"select shape, sum(n) from groups where {matched} group by shape"
            ).fetchall()
        }
    )
    database.execute(f"create or replace temp table candidates as from members where not ({matched})")
    _pick(database, result)
    return result


def _join(database: Any, layout: Layout) -> SetResult | None:
    """Make the tables of groups and members by a join; return None if a key is inexact."""
    is_summed = _join_into_lists(database, layout)
    if database.execute("select bool_or(inexact) from joined").fetchone()[0]:
        return None
    database.execute("""
        create or replace temp table members as
        select coalesce(l, r + 1e15::bigint) as g, * from
        (select kind, lag, '1:1' as shape, unnest(rows, max_depth := 2) from joined where kind <> 'agree')""")
    database.execute("""
        create or replace temp table groups as
        select kind, lag, '1:1' as shape, sum(n) as n from joined group by kind, lag""")
    counts = dict(database.execute("select kind, sum(n) from groups group by kind").fetchall())
    left, right = int(counts.pop("left", 0)), int(counts.pop("right", 0))
    pairs = int(sum(counts.values()))
    rows = [database.execute(f"select count(*) from {side}_rows").fetchone()[0] for side in ("left", "right")]
    unique = [pairs + left, pairs + right] == rows
    if unique and is_summed:
        sums = (
            _sums(database, "joined", "left_c", "left_sum"),
            _sums(database, "joined", "right_c", "right_sum"),
        )
    else:
        sums = (_sums(database, "left_rows"), _sums(database, "right_rows"))
    return SetResult(unique, pairs / max(1, min(pairs + left, pairs + right)), sums=sums)


def _sums(database: Any, table: str, currency: str = "c", amount: str = "a") -> dict[str, Decimal]:
    rows = database.execute(
        f"select {currency}, sum({amount}) from {table} where {amount} is not null group by 1"
    ).fetchall()
    return {c: Decimal(a) for c, a in rows}


def _join_into_lists(database: Any, layout: Layout) -> bool:
    """Make a table of the counts by kind and lag, with lists of the rows that may differ; report whether it has sums.

    Few groups are fastest. A list must fit into memory, so many rows that differ need short lists. Sums over the pairs of
    keys that repeat are not those of the rows, and may be too long for a number.
    """
    import duckdb

    try:
        _join_by(database, layout, "kind, lag", is_summed=True)
        return True
    except (duckdb.OutOfMemoryException, duckdb.OutOfRangeException):
        short = f"kind, lag, case when kind > 0 then coalesce(l, r) // {LIST_ROWS} end"
        _join_by(database, layout, short, is_summed=False)
        return False


def _join_by(database: Any, layout: Layout, groups: str, *, is_summed: bool) -> None:
    other = " or ".join(f"l.{column} <> r.{column}" for column in ("a", *layout.compared))
    carried = [f"{side}_{column}" for side, column in _carried(layout)]
    joined = "".join(f", {side}.{column} as {side}_{column}" for side, column in _carried(layout))
    row = ", ".join(f"{column} := {column}" for column in ("l", "r", *carried))
    sums = ""
    if is_summed:
        joined += ", l.a as left_a, r.a as right_a"
        for side, code in zip(("left", "right"), layout.currencies, strict=True):
            is_constant = code.startswith("'")
            joined += "" if is_constant else f", {code} as {side}_c"
            groups += "" if is_constant else f", {side}_c"
            sums += f", {code if is_constant else f'{side}_c'} as {side}_c, sum({side}_a) as {side}_sum"
    database.execute(f"""
        create or replace temp table joined as
        select ['agree', 'month', 'left', 'right', 'differ'][1 + kind] as kind, lag, count(*) as n,
            bool_or({layout.inexact}) as inexact, list(struct_pack({row})) filter (kind > 0) as rows{sums}
        from (
            select l.row as l, r.row as r, coalesce(l.k, r.k) as k, abs(l.d - r.d) as lag,
                case when l.row is null then 3 when r.row is null then 2 when {other} then 4 when l.d = r.d then 0
                when date_trunc('month', l.d) <> date_trunc('month', r.d) then 1 else 0 end as kind{joined}
            from left_rows l full outer join right_rows r on l.k = r.k
        ) group by {groups}""")


def _carried(layout: Layout) -> Iterator[tuple[str, str]]:
    for side, columns in zip("lr", layout.carried, strict=True):
        for column in columns:
            yield side, column


def _group(database: Any, layout: Layout) -> None:
    """Make the tables of groups and members where keys repeat."""
    lefts = "".join(f", l.{column} as l_{column}" for column in layout.carried[0])
    rights = "".join(f", r.{column} as r_{column}" for column in layout.carried[1])
    database.execute(f"""
        create or replace temp table keyed as
        select kind, case when nl = 1 and nr = 1 then lag end as lag, {_SHAPE} as shape, count(*) as n,
            list(k) filter (kind <> 'agree') as keys
        from (
            select k, nl, nr, lag, case when nl = 0 or nr = 0 or net <> 0 or not one then 'differ'
                when nl = 1 and nr = 1 and months then 'month' else 'agree' end as kind
            from (
                select k, count(*) filter (s = 1) as nl, count(*) filter (s = -1) as nr, sum(a) as net,
                    min(c) = max(c) and coalesce(min(e) = max(e), true) as one,
                    case when count(d) = 2 then max(d) - min(d) end as lag,
                    count(d) = 2 and date_trunc('month', min(d)) <> date_trunc('month', max(d)) as months
                from (
                    select k, 1 as s, a, c, e, d from left_rows where k is not null
                    union all select k, -1, -a, c, e, d from right_rows where k is not null
                ) group by k
            )
        ) group by all""")
    database.execute("""
        create or replace temp table differing as
        select k, kind, lag, shape from (select kind, lag, shape, unnest(keys) as k from keyed)""")
    database.execute(f"""
        create or replace temp table members as
        select coalesce(min(l) over (partition by kind, k), min(r) over (partition by kind, k) + 1e15::bigint) as g, *
        from (
            select l.row as l, null::bigint as r, l.k, kind, lag, shape{lefts} from left_rows l join differing using (k)
            union all by name
            select r.row as r, r.k, kind, lag, shape{rights} from right_rows r join differing using (k)
        )
        union all by name
        select row as g, row as l, 'differ' as kind, 'none' as shape{lefts} from left_rows l where k is null
        union all by name
        select row + 1e15::bigint as g, row as r, 'differ' as kind, 'none' as shape{rights} from right_rows r where k is null""")
    database.execute("""
        create or replace temp table groups as
        select kind, lag, shape, n from keyed where kind = 'agree'
        union all select kind, lag, shape, count(distinct g) from members group by all""")


def _pick(database: Any, result: SetResult) -> None:
    """Take the first groups whose rows are not too many, in the order of the left side; count the others."""
    count = database.execute("select count(l) + count(r) from candidates").fetchone()[0]
    if count > MAX_JUDGED_ROWS:
        database.execute(f"""
            create or replace temp table judged as select g from (
                select g, sum(count(l) + count(r)) over (order by g) as total from candidates group by g
            ) where total <= {MAX_JUDGED_ROWS}""")
        result.unjudged_groups = database.execute(
            "select count(distinct g) from candidates where g not in (from judged)"
        ).fetchone()[0]
        result.unjudged = {
            c: Decimal(a)
            for c, a in database.execute("""
                select c, sum(a) from left_rows where row in
                (select l from candidates where l is not null and g not in (from judged)) group by c""").fetchall()
        }
        database.execute("delete from candidates where g not in (from judged)")
