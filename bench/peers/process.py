"""Process of a peer. It takes orders line by line over standard input, and is always terminated."""

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

TIMEOUT_SECONDS = 300.0
GRACE_SECONDS = 10.0
ROOT = Path(__file__).parents[2]


class Peer:
    """Process with JSON lines as orders and JSON lines as answers."""

    def __init__(self, command: Sequence[str]) -> None:
        self._log: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
        )

    def send(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self, timeout: float = TIMEOUT_SECONDS) -> dict[str, Any]:
        """Return the next answer. Raises RuntimeError with the process's output if there is none."""
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], timeout)
        line = self.process.stdout.readline() if readable else b""
        if not line:
            raise RuntimeError(f"no answer from {self.process.args!r}: {self.output()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def do(self, **order: Any) -> dict[str, Any]:
        self.send(**order)
        return self.answer()

    def output(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-2000:]

    def kill(self) -> None:
        """Kill the process, as in a power failure."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()


def wait_for(
    condition: Callable[[], bool], what: str, output: Callable[[], str], timeout: float = 60.0
) -> None:
    """Wait for `condition`. Raises RuntimeError with the process's output if it does not become true in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not start within {timeout:.0f} s: {output()}")
        time.sleep(0.05)
