"""Full outer join of two Parquet files in DuckDB: paths in a line of JSON, the result in another."""

import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import duckdb

order = json.loads(sys.stdin.readline())
began = time.perf_counter()
with (
    tempfile.TemporaryDirectory() as folder,
    duckdb.connect(
        config={
            "memory_limit": "2000MB",
            "temp_directory": os.path.join(folder, "t"),
            "preserve_insertion_order": False,
        }
    ) as database,
):
    rows = database.execute(
        f"""select case when r.amount is null then 'missing right' when l.amount is null then 'missing left' else 'amount' end,
            count(*), sum(coalesce(l.amount, 0) - coalesce(r.amount, 0))
        from '{order["left"]}' l full outer join '{order["right"]}' r on l.invoice = r.invoice
        where l.amount is distinct from r.amount group by 1"""
    ).fetchall()
seconds = time.perf_counter() - began
# The peak of this program alone; that of getrusage has the memory of the process that started it.
status = Path("/proc/self/status").read_text()
megabytes = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
print(
    json.dumps(
        {
            "seconds": seconds,
            "differences": sum(row[1] for row in rows),
            "megabytes": megabytes,
            "version": f"DuckDB {duckdb.__version__}",
        }
    ),
    flush=True,
)
