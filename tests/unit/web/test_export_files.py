"""Exports of many rows: memory does not grow with them, and the totals are exact."""

from __future__ import annotations

import csv
import io
import tracemalloc
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from litestar.response import Stream

from counterfoil.core.money import INT64_MAX, Money
from counterfoil.web.api.export_files import Export, csv_response, statement_lines, xlsx_response
from counterfoil.web.api.export_files import Sums as RunningSums
from counterfoil.web.api.export_tables import PAGE_ROWS, Rows, TableRow

PAGES = 60
MAX_MEMORY_BYTES = 4_000_000
"""Less than a third of what the rows below take."""
EXPORT = Export(
    name="runs", title="Runs", columns=("Document", "Amount", "Currency"), money="Amount", query={"state": "open"},
    as_of=datetime(2026, 12, 3, tzinfo=UTC), release="d" * 64, author="Ann (ann)",
)  # fmt: skip


async def _rows() -> Rows:
    for page in range(PAGES):
        first = page * PAGE_ROWS
        yield [
            TableRow((f"INV-{number}", Decimal("0.01"), "USD", "x" * 1_000), (Money(1, "USD"),))
            for number in range(first, first + PAGE_ROWS)
        ]


async def _length(stream: Stream, keep: list[bytes]) -> int:
    """Read a stream as a client does, without a copy in memory; `keep` has its last chunk."""
    size = 0
    async for chunk in stream.iterator:  # type: ignore[union-attr]
        part = chunk if isinstance(chunk, bytes) else chunk.encode()
        size += len(part)
        keep[:] = [part]
    return size


@pytest.mark.parametrize("respond", [csv_response, xlsx_response])
async def test_memory_does_not_grow_with_the_rows(respond: object) -> None:
    warm = await (csv_response if respond is csv_response else xlsx_response)(EXPORT, _rows())
    last: list[bytes] = []
    await _length(warm, last)
    tracemalloc.start()
    try:
        stream = await (csv_response if respond is csv_response else xlsx_response)(EXPORT, _rows())
        assert await _length(stream, last) > 50_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MAX_MEMORY_BYTES
    if respond is csv_response:
        lines = dict(line[:2] for line in csv.reader(io.StringIO(last[0].decode())) if line)
        assert lines["Rows"] == str(PAGES * PAGE_ROWS)
        assert lines["Total of Amount, USD"] == "120.00"


def test_a_total_is_exact_above_64_bits_and_in_each_currency() -> None:
    sums = RunningSums()
    sums.add([TableRow((), (Money(INT64_MAX, "USD"), Money(5, "JPY"), Money(1_234, "BHD")))] * 3)
    lines = dict(statement_lines(EXPORT, sums))
    assert lines["Total of Amount, USD"] == Decimal(INT64_MAX * 3) / 100
    assert str(lines["Total of Amount, JPY"]) == "15"
    assert str(lines["Total of Amount, BHD"]) == "3.702"
    assert (lines["Rows"], lines["Query"]) == (3, "state: open")
