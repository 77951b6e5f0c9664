"""Shell that runs the commands of a page as written, and the comparison of their output with the page."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.patience import PATIENCE_SECONDS

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
END = "-- end of block --"
TIMEOUT_SECONDS = 90.0


class Shell:
    """Bash process that keeps variables and jobs between blocks. Blocks do not wait for each other's output."""

    def __init__(self, folder: Path) -> None:
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("COUNTERFOIL_")}
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env={**environment, "PATH": programs},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def type(self, block: str) -> str:
        """Run a block and return its output. Raises AssertionError if its last command fails."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{block}\nprintf '\\n%s %s\\n' '{END}' \"$?\"\n")
        self._bash.stdin.flush()
        printed = []
        for line in self._bash.stdout:
            if line.startswith(END):
                assert line.split()[-1] == "0", f"this failed:\n{block}\n{''.join(printed)}"
                return "".join(printed)
            printed.append(line)
        raise AssertionError(f"the shell ended in:\n{block}\n{''.join(printed)}")

    def close(self) -> None:
        """End the shell with its child processes."""
        try:
            os.killpg(self._bash.pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        finally:
            self._bash.communicate(timeout=PATIENCE_SECONDS)


def lacking(expected: str, printed: str) -> list[str]:
    """Return the promised lines that were not printed; `…` matches any text within a line."""
    lines = [" ".join(line.split()) for line in printed.splitlines()]

    def printed_line(promise: str) -> bool:
        parts = [re.escape(" ".join(part.split())) for part in promise.split("…")]
        return any(re.search(".*".join(parts), line) for line in lines)

    return [promise for promise in expected.splitlines() if promise.strip() and not printed_line(promise)]


def listening(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def wait_for(port: int) -> None:
    until = time.monotonic() + TIMEOUT_SECONDS
    while not listening(port):
        assert time.monotonic() < until, f"nothing listens on port {port}"
        time.sleep(0.05)
