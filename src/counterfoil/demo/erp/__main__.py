"""Command line of the demonstration's ERP: `prepare` builds it once, `serve` runs it on a loopback port."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from types import FrameType

from counterfoil.demo.erp.accounts import open_accounts
from counterfoil.demo.erp.front_page import with_front_page
from counterfoil.demo.erp.prepare import CONFIG, DATABASE, SEED
from counterfoil.demo.erp.prepare import prepare as prepare_erp


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m counterfoil.demo.erp", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    prepare = commands.add_parser("prepare", help="build database, company, books, users and keys")
    dir_help = "the ERP's folder; unchanged if prepared already"
    prepare.add_argument("--dir", type=Path, required=True, help=dir_help)
    prepare.add_argument("--port", type=int, help="the port to serve on, stored in seed.json")
    prepare.add_argument("--today", type=date.fromisoformat, help="YYYY-MM-DD; default: the system date")
    prepare.add_argument("--cache", type=Path, help="folder with prepared ERPs to copy from")

    serve = commands.add_parser("serve", help="serve a prepared ERP on 127.0.0.1 until SIGTERM")
    serve.add_argument("--dir", type=Path, required=True)
    serve.add_argument("--port", type=int, required=True)
    serve.add_argument(
        "--persons", type=Path, help="file of the persons who may sign in, with their passwords"
    )

    options = parser.parse_args(arguments)
    if options.command == "prepare":
        today = options.today or date.today()  # noqa: DTZ011 - the books follow the machine's calendar
        print(prepare_erp(options.dir, today, port=options.port, cache=options.cache))
    else:
        _serve(options.dir, options.port, options.persons)
    return 0


def _serve(folder: Path, port: int, persons: Path | None) -> None:
    """Serve until SIGTERM or SIGINT. One thread, because parallel posts on SQLite give duplicate invoice numbers."""
    folder = folder.resolve()
    if not (folder / SEED).exists():
        command = "python -m counterfoil.demo.erp prepare"
        raise SystemExit(f"{folder} contains no prepared ERP: run `{command}` first")
    os.environ["TRYTOND_CONFIG"] = str(folder / CONFIG)
    # With the database named, the application loads it before the port opens, so the first call is not slow.
    os.environ["TRYTOND_DATABASE_NAMES"] = DATABASE
    # Late imports: `prepare` needs neither, and the application reads the environment when it is imported.
    import waitress
    from trytond.application import app

    signal.signal(signal.SIGTERM, _end)
    if persons is not None:
        open_accounts(folder, persons)
    print(f"the ERP listens on http://127.0.0.1:{port}", flush=True)
    waitress.serve(
        with_front_page(app, DATABASE),
        host="127.0.0.1",
        port=port,
        threads=1,
        ident=None,
        clear_untrusted_proxy_headers=True,
    )


def _end(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
