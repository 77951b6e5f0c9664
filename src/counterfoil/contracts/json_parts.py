"""Parts of JSON documents: lists, maps, references and JSON Pointers. A malformed part counts as empty."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

Node: TypeAlias = dict[str, Any]
"""Object of a JSON document."""


def as_list(value: Any) -> list[Any]:
    """Return the value if it is a list, else an empty list."""
    return value if isinstance(value, list) else []


def as_map(value: Any) -> Node:
    """Return the value if it is an object, else an empty object."""
    return value if isinstance(value, dict) else {}


def reference_of(node: Any) -> str:
    """Return the `$ref` of a node; empty if it has none."""
    reference = node.get("$ref") if isinstance(node, dict) else None
    return reference if isinstance(reference, str) else ""


def escape(part: str) -> str:
    """Escape one part of a JSON Pointer."""
    return part.replace("~", "~0").replace("/", "~1")


def unescape(part: str) -> str:
    """Return one part of a JSON Pointer as the key that it stands for."""
    return part.replace("~1", "/").replace("~0", "~")


def pointer(path: Iterable[str | int]) -> str:
    """Return the JSON Pointer of a path."""
    return "".join("/" + escape(str(step)) for step in path)


def part_at(node: Any, path: Iterable[str]) -> Any:
    """Return the part at a path of keys and positions. Raises LookupError if there is none."""
    for step in path:
        if isinstance(node, dict) and step in node:
            node = node[step]
        elif isinstance(node, list) and step.isdigit() and int(step) < len(node):
            node = node[int(step)]
        else:
            raise LookupError(step)
    return node
