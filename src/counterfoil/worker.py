"""The process that turns Runs: a worker beside the server, on the same PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path

from counterfoil.app import HOME, application
from counterfoil.core.errors import Misconfigured
from counterfoil.store.sqlite import owner


def main(folder: Path, store_url: str) -> int:
    """Work until SIGINT or SIGTERM. An embedded store belongs to its server's process: refused."""
    if not store_url.startswith(("postgresql://", "postgres://")):
        has = owner(Path(store_url.removeprefix("sqlite:")))
        raise Misconfigured(
            "one process owns a SQLite store"
            + (f" and process {has} has it open" if has else "")
            + ": `counterfoil up` works in it; a worker needs postgresql://..."
        )
    logging.basicConfig(level=os.environ.get("COUNTERFOIL_LOG", "WARNING"))
    return asyncio.run(_work(folder, store_url))


async def _work(folder: Path, store_url: str) -> int:
    home = Path(HOME)
    home.mkdir(mode=0o700, exist_ok=True)
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, done.set)
    async with application(folder, store_url, home, workers=1):
        await done.wait()
    return 0
