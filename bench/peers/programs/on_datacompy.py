"""Comparison of two Parquet files by datacompy on Polars: paths in a line of JSON, the result in another."""

import json
import resource
import sys
import time
import warnings

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
print(
    json.dumps(
        {
            "seconds": time.perf_counter() - began,
            "differences": differences,
            "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "version": f"datacompy {datacompy.__version__}, Polars {polars.__version__}",
        }
    ),
    flush=True,
)
