"""Serves a prepared ERP over HTTP on 127.0.0.1.

It uses one thread, because parallel posts on SQLite give duplicate invoice numbers.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

from counterfoil.demo.erp.prepare import CONFIG, DATABASE, SEED


def serve(folder: Path, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    folder = folder.resolve()
    if not (folder / SEED).exists():
        raise SystemExit(
            f"{folder} contains no prepared ERP: run `python -m counterfoil.demo.erp prepare` first"
        )
    os.environ["TRYTOND_CONFIG"] = str(folder / CONFIG)
    # With the database named, the application loads it before the port opens, so the first call is not slow.
    os.environ["TRYTOND_DATABASE_NAMES"] = DATABASE
    import waitress
    from trytond.application import app

    signal.signal(signal.SIGTERM, _end)
    print(f"the ERP listens on http://127.0.0.1:{port}", flush=True)
    waitress.serve(
        app, host="127.0.0.1", port=port, threads=1, ident=None, clear_untrusted_proxy_headers=True
    )


def _end(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)
