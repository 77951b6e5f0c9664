"""Comparison of exports that are too large for Python: DuckDB groups and joins, Python judges only what differs."""
