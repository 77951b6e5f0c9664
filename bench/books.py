"""`reconcile_vs_join` and `reconcile_vs_datacompy`: two books in Parquet files, compared whole.

The books are generated and differ in one row of a thousand. Each side of a round is a process of its own, so that its peak of
memory is its own. Its clock starts after its imports. The number of differences must be the planted one on every side.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

import duckdb

from bench.peers import PROGRAMS, environment
from bench.peers.process import Peer

JOIN_ROWS = 10_000_000
DATACOMPY_ROWS = 2_000_000
"""Rows of the books for datacompy, which needs about 1.1 GB for a million. Larger ones were not tried."""
EVERY_ROWS = 4_000
"""Of so many rows one is missing on each side, and two have another amount."""
ANSWER_SECONDS = 1_800.0


class Books:
    """Two books in Parquet files, in different orders. `planted` is the number of their differences."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.planted = rows // EVERY_ROWS * 4
        self._folder = tempfile.TemporaryDirectory(prefix="books-")
        self.left, self.right = (
            Path(self._folder.name) / f"{name}.parquet" for name in ("billing", "ledger")
        )
        columns = (
            "'INV-' || lpad((hash(i) % 1000000000000)::varchar, 12, '0') || '-' || i as invoice, "
            "{amount} as amount, 'EUR' as currency, date '2026-01-01' + (i % 330)::int as booked"
        )
        amount = "(((hash(i * 7) % 1000000)::bigint - 20000)::decimal(18, 2) / 100)::decimal(18, 2)"
        other = f"case when i % {EVERY_ROWS // 2} = 2 then {amount} + 0.37 else {amount} end::decimal(18, 2)"
        with duckdb.connect() as database:
            for path, figure, missing, order in (
                (self.left, amount, 0, ""),
                (self.right, other, 1, "order by hash(i)"),
            ):
                database.execute(
                    f"copy (select {columns.format(amount=figure)} from range({rows}) t(i) "
                    f"where i % {EVERY_ROWS} <> {missing} {order}) to '{path}' (format parquet, compression zstd)"
                )

    def close(self) -> None:
        self._folder.cleanup()


class _Reconcile:
    """Seconds of `counterfoil observe` against those of a peer."""

    unit = "seconds"
    peer = ""
    target: str | None = None

    def __init__(self, rows: int) -> None:
        self.books = Books(rows)
        self._peaks: dict[str, list[float]] = {"ours": [], "peer": []}
        self._versions: dict[str, str] = {}

    def ours(self) -> float:
        return self._run("ours", [sys.executable, "-m", "bench.books_observed"])

    def against(self) -> float:
        return self._run("peer", self.command())

    def command(self) -> list[str]:
        raise NotImplementedError

    def _run(self, side: str, command: list[str]) -> float:
        peer = Peer(command)
        try:
            peer.send(left=str(self.books.left), right=str(self.books.right))
            answer = peer.answer(ANSWER_SECONDS)
        finally:
            peer.close()
        if answer["differences"] != self.books.planted:
            raise ValueError(
                f"{side}: {answer['differences']} differences, and {self.books.planted} were planted"
            )
        self._peaks[side].append(answer["megabytes"])
        self._versions[side] = answer["version"]
        return float(answer["seconds"])

    def note(self) -> str:
        return (
            f"{self.books.rows:,} rows on each side, {self.books.planted:,} differences planted and named. Ours guesses the "
            f"columns, compares amount, currency and day, and names causes. Peak memory of the process: "
            f"{median(self._peaks['ours']):,.0f} MB, {median(self._peaks['peer']):,.0f} MB for the peer. "
            f"{self._versions['ours']}; the peer has {self._versions['peer']}."
        )

    def close(self) -> None:
        self.books.close()


class ReconcileVsJoin(_Reconcile):
    """The whole comparison, relative to one join that names nothing."""

    peer = "a full outer join of the same Parquet files in DuckDB that counts other amounts"
    target = "<= 1.5 x"

    def __init__(self, rows: int = JOIN_ROWS) -> None:
        super().__init__(rows)

    def command(self) -> list[str]:
        return [sys.executable, str(PROGRAMS / "on_duckdb.py")]

    def met(self, ours: float, ratio: float) -> bool:
        return ratio <= 1.5


class ReconcileVsDatacompy(_Reconcile):
    """The whole comparison, relative to datacompy on Polars."""

    peer = "datacompy on Polars"
    target = "<= 0.2 x"

    def __init__(self, rows: int = DATACOMPY_ROWS) -> None:
        super().__init__(rows)

    def command(self) -> list[str]:
        return [str(environment.python("datacompy")), str(PROGRAMS / "on_datacompy.py")]

    def met(self, ours: float, ratio: float) -> bool:
        return ratio <= 0.2
