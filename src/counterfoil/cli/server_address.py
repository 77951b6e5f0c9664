"""Address of the server that `up` runs in the current folder: other commands of the folder find it there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

ADDRESS_FILE = Path(".counterfoil") / "address"
"""Valid while its writer holds the lock of the file, so the address of an ended server is never used."""
_LOCK_ATTEMPTS = 20
_LOCK_INTERVAL_SECONDS = 0.05


@contextlib.contextmanager
def published(url: str) -> Iterator[None]:
    """Publish an address during the block, unless another server of this folder has published one."""
    with os.fdopen(os.open(ADDRESS_FILE, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        if _locked(file.fileno()):
            file.truncate()
            file.write(url + "\n")
            file.flush()
        yield


def _locked(descriptor: int) -> bool:
    """Lock a file; a reader may hold its lock for an instant."""
    for _ in range(_LOCK_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_INTERVAL_SECONDS)
        else:
            return True
    return False


def published_address() -> str:
    """Return the address of the server that runs in the current folder; empty if none runs."""
    try:
        with ADDRESS_FILE.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().decode("utf-8", "replace").strip()
    except OSError:
        pass
    return ""
