"""Runs the tracker: Roundup's WSGI application under /desk/, on 127.0.0.1 only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import waitress
from roundup.cgi.wsgi_handler import RequestDispatcher

from counterfoil.demo.desk import tracker

_PREFIX = "/desk"


def serve(folder: Path, port: int, hook: str | None = None) -> None:
    """Serve until killed. A new port or hook is written to the seed file first."""
    tracker.write_addresses(folder, port, hook)
    tracker.configure(folder)
    app = RequestDispatcher(str(folder / "tracker"))

    def under_prefix(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if not path.startswith(_PREFIX + "/"):
            start_response("302 Found", [("Location", _PREFIX + "/"), ("Content-Length", "0")])
            return []
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = _PREFIX, path[len(_PREFIX) :]
        answer: Iterable[bytes] = app(environ, start_response)
        return answer

    # One thread: Roundup compares If-Match before it opens the write transaction, so parallel requests could both pass.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a queue of requests is expected
    waitress.serve(under_prefix, host="127.0.0.1", port=port, threads=1, ident="desk")
