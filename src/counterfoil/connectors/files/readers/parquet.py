"""Parquet, read as a stream of rows. Decimals keep their scale; times with a zone are in UTC."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from counterfoil.connectors.files.reader import FileRefused, SourceRow, check_header
from counterfoil.connectors.files.settings import BookFiles
from counterfoil.connectors.row_deliveries import RowRefused, exact_value

BATCH_ROWS = 2_000
MEMORY_LIMIT = "256MB"
_SOURCE = "from read_parquet(?, hive_partitioning = false)"


class ParquetReader:
    """Reads rows in the order of the file."""

    unit = "row"
    is_typed = True

    def rows(self, path: Path, book: BookFiles) -> Iterator[SourceRow]:
        import duckdb

        # A name is a pattern to the library; brackets make each character stand for itself.
        name = re.sub(r"([*?\[])", r"[\1]", str(path))
        try:
            with duckdb.connect(config={"threads": 1, "memory_limit": MEMORY_LIMIT}) as database:
                columns = database.execute(f"{_SOURCE} limit 0", [name]).description
                names = [column[0] for column in columns]
                check_header(path.name, names, book)
                zoned = [column[0].replace('"', '""') for column in columns if "TIME ZONE" in str(column[1])]
                in_utc = ", ".join(
                    f"""strftime(timezone('UTC', "{zone}"), '%Y-%m-%dT%H:%M:%S.%fZ') as "{zone}\""""
                    for zone in zoned
                )
                database.execute(_SOURCE + (f" select * replace ({in_utc})" if zoned else ""), [name])
                place = 0
                while batch := database.fetchmany(BATCH_ROWS):
                    for cells in batch:
                        place += 1
                        yield SourceRow(place, dict(zip(names, map(exact_value, cells), strict=True)))
        except duckdb.Error as error:
            first = str(error).splitlines()[0]
            raise FileRefused(f"{path.name} is no complete Parquet file: {first}") from None
        except RowRefused as error:
            raise FileRefused(f"{path.name}, row {place + 1}: {error}") from None
