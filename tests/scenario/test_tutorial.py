"""The tutorial's commands run in a shell as written, and must print the shown output."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.source import ROOT

PAGE = ROOT / "docs/tutorial/first-counterfoil.md"
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
        self._bash.stdin.write(f"{block}\necho; echo '{END}' $?\n")
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
            self._bash.communicate(timeout=30)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    missing = [name for name in ("bash", "curl", "openssl") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"the tutorial needs {', '.join(missing)}")
    opened = Shell(tmp_path)
    try:
        yield opened
    finally:
        opened.close()


def page() -> str:
    """Return the tutorial with its two ports replaced by free ones."""
    text = PAGE.read_text("utf-8")
    with socket.socket() as one, socket.socket() as two:
        for sock, port in ((one, "12111"), (two, "8080")):
            sock.bind(("127.0.0.1", 0))
            assert port in text
            text = text.replace(port, str(sock.getsockname()[1]))
    return text


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


@pytest.mark.timeout(900)
def test_the_tutorial_runs_as_written(shell: Shell, tmp_path: Path) -> None:
    text = page()
    blocks = BLOCK.findall(text)
    company = tmp_path / "books" / "company.yaml"
    company.parent.mkdir()
    company.write_text("".join(body for language, body in blocks if language == "yaml"), "utf-8")
    port = re.search(r"counterfoil up books --port (\d+)", text)
    assert port is not None
    shell.type(f"export COUNTERFOIL_URL=http://127.0.0.1:{port[1]}")
    steps = [(language, body) for language, body in blocks if language in ("sh", "text")]
    assert len(steps) > 15
    for number, (language, body) in enumerate(steps):
        if language == "text":
            continue
        printed = shell.type(body)
        if started := re.search(r"--port (\d+) &$", body, re.M):
            wait_for(int(started[1]))
        following = steps[number + 1] if number + 1 < len(steps) else ("", "")
        promised = following[1] if following[0] == "text" else ""
        until = time.monotonic() + TIMEOUT_SECONDS
        while missing := lacking(promised, printed):
            # A read may come too early and is repeated; no other command is.
            assert body.startswith("counterfoil"), f"{body}\nlacks {missing}:\n{printed}"
            assert time.monotonic() < until, f"{body}\nlacks {missing}:\n{printed}"
            time.sleep(0.2)
            printed = shell.type(body)


def test_a_missing_line_is_found() -> None:
    printed = "KEY   STATE\nCR-1  open   120.00 USD\n"
    assert lacking("KEY … STATE\n… open … 120.00 USD", printed) == []
    assert lacking("… matched … 120.00 USD", printed) == ["… matched … 120.00 USD"]
