"""The bank systems of the page about files, with a folder of a test, and readers of their rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterfoil.connectors import files
from counterfoil.connectors.files.connector import FilesSystem
from counterfoil.connectors.files.inspection import rows_of
from counterfoil.connectors.files.settings import BookFiles
from counterfoil.connectors.sdk import Delivery, SystemConfig
from counterfoil.model.source import parse
from tests.source import ROOT

PAGE = (ROOT / "docs/how-to/read-files-and-queries.md").read_text("utf-8")
SETTLE_SECONDS = 0.001


def _settings() -> dict[str, Mapping[str, Any]]:
    (text,) = re.findall(
        r"```yaml\n(.*?)```", PAGE.partition("## Bank statements")[2].partition("## Queries")[0], re.S
    )
    sources, _ = parse(text, "banks.yaml")
    return {source.data["name"]: source.data["settings"] for source in sources}


SETTINGS = _settings()


def sample(name: str) -> str:
    """Return a file of the page."""
    (content,) = re.findall(rf"`{re.escape(name)}`[^`]*```csv\n(.*?)```", PAGE, re.S)
    return str(content)


def book_of(system: str) -> BookFiles:
    return BookFiles.model_validate(SETTINGS[system]["books"]["lines"])


def bank(system: str, folder: Path) -> FilesSystem:
    settings = {**SETTINGS[system], "folder": str(folder), "settle": SETTLE_SECONDS}
    return files.connect(SystemConfig(system, "", settings=settings))


def rows(system: str, path: Path) -> list[dict[str, Any]]:
    """Return the rows of one file. Raises FileRefused."""
    book = book_of(system)
    return [row.row for row in rows_of(path, book, book.decimal or ".")]


async def lines(connector: FilesSystem, limit: int = 100) -> list[Delivery]:
    """Read the whole book, and let the connector go."""
    deliveries: list[Delivery] = []
    cursor: str | None = None
    while True:
        page = await connector.list_book("lines", cursor, limit, 20)
        deliveries += page.deliveries
        cursor = page.cursor
        if not page.more:
            await connector.close()
            return deliveries


async def arrivals(connector: FilesSystem, cursor: str | None = None) -> tuple[list[Delivery], str]:
    """Read the feed to its present end."""
    deliveries: list[Delivery] = []
    while True:
        page = await connector.poll("lines", cursor, 100, 20)
        deliveries += page.deliveries
        cursor = page.cursor
        if not page.more:
            return deliveries, cursor
