"""Comparison of two Parquet files by datacompy on Polars: paths in a line of JSON, the result in another."""

import json
import re
import sys
import time
import warnings
from pathlib import Path

import datacompy
import polars

warnings.simplefilter("ignore")
order = json.loads(sys.stdin.readline())
began = time.perf_counter()
compare = datacompy.PolarsCompare(
    polars.read_parquet(order["left"]), polars.read_parquet(order["right"]), join_columns=["invoice"]
)
mismatches = compare.all_mismatch()
differences = len(mismatches) + len(compare.df1_unq_rows) + len(compare.df2_unq_rows)
seconds = time.perf_counter() - began
# The peak of this program alone; that of getrusage has the memory of the process that started it.
status = Path("/proc/self/status").read_text()
megabytes = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
print(
    json.dumps(
        {
            "seconds": seconds,
            "differences": differences,
            "megabytes": megabytes,
            "version": f"datacompy {datacompy.__version__}, Polars {polars.__version__}",
        }
    ),
    flush=True,
)
