"""Comparison of two tables inside of the database that has them: Ibis writes its SQL, and only what differs is fetched.

The groups are those of `setwise`. Keys are read by SQL, so they must be in ASCII; amounts are whole or decimal numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from counterfoil.reconcile.compare import Agreement, BookComparison, compare, usual_days
from counterfoil.reconcile.entries import book_of, currencies, default_currency
from counterfoil.reconcile.exports.table import ExportRefused, ExportTable
from counterfoil.reconcile.guess import Guess, Roles, Stated
from counterfoil.reconcile.large.engine import SIDES, guess_large, less
from counterfoil.reconcile.large.parquet import entity_name as _entity
from counterfoil.reconcile.large.setwise import MAX_JUDGED_ROWS
from counterfoil.reconcile.large.sides import LargeSide, SideName
from counterfoil.reconcile.values import currency_of

HEAD_ROWS = 10_000
MAX_NAMES = 1_000
_SPACES = r"[\t-\r\x1c- ]+"
_BEYOND_ASCII = r"[^\x01-\x7f]"


def compare_in_engine(address: str, left: str, right: str, stated: Stated) -> tuple[Guess, BookComparison]:
    """Compare two tables of one database. Raises ExportRefused for an address, table or column that does not serve."""
    try:
        import ibis
    except ModuleNotFoundError as missing:
        raise ExportRefused(
            f"--engine needs the package {missing.name}: pip install 'counterfoil[ibis]'."
        ) from None
    try:
        connection = ibis.connect(address)
    except Exception as error:  # each engine has errors of its own
        raise ExportRefused(f"The engine cannot be reached: {str(error).splitlines()[0]}.") from None
    try:
        sides = [EngineTable(ibis, connection, name) for name in (left, right)]
        chosen = guess_large(cast(Sequence[LargeSide], sides), stated)
        if chosen is None:
            raise ExportRefused(
                "No column names the document in both tables: name it with --keys LEFT=RIGHT."
            )
        return chosen, _compared(ibis, sides, chosen)
    finally:
        connection.disconnect()


class EngineTable:
    """A table of the engine. Places are the positions in which it lists its rows."""

    def __init__(self, ibis: Any, connection: Any, name: str) -> None:
        self._ibis, self._connection = ibis, connection
        try:
            self._table = connection.table(name)
        except Exception as error:  # each engine has errors of its own
            raise ExportRefused(f"{name} is no table of the engine: {str(error).splitlines()[0]}.") from None
        columns = list(self._table.columns)
        (count,) = self.rows_of(self._table.aggregate(n=self._table.count()))[0]
        self.header = ExportTable(name, columns, [], range(0), whole_rows=count)

    def rows_of(self, expression: Any) -> list[tuple[Any, ...]]:
        with self._connection.raw_sql(self._connection.compile(expression)) as cursor:
            return [tuple(row) for row in cursor.fetchall()]

    # ------------------------------------------------------------------ samples

    def head(self) -> ExportTable:
        return self._exported(self._table.limit(HEAD_ROWS))

    def values_of_class(self, column: str, share: int, loose: bool) -> ExportTable:
        rows = self.rows_of(self._table.filter(self._in_class(column, share, loose)).select(column))
        return ExportTable(self.header.name, [column], [[v for (v,) in rows]], range(1, len(rows) + 1))

    def rows_of_class(self, column: str, share: int, loose: bool) -> ExportTable:
        return self._exported(self._table.filter(self._in_class(column, share, loose)))

    def _in_class(self, column: str, share: int, loose: bool) -> Any:
        if share == 1:
            return self._ibis.literal(True)
        key = _key(self._table[column], loose)
        return (key != "") & (key.hash() % share == 0)

    def _exported(self, expression: Any) -> ExportTable:
        if "place_" not in expression.columns:
            expression = expression.mutate(place_=self._ibis.row_number())
        rows = self.rows_of(expression)
        rows.sort(key=lambda row: row[-1])
        *data, places = (
            map(list, zip(*rows, strict=True)) if rows else ([], *([] for _ in self.header.columns))
        )
        return ExportTable(
            self.header.name, self.header.columns, data, [p + 1 for p in places], whole_rows=self.header.rows
        )

    # ------------------------------------------------------------------ roles

    def names(self, column: str) -> list[Any]:
        values = [v for (v,) in self.rows_of(self._table.select(column).distinct().limit(MAX_NAMES + 1))]
        if len(values) > MAX_NAMES:
            raise ExportRefused(f"{self.header.name} has more than {MAX_NAMES} different values of {column}.")
        return values

    def currencies(self, roles: Roles) -> set[str]:
        if not roles.currency:
            return {roles.constant_currency} - {""}
        values = self.names(roles.currency)
        return currencies(
            ExportTable(self.header.name, [roles.currency], [values], range(len(values))), roles
        )

    def keyed(self, guess: Guess, side: SideName, default: str) -> Any:
        """Return the table with key, amount, currency, entity and day as `k_, a_, c_, e_, d_`."""
        assert guess.key is not None
        roles: Roles = getattr(guess, side)
        t, keys = self._table, guess.key.left if side == "left" else guess.key.right
        self._require_readable(roles, keys)
        parts = [_key(t[column], guess.key.reading == "loose").fill_null("") for column in keys]
        key = parts[0]
        for part in parts[1:]:
            key = key + "\x1f" + part
        amounts = [t[column].cast("decimal") for column in roles.amount.columns]
        amount = amounts[0]
        if len(amounts) == 2:
            both = amounts[0].fill_null(0) - amounts[1].fill_null(0)
            amount = self._ibis.coalesce(amounts[0], amounts[1]).isnull().ifelse(None, both)
        entities = {} if side == "left" else {v: k for k, v in guess.entities.items()}
        codes = {v: currency_of(v) or default for v in self._named(roles.currency)}
        companies = {v: _entity(v, entities) for v in self._named(roles.entity)}
        return t.mutate(
            k_=key.nullif("\x1f" * (len(parts) - 1)),
            a_=amount if side == "left" else amount * guess.sign,
            c_=self._renamed(roles.currency, codes, default),
            e_=self._renamed(roles.entity, companies, "").nullif(""),
            d_=t[roles.date].cast("date") if roles.date else self._ibis.null("date"),
        )

    def _require_readable(self, roles: Roles, keys: Sequence[str]) -> None:
        for column in roles.amount.columns:
            kind = self._table[column].type()
            if not (kind.is_decimal() or kind.is_integer()):
                raise ExportRefused(
                    f"{self.header.name}: {column} is {kind}; an engine compares decimal numbers only."
                )
        for column in keys:
            kind = self._table[column].type()
            if not (kind.is_string() or kind.is_integer()):
                raise ExportRefused(
                    f"{self.header.name}: {column} is {kind}; a key is text or a whole number."
                )
            if kind.is_string() and self.rows_of(
                self._table.filter(self._table[column].re_search(_BEYOND_ASCII)).select(column).limit(1)
            ):
                raise ExportRefused(
                    f"{self.header.name} has keys beyond ASCII, which its engine may read otherwise. Compare queries "
                    "instead: `postgresql://HOST/NAME: select ...`."
                )

    def _named(self, column: str) -> list[Any]:
        return [value for value in self.names(column) if value is not None] if column else []

    def _renamed(self, column: str, names: Mapping[Any, str], default: str) -> Any:
        if not names:
            return self._ibis.literal(default)
        cases = [(self._table[column] == value, name) for value, name in names.items()]
        return self._ibis.cases(*cases, else_=default)

    def differing(self, keyed: Any, keys: Any) -> ExportTable:
        """Return the rows with one of the keys, without a key, or without an amount."""
        keyed = keyed.mutate(place_=self._ibis.row_number())
        rows = keyed.filter(keyed.k_.isin(keys.k_) | keyed.k_.isnull() | keyed.a_.isnull())
        return self._exported(rows.select(*self.header.columns, "place_"))


def _compared(ibis: Any, sides: Sequence[EngineTable], chosen: Guess) -> BookComparison:
    codes = [side.currencies(roles) for side, roles in zip(sides, (chosen.left, chosen.right), strict=True)]
    defaults = [default_currency(codes[0], codes[1], n) for n in (0, 1)]
    keyed = [sides[n].keyed(chosen, SIDES[n], defaults[n]) for n in (0, 1)]
    groups = _groups(ibis, *(rows.filter(rows.a_.notnull()) for rows in keyed))
    summary = groups.group_by("kind", "shape", "lag").agg(
        n=groups.count(), rows=(groups.nl + groups.nr).sum()
    )
    shapes: Counter[str] = Counter()
    lags: Counter[int] = Counter()
    counts = sides[0].rows_of(summary.select("kind", "shape", "lag", "n", "rows"))
    for _, _, lag, n, _ in counts:
        if lag is not None:
            lags[int(lag)] += n
    usual = usual_days(lags)
    agreeing = [row for row in counts if row[0] == "agree" or (row[0] == "month" and row[2] <= usual)]
    for _, shape, _, n, _ in agreeing:
        shapes[shape] += n
    differing = sum(int(row[4]) for row in counts) - sum(int(row[4]) for row in agreeing)
    if differing > MAX_JUDGED_ROWS:
        raise ExportRefused(
            f"{differing:,} rows differ, and at most {MAX_JUDGED_ROWS:,} are fetched from an engine: state other columns, "
            "or compare queries of a part."
        )
    keys = groups.filter((groups.kind == "differ") | ((groups.kind == "month") & (groups.lag > usual)))
    books = []
    for side, rows, name, default in zip(sides, keyed, SIDES, defaults, strict=True):
        book = book_of(side.differing(rows, keys), chosen, name, default)
        sums = rows.filter(rows.a_.notnull()).group_by("c_").agg(total=rows.a_.sum())
        book.elsewhere = less({c: Decimal(total) for c, total in side.rows_of(sums)}, book)
        books.append(book)
    matched = {currency: amount for currency, amount in books[0].elsewhere.items() if amount}
    return compare(books[0], books[1], keyed=True, agreement=Agreement(dict(shapes), matched, dict(lags)))


def _groups(ibis: Any, left: Any, right: Any) -> Any:
    """Return the groups of one key with their kind, shape and lag, as `setwise` has them."""
    names = ("k_", "a_", "c_", "e_", "d_")
    rows = ibis.union(
        left.select(*names).mutate(s_=1),
        right.select(*names).mutate(s_=-1, a_=-right.a_).select(*names, "s_"),
    )
    rows = rows.filter(rows.k_.notnull())
    groups = rows.group_by("k_").agg(
        nl=(rows.s_ == 1).sum(),
        nr=(rows.s_ == -1).sum(),
        net=rows.a_.sum(),
        one=(rows.c_.min() == rows.c_.max()) & (rows.e_.min() == rows.e_.max()).fill_null(True),
        days=rows.d_.count(),
        first=rows.d_.min(),
        last=rows.d_.max(),
    )
    single = (groups.nl == 1) & (groups.nr == 1)
    months = groups.first.truncate("M") != groups.last.truncate("M")
    return groups.mutate(
        kind=ibis.cases(
            ((groups.nl == 0) | (groups.nr == 0) | (groups.net != 0) | ~groups.one, "differ"),
            (single & (groups.days == 2) & months, "month"),
            else_="agree",
        ),
        shape=ibis.cases((single, "1:1"), (groups.nl == 1, "1:n"), (groups.nr == 1, "n:1"), else_="n:m"),
        lag=(single & (groups.days == 2)).ifelse(groups.last.delta(groups.first, unit="day"), None),
    )


def _key(column: Any, loose: bool) -> Any:
    """Return a column as `key_text` or `loose_text` reads it, for texts in ASCII."""
    key = column.cast("string").lower().re_replace(_SPACES, " ").strip()
    if loose:
        key = key.re_replace("[^a-z0-9]+", "").re_replace("(^|[^0-9])0+([0-9])", r"\1\2")
    return key
