"""Process of the twin: `/billing` and `/ledger` on one loopback port."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from counterfoil.twins.starter.books import RefusedByBooks, StarterBooks

DEFAULT_PORT = 12111
MAX_BODY_BYTES = 64 * 1024


def answer(
    books: StarterBooks, method: str, path: str, query: Mapping[str, str], key: str, body: dict[str, Any]
) -> Any:
    """Return the JSON answer of one request. Raises RefusedByBooks."""
    void = re.fullmatch(r"/billing/credits/([^/]+)/void", path)
    match method, path:
        case "GET", "/" | "/billing/" | "/ledger/":
            return {"twin": "starter"}
        case "POST", "/billing/credits":
            return books.issue(key, body)
        case "GET", "/billing/credits":
            return {"data": books.credits(query.get("external_id"), query.get("void_id"))}
        case "POST", _ if void is not None:
            return books.void(void[1], str(body.get("void_id", "")))
        case "POST", "/ledger/credits":
            return books.post(str(body.get("request_id", "")), body)
        case "GET", "/ledger/credits":
            return {"data": books.posted(query.get("request_id"))}
        case "GET", "/ledger/postings":
            after, limit = query.get("after", "0"), query.get("limit", "100")
            if not (after.isdecimal() and limit.isdecimal()):
                raise RefusedByBooks(422, "after and limit are whole numbers")
            return {"data": books.posted(None, int(after), int(limit))}
    raise RefusedByBooks(404, f"there is no {method} {path}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    books: StarterBooks

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._send(413, {"error": f"send a body of up to {MAX_BODY_BYTES} bytes with its length"})
            return
        try:
            body = json.loads(self.rfile.read(int(length)))
        except ValueError:
            body = None
        if not isinstance(body, dict):
            self._send(422, {"error": "the body is not a JSON object"})
            return
        self._answer(body)

    def _answer(self, body: dict[str, Any]) -> None:
        parts = urlsplit(self.path)
        key = self.headers.get("idempotency-key", "")
        try:
            value = answer(self.books, self.command, parts.path, dict(parse_qsl(parts.query)), key, body)
        except RefusedByBooks as refused:
            self._send(refused.status, {"error": str(refused)})
        else:
            self._send(200, value)

    def _send(self, status: int, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: the file shows what was done."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="twin starter", description="Billing and ledger of a new folder.")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="loopback port; 0 takes a free one")
    parser.add_argument("--state", required=True, help="text file that keeps everything")
    options = parser.parse_args(argv)
    handler = type("Handler", (_Handler,), {"books": StarterBooks(Path(options.state))})
    try:
        server = ThreadingHTTPServer(("127.0.0.1", options.port), handler)
    except OSError as error:
        sys.stderr.write(f"port {options.port} on 127.0.0.1 is not available: {error.strerror}\n")
        return 2
    sys.stdout.write(f"starter twin on http://127.0.0.1:{server.server_address[1]}\n")
    sys.stdout.flush()
    with server:
        server.serve_forever()
    return 0
