"""Reader of contract files with the files that they refer to.

Nothing is fetched from a network, and no file outside the folder of the first file is opened.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from counterfoil.contracts.json_parts import escape
from counterfoil.contracts.openapi.document import references
from counterfoil.json_or_yaml import UnreadableText, read

MAX_FILES = 500
"""Limit of files that belong to one description."""
FILES_KEY = "x-files"
"""Key under which the files next to a description are inserted into it."""


_VALUES = frozenset(("example", "examples", "default", "enum", "const"))
"""Keywords whose content is a value: a `$ref` in it is data."""
_NAMED = frozenset(
    ("properties", "patternProperties", "definitions", "$defs", "dependentSchemas", "dependencies", "schemas", "parameters",
     "headers", "responses", "requestBodies", "callbacks", "links", "securitySchemes", "paths", "webhooks", "content",
     "encoding", "channels", "messages", "operations", "servers", "variables", "messageTraits", "operationTraits",
     "pathItems", "replies", "correlationIds")
)  # fmt: skip
"""Keywords whose content has names as keys."""


class NeighbourFiles(Protocol):
    """Files next to a description: of its folder, or of the same revision of a repository."""

    def locate(self, reference: str, user: str) -> str | None:
        """Return the name of the file that a reference in the file `user` means, `""` for the description itself.

        None if there is no such file, or if it is outside the folder.
        """
        ...

    def read(self, name: str) -> Any: ...


def load(path: Path) -> dict[str, Any]:
    """Return a description, with the files that it refers to under `x-files`. Raises `UnreadableText`."""
    return bundle(read(path), str(path), _Folder(path))


def bundle(root: Any, name: str, files: NeighbourFiles | None) -> dict[str, Any]:
    """Return a description with the files that it refers to under `x-files`; without `files` as it is.

    Raises `UnreadableText` with `name` in front.
    """
    if not isinstance(root, dict):
        raise UnreadableText(f"{name}: a description must be an object")
    if files is None:
        return root
    try:
        has_files = any(not reference.startswith("#") for reference in references(root))
    except UnicodeDecodeError:
        has_files = False
    return _Bundle(name, files).of(root) if has_files else root


def binary(value: Any) -> Any:
    """Return the value with binary numbers instead of exact ones, for validators that need them."""
    if isinstance(value, dict):
        return {key: binary(item) for key, item in value.items()}
    if isinstance(value, list):
        return [binary(item) for item in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


class _Folder:
    """Files in the folder of a description and below it."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._folder = self._path.parent

    def locate(self, reference: str, user: str) -> str | None:
        path = ((self._folder / user).parent if user else self._folder) / reference
        path = path.resolve()
        if path == self._path:
            return ""
        if not path.is_relative_to(self._folder) or not path.is_file():
            return None
        return path.relative_to(self._folder).as_posix()

    def read(self, name: str) -> Any:
        return read(self._folder / name)


class _Bundle:
    """A description and the files next to it as one document: their references point into `x-files`."""

    def __init__(self, name: str, files: NeighbourFiles) -> None:
        self._name = name
        self._neighbours = files
        self._files: dict[str, Any] = {}

    def of(self, root: dict[str, Any]) -> dict[str, Any]:
        bundled: dict[str, Any] = self._rewrite(root, "")
        if self._files:
            bundled[FILES_KEY] = self._files
        return bundled

    def _rewrite(self, node: Any, inside: str, *, names: bool = False) -> Any:
        """Return a part with its references into this document. `names`: its keys are names, not keywords."""
        if isinstance(node, list):
            return [self._rewrite(item, inside) for item in node]
        if not isinstance(node, dict):
            return node
        rewritten = {}
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                rewritten[key] = self._reference(value, inside)
            elif key in _VALUES and not names:
                rewritten[key] = value
            else:
                rewritten[key] = self._rewrite(value, inside, names=key in _NAMED and not names)
        return rewritten

    def _reference(self, reference: str, inside: str) -> str:
        place, _, pointer = reference.partition("#")
        if not place:
            return f"#/{FILES_KEY}/{escape(inside)}{pointer}" if inside else reference
        if "://" in place:
            return reference  # never fetched; the comparison reports it as unresolved, as a missing file
        name = self._neighbours.locate(place, inside)
        if name is None:
            return reference
        if not name:
            return f"#{pointer}"
        if name not in self._files:
            if len(self._files) >= MAX_FILES:
                raise UnreadableText(f"{self._name}: refers to more than {MAX_FILES} files")
            self._files[name] = {}
            self._files[name] = self._rewrite(self._neighbours.read(name), name)
        return f"#/{FILES_KEY}/{escape(name)}{pointer}"
