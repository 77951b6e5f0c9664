"""Paths in the documents of systems: relative ones start at the file that names them.

A Release has no files, so a document holds such a path relative to the governance folder. A process finds the file in
its own copy of the folder when it builds a connector.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from counterfoil.model import kinds
from counterfoil.model.document import Data, Document
from counterfoil.model.source import Path

PATH_SETTINGS = ("openapi", "ca_file", "folder", "file")
"""Settings of connectors whose text is a path."""
REFERENCE = "file:"
"""Begins a reference to a file with a value: an address, a secret or a setting."""
_DESCRIPTION = re.compile(rb"^(openapi|asyncapi|swagger)[ ]*:", re.MULTILINE)
_KIND = re.compile(rb"^kind[ ]*:", re.MULTILINE)


def is_description(text: bytes) -> bool:
    """Return True for the text of a file that describes an API, which is no governance document."""
    return _DESCRIPTION.search(text) is not None and _KIND.search(text) is None


def in_folder(document: Document, place_of: Callable[[str], str]) -> Document:
    """Return a document with its relative paths below the governance folder; the same document if none changes.

    `place_of` returns the place of a file below the folder. A path in a file at the top of the folder stays as written.
    """
    source = document.source
    if source is None or not isinstance(document.value, kinds.System | kinds.Overlay):
        return document

    def moved(path: Path, text: str) -> str:
        place = place_of(source.file_of(path))
        return text if place == "." else posixpath.normpath(posixpath.join(place, text))

    if isinstance(document.value, kinds.System):
        data = _with_paths(document.data, (), moved)
    else:
        changes = [
            {**change, "set": _with_paths(change["set"], ("changes", at, "set"), moved)}
            if change["kind"] == "system" else change
            for at, change in enumerate(document.data["changes"])
        ]  # fmt: skip
        data = {**document.data, "changes": changes}
    if data == document.data:
        return document
    return replace(document, value=type(document.value).model_validate(data, strict=True), data=data)


def _with_paths(system: Data, at: Path, moved: Callable[[Path, str], str]) -> Data:
    """Return the keys of a system with each relative path moved."""

    def value_of(path: Path, value: Any, *, is_path: bool = False) -> Any:
        if not isinstance(value, str) or value.startswith("env:"):
            return value
        prefix = REFERENCE if value.startswith(REFERENCE) else ""
        text = value.removeprefix(prefix)
        if not (prefix or is_path) or not text or posixpath.isabs(text):
            return value
        return prefix + moved((*at, *path), text)

    result = dict(system)
    if "url" in system:
        result["url"] = value_of(("url",), system["url"])
    for part in ("secrets", "settings"):
        if isinstance(system.get(part), dict):
            result[part] = {
                name: value_of((part, name), value, is_path=part == "settings" and name in PATH_SETTINGS)
                for name, value in system[part].items()
            }
    return result
