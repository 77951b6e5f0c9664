"""Command line of the help desk: `prepare` builds the tracker once, `serve` runs it on 127.0.0.1 until killed."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

from counterfoil.demo.desk import tracker


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m counterfoil.demo.desk", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="build the tracker; no effect if it exists")
    prepare.add_argument(
        "--hook", required=True, help="URL that receives a POST for every committed change of an issue"
    )
    prepare.add_argument(
        "--today",
        type=date.fromisoformat,
        help="add a few ordinary tickets with incidents shortly before this day",
    )
    serve = commands.add_parser("serve", help="run the tracker on 127.0.0.1")
    serve.add_argument("--hook", help="a new hook URL; default: the prepared one")
    for command in (prepare, serve):
        command.add_argument(
            "--dir", required=True, type=Path, help="folder of the tracker and its seed.json"
        )
        command.add_argument("--port", required=True, type=int)
    chosen = parser.parse_args()
    if chosen.command == "prepare":
        tracker.prepare(chosen.dir, chosen.port, chosen.hook, chosen.today)
        return
    from counterfoil.demo.desk import serve as server

    server.serve(chosen.dir, chosen.port, chosen.hook)


if __name__ == "__main__":
    main()
