"""Command line of the help desk: `prepare` builds the tracker once, `serve` runs it on 127.0.0.1 until killed."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any

from counterfoil.demo.desk import tracker

_PREFIX = "/desk"


def _serve(folder: Path, port: int, hook: str | None, persons: Path | None) -> None:
    """Serve Roundup's WSGI application under /desk/ until killed. A new port or hook is written to the seed file first."""
    tracker.write_addresses(folder, port, hook)
    tracker.configure(folder)
    if persons is not None:
        tracker.open_accounts(folder, persons)
    import waitress
    from roundup.cgi.wsgi_handler import RequestDispatcher

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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m counterfoil.demo.desk", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="build the tracker; no effect if it exists")
    hook_help = "URL that receives a POST for every committed change of an issue"
    prepare.add_argument("--hook", required=True, help=hook_help)
    today_help = "add a few ordinary tickets with incidents shortly before this day"
    prepare.add_argument("--today", type=date.fromisoformat, help=today_help)
    serve = commands.add_parser("serve", help="run the tracker on 127.0.0.1")
    serve.add_argument("--hook", help="a new hook URL; default: the prepared one")
    serve.add_argument(
        "--persons", type=Path, help="file of the persons who may sign in, with their passwords"
    )
    for command in (prepare, serve):
        command.add_argument(
            "--dir", required=True, type=Path, help="folder of the tracker and its seed.json"
        )
        command.add_argument("--port", required=True, type=int)
    chosen = parser.parse_args()
    if chosen.command == "prepare":
        tracker.prepare(chosen.dir, chosen.port, chosen.hook, chosen.today)
        return
    _serve(chosen.dir, chosen.port, chosen.hook, chosen.persons)


if __name__ == "__main__":
    main()
