"""The processes: a server with its worker, or a separate worker on the same PostgreSQL database."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from counterfoil.application import Application
from counterfoil.bootstrap import application
from counterfoil.core.errors import Misconfigured
from counterfoil.store.sql.sqlite_file import owner

HOME = ".counterfoil"
"""Folder of a running company's files (store, keys, tokens), in the working folder."""
_CLIENT_LOGGERS = ("httpx2", "httpcore2", "httpcore", "httpx")
Announce = Callable[[], None]
Build = Callable[[Application, str, int], uvicorn.Config]
"""Builds the server settings for an Application, a host and a port."""


class _Server(uvicorn.Server):
    """A server that calls `announce` once it accepts connections."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()


def log_to_stderr() -> None:
    """Log to standard error from the level that COUNTERFOIL_LOG names.

    Clients of HTTP log warnings at most: their lower levels have addresses and headers, in which personal data and
    secrets stand.
    """
    logging.basicConfig(
        level=os.environ.get("COUNTERFOIL_LOG", "WARNING"), format="%(asctime)s %(name)s %(message)s"
    )
    for name in _CLIENT_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def serve(
    folder: Path, store_url: str, listener: socket.socket, workers: int, build: Build, announce: Announce
) -> int:
    """Run server and worker in this process until SIGINT or SIGTERM. Return the exit code.

    `build` supplies pages and routes, which this floor cannot import. `announce` is called once the server answers on
    the listener.
    """
    log_to_stderr()
    return asyncio.run(_serve(folder, store_url, listener, workers, build, announce))


async def _serve(
    folder: Path, store_url: str, listener: socket.socket, workers: int, build: Build, announce: Announce
) -> int:
    home = Path(HOME)
    home.mkdir(mode=0o700, exist_ok=True)
    async with application(folder, store_url, home, workers) as app:
        if app.notice:
            sys.stderr.write(f"{app.notice}\n")
        sys.stderr.write(f"Auditors verify the log with {app.verifier}\n")
        host, port = listener.getsockname()[:2]
        server = _Server(build(app, host, port), announce)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, setattr, server, "should_exit", True)
        with _no_signals(server):
            await server.serve(sockets=[listener])
    return 0


@contextlib.contextmanager
def _no_signals(server: Any) -> Any:
    """Keep uvicorn from replacing this process's signal handlers."""
    server.capture_signals = contextlib.nullcontext
    yield


def work(folder: Path, store_url: str) -> int:
    """Run a worker until SIGINT or SIGTERM. Return the exit code.

    Raises Misconfigured for SQLite: its server's process owns the store.
    """
    if not store_url.startswith(("postgresql://", "postgres://")):
        process = owner(Path(store_url.removeprefix("sqlite:")))
        raise Misconfigured(
            "Only one process can use a SQLite store"
            + (f", and process {process} has it open" if process else "")
            + ". `counterfoil up` runs its own worker. A separate worker needs postgresql://..."
        )
    log_to_stderr()
    return asyncio.run(_work(folder, store_url))


async def _work(folder: Path, store_url: str) -> int:
    home = Path(HOME)
    home.mkdir(mode=0o700, exist_ok=True)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with application(folder, store_url, home, workers=1):
        await stopped.wait()
    return 0
