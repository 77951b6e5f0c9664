"""Restate as a peer: its server from npm and its services from PyPI, on free ports and in a temporary folder."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.peers import PROGRAMS, environment
from bench.peers.process import GRACE_SECONDS, wait_for
from tests.postgres_guard import free_port

SERVICE = PROGRAMS / "on_restate.py"
PACKAGE = "@restatedev/restate-server"


class Restate:
    """One server, and `workers` processes that serve its workflows at one address. Raises Unavailable."""

    def __init__(self, workers: int = 1) -> None:
        program = environment.server("restate", PACKAGE)
        python = environment.python("restate")
        self._folder = tempfile.TemporaryDirectory(prefix="counterfoil-restate-")
        self._log = open(Path(self._folder.name) / "log", "wb")  # noqa: SIM115 (as long as the processes)
        self.ingress, admin, node = free_port(), free_port(), free_port()
        # Storage and sync have their defaults; only addresses, telemetry and logging are set.
        settings = {
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{self.ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_LOG_FILTER": "warn",
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        try:
            data = str(Path(self._folder.name) / "data")
            command = [str(program), "--base-dir", data, "--listen-mode", "tcp", "--no-logo"]
            self.server = self._start(command, settings)
            with socket.socket() as listening:
                listening.bind(("127.0.0.1", 0))
                listening.listen(1024)
                address = f"http://127.0.0.1:{listening.getsockname()[1]}"
                served = [str(python), str(SERVICE), f"fd://{listening.fileno()}"]
                self.workers = [self._start(served, {}, listening.fileno()) for _ in range(workers)]
                self._admin = f"http://127.0.0.1:{admin}"
                wait_for(lambda: _answers(f"{self._admin}/health"), "the Restate server", self.output)
                wait_for(lambda: self._registered(address), "the Restate services", self.output)
        except BaseException:
            self.close()
            raise

    def _start(self, command: list[str], settings: dict[str, str], *fds: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=os.environ | settings,
            pass_fds=fds,
        )
        self._processes.append(process)
        return process

    def _registered(self, address: str) -> bool:
        return _answers(f"{self._admin}/deployments", {"uri": address})

    def run(self, runs: int, at_once: int, tag: str, wait: bool = True) -> float:
        """Run this number of workflows and return the seconds until all have ended.

        If `wait` is true, a client's request returns at the end of its workflow; otherwise when its start is durable.
        """
        return asyncio.run(self._run(runs, at_once, tag, wait))

    async def _run(self, runs: int, at_once: int, tag: str, wait: bool) -> float:
        async def all_clients(path: str, method: str = "POST") -> None:
            numbers = iter(range(runs))

            async def one_client() -> None:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.ingress)
                try:
                    for number in numbers:
                        answer = await _ask(reader, writer, method, path.format(f"{tag}-{number}"), number)
                        if not path.endswith("/send") and answer != number + 5:
                            raise RuntimeError(f"Restate answered {answer} for {number}")
                finally:
                    writer.close()

            await asyncio.gather(*(one_client() for _ in range(at_once)))

        began = time.perf_counter()
        if wait:
            await all_clients("/Five/{}/run_five")
        else:
            await all_clients("/Five/{}/run_five/send")
            await all_clients("/restate/workflow/Five/{}/attach", "GET")
        return time.perf_counter() - began

    def send(self, runs: int, outside: int, tag: str) -> None:
        """Start workflows that call the outside system, and do not wait for them."""

        async def all_of_them() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.ingress)
            for number in range(runs):
                await _ask(reader, writer, "POST", f"/Calls/{tag}-{number}/run_calls/send", outside)
            writer.close()

        asyncio.run(all_of_them())

    def kill(self, number: int) -> None:
        """Kill one of the workers, as in a power failure."""
        self.workers[number].kill()
        self.workers[number].wait()

    def output(self) -> str:
        return (Path(self._folder.name) / "log").read_text("utf-8", "replace")[-2000:]

    def close(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()
        self._folder.cleanup()


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, path: str, value: int
) -> Any:
    """Send one request over an open connection. The client is minimal, because it must not affect the figure."""
    body = json.dumps(value).encode() if method == "POST" else b""
    kind = "content-type: application/json\r\n" if body else ""
    head = f"{method} {path} HTTP/1.1\r\nhost: bench\r\n{kind}content-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = next(int(n) for n in _values(answer, b"content-length:"))
    content = await reader.readexactly(length)
    if answer.split()[1] not in (b"200", b"202"):
        raise RuntimeError(f"{path}: {answer.decode()}{content.decode()}")
    return json.loads(content)


def _values(head: bytes, name: bytes) -> Iterator[bytes]:
    for line in head.split(b"\r\n"):
        if line.startswith(name):
            yield line[len(name) :]


def _answers(url: str, body: dict[str, str] | None = None) -> bool:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return 200 <= answer.status < 300
    except (urllib.error.URLError, OSError):
        return False
