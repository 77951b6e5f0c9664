"""A first governance folder: small, commented, and clean under `check`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable

from counterfoil.model.read import File, Folder, write_new


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
    """Write the starter into a folder and return the files; create the folder if it does not exist.

    Raises Misconfigured before the first write if one of the files exists.
    """
    return write_new(folder, starter())
