"""Ownership of a SQLite file: one process at a time, by every name that the file has.

Two locks are held while the store is open. That on the database file belongs to its device and inode, so a hard link or
a symbolic link is the same file. That on `PATH.lock` belongs to the name, because the write-ahead log does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import sys
import zlib
from pathlib import Path

import apsw

from counterfoil.core.errors import Misconfigured

_OPEN: set[tuple[int, int]] = set()
"""Device and inode of the files that this process owns.

Closing any descriptor of such a file ends the locks that SQLite has on it for the whole process, so it is not opened
again.
"""
_HEADER_USER_VERSION = 60
"""Offset of `user_version` in the header of a database file: https://www.sqlite.org/fileformat.html."""
_FLOCK = "hhqqi4x"
"""Layout of `struct flock` on 64-bit Linux: type, origin, start, length, process."""


class FileOwnership:
    """The locks on a SQLite file. Raises Misconfigured when another process has it, naming that process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptors: list[int] = []
        inode = _inode(path)
        if inode in _OPEN:
            raise _owned(path, os.getpid())
        try:
            database = self._lock(path)
            self._check_name(database)
            _close_to_others(path)
            name = self._lock(_name_lock(path))
        except BaseException:
            self._close()
            raise
        os.ftruncate(name, 0)
        os.write(name, f"{os.getpid()}\n".encode())
        status = os.fstat(database)
        self._inode = (status.st_dev, status.st_ino)
        _OPEN.add(self._inode)

    def release(self) -> None:
        """End the locks, after all connections are closed."""
        _OPEN.discard(self._inode)
        self._close()

    def remember_name(self, connection: apsw.Connection) -> None:
        """Write the mark of this name into the database file itself, if it has another."""
        if connection.pragma("user_version") != _mark(self.path):
            connection.pragma("user_version", _mark(self.path))
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def _lock(self, path: Path) -> int:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Misconfigured(f"{self.path} cannot be opened: {error.strerror}: {path}") from error
        self._descriptors.append(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise _owned(self.path, _holder(self.path, descriptor)) from None
        return descriptor

    def _check_name(self, database: int) -> None:
        """Refuse a file with several names under another one than the last: commits may be in the log of that name."""
        mark = int.from_bytes(os.pread(database, 4, _HEADER_USER_VERSION))
        if os.fstat(database).st_nlink > 1 and mark not in (0, _mark(self.path)):
            raise Misconfigured(
                f"{self.path} has several names (hard links) and was last used under another one, where its latest "
                "commits may be. Use that name, or remove the other names first."
            )

    def _close(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()


def owner(path: Path) -> int | None:
    """Return the id of the process that has this file open under any name: 0 if unknown, None if there is none."""
    inode = _inode(path)
    if inode is None:
        return None
    if inode in _OPEN:
        return os.getpid()
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _holder(path, descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def _close_to_others(path: Path) -> None:
    """Let only the owner read the store: it holds hashes of passwords and tokens, and money."""
    for suffix in ("", "-wal", "-shm"):
        file = path.with_name(path.name + suffix)
        with contextlib.suppress(FileNotFoundError, PermissionError):
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)


def _mark(path: Path) -> int:
    """Return a positive number of 31 bits for the name of a file."""
    return zlib.crc32(os.path.realpath(path).encode(errors="surrogateescape")) >> 1 or 1


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _holder(path: Path, descriptor: int) -> int:
    """Return the process that has the database open; 0 if unknown.

    SQLite has its own lock on the file, and the system knows whose it is. Elsewhere the lock file of this name says it.
    """
    if sys.platform == "linux":
        query = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        process: int = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, query))[4]
        if process:
            return process
    try:
        return int(_name_lock(Path(os.path.realpath(path))).read_text())
    except (OSError, ValueError):
        return 0


def _name_lock(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _owned(path: Path, process: int) -> Misconfigured:
    return Misconfigured(
        f"{path} is open in process {process or 'unknown'}, under this or another name: one process owns a SQLite store. "
        "Talk to that server, stop it first, or use PostgreSQL for several processes."
    )
