"""The declaration of a consumer: the operations or messages that it uses, and the fields that it reads and sends.

A declaration has `operations`, by `METHOD /path`, or for events `messages`, by name. Each entry has the lists `reads`
and `sends` of dotted paths. Items of arrays need no mark: `data.id` is the id of each item of `data`. An absent list
means everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec


class FieldSelection(msgspec.Struct, frozen=True):
    """Selection of properties of a value: all of them, or a tree of some."""

    everything: bool
    inner: tuple[tuple[str, FieldSelection], ...] = ()

    def of(self, name: str) -> FieldSelection | None:
        """Return the selection below a property; None if the property is not used."""
        if self.everything:
            return self
        return dict(self.inner).get(name)


EVERYTHING = FieldSelection(everything=True)


class DeclaredUse(msgspec.Struct, frozen=True):
    """Fields that a consumer uses of one operation or message."""

    reads: FieldSelection = EVERYTHING
    sends: FieldSelection = EVERYTHING


class InvalidReads(ValueError):
    """The declaration is malformed; the message says where."""


def field_selection(paths: Iterable[str]) -> FieldSelection:
    """Return dotted paths as a tree. A path that ends at an object selects all of it."""
    tree: dict[str, Any] = {}
    for path in paths:
        node = tree
        for part in path.split("."):
            if part not in ("[]", "*"):
                node = node.setdefault(part, {})
        node[""] = True
    return _selection(tree)


def _selection(tree: dict[str, Any]) -> FieldSelection:
    if "" in tree:
        return EVERYTHING
    return FieldSelection(
        everything=False, inner=tuple((name, _selection(below)) for name, below in sorted(tree.items()))
    )


def operation_uses(declared: Mapping[str, Any]) -> dict[str, DeclaredUse]:
    """Return the declared uses by `METHOD /path`. Raises `InvalidReads`."""
    operations = declared.get("operations")
    if not isinstance(operations, Mapping):
        raise InvalidReads("`operations` must be an object with keys `METHOD /path`")
    by_operation = {}
    for name, declaration in operations.items():
        method, _, path = str(name).partition(" ")
        if not path.strip():
            raise InvalidReads(f"operations: {name!r} must have the form `METHOD /path`")
        by_operation[f"{method.upper()} {path.strip()}"] = _use(str(name), declaration)
    return by_operation


def message_uses(declared: Mapping[str, Any]) -> dict[str, DeclaredUse]:
    """Return the declared uses by message name. Raises `InvalidReads`."""
    entries = declared.get("messages")
    if not isinstance(entries, Mapping):
        raise InvalidReads("`messages` must be an object with message names as keys")
    return {str(name): _use(str(name), entry) for name, entry in entries.items()}


def _use(name: str, declaration: Any) -> DeclaredUse:
    if declaration is None:
        return DeclaredUse()
    if not isinstance(declaration, Mapping) or set(declaration) - {"reads", "sends"}:
        raise InvalidReads(f"{name}: only the lists `reads` and `sends` are allowed")
    lists = {}
    for key in ("reads", "sends"):
        paths = declaration.get(key)
        if paths is None:
            lists[key] = EVERYTHING
        elif isinstance(paths, list) and all(isinstance(path, str) and path for path in paths):
            lists[key] = field_selection(paths) if paths else FieldSelection(everything=False)
        else:
            raise InvalidReads(f"{name}: `{key}` must be a list of dotted paths")
    return DeclaredUse(reads=lists["reads"], sends=lists["sends"])
