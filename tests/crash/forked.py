"""Processes of Counterfoil that skip the imports: each start is a fork of one process that has made them.

A kill round starts Counterfoil again, and most of a start is reading modules. Run as a program this file is the
nursery: told a command on its standard input it forks a child for it, with its own working folder, environment and log;
it says when one has ended, and ends all of them when its input closes. The children live and die like any other process.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from tests.companies.acme import Program
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]


class Nursery:
    """The process that forks, and what it has said. `close` ends it and every child."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.forked"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        self._said = threading.Condition()
        self._born: list[int] = []
        self._codes: dict[int, int] = {}
        self._asking = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def fork(self, command: Sequence[str], home: Path, log: Path, environment: Mapping[str, str]) -> int:
        """Start a child; its process id."""
        order = {"command": [*command], "home": str(home), "log": str(log), "environment": dict(environment)}
        with self._asking, self._said:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            if not self._said.wait_for(lambda: self._born, timeout=PATIENCE_SECONDS):
                raise RuntimeError("the nursery does not answer")
            return self._born.pop()

    def code(self, pid: int, timeout: float = 0.0) -> int | None:
        """The exit code of a child, waited for so long; None while it runs."""
        with self._said:
            self._said.wait_for(lambda: pid in self._codes, timeout)
            return self._codes.get(pid)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_SECONDS)
        self._reader.join(10)
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, *numbers = line.split()
            with self._said:
                if word == "born":
                    self._born.append(int(numbers[0]))
                else:
                    self._codes[int(numbers[0])] = int(numbers[1])
                self._said.notify_all()


class Forked(Program):
    """A Program whose command is given to tests.crash.process."""

    def __init__(
        self, nursery: Nursery, name: str, command: Sequence[str], port: int, home: Path,
        environment: Mapping[str, str],
    ) -> None:  # fmt: skip
        super().__init__(name, command, port, home, environment)
        self._nursery = nursery
        self.command = list(command)

    def start(self, *more: str) -> None:
        pid = self._nursery.fork([*self.command, *more], self.home, self.log, self.environment)
        self.process = cast("subprocess.Popen[bytes]", _Child(self._nursery, pid))


class _Child:
    """What Program asks of a process."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid

    def poll(self) -> int | None:
        return self._nursery.code(self.pid)

    def wait(self, timeout: float | None = None) -> int:
        code = self._nursery.code(self.pid, 60.0 if timeout is None else timeout)
        if code is None:
            raise subprocess.TimeoutExpired("forked", timeout or 60.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and that is on its way here
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


# ------------------------------------------------------------------ the nursery itself


def main() -> None:
    """Fork on request until the input closes. A forked child returns into its command and never comes back here."""
    from counterfoil.web.http import server  # noqa: F401  what every child needs, read once
    from tests.crash import process

    gc.freeze()  # what is imported stays: no child need search it for garbage, or copy its pages
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes)
    children: set[int] = set()
    orders = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _report(children)
        if 0 in ready:
            got = os.read(0, 65536)
            if not got:
                break
            orders += got
            while b"\n" in orders:
                line, orders = orders.split(b"\n", 1)
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    os.close(woken)
                    os.close(wakes)
                    _become(json.loads(line))
                    return process.main(json.loads(line)["command"])
                children.add(pid)
                os.write(1, f"born {pid}\n".encode())
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return None


def _report(children: set[int]) -> None:
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            children.discard(pid)
            os.write(1, f"ended {pid} {os.waitstatus_to_exitcode(status)}\n".encode())


def _become(order: Mapping[str, Any]) -> None:
    """What an ordinary start of the command would have made of this process."""
    os.chdir(order["home"])
    os.environ.update(order["environment"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for there, here in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(there, here)
    os.close(nothing)
    os.close(log)


if __name__ == "__main__":
    main()
