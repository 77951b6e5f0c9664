"""Samples of the conformance suite for the files connector: statements that arrive, and a whole book that is replaced."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from counterfoil.connectors import files
from counterfoil.connectors.conformance import Samples
from counterfoil.connectors.sdk import Connector, SystemConfig
from counterfoil.demo.bank import BankAccount, DemoBank, Movement

BOOKS = {
    "statement": {"files": "statement-*.csv", "lists": "all"},
    "invoices": {
        "files": "invoices-*.csv",
        "lists": "newest",
        "id": "number",
        "columns": {"total": "decimal", "day": "date"},
        "date": "%d.%m.%Y",
    },
    "lines": {"files": "*.xml", "lists": "all", "format": "camt.053"},
    "items": {"files": "items-*.jsonl", "lists": "all", "id": ["order", "line"]},
}


def config_of(folder: Path) -> SystemConfig:
    return SystemConfig("bank", "", settings={"folder": str(folder), "settle": 0.05, "books": BOOKS})


def moved(config: SystemConfig, url: str) -> SystemConfig:
    """Return the configuration of a folder that is not mounted."""
    return replace(config, settings={**config.settings, "folder": f"{config.settings['folder']}/away"})


class ExportFolder:
    """A system that writes its exports into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, 0
        account = BankAccount("statement", "DE02120300000000202051", "EUR", "camt.053")
        self.bank = DemoBank(account, folder / "state", folder)
        for _ in range(3):
            self.touch()

    def touch(self) -> None:
        self.number += 1
        n = self.number
        (self.folder / f"statement-{n}.csv").write_text(
            f"day,text,amount\n2026-03-0{1 + n % 9},Fee {n},-1.00\n" + 2 * f"2026-03-01,Card {n},-5.00\n"
        )
        self.bank.close_day(
            date(2026, 1, 1) + timedelta(days=n), 2 * [Movement("fee", Decimal(-n), f"Fee {n}")]
        )
        rows = "".join(f"I-{k};{k}.000,50;0{1 + k % 9}.03.2026\n" for k in range(1, n + 1))
        (self.folder / f"invoices-{n}.csv").write_bytes(f"number;total;day\n{rows}".encode("utf-16"))
        (self.folder / f"items-{n}.jsonl").write_text(f'{{"order": "O/{n}", "line": 1, "price": 1.50}}\n')


@asynccontextmanager
async def files_in_a_folder(folder: Path) -> AsyncIterator[tuple[Connector, Samples]]:
    exports = ExportFolder(folder)

    async def touch() -> None:
        exports.touch()

    samples = Samples(files.connect, config_of(folder), {}, touch=touch, moved=moved)
    yield files.connect(samples.config), samples
