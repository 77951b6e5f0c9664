"""Stores as SQL text: written from a SQLite file or a PostgreSQL database, loaded into an empty one."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import asyncpg

MOST_BYTES = 450_000


# ------------------------------------------------------------------ SQLite


def sqlite_text(file: Path) -> str:
    """Return a SQLite file as statements. Each row keeps its rowid, which is the order of arrival."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        schema = connection.execute(
            "select type, name, sql from sqlite_schema where sql is not null"
        ).fetchall()
        tables = [(name, sql) for kind, name, sql in schema if kind == "table" and name[:7] != "sqlite_"]
        lines = ["pragma foreign_keys = off;", "begin;"]
        lines += [f"{sql};" for _, sql in tables]
        for name, _ in tables:
            lines += _sqlite_rows(connection, name)
        lines += [f"{sql};" for kind, _, sql in schema if kind != "table"]
        for setting in ("user_version", "application_id"):
            (value,) = connection.execute(f"pragma {setting}").fetchone()
            lines.append(f"pragma {setting} = {value};")
        return "\n".join([*lines, "commit;"]) + "\n"
    finally:
        connection.close()


def _sqlite_rows(connection: sqlite3.Connection, table: str) -> list[str]:
    columns = [row[1] for row in connection.execute(f'pragma table_info("{table}")')]
    names = ", ".join(f'"{name}"' for name in ("rowid", *columns))
    query = connection.execute(f'select {names} from "{table}" order by rowid')
    rows = [f"({','.join(map(_sqlite_value, row))})" for row in query]
    return [f'insert into "{table}" ({names}) values\n' + ",\n".join(rows) + ";"] if rows else []


def _sqlite_value(value: Any) -> str:
    if isinstance(value, bytes):
        text = _utf8(value)
        return f"x'{value.hex()}'" if text is None else f"cast({_quote(text)} as blob)"
    if isinstance(value, str):
        return _quote(value)
    return "null" if value is None else repr(value)


def load_sqlite(text: str, file: Path) -> None:
    """Create the file from its text."""
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        connection.executescript(text)
    finally:
        connection.close()


# ------------------------------------------------------------------ PostgreSQL

_SESSION = re.compile(
    r"^(\\(un)?restrict .*|SET .*|SELECT pg_catalog\.set_config\(.*|--.*)$\n?", re.MULTILINE
)
"""Lines that only psql or one version of the server understands, and comments."""
_ROW_END = "),\n\t("
_INSERT = re.compile(r"^(INSERT INTO [^\n]* VALUES\n\t\()(.*?)\);\n", re.MULTILINE | re.DOTALL)
_BYTES = re.compile(r"'\\x([0-9a-f]+)'")


def postgres_text(pg_dump: Path, dsn: str) -> str:
    """Return a database as statements that any session can execute, made with pg_dump."""
    options = ["--inserts", "--rows-per-insert=1000", "--no-owner", "--no-privileges", "--no-comments"]
    output = subprocess.run([pg_dump, *options, dsn], capture_output=True, text=True, check=True, timeout=60)
    text = re.sub(r"\n{2,}", "\n", _SESSION.sub("", output.stdout)).strip() + "\n"
    return _INSERT.sub(_sort_rows, _BYTES.sub(_postgres_bytes, text))


def _sort_rows(insert: re.Match[str]) -> str:
    """Sort the rows of one statement: their order on the pages differs from run to run and has no meaning."""
    return f"{insert[1]}{_ROW_END.join(sorted(insert[2].split(_ROW_END)))});\n"


def _postgres_bytes(literal: re.Match[str]) -> str:
    text = _utf8(bytes.fromhex(literal[1]))
    return literal[0] if text is None else f"convert_to({_quote(text)}, 'UTF8')"


async def load_postgres(text: str, dsn: str) -> None:
    """Fill an empty database from its text."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(text)
    finally:
        await connection.close()


# ------------------------------------------------------------------ values


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _utf8(value: bytes) -> str | None:
    """Return bytes as their UTF-8 text, which is shorter than hex and can be read; None for other bytes."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if text and text.isprintable() else None
