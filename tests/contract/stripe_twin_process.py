"""Starts the Stripe twin as its own process on a free port, and a receiver of its webhooks."""

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
from random import Random
from typing import Any

import stripe

from tests.patience import PATIENCE_SECONDS

KEY = "sk_test_for_tests_only"


@dataclass
class Twin:
    """A running twin. `call` and `control` are plain HTTP; `client` is the vendor's own library."""

    port: int
    state: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(
        self, method: str, path: str, body: str = "", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            given = {"content-type": "application/x-www-form-urlencoded", "authorization": f"Bearer {KEY}"}
            connection.request(method, path, body.encode(), {**given, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: str = "", headers: dict[str, str] | None = None) -> Any:
        status, _, answer = self.call(method, path, body, headers)
        assert status == 200, answer
        return json.loads(answer)

    def all(self, path: str) -> list[Any]:
        """Return the objects of all pages of a list, newest first."""
        rows: list[Any] = []
        while True:
            after = f"&starting_after={rows[-1]['id']}" if rows else ""
            page = self.json("GET", f"/v1/{path}{'&' if '?' in path else '?'}limit=100{after}")
            rows += page["data"]
            if not page["has_more"]:
                return rows

    def any(self, path: str, chance: Random) -> str:
        """Return the id of one of the newest objects of a list, or one that does not exist."""
        rows = self.json("GET", f"/v1/{path}?limit=12")["data"]
        return str(chance.choice(rows)["id"]) if rows else "none"

    def control(self, method: str, name: str, body: Any = None) -> Any:
        text = "" if body is None else json.dumps(body)
        status, _, answer = self.call(method, f"/_twin/{name}", text)
        assert status == 200, answer
        return json.loads(answer)

    def fault(self, kind: str, **more: Any) -> None:
        self.control("POST", "faults", {"kind": kind, **more})

    def client(self, key: str = KEY) -> stripe.StripeClient:
        return stripe.StripeClient(key, base_addresses={"api": self.url}, max_network_retries=0)

    def wait_for_deliveries(self, seconds: float = 10.0) -> list[dict[str, Any]]:
        """The delivery log once nothing more is due now."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            log: list[dict[str, Any]] = self.control("GET", "deliveries")
            now = self.control("GET", "state")["clock"]
            if not any(one["state"] == "waiting" and one["due"] <= now + 2 for one in log):
                return log
            time.sleep(0.02)
        raise AssertionError("deliveries are still going on")


@contextlib.contextmanager
def running_twin(state: Path, *more: str) -> Iterator[Twin]:
    command = [sys.executable, "-m", "counterfoil.twins.stripe", "--port", "0", "--state", str(state)]
    process = subprocess.Popen(
        [*command, "--secret", KEY, "--seed", "7", *more], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("stripe twin on http://127.0.0.1:"), line
        yield Twin(int(line.strip().rsplit(":", 1)[1]), state)
    finally:
        process.kill()
        process.wait(timeout=PATIENCE_SECONDS)
        process.stdout.close()


@dataclass
class Hooks:
    """Received webhooks as (headers with lower-case names, raw body); `answers` are the next statuses."""

    url: str = ""
    got: queue.Queue[tuple[dict[str, str], bytes]] = field(default_factory=queue.Queue)
    answers: list[int] = field(default_factory=list)

    def next(self, seconds: float = 10.0) -> tuple[dict[str, str], bytes]:
        return self.got.get(timeout=seconds)

    def all(self) -> list[dict[str, Any]]:
        """The events that have come so far."""
        events = []
        while not self.got.empty():
            events.append(json.loads(self.got.get()[1]))
        return events


@contextlib.contextmanager
def receiving() -> Iterator[Hooks]:
    hooks = Hooks()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            hooks.got.put(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(hooks.answers.pop(0) if hooks.answers else 202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    hooks.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hooks
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
