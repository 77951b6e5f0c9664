"""Set-wise comparison in DuckDB: which groups of one key agree, and the rows of those that do not.

A join says at once what agrees where keys do not repeat on both sides. Where they do, both sides are grouped by key.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

MAX_JUDGED_ROWS = 400_000
"""Rows of both sides that Python judges; groups beyond are counted only."""
_SHAPE = (
    "case when nl = 1 then case when nr = 1 then '1:1' else '1:n' end when nr = 1 then 'n:1' else 'n:m' end"
)


@dataclass(slots=True)
class SetResult:
    """Groups that agree, by their shape, and positions of the rows of the others."""

    shapes: Counter[str] = field(default_factory=Counter)
    lags: Counter[int] = field(default_factory=Counter)
    left: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    unjudged_groups: int = 0
    """Groups that differ, or may, and whose rows are too many to judge."""
    unjudged: dict[str, Decimal] = field(default_factory=dict)
    """Left sums by currency of these groups."""


def totals(database: Any, side: str) -> tuple[int, dict[str, Decimal]]:
    """Return the number of rows of a side, and their sums by currency."""
    rows = database.execute(f"select c, count(*), sum(a) from {side}_rows group by c").fetchall()
    return sum(n for _, n, _ in rows), {c: Decimal(a) for c, _, a in rows}


def compare_sets(database: Any, rows: tuple[int, int], inexact: str, usual_days_of: Any) -> SetResult | None:
    """Compare `left_rows` and `right_rows`; return None if a key `k` is inexact.

    `usual_days_of` returns the usual days of a count of lags.
    """
    unique = _join(database, rows, inexact)
    if database.execute("select bool_or(inexact) from groups").fetchone()[0]:
        return None
    if not unique:
        _group(database)
    result = SetResult()
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
    database.execute(f"create temp table candidates as {_MEMBERS} where not ({matched})")
    _pick(database, result)
    return result


_MEMBERS = "select unnest(members, recursive := true) from (select kind, lag, members from groups)"


def _join(database: Any, rows: tuple[int, int], inexact: str) -> bool:
    """Make the table of groups by a join; return False where a key of both sides repeats."""
    database.execute("drop table if exists groups")
    # The code has the kind in its lowest digit and the days above: one whole number groups fastest.
    database.execute(f"""
        create or replace temp table coded as
        select code, count(*) as n, bool_or({inexact}) as inexact,
            list({{g: coalesce(l, r + 1e15::bigint), l: l, r: r}}) filter (code not in (-10) and (code < 0 or code % 10 > 0)) as members
        from (
            select l.row as l, r.row as r, coalesce(l.k, r.k) as k,
                case when l.row is null then 3 when r.row is null then 2
                else coalesce(abs(l.d - r.d) * 10, -10) + case when l.a <> r.a or l.c <> r.c or l.e <> r.e then 4
                    when l.d = r.d then 0 when date_trunc('month', l.d) <> date_trunc('month', r.d) then 1 else 0 end
                end as code
            from left_rows l full outer join right_rows r on l.k = r.k
        ) group by code""")
    database.execute("""
        create temp table groups as
        select ['agree', 'month', 'left', 'right', 'differ'][1 + if(code < 0, code + 10, code % 10)] as kind,
            case when code >= 0 and code % 10 not in (2, 3) then code // 10 end as lag, '1:1' as shape, n, inexact, members
        from coded""")
    counts = dict(database.execute("select kind, sum(n) from groups group by kind").fetchall())
    left, right = int(counts.pop("left", 0)), int(counts.pop("right", 0))
    pairs = int(sum(counts.values()))
    return (pairs + left, pairs + right) == rows


def _group(database: Any) -> None:
    """Make the table of groups where keys repeat."""
    database.execute("drop table groups")
    database.execute(f"""
        create temp table keyed as
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
        create temp table differing as
        select k, kind, lag, shape from (select kind, lag, shape, unnest(keys) as k from keyed)""")
    database.execute("""
        create temp table differing_rows as
        select coalesce(min(l) over (partition by kind, k), min(r) over (partition by kind, k) + 1e15::bigint) as g, *
        from (
            select l.row as l, null::bigint as r, k, kind, lag, shape from left_rows l join differing using (k)
            union all select null, r.row, k, kind, lag, shape from right_rows r join differing using (k)
        )
        union all select row, row, null, null, 'differ', null, 'none' from left_rows where k is null
        union all select row + 1e15::bigint, null, row, null, 'differ', null, 'none' from right_rows where k is null""")
    database.execute("""
        create temp table groups as
        select kind, lag, shape, n, null as members from keyed where kind = 'agree'
        union all select kind, lag, shape, count(distinct g), list({g: g, l: l, r: r})
        from differing_rows group by kind, lag, shape""")


def _pick(database: Any, result: SetResult) -> None:
    """Take the first groups whose rows are not too many, in the order of the left side; count the others."""
    count = database.execute("select count(l) + count(r) from candidates").fetchone()[0]
    if count > MAX_JUDGED_ROWS:
        database.execute(f"""
            create temp table judged as select g from (
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
    for rows, column in ((result.left, "l"), (result.right, "r")):
        positions = database.execute(f"select {column} from candidates where {column} is not null order by 1")
        while batch := positions.fetchmany(100_000):
            rows.extend(row for (row,) in batch)
