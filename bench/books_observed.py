"""Process of `counterfoil observe` for bench.books: paths in a line of JSON, the result in another."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import duckdb

from counterfoil.reconcile.observe import observe

order = json.loads(sys.stdin.readline())
began = time.perf_counter()
report = observe(order["left"], order["right"]).data()
seconds = time.perf_counter() - began
# The peak of this program alone; that of getrusage has the memory of the process that started it.
status = Path("/proc/self/status").read_text()
megabytes = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
print(
    json.dumps(
        {
            "seconds": seconds,
            "differences": len(report["differences"]) + report["unjudged"],
            "megabytes": megabytes,
            "version": f"DuckDB {duckdb.__version__}",
        }
    ),
    flush=True,
)
