"""A first governance folder: small, commented, and clean under `check`."""

from __future__ import annotations

from importlib import resources

from counterfoil.model.read import Folder, Written, write_new


def starter() -> dict[str, str]:
    """File name to text, in the order in which a newcomer reads them."""
    folder = resources.files("counterfoil.model") / "starter"
    texts = {entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.is_file()}
    return dict(sorted(texts.items()))


def init(folder: Folder) -> list[Written]:
    """Writes the starter into a folder, which is made when it is not there, and says which files. Raises
    Misconfigured, before anything is written, when one of them exists already."""
    return write_new(folder, starter())
