"""Exports of systems as tables: delimited text, JSON, Parquet, XLSX, and queries of databases."""
