"""A first governance folder: small, commented, and clean under `check`."""

from __future__ import annotations

from importlib import resources

from counterfoil.model.read import File, Folder, write_new


def starter() -> dict[str, str]:
    """Return the starter files by name, in reading order."""
    folder = resources.files("counterfoil.model") / "starter"
    texts = {entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.is_file()}
    return dict(sorted(texts.items()))


def init(folder: Folder) -> list[File]:
    """Write the starter into a folder and return the files; create the folder if it does not exist.

    Raises Misconfigured before the first write if one of the files exists.
    """
    return write_new(folder, starter())
