"""Index of the rows of a book: equal rows are counted, and of several versions of a record the last one is marked.

It lies in a scratch database that spills to disk, so a book of any size needs little memory. It holds no content.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import apsw

CACHE_BYTES = 8 * 1024 * 1024
_TABLES = """
pragma journal_mode = off; pragma synchronous = off; pragma temp_store = file;
create table latest (key blob primary key, file integer, row integer, place integer) without rowid;
create table equal (key blob primary key, file integer, count integer) without rowid;
create table mark (file integer, row integer, repeat integer, superseded integer, primary key (file, row)) without rowid;
"""
_PUT = "insert into latest values (?, ?, ?, ?) on conflict do nothing"
_LATEST = "select file, row, place from latest where key = ?"
_MOVE = "update latest set file = ?, row = ?, place = ? where key = ?"
_MARK = """insert into mark values (?, ?, ?, ?) on conflict (file, row)
do update set superseded = superseded or excluded.superseded"""
_COUNT = """insert into equal values (?, ?, 0) on conflict (key)
do update set count = case when file = excluded.file then count + 1 else 0 end, file = excluded.file returning count"""
_MARKS = "select row, repeat, superseded from mark where file = ? and row >= ? and row < ?"


class RowMark(NamedTuple):
    """Mark of a row: the number of equal rows before it in its file, and whether a later file shows its record again."""

    repeat: int = 0
    is_superseded: bool = False


class RowIndex:
    """Rows are added file by file, in the order of the files and of their rows."""

    def __init__(self) -> None:
        self._database = apsw.Connection("")
        self._database.execute(f"pragma cache_size = -{CACHE_BYTES // 1024};{_TABLES}").fetchall()
        self._database.execute("begin")

    def add_record(self, key: str, file: int, row: int, place: int) -> int | None:
        """Add a row with an id. Return the place of another row of the same file with this id, else None."""
        return self._put(hashlib.blake2b(key.encode(), digest_size=16).digest(), file, row, place)

    def add_content(self, digest: str, file: int, row: int, place: int) -> None:
        """Add a row without an id, by the digest of its content."""
        content = bytes.fromhex(digest)
        ((repeat,),) = self._database.execute(_COUNT, (content, file))
        if repeat:
            self._database.execute(_MARK, (file, row, repeat, False))
        self._put(content + repeat.to_bytes(8, "big"), file, row, place)

    def _put(self, key: bytes, file: int, row: int, place: int) -> int | None:
        self._database.execute(_PUT, (key, file, row, place))
        if self._database.changes():
            return None
        ((former, at, where),) = self._database.execute(_LATEST, (key,))
        if former == file:
            return int(where)
        self._database.execute(_MARK, (former, at, 0, True))
        self._database.execute(_MOVE, (file, row, place, key))
        return None

    def marks(self, file: int, start: int, end: int) -> dict[int, RowMark]:
        """Return the marks of the rows from `start` to before `end`; most rows have none."""
        rows = self._database.execute(_MARKS, (file, start, end))
        return {row: RowMark(repeat, bool(superseded)) for row, repeat, superseded in rows}

    def close(self) -> None:
        self._database.close()
