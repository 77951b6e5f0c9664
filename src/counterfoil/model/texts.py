"""Texts of a document that a check looks for, with their places. Most texts of a document are of no interest."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from counterfoil.model.source import Path


def texts_where(
    value: Any, matches: Callable[[str], bool], without: Collection[str] = ()
) -> list[tuple[str, Path]]:
    """Return the texts below a value that match, in order. What is below a key in `without` is left out."""
    texts: list[tuple[str, Path]] = []
    place: list[str | int] = []

    def walk(part: dict[str, Any] | list[Any]) -> None:
        entries = part.items() if isinstance(part, dict) else enumerate(part)
        for key, inner in entries:
            if isinstance(inner, str):
                if matches(inner) and key not in without:
                    texts.append((inner, (*place, key)))
            elif isinstance(inner, (dict, list)) and key not in without:
                place.append(key)
                walk(inner)
                place.pop()

    if isinstance(value, str):
        return [(value, ())] if matches(value) else []
    if isinstance(value, (dict, list)):
        walk(value)
    return texts
