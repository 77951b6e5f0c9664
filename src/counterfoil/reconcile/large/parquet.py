"""A Parquet file that DuckDB reads in place: its keys, amounts, currencies, entities and days as SQL.

Only columns for which SQL gives exactly what Python would read; every other file goes through a spool.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from counterfoil.reconcile.entries import currencies as currencies_of
from counterfoil.reconcile.exports.table import ExportTable, unique_names
from counterfoil.reconcile.guess import Guess, Roles
from counterfoil.reconcile.keys import KeyGuess
from counterfoil.reconcile.large.sides import KeyReading, SideName, SideRows, name, text
from counterfoil.reconcile.values import currency_of

HEAD_ROWS = 2_000
SLICE_ROWS = 200_000
"""First rows of both sides among which pairs are looked for: of ten millions in any order, 4,000 keys are in both."""
PAIR_ROWS = 2_000
MIN_PAIR_ROWS = 1_000
MAX_NAMES = 1_000
"""Different currencies or entities of one column, at most."""
_WHOLE = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
)
_DAYS = frozenset({"DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"})
_SPACE_CODES = (*range(9, 14), *range(28, 33))
_AS_WRITTEN: Mapping[KeyReading, str] = {"capitals": "upper", "small letters": "lower"}
_OF_ANY_KEY: tuple[KeyReading, ...] = ("any case", "any spaces")
_SPACES = r"[\t-\r\x1c- ]+"


def parquet_rows(export: str) -> int:
    """Return the number of rows of an export that is one Parquet file; 0 for others and for one that is not complete."""
    import duckdb

    path = Path(export)
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return 0
    try:
        with duckdb.connect() as database:
            relation = database.read_parquet(str(path))
            if "file_row_number" in (column.casefold() for column in relation.columns):
                return 0  # the database gives this name to the places of the rows
            rows: int = relation.count("*").fetchall()[0][0]
            return rows
    except duckdb.Error:
        return 0


class ParquetSide:
    """A Parquet file. `row` is the position of a row in the file."""

    def __init__(self, path: Path, database: Any) -> None:
        self._database = database
        self._source = f"read_parquet({text(str(path))}, file_row_number = true)"
        columns = database.execute(f"describe from read_parquet({text(str(path))})").fetchall()
        self._values: dict[str, list[Any]] = {}
        notes: list[str] = []
        names = unique_names((column[0] for column in columns), notes)
        self._written = {unique: column[0] for unique, column in zip(names, columns, strict=True)}
        self._types = {unique: column[1] for unique, column in zip(names, columns, strict=True)}
        rows = database.execute(f"select count(*) from {self._source}").fetchone()[0]
        self.header = ExportTable(path.name, names, [], range(0), notes, whole_rows=rows)

    # ------------------------------------------------------------------ rows

    def head(self) -> ExportTable:
        return self._table(f"where file_row_number < {HEAD_ROWS}")

    def values_of_class(self, column: str, share: int, loose: bool) -> ExportTable:
        values = self._database.execute(
            f"select {self._column(column)} from {self._source} where {self._class(column, share, loose)}"
        ).fetchall()
        return ExportTable(self.header.name, [column], [[v for (v,) in values]], range(1, len(values) + 1))

    def rows_of_class(self, column: str, share: int, loose: bool) -> ExportTable:
        return self._table(f"where {self._class(column, share, loose)}")

    def pairs(self, other: ParquetSide, columns: tuple[str, str]) -> list[ExportTable] | None:
        """Return rows whose keys stand once among the first rows of both sides, in their order; None if they are few.

        The columns are the keys. This reads little of the files, and says nothing about how many rows have a pair.
        """
        once = (
            f"select any_value(file_row_number) as row, {key} as k from {side._source} "
            f"where file_row_number < {SLICE_ROWS} and {key} <> '' group by k having count(*) = 1"
            for side, key in (
                (side, f"{side._column(c)}::varchar") for side, c in zip((self, other), columns, strict=True)
            )
        )
        self._database.execute(
            f"create or replace temp table pairs as select l.row as l, r.row as r from ({next(once)}) l "
            f"join ({next(once)}) r on l.k = r.k order by hash(l.k) limit {PAIR_ROWS}"
        )
        if self._database.execute("select count(*) from pairs").fetchone()[0] < MIN_PAIR_ROWS:
            return None
        condition = f"where file_row_number < {SLICE_ROWS} and file_row_number in (select {{}} from pairs)"
        return [self._table(condition.format("l")), other._table(condition.format("r"))]

    def differing(self, side: SideName, rows: SideRows) -> ExportTable:
        place = side[0]
        short = (rows.carried.get(column) for column in self.header.columns)
        values = [rows.constants.get(s, f"{place}_{s}") if s else "null" for s in short]
        candidates = self._database.execute(
            f"select {place}, {', '.join(values)} from candidates where {place} is not null"
        ).fetchall()
        written = ", ".join(self._column(c) for c in self.header.columns)
        for start in range(0, len(rows.unreadable), HEAD_ROWS):
            places = ", ".join(map(str, rows.unreadable[start : start + HEAD_ROWS]))
            candidates += self._database.execute(
                f"select file_row_number, {written} from {self._source} where file_row_number in ({places})"
            ).fetchall()
        candidates.sort(key=itemgetter(0))
        return self._exported(candidates)

    def _table(self, condition: str) -> ExportTable:
        columns = ", ".join(self._column(column) for column in self.header.columns)
        rows = self._database.execute(
            f"select file_row_number, {columns} from {self._source} {condition} order by file_row_number"
        ).fetchall()
        return self._exported(rows)

    def _exported(self, rows: Sequence[tuple[Any, ...]]) -> ExportTable:
        """Return a table of rows that begin with their position."""
        places, *data = map(list, zip(*rows, strict=True)) if rows else ([], *([] for _ in self._written))
        return ExportTable(
            self.header.name,
            self.header.columns,
            data,
            [place + 1 for place in places],
            self.header.notes,
            whole_rows=self.header.rows,
        )

    def _column(self, column: str) -> str:
        return name(self._written[column])

    def _class(self, column: str, share: int, loose: bool) -> str:
        if share == 1:
            return "true"
        key = f"{self._column(column)}::varchar"
        if loose:
            key = _loose(f"lower({key})")
        return f"hash({key}) % {share} = 0 and {key} <> ''"

    # ------------------------------------------------------------------ roles

    def reads(self, guess: Guess, side: SideName) -> bool:
        """Report whether SQL reads the columns of the roles exactly as Python does."""
        roles = getattr(guess, side)
        key = guess.key
        if key is None or key.reading == "inside" or "file_row_number" in self._written.values():
            return False
        keys = key.left if side == "left" else key.right
        named = [column for column in (roles.currency, roles.entity) if column]
        return (
            all(self._types[column] in _WHOLE | {"VARCHAR"} for column in keys)
            and all(self._is_amount(self._types[column]) for column in roles.amount.columns)
            and all(
                self._types[column] == "VARCHAR" and len(self._names(column)) <= MAX_NAMES for column in named
            )
            and (not roles.date or self._types[roles.date] in _DAYS)
        )

    def _is_amount(self, kind: str) -> bool:
        return kind in _WHOLE or re.fullmatch(r"DECIMAL\(\d+,\s*\d+\)", kind) is not None

    def readings(self, guess: Guess, side: SideName) -> Sequence[KeyReading]:
        """Return the ways in which SQL may read keys. As written is for one column, and if the first keys are exact."""
        assert guess.key is not None
        columns = guess.key.left if side == "left" else guess.key.right
        if guess.key.reading == "loose" or len(columns) > 1:
            return _OF_ANY_KEY
        key = f"{self._column(columns[0])}::varchar"
        exact = ", ".join(f"not bool_or({self.inexact(reading)})" for reading in _AS_WRITTEN)
        fits = self._database.execute(
            f"select {exact} from (select {key} as k from {self._source} where file_row_number < {HEAD_ROWS})"
        ).fetchone()
        return (*(reading for reading, fit in zip(_AS_WRITTEN, fits, strict=True) if fit), *_OF_ANY_KEY)

    def inexact(self, reading: KeyReading) -> str:
        """Return the SQL of keys `k` that Python may read otherwise.

        A blob as text has escapes for what is not ASCII and for signs of control. So keys as written are exact if they
        have no spaces and all letters are alike; then no two of them are the same key.
        """
        if reading in _AS_WRITTEN:
            return f"encode({_AS_WRITTEN[reading]}(k))::varchar <> k or contains(k, ' ')"
        far = "strlen(k) <> length(k)"
        if reading == "any spaces":
            return far
        return " or ".join([far, *(f"contains(k, chr({code}))" for code in _SPACE_CODES)])

    def _names(self, column: str) -> list[Any]:
        """Return the different values of a column, up to one more than MAX_NAMES."""
        if column not in self._values:
            rows = self._database.execute(
                f"select distinct {self._column(column)} from {self._source} limit {MAX_NAMES + 1}"
            ).fetchall()
            self._values[column] = [value for (value,) in rows]
        return self._values[column]

    def currencies(self, roles: Roles) -> set[str]:
        if roles.constant_currency or not roles.currency:
            return {roles.constant_currency} - {""}
        values = self._names(roles.currency)
        return currencies_of(
            ExportTable(self.header.name, [roles.currency], [values], range(len(values))), roles
        )

    def load(self, guess: Guess, side: SideName, default: str, reading: KeyReading) -> SideRows:
        """Make a view of the rows to be compared."""
        assert guess.key is not None
        roles: Roles = getattr(guess, side)
        keys = guess.key.left if side == "left" else guess.key.right
        entities = {} if side == "left" else {v: k for k, v in guess.entities.items()}
        amount = self._amount(roles, guess.sign if side == "right" else 1)
        day = f"{self._column(roles.date)}::date" if roles.date else "null::date"
        if roles.date and self._types[roles.date] == "DATE":
            day = self._column(roles.date)
        columns = {
            "k": self._key(guess.key, keys, reading),
            "a": amount,
            "c": self._named(roles.currency, lambda value: currency_of(value) or default, default),
            "e": self._named(roles.entity, lambda value: entity_name(value, entities), ""),
            "d": day,
        }
        constants = {n: columns[n] for n in "ce" if columns[n].startswith("'")}
        columns["e"] = f"nullif({columns['e']}, '')"
        carried = {roles.currency: "c"} if roles.currency and "c" in constants else {}
        for column in dict.fromkeys((*keys, *roles.amount.columns, roles.currency, roles.date, roles.entity, roles.fee, roles.tax)):  # fmt: skip
            if not column or column in carried:
                continue
            written = self._column(column)
            # A column that is compared as written is not carried twice.
            same = (n for n, sql in columns.items() if sql in (written, f"nullif({written}::varchar, '')"))
            short = next(same, f"v{len(carried)}")
            columns.setdefault(short, written)
            carried[column] = short
        # Shorter places of rows make the join's memory smaller.
        place = "::uinteger" if self.header.rows < 2**32 else ""
        self._database.execute(f"""
            create or replace view {side}_rows as
            select file_row_number{place} as row, {", ".join(f"{sql} as {n}" for n, sql in columns.items())}
            from {self._source} where {amount} is not null""")
        filled = " or ".join(f"trim({self._column(column)}::varchar, E' \\t\\r\\n') <> ''" for column in keys)
        rows = self._database.execute(
            f"select file_row_number from {self._source} where {amount} is null and ({filled}) order by 1"
        ).fetchall()
        return SideRows([row for (row,) in rows], constants, carried)

    def _key(self, key: KeyGuess, columns: Sequence[str], reading: KeyReading) -> str:
        """Return the match key: that of `key_text` and `loose_text`, for texts in ASCII."""
        parts = []
        for column in columns:
            part = f"{self._column(column)}::varchar"
            if reading in _OF_ANY_KEY:
                part = f"lower({part})"
            if reading == "any spaces":
                part = f"trim(regexp_replace({part}, {text(_SPACES)}, ' ', 'g'), ' ')"
            parts.append(_loose(part) if key.reading == "loose" else part)
        if len(parts) == 1:
            return f"nullif({parts[0]}, '')"
        parts = [f"coalesce({part}, '')" for part in parts]
        filled = " or ".join(f"{part} <> ''" for part in parts)
        return f"case when {filled} then concat_ws(chr(31), {', '.join(parts)}) end"

    def _amount(self, roles: Roles, sign: int) -> str:
        columns = [self._column(column) for column in roles.amount.columns]
        if len(columns) == 2 or sign != 1:
            # The difference of two small whole numbers, or their other sign, may not fit their type.
            columns = [
                f"{column}::DECIMAL(38,0)" if self._types[unique] in _WHOLE else column
                for unique, column in zip(roles.amount.columns, columns, strict=True)
            ]
        amount = columns[0]
        if len(columns) == 2:
            amount = f"case when {columns[0]} is not null or {columns[1]} is not null then coalesce({columns[0]}, 0) - coalesce({columns[1]}, 0) end"
        return amount if sign == 1 else f"-({amount})"

    def _named(self, column: str, reading: Callable[[Any], str], default: str) -> str:
        """Return the reading of a column of few different values; a constant where all rows have the same."""
        if not column:
            return text(default)
        readings: Mapping[Any, str] = {value: reading(value) for value in self._names(column)}
        if len(set(readings.values())) == 1:
            return text(next(iter(readings.values())))
        if all(value == result for value, result in readings.items()):
            return self._column(column)
        cases = " ".join(f"when {text(v)} then {text(r)}" for v, r in readings.items() if v is not None)
        return f"case {self._column(column)} {cases} else {text(reading(None))} end"


def entity_name(value: Any, names: Mapping[str, str]) -> str:
    stripped = str(value).strip() if value is not None else ""
    return names.get(stripped, stripped)


def _loose(key: str) -> str:
    """Return the SQL of a key without punctuation and leading zeros, for a key in small letters."""
    return (
        f"regexp_replace(regexp_replace({key}, '[^a-z0-9]+', '', 'g'), '(^|[^0-9])0+([0-9])', '\\1\\2', 'g')"
    )
