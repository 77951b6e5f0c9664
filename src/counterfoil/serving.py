"""The processes: a server with its worker, or a worker alone beside it on the same PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from counterfoil.application import Application
from counterfoil.bootstrap import application
from counterfoil.core.errors import Misconfigured
from counterfoil.store.sql.sqlite import owner

HOME = ".counterfoil"
"""Folder of a running company's files (store, keys, tokens), below the working folder."""
Build = Callable[[Application, str, int], uvicorn.Config]
"""An Application, host and port to how it is served."""


def serve(folder: Path, store_url: str, host_name: str, port: int, workers: int, build: Build) -> int:
    """Run server and worker in this process until SIGINT or SIGTERM; the exit code. `build` gives the pages
    and routes: they stand on a higher floor."""
    logging.basicConfig(
        level=os.environ.get("COUNTERFOIL_LOG", "WARNING"), format="%(asctime)s %(name)s %(message)s"
    )
    return asyncio.run(_serve(folder, store_url, host_name, port, workers, build))


async def _serve(folder: Path, store_url: str, host_name: str, port: int, workers: int, build: Build) -> int:
    home = Path(HOME)
    home.mkdir(mode=0o700, exist_ok=True)
    async with application(folder, store_url, home, workers) as app:
        if app.notice:
            sys.stderr.write(f"{app.notice}\n")
        config = build(app, host_name, port)
        server = uvicorn.Server(config)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, setattr, server, "should_exit", True)
        with _no_signals(server):
            await server.serve()
    return 0


@contextlib.contextmanager
def _no_signals(server: Any) -> Any:
    """Signals are this process's own: uvicorn does not take them over."""
    server.capture_signals = contextlib.nullcontext
    yield


def work(folder: Path, store_url: str) -> int:
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
