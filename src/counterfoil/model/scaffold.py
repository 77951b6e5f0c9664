"""A first governance folder: small, commented, and clean under `check`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from counterfoil.core.errors import Misconfigured


def init(folder: str | Path) -> list[Path]:
    """Writes the starter files into a folder, which is made when it is not there, and says which.

    Raises Misconfigured, before anything is written, when one of the files exists already.
    """
    target = Path(folder)
    starter = resources.files("counterfoil.model") / "starter"
    files = {target / entry.name: entry.read_bytes() for entry in starter.iterdir() if entry.is_file()}
    taken = sorted(path for path in files if path.exists())
    if taken:
        raise Misconfigured(f"{taken[0]} exists already; choose an empty folder")
    target.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        path.write_bytes(content)
    return sorted(files)
