"""Programs started beside this one: each leads a group of its own, writes a log, and ends when this process ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TAIL = 25
"""Lines of a log that are shown when its program has failed."""


class ChildFailed(Exception):
    """A program ended by itself or did not come up; the message ends with the last lines of its log."""


@dataclass
class Child:
    """One program: `python -m module arguments...` with its log. `title` is what people call it."""

    title: str
    module: str
    arguments: Sequence[str]
    log: Path
    cwd: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    _leash: int | None = None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it; its output is appended to the log."""
        held, kept = os.pipe()
        command = [sys.executable, "-m", "counterfoil.demo.leash", str(held), self.module, *self.arguments]
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self.process = subprocess.Popen(
                command,
                cwd=self.cwd,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,  # the terminal's Ctrl-C reaches us alone, and we end it in order
                pass_fds=(held,),
            )
        except BaseException:
            os.close(kept)
            raise
        finally:
            os.close(held)
            os.close(descriptor)
        self._leash = kept

    async def until(self, ready: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Wait until it answers. Raises ChildFailed when it ends before that, or takes longer."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check()
            if await ready():
                return
            await asyncio.sleep(0.05)
        raise ChildFailed(f"{self.title} did not answer within {seconds:.0f} s\n{self.tail()}")

    async def finish(self, seconds: float) -> None:
        """Wait for a program that has something to do and then ends. Raises ChildFailed unless it ends well."""
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
        """Raise ChildFailed when it is not running any more."""
        if not self.running:
            code = None if self.process is None else self.process.returncode
            raise ChildFailed(
                f"{self.title} ended by itself with {code}; its log is {self.log}\n{self.tail()}"
            )

    def tail(self) -> str:
        """The last lines of its log."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
        except OSError as error:
            return f"  (its log cannot be read: {error})"
        return "\n".join(f"  | {line}" for line in lines)

    async def stop(self, seconds: float) -> None:
        """End it: asked first, with its group, and made to after `seconds`."""
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
        """Send a signal to its group, if it is running."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def release(self) -> None:
        """Let go of the leash of a program that has ended."""
        if self._leash is not None:
            os.close(self._leash)
            self._leash = None


def free(port: int) -> bool:
    """Whether a port of 127.0.0.1 can be listened on now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_ports(names: Sequence[str], kept: Mapping[str, int]) -> dict[str, int]:
    """A port for each name: the kept one while it is free, otherwise another that is."""
    chosen: dict[str, int] = {}
    with contextlib.ExitStack() as held:
        for name in names:
            if name in kept and free(kept[name]) and kept[name] not in chosen.values():
                chosen[name] = kept[name]
                continue
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            chosen[name] = probe.getsockname()[1]
    return chosen


async def listening(port: int) -> bool:
    """Whether something accepts connections on a port of 127.0.0.1."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 2)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
