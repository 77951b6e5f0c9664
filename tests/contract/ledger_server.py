"""The server that ledger_api.yaml describes: a small ledger over real HTTP, with bad moods on request."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

DOCUMENT = Path(__file__).with_name("ledger_api.yaml")
TOKEN = "tok-ledger"
PAGE = 3


@dataclass
class Ledger:
    """What is in the books. `mood` holds answers (status, headers, body) to be given instead of the next ones."""

    url: str = ""
    invoices: list[dict[str, Any]] = field(default_factory=list)
    payments: list[dict[str, Any]] = field(default_factory=list)
    notes: list[list[tuple[str, str]]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    answered: dict[str, tuple[bytes, int, dict[str, Any]]] = field(default_factory=dict)
    mood: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    voids: list[str] = field(default_factory=list)
    """Invoice of each call that voids, also of repeats."""
    lost: set[str] = field(default_factory=set)
    """Last words of paths whose calls are done and not answered."""
    down: set[str] = field(default_factory=set)
    """Last words of paths whose calls are answered with 500 and not done."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def change(self, kind: str, invoice: dict[str, Any]) -> None:
        at = f"2026-03-31T12:00:{len(self.changes) % 60:02d}Z"
        self.changes.append(
            {"sequence": len(self.changes) + 1, "kind": kind, "at": at, "invoice": dict(invoice)}
        )


class Refusal(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@contextlib.contextmanager
def running_ledger() -> Iterator[Ledger]:
    ledger = Ledger()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(b"")

        def do_POST(self) -> None:
            self.answer(self.rfile.read(int(self.headers.get("content-length", 0))))

        def answer(self, body: bytes) -> None:
            with ledger.lock:
                ledger.bodies.append(body)
                if ledger.mood:
                    status, headers, content = ledger.mood.pop(0)
                    return self.reply(status, content, headers)
                word = urlsplit(self.path).path.rpartition("/")[2]
                if word in ledger.down:
                    return self.reply(500, b"", {})
                try:
                    status, value = self.serve(body)
                except Refusal as refusal:
                    status, value = refusal.status, {"error": {"code": refusal.code}}
                if word in ledger.lost:
                    self.close_connection = True
                    return None
            return self.reply(status, json.dumps(value, default=str).encode(), {})

        def reply(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def serve(self, body: bytes) -> tuple[int, Any]:
            if self.headers.get("authorization") != f"Bearer {TOKEN}":
                raise Refusal(401, "who_are_you")
            place = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(place.query).items()}
            match self.command, place.path.strip("/").split("/"):
                case "POST", ["invoices"]:
                    return create_invoice(ledger, self.headers.get("idempotency-key"), body)
                case "GET", ["invoices"]:
                    return 200, list_invoices(ledger, query)
                case "GET", ["invoices", name]:
                    return 200, one(ledger.invoices, "id", name)
                case "POST", ["invoices", name, "void"]:
                    return 200, void_invoice(ledger, name)
                case "GET", ["changes"]:
                    after, size = int(query.get("after", 0)), int(query.get("size", PAGE))
                    return 200, ledger.changes[after : after + size]
                case "POST", ["payments"]:
                    return create_payment(ledger, body)
                case "GET", ["payments", "by-reference", name]:
                    return 200, one(ledger.payments, "reference", name)
                case "POST", ["notes"]:
                    pairs = parse_qsl(body.decode(), strict_parsing=True)
                    if "text" not in dict(pairs):
                        raise Refusal(422, "no_text")
                    ledger.notes.append(pairs)
                    return 200, {"id": f"note{len(ledger.notes)}", "form": dict(pairs)}
            raise Refusal(404, "no_such_place")

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    ledger.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield ledger
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def read(body: bytes, **kinds: type | tuple[type, ...]) -> dict[str, Any]:
    try:
        value = json.loads(body, parse_float=Decimal)
    except ValueError:
        raise Refusal(400, "not_json") from None
    if (
        not isinstance(value, dict)
        or set(value) - set(kinds)
        or not all(isinstance(value[k], kinds[k]) for k in value)
    ):
        raise Refusal(422, "wrong_fields")
    return value


def create_invoice(ledger: Ledger, key: str | None, body: bytes) -> tuple[int, Any]:
    if not key:
        raise Refusal(400, "no_key")
    if key in ledger.answered:
        before, status, value = ledger.answered[key]
        if before != body:
            raise Refusal(422, "key_reused")
        return status, value
    given = read(body, customer=str, amount=(int, Decimal), reference=str)
    if not given.get("customer") or given.get("amount", 0) <= 0:
        raise Refusal(422, "wrong_fields")
    number = len(ledger.invoices) + 1
    invoice = {**given, "id": f"inv{number}", "number": f"2026-{number:04d}", "version": 1, "status": "open"}
    ledger.invoices.append(invoice)
    ledger.change("invoice.created", invoice)
    ledger.answered[key] = (body, 201, invoice)
    return 201, invoice


def void_invoice(ledger: Ledger, name: str) -> dict[str, Any]:
    invoice = one(ledger.invoices, "id", name)
    ledger.voids.append(name)
    invoice["status"] = "void"
    return invoice


def list_invoices(ledger: Ledger, query: dict[str, str]) -> Any:
    # A filter that does not filter well: it takes every reference that begins alike.
    found = [i for i in ledger.invoices if i.get("reference", "").startswith(query.get("reference", "")[:2])]
    start, size = int(query.get("page", 0)), int(query.get("size", PAGE))
    rest = str(start + size) if start + size < len(found) else None
    return {"data": found[start : start + size], "next": rest}


def create_payment(ledger: Ledger, body: bytes) -> tuple[int, Any]:
    given = read(body, amount=(int, Decimal), reference=str)
    if given.get("amount", 0) <= 0 or not given.get("reference"):
        raise Refusal(422, "wrong_fields")
    if any(payment["reference"] == given["reference"] for payment in ledger.payments):
        raise Refusal(409, "duplicate_reference")
    ledger.payments.append({**given, "id": f"pay{len(ledger.payments) + 1}"})
    return 201, ledger.payments[-1]


def one(rows: list[dict[str, Any]], name: str, value: str) -> dict[str, Any]:
    for row in rows:
        if row[name] == value:
            return row
    raise Refusal(404, "not_found")
