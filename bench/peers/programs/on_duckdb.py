"""Full outer join of two Parquet files in DuckDB: paths in a line of JSON, the result in another."""

import json
import os
import resource
import sys
import tempfile
import time

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
print(
    json.dumps(
        {
            "seconds": time.perf_counter() - began,
            "differences": sum(row[1] for row in rows),
            "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "version": f"DuckDB {duckdb.__version__}",
        }
    ),
    flush=True,
)
