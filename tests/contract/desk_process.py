"""Starts the demonstration's help desk as its own process on a free port and ends it."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from counterfoil.demo.ports import free_port
from tests.patience import PATIENCE_SECONDS

DESK = [sys.executable, "-m", "counterfoil.demo.desk"]


@dataclass
class Hook:
    """A receiver of callbacks; `calls` yields (headers with lower-case names, raw body)."""

    url: str = ""
    calls: queue.Queue[tuple[dict[str, str], bytes]] = field(default_factory=queue.Queue)

    def wait(self, seconds: float = 10.0) -> tuple[dict[str, str], bytes]:
        return self.calls.get(timeout=seconds)


@contextlib.contextmanager
def receiving_hook() -> Iterator[Hook]:
    hook = Hook()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            hook.calls.put(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    hook.url = f"http://127.0.0.1:{server.server_port}/v1/receipts/desk"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Desk:
    folder: Path
    url: str
    hook: Hook
    seed: dict[str, Any]

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1].split("/")[0])


def prepare(folder: Path, port: int, hook: str, *more: str) -> None:
    command = [*DESK, "prepare", "--dir", str(folder), "--port", str(port), "--hook", hook, *more]
    subprocess.run(command, check=True, timeout=PATIENCE_SECONDS)


@contextlib.contextmanager
def serving(folder: Path, port: int, *more: str) -> Iterator[None]:
    command = [*DESK, "serve", "--dir", str(folder), "--port", str(port), *more]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("GET", "/desk/")
                connection.getresponse().read()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            finally:
                connection.close()
        yield
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_SECONDS)


@contextlib.contextmanager
def running_desk(folder: Path) -> Iterator[Desk]:
    port = free_port()
    with receiving_hook() as hook:
        prepare(folder, port, hook.url, "--today", "2026-03-31")
        with serving(folder, port):
            seed = json.loads((folder / "seed.json").read_text())
            yield Desk(folder, seed["url"], hook, seed)
