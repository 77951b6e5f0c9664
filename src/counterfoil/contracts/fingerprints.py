"""Texts that identify a change, whatever the order of keys, values, parameters and alternatives in the files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from counterfoil.contracts.json_parts import reference_of, unescape
from counterfoil.contracts.report import Change

_CHOICE = re.compile(r"/(?:oneOf|anyOf|allOf)/\d+(?=/|$)")
_CHOICES = ("oneOf", "anyOf", "allOf")
_OPERATION = re.compile(r"([A-Z]+) (webhook )?(\S+) (/.*)", re.S)
_UNORDERED = frozenset(
    ("required", "enum", "type", "anyOf", "oneOf", "allOf", "parameters", "tags", "security", "servers")
)
"""Keywords whose lists have no order."""


def with_identities(changes: Iterable[Change], root: Any) -> list[Change]:
    """Return the changes with identities that do not depend on the order of alternatives in the revision `root`."""
    return [_with_identity(change, root) for change in changes]


def _with_identity(change: Change, root: Any) -> Change:
    place = stable_place(change.where, root)
    if place == change.where:
        return change
    return msgspec.structs.replace(change, identity=f"{place}\n{change.message}")


def stable_place(where: str, root: Any) -> str:
    """Return a place with the digest of each alternative instead of its position.

    A position stays where the document has no such place as written, such as inside a removed part.
    """
    if not _CHOICE.search(where):
        return where
    start, pointer = _start(where)
    node, names, keyword = root, [], ""
    for step in [*start, *(unescape(step) for step in pointer.split("/")[1:])]:
        name = step
        if isinstance(node, dict):
            node = node.get(step)
        elif isinstance(node, list) and step.isdigit() and int(step) < len(node):
            node = node[int(step)]
            name = _name(node) if keyword in _CHOICES else step
        else:
            node = None
        names.append(name)
        keyword = step
    return where.removesuffix(pointer) + "".join(f"/{name}" for name in names[len(start) :])


def _start(where: str) -> tuple[list[str], str]:
    """Return the keys of an operation in the description, and the pointer inside it."""
    match = _OPERATION.fullmatch(where)
    if not match:
        return [], where
    return ["webhooks" if match[2] else "paths", match[3], match[1].lower()], match[4]


def _name(alternative: Any) -> str:
    return reference_of(alternative) or digest(alternative)


def digest(value: Any) -> str:
    """Return a short digest of a schema that is equal for every order of its keys and of its unordered lists."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def canonical(value: Any, keyword: str = "") -> str:
    """Return a schema as text in one order."""
    if isinstance(value, dict):
        inner = ",".join(_entries(value))
        return f"{{{inner}}}"
    if isinstance(value, list):
        items = [canonical(item) for item in value]
        if keyword in _UNORDERED:
            items.sort()
        return f"[{','.join(items)}]"
    return json.dumps(value, ensure_ascii=False, default=str)


def _entries(value: dict[Any, Any]) -> Iterator[str]:
    for key in sorted(value, key=str):
        yield f"{json.dumps(str(key), ensure_ascii=False)}:{canonical(value[key], str(key))}"
