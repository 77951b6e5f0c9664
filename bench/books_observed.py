"""Process of `counterfoil observe` for bench.books: paths in a line of JSON, the result in another."""

from __future__ import annotations

import json
import resource
import sys
import time

import duckdb

from counterfoil.reconcile.observe import observe

order = json.loads(sys.stdin.readline())
began = time.perf_counter()
report = observe(order["left"], order["right"]).data()
print(
    json.dumps(
        {
            "seconds": time.perf_counter() - began,
            "differences": len(report["differences"]) + report["unjudged"],
            "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "version": f"DuckDB {duckdb.__version__}",
        }
    ),
    flush=True,
)
