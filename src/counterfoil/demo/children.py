"""Child programs of this process. Each leads its own process group, writes a log, and ends with this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TAIL_LINES = 25
"""Last lines of a log that the error of a failed program shows."""


class ChildFailed(Exception):
    """Error of a program that ended by itself or did not start; the message ends with the last lines of its log."""


@dataclass
class Child:
    """One program: `python -m module arguments...` with its log. `title` names it in messages."""

    title: str
    module: str
    arguments: Sequence[str]
    log: Path
    cwd: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    _leash: int | None = None
    _log_start_bytes: int = 0

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the program; its output is appended to the log."""
        read_end, write_end = os.pipe()
        leash = [sys.executable, "-m", "counterfoil.demo.leash", str(read_end)]
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._log_start_bytes = os.fstat(descriptor).st_size
        try:
            self.process = subprocess.Popen(
                [*leash, self.module, *self.arguments],
                cwd=self.cwd,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,  # only this process receives Ctrl-C, so it can end its children in order
                pass_fds=(read_end,),
            )
        except BaseException:
            os.close(write_end)
            raise
        finally:
            os.close(read_end)
            os.close(descriptor)
        self._leash = write_end

    async def until(self, ready: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Wait until `ready` returns true. Raises ChildFailed if the program ends before, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check()
            if await ready():
                return
            await asyncio.sleep(0.05)
        raise ChildFailed(f"{self.title} did not answer within {seconds:.0f} s\n{self.tail()}")

    async def finish(self, seconds: float) -> None:
        """Wait for the program to end. Raises ChildFailed if it fails or takes longer than `seconds`."""
        assert self.process is not None
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise ChildFailed(f"{self.title} took longer than {seconds:.0f} s\n{self.tail()}")
            await asyncio.sleep(0.1)
        self.release()
        if self.process.returncode:
            raise ChildFailed(f"{self.title} ended with {self.process.returncode}\n{self.tail()}")

    def check(self) -> None:
        """Raise ChildFailed if the program is not running any more."""
        if not self.running:
            code = None if self.process is None else self.process.returncode
            message = f"{self.title} ended by itself with {code}; its log is {self.log}"
            raise ChildFailed(f"{message}\n{self.tail()}")

    def output(self) -> str:
        """Return what the program has written since its last start."""
        return self.log.read_bytes()[self._log_start_bytes :].decode("utf-8", "replace")

    def tail(self) -> str:
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
        except OSError as error:
            return f"  (its log cannot be read: {error})"
        return "\n".join(f"  | {line}" for line in lines)

    async def stop(self, seconds: float) -> None:
        """Terminate the program with its group; after `seconds`, kill it."""
        if self.process is None:
            return
        self.signal(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
            await asyncio.to_thread(self.process.wait)
        self.release()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program's group if it is running."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def release(self) -> None:
        """Close the leash of an ended program."""
        if self._leash is not None:
            os.close(self._leash)
            self._leash = None


async def listening(port: int) -> bool:
    """Return whether a process accepts connections on this port of 127.0.0.1."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 2)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
