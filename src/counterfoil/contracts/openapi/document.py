"""One description as a tree of plain values: where references lead, and which component is used for what.

References are looked up inside of the document only. Uses are found in the written form of whole branches, because a
search through bytes is many times faster than a walk over every node of a description of several megabytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import msgspec

from counterfoil.contracts.openapi.rules import Side

_REFERENCE = re.compile(rb'"\$ref":"((?:[^"\\]|\\.)*)"')
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")


class Unresolved(Exception):
    """A reference that leads nowhere, or outside of the document."""


def escape(part: str) -> str:
    """One part of a JSON Pointer."""
    return part.replace("~", "~0").replace("/", "~1")


def listed(value: Any) -> list[Any]:
    """A list of the description, or an empty one where it is none: what is not of its form says nothing."""
    return value if isinstance(value, list) else []


def keyed(value: Any) -> dict[str, Any]:
    """An object of the description, or an empty one where it is none."""
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return str(value)


def written(node: Any) -> bytes | None:
    """A branch as JSON, for searching; values that YAML has and JSON has not become text. None where it has keys that
    cannot be written."""
    try:
        return msgspec.json.encode(node, enc_hook=_text)
    except (TypeError, ValueError, RecursionError):
        return None


def references(node: Any) -> list[str]:
    """The references in a branch, as often as they occur."""
    text = written(node)
    if text is not None:
        return [found.decode() for found in _REFERENCE.findall(text)]
    walked: list[str] = []
    ahead = [node]
    while ahead:
        each = ahead.pop()
        if isinstance(each, dict):
            if isinstance(each.get("$ref"), str):
                walked.append(each["$ref"])
            ahead.extend(each.values())
        elif isinstance(each, list):
            ahead.extend(each)
    return walked


class Document:
    """A description that is only read."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root
        self._resolved: dict[str, Any] = {}
        self._inside: dict[str, list[str]] = {}
        self._counted: Counter[str] | None = None

    def resolve(self, reference: str) -> Any:
        """What a reference leads to, through further references. Raises `Unresolved`."""
        if reference in self._resolved:
            return self._resolved[reference]
        seen = set()
        node: Any = {"$ref": reference}
        while isinstance(node, dict) and isinstance(node.get("$ref"), str) and _bare(node):
            target = node["$ref"]
            if target in seen:
                raise Unresolved(f"{reference} leads to itself")
            seen.add(target)
            node = self.step(target)
        self._resolved[reference] = node
        return node

    def step(self, reference: str) -> Any:
        """What a reference leads to at once. Raises `Unresolved`."""
        if not reference.startswith("#"):
            raise Unresolved(f"{reference} leads outside of the document")
        if reference[1:2] not in ("", "/"):
            raise Unresolved(f"{reference} is a name, not a place; names are not looked up")
        node: Any = self.root
        for part in reference[1:].split("/")[1:]:
            part = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and part in node:
                node = node[part]
            elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
                node = node[int(part)]
            else:
                raise Unresolved(f"{reference} leads nowhere")
        return node

    def follow(self, node: Any) -> dict[str, Any]:
        """The object itself, or the one that it refers to; an empty one where there is none."""
        if isinstance(node, dict) and isinstance(node.get("$ref"), str):
            try:
                node = self.resolve(node["$ref"])
            except Unresolved:
                return {}
        return node if isinstance(node, dict) else {}

    def section(self, *names: str) -> dict[str, Any]:
        node: Any = self.root
        for name in names:
            node = node.get(name) if isinstance(node, dict) else None
        return node if isinstance(node, dict) else {}

    def counted(self) -> Counter[str]:
        """How many places refer to each target."""
        if self._counted is None:
            self._counted = Counter(references(self.root))
        return self._counted

    def reached(self, starts: Iterable[str]) -> set[str]:
        """All references that are reached from some, through components."""
        found: set[str] = set()
        ahead = list(starts)
        while ahead:
            reference = ahead.pop()
            if reference in found:
                continue
            found.add(reference)
            if reference not in self._inside:
                try:
                    self._inside[reference] = list(set(references(self.step(reference))))
                except Unresolved:
                    self._inside[reference] = []
            ahead.extend(self._inside[reference])
        return found


def _bare(node: dict[str, Any]) -> bool:
    return all(key in ("$ref", "description", "summary", "title") or key.startswith("x-") for key in node)


class Uses:
    """Which references clients send and which they get, by way of operations that promise stability."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._starts: dict[Side, set[str]] = {"request": set(), "response": set()}
        for item in document.section("paths").values():
            self._path_item(item, False, set())
        for item in document.section("webhooks").values():
            self._path_item(item, True, set())
        self.by_side: dict[Side, set[str]] = {
            "request": document.reached(self._starts["request"]),
            "response": document.reached(self._starts["response"]),
        }

    def _path_item(self, item: Any, flipped: bool, seen: set[int]) -> None:
        item = self._document.follow(item)
        if id(item) in seen:
            return
        seen = {*seen, id(item)}
        sent: Side = "response" if flipped else "request"
        got: Side = "request" if flipped else "response"
        if "parameters" in item:
            self._starts[sent].update(self._all(item["parameters"]))
        for method in METHODS:
            operation = item.get(method)
            if not isinstance(operation, dict) or operation.get("x-stability-level") in ("draft", "alpha"):
                continue
            for part in ("parameters", "requestBody"):
                if part in operation:
                    self._starts[sent].update(self._all(operation[part]))
            if "responses" in operation:
                self._starts[got].update(self._all(operation["responses"]))
            callbacks = operation.get("callbacks")
            if isinstance(callbacks, dict):
                for callback in callbacks.values():
                    for inner in self._document.follow(callback).values():
                        self._path_item(inner, not flipped, seen)

    def _all(self, node: Any) -> list[str]:
        return references(node)
