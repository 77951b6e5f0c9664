"""A peer's process: told what to do line by line over its standard input, ended whatever happens."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

PATIENCE = 300.0
GRACE = 10.0
ROOT = Path(__file__).parents[2]


class Peer:
    """One process in which JSON lines are orders and JSON lines are answers."""

    def __init__(self, command: Sequence[str]) -> None:
        self._log: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
        )

    def tell(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self, patience: float = PATIENCE) -> dict[str, Any]:
        """The next answer. Raises RuntimeError with the process's own words when there is none."""
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], patience)
        line = self.process.stdout.readline() if readable else b""
        if not line:
            raise RuntimeError(f"no answer from {self.process.args!r}: {self.words()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def do(self, **order: Any) -> dict[str, Any]:
        self.tell(**order)
        return self.answer()

    def words(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-2000:]

    def kill(self) -> None:
        """As a power cut would end it."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()


def wait_for(
    condition: Callable[[], bool], what: str, words: Callable[[], str], patience: float = 60.0
) -> None:
    """Raises RuntimeError with the process's own words when `condition` does not become true in time."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come up in {patience:.0f} s: {words()}")
        time.sleep(0.05)
