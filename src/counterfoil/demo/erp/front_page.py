"""Answer of the ERP to a browser: Tryton has no web page here, so the answer names the client that opens it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def with_front_page(app: Wsgi, database: str) -> Wsgi:
    """Return the application with a text for a browser that opens its address, or that of its database."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        is_front = environ.get("PATH_INFO", "").strip("/") in ("", database)
        if environ.get("REQUEST_METHOD") not in ("GET", "HEAD") or not is_front:
            return app(environ, start_response)
        text = (
            "This is the ERP, Tryton 8.0. It has no web page.\n"
            f"Open it with the Tryton desktop client 8.0: server {environ.get('HTTP_HOST', '')}, database {database}, "
            "with a user name and password of the demonstration.\n"
        ).encode()
        headers = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(text)))]
        start_response("200 OK", headers)
        return [text]

    return answer
