"""The outside systems of the house, one process: `python -m tests.crash.house_systems PORT FILE [--seconds S]`.

What they are told is in FILE (SQLite, synchronous) before they answer. `/charges` remembers idempotency keys,
`/documents` refuses a second reference, `/entries` takes everything and shows it, `/letters` takes everything and shows
nothing. Every write takes S seconds, the last part after its commit. Nothing here knows of Counterfoil.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "tok-for-tests-only"
OBJECTS = ("charges", "documents", "entries", "letters")
SCHEMA = """
create table if not exists made(
  sequence integer primary key, kind text not null, reference text not null, credit text not null,
  customer text not null, cents integer not null, at text not null, answered text not null);
create index if not exists made_reference on made(kind, reference);
create table if not exists request(
  sequence integer primary key, id text unique not null, body text not null);
"""


class Refusal(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class Systems:
    """Their one file, and what they do with a request."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript("pragma journal_mode = wal; pragma synchronous = full;" + SCHEMA)
        self._lock = threading.Lock()
        self._seconds = seconds

    def answer(self, method: str, target: str, key: str | None, body: bytes) -> tuple[int, Any]:
        place = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(place.query).items()}
        match method, place.path.strip("/").split("/"):
            case "POST", ["requests"]:
                return 201, self._ask(json.loads(body))
            case "POST", [kind] if kind in OBJECTS:
                time.sleep(self._seconds / 2)
                with self._lock:
                    status, made = self._make(kind, key, json.loads(body))
                time.sleep(self._seconds / 2)
                return status, made
            case "GET", ["documents", reference]:
                found = self._list("kind = 'documents' and reference = ?", reference)
                if not found:
                    raise Refusal(404, "not_found")
                return 200, found[0]
            case "GET", ["charges" | "entries" as kind]:
                return 200, {"data": self._list("kind = ? and reference = ?", kind, query["reference"])}
            case "GET", ["postings"]:
                rows = self._list(
                    "kind = 'documents' and sequence > ? order by sequence limit ?",
                    int(query.get("after", 0)), int(query.get("size", 100)),
                )  # fmt: skip
                return 200, {"data": [{**row, "kind": "credit.posted"} for row in rows]}
            case "GET", ["requests"]:
                return 200, {"data": self._requests(int(query.get("after", 0)), int(query.get("size", 100)))}
        raise Refusal(404, "no_such_place")

    def _make(self, kind: str, key: str | None, given: dict[str, Any]) -> tuple[int, Any]:
        reference = given["reference"]
        if kind == "charges":
            if not key:
                raise Refusal(400, "no_key")
            before = self._list("kind = ? and answered = ?", kind, key)
            if before and any(before[0][name] != given[name] for name in ("credit", "cents")):
                raise Refusal(422, "key_reused")
            if before:
                return 201, before[0]
        if kind == "documents" and self._list("kind = ? and reference = ?", kind, reference):
            raise Refusal(409, "duplicate_reference")
        now = datetime.now(UTC).isoformat()
        row = (kind, reference, given["credit"], given["customer"], given["cents"], now, key or "")
        made = self._db.execute(
            "insert into made(kind, reference, credit, customer, cents, at, answered) values (?,?,?,?,?,?,?)",
            row,
        )
        return 201, self._list("sequence = ?", made.lastrowid)[0]

    def _list(self, where: str, *values: Any) -> list[dict[str, Any]]:
        rows = self._db.execute(
            f"select sequence, kind, reference, credit, customer, cents, at from made where {where}",
            values,
        ).fetchall()
        names = ("sequence", "kind", "reference", "credit", "customer", "cents", "at")
        return [
            {**dict(zip(names, row, strict=True)), "id": f"{row[1][:3]}-{row[0]}", "revision": 1}
            for row in rows
        ]

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        asked = {**request, "kind": "credit.requested", "revision": 1, "at": datetime.now(UTC).isoformat()}
        with self._lock:
            self._db.execute("insert into request(id, body) values (?, ?)", (asked["id"], json.dumps(asked)))
        return asked

    def _requests(self, after: int, size: int) -> list[dict[str, Any]]:
        rows = self._db.execute(
            "select sequence, body from request where sequence > ? order by sequence limit ?", (after, size)
        ).fetchall()
        return [{**json.loads(body), "sequence": sequence} for sequence, body in rows]


def serve(port: int, systems: Systems) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("content-length", 0))))

        def _answer(self, body: bytes) -> None:
            try:
                if self.headers.get("authorization") != f"Bearer {TOKEN}":
                    raise Refusal(401, "who_are_you")
                status, value = systems.answer(
                    self.command, self.path, self.headers.get("idempotency-key"), body
                )
            except Refusal as refusal:
                status, value = refusal.status, {"error": {"code": refusal.code}}
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def handle(self) -> None:
            # A caller that is killed leaves a reset connection; that is what this process is for.
            try:
                super().handle()
            except ConnectionError:
                return

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=0.0)
    asked = parser.parse_args()
    serve(asked.port, Systems(asked.file, asked.seconds))


if __name__ == "__main__":
    main()
