"""A first governance folder: small, commented, and clean under `check`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable

from counterfoil.model.editor import ALL_KINDS_FILE, schema_files
from counterfoil.model.read import File, Folder, write_new

SCHEMA_PATH = f".schemas/{ALL_KINDS_FILE}"
"""The schema of the files, relative to their folder."""


def starter() -> dict[str, str]:
    """Return the starter files by name, in reading order."""
    return dict(sorted(_texts(resources.files("counterfoil.model") / "starter", "")))


def _texts(folder: Traversable, place: str) -> Iterator[tuple[str, str]]:
    """Yield the path below the starter and the text of each file."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _texts(entry, f"{place}{entry.name}/")
        else:
            yield f"{place}{entry.name}", entry.read_text(encoding="utf-8")


def init(folder: Folder) -> list[File]:
    """Write the starter and its schema into a folder and return the files; create the folder if it does not exist.

    The schema lies in the folder, so editors need no network and no installation, and it is that of this version.
    Raises Misconfigured before the first write if one of the files exists.
    """
    texts = {name: with_schema(text) if name.endswith(".yaml") else text for name, text in starter().items()}
    return write_new(folder, {**texts, SCHEMA_PATH: schema_files()[ALL_KINDS_FILE]})


def with_schema(text: str) -> str:
    """Return the text of a file with the line that names its schema at the head of every document.

    The YAML language server validates a document only if the line stands in its own head.
    """
    line = f"# yaml-language-server: $schema={SCHEMA_PATH}\n"
    return line + re.sub(r"^---\n", "---\n" + line, text, flags=re.MULTILINE)
