"""Command line of the demonstration's ERP: `prepare` builds it once, `serve` runs it on a loopback port."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m counterfoil.demo.erp", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    prepare = commands.add_parser("prepare", help="build database, company, books, users and keys")
    prepare.add_argument(
        "--dir", type=Path, required=True, help="the ERP's folder; unchanged if prepared already"
    )
    prepare.add_argument("--port", type=int, default=None, help="the port to serve on, stored in seed.json")
    prepare.add_argument(
        "--today", type=date.fromisoformat, default=None, help="YYYY-MM-DD; default: the system date"
    )
    prepare.add_argument("--cache", type=Path, default=None, help="folder with prepared ERPs to copy from")

    serve = commands.add_parser("serve", help="serve a prepared ERP on 127.0.0.1 until SIGTERM")
    serve.add_argument("--dir", type=Path, required=True)
    serve.add_argument("--port", type=int, required=True)

    options = parser.parse_args(arguments)
    # Late imports: each command loads only its part of the ERP.
    if options.command == "prepare":
        from counterfoil.demo.erp.prepare import prepare as prepare_erp

        today = options.today or date.today()  # noqa: DTZ011 - the books follow the machine's calendar
        print(prepare_erp(options.dir, today, port=options.port, cache=options.cache))
    else:
        from counterfoil.demo.erp.serve import serve as serve_erp

        serve_erp(options.dir, options.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
