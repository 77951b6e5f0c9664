"""A first governance folder: small, commented, and clean under `check`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from counterfoil.core.errors import Misconfigured
from counterfoil.model.read import Folder


def starter() -> dict[str, str]:
    """Return the starter files by name, in reading order."""
    folder = resources.files("counterfoil.model") / "starter"
    texts = {entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.is_file()}
    return dict(sorted(texts.items()))


def init(folder: Folder) -> list[Path]:
    """Write the starter into a folder and return the files; create the folder if it does not exist.

    Raises Misconfigured before the first write if one of the files exists.
    """
    target, texts = Path(folder), starter()
    existing = [name for name in texts if (target / name).exists()]
    if existing:
        raise Misconfigured(f"{target / existing[0]} exists already; choose an empty folder")
    target.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (target / name).write_text(text, encoding="utf-8")
    return [target / name for name in texts]
