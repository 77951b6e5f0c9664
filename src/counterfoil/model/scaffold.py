"""A first governance folder: small, commented, and clean under `check`. Whoever asks for it writes the files."""

from __future__ import annotations

from importlib import resources


def starter() -> dict[str, str]:
    """File name to text, in the order in which a newcomer reads them."""
    folder = resources.files("counterfoil.model") / "starter"
    texts = {entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.is_file()}
    return dict(sorted(texts.items()))
