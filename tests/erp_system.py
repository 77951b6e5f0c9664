"""A real ERP for tests, prepared once per machine and served once per test process.

The template is in the temporary folder of the system, under a file lock, so that parallel processes prepare it once.
The serving process ends with the test process.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from counterfoil.connectors.sdk import SystemConfig
from counterfoil.demo.erp.client import ErpClient, local_day
from counterfoil.demo.erp.prepare import prepare
from counterfoil.demo.ports import free_port

START_SECONDS = 60.0
CACHE = Path(tempfile.gettempdir()) / f"counterfoil-erp-{os.getuid()}"


@dataclass(frozen=True)
class Erp:
    """A running ERP with two companies, each with days of its own zone."""

    url: str
    port: int
    seed: dict[str, Any]

    @property
    def today(self) -> date:
        """The day of the American company."""
        return local_day("acme-us")

    @property
    def german_today(self) -> date:
        return local_day("acme-de")

    def client(self, person: str = "controller", company: str = "acme-us") -> ErpClient:
        return ErpClient.of(self.seed, self.url, person, company)

    def config(
        self,
        url: str | None = None,
        person: str = "orchestrator",
        bulk: bool = False,
        company: str = "acme-us",
    ) -> SystemConfig:
        """Return the connector's settings. `url` is that of a proxy; `bulk` allows posting in bulk."""
        books = self.seed["companies"][company]
        user = books["users"][person]
        return SystemConfig(
            name="erp",
            url=url or self.url,
            settings={
                "database": self.seed["database"],
                "company": books["company"],
                "receivable": books["receivable"],
                "payment_term": books["payment_term"]["name"],
                "cash_accounts": [books["cash"][name] for name in ("bank", "clearing", "disputes")],
                "loopback": True,
                **({"login": user["login"]} if bulk else {}),
            },
            secrets={"key": user["key"], **({"password": user["password"]} if bulk else {})},
        )


@contextlib.contextmanager
def running(persons: Path | None = None) -> Iterator[Erp]:
    """Serve a fresh copy of the prepared ERP on a free port, with accounts for the persons of a file."""
    folder = Path(tempfile.mkdtemp(prefix="counterfoil-erp-"))
    process = None
    try:
        seed = json.loads(
            prepare(folder / "erp", local_day("acme-us"), cache=CACHE).read_text(encoding="utf-8")
        )
        with (folder / "log").open("wb") as log:
            port = free_port()
            command = [
                "-m",
                "counterfoil.demo.erp",
                "serve",
                "--dir",
                str(folder / "erp"),
                "--port",
                str(port),
                *(["--persons", str(persons)] if persons is not None else []),
            ]
            process = subprocess.Popen(
                [sys.executable, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        _until_listening(process, port, folder / "log")
        yield Erp(f"http://127.0.0.1:{port}", port, seed)
    finally:
        if process is not None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(folder)


def _until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"the ERP did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
