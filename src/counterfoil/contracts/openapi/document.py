"""One API description as plain data: targets of references, and the sides on which components are used.

References are resolved inside the document only. They are found in the JSON text of whole branches: searching bytes is
many times faster than walking every node of a description of several megabytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import Any
from urllib.parse import unquote

import msgspec

from counterfoil.contracts.json_parts import Node, as_map, part_at, unescape
from counterfoil.contracts.openapi.rules import Side

_REFERENCE = re.compile(rb'"\$ref":"((?:[^"\\]|\\.)*)"')
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")


class UnresolvedReference(Exception):
    """A reference that has no target, or a target outside the document."""


def json_bytes(node: Any) -> bytes | None:
    """Return a branch as JSON; None if its keys cannot be encoded. Values that only YAML has become text."""
    try:
        return msgspec.json.encode(node, enc_hook=str)
    except (TypeError, ValueError, RecursionError):
        return None


def references(node: Any) -> list[str]:
    """Return the references in a branch, with repetitions."""
    text = json_bytes(node)
    if text is not None:
        return [reference.decode() for reference in _REFERENCE.findall(text)]
    collected: list[str] = []
    pending = [node]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                collected.append(value["$ref"])
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
    return collected


class ApiDescription:
    """One read-only description with its resolved references."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.ignores_siblings = str(root.get("openapi", "")).startswith("3.0")
        """True if keywords beside `$ref` have no meaning, as OpenAPI 3.0 states."""
        self._resolved: Node = {}
        self._inside: dict[str, list[str]] = {}
        self._reference_counts: Counter[str] | None = None

    def resolve(self, reference: str) -> Any:
        """Return the target of a reference, through further references. Raises `UnresolvedReference`."""
        if reference in self._resolved:
            return self._resolved[reference]
        visited = set()
        node: Any = {"$ref": reference}
        while isinstance(node, dict) and isinstance(node.get("$ref"), str) and _is_bare_reference(node):
            target = node["$ref"]
            if target in visited:
                raise UnresolvedReference(f"{reference} refers to itself")
            visited.add(target)
            node = self.step(target)
        self._resolved[reference] = node
        return node

    def step(self, reference: str) -> Any:
        """Return the direct target of a reference. Raises `UnresolvedReference`."""
        if not reference.startswith("#"):
            raise UnresolvedReference(f"{reference} refers outside the document")
        if reference[1:2] not in ("", "/"):
            message = f"{reference} is an anchor, not a JSON Pointer; anchors are not resolved"
            raise UnresolvedReference(message)
        try:
            return part_at(self.root, (unescape(unquote(part)) for part in reference[1:].split("/")[1:]))
        except LookupError:
            raise UnresolvedReference(f"{reference} has no target") from None

    def follow(self, node: Any) -> Node:
        """Return the object itself or the target of its reference; an empty object if there is none."""
        if isinstance(node, dict) and isinstance(node.get("$ref"), str):
            try:
                node = self.resolve(node["$ref"])
            except UnresolvedReference:
                return {}
        return as_map(node)

    def section(self, *names: str) -> Node:
        """Return the object at a path of keys; an empty one if there is none."""
        node: Any = self.root
        for name in names:
            node = as_map(node).get(name)
        return as_map(node)

    def reference_counts(self) -> Counter[str]:
        """Return the number of places that refer to each target."""
        if self._reference_counts is None:
            self._reference_counts = Counter(references(self.root))
        return self._reference_counts

    def reach(self, starts: Iterable[str]) -> set[str]:
        """Return all references reachable from some, through components."""
        reachable: set[str] = set()
        pending = list(starts)
        while pending:
            reference = pending.pop()
            if reference in reachable:
                continue
            reachable.add(reference)
            pending.extend(self.inside(reference))
        return reachable

    def inside(self, reference: str) -> list[str]:
        """Return the references in the target of a reference; none if it has no target."""
        if reference not in self._inside:
            try:
                self._inside[reference] = list(set(references(self.step(reference))))
            except UnresolvedReference:
                self._inside[reference] = []
        return self._inside[reference]


def _is_bare_reference(node: Node) -> bool:
    return all(key in ("$ref", "description", "summary", "title") or key.startswith("x-") for key in node)


class ComponentUsage:
    """References that clients send and that they get, through operations that promise stability."""

    def __init__(self, document: ApiDescription) -> None:
        self._document = document
        self._starts: dict[Side, dict[str, set[str]]] = {"request": {}, "response": {}}
        """For each side, each reference in an operation, with the operations that have it."""
        for path, item in document.section("paths").items():
            self._path_item(item, str(path), False, set())
        for name, item in document.section("webhooks").items():
            self._path_item(item, f"webhook {name}", True, set())
        self.by_side = {side: document.reach(starts) for side, starts in self._starts.items()}

    @cached_property
    def _referrers(self) -> dict[str, set[str]]:
        """Return the references whose target refers to each reference."""
        referrers: dict[str, set[str]] = {}
        for reference in self.by_side["request"] | self.by_side["response"]:
            for inner in self._document.inside(reference):
                referrers.setdefault(inner, set()).add(reference)
        return referrers

    def operations(self, reference: str, side: Side) -> set[str]:
        """Return the operations whose requests or responses reach a component: `POST /orders`."""
        operations, visited, pending = set[str](), set[str](), [reference]
        while pending:
            current = pending.pop()
            if current not in visited:
                visited.add(current)
                operations |= self._starts[side].get(current, set())
                pending.extend(self._referrers.get(current, ()))
        return operations

    def _path_item(self, item: Any, name: str, flipped: bool, path: set[int]) -> None:
        item = self._document.follow(item)
        if id(item) in path:
            return
        path = {*path, id(item)}
        sent: Side = "response" if flipped else "request"
        got: Side = "request" if flipped else "response"
        for method in METHODS:
            operation = item.get(method)
            if not isinstance(operation, dict):
                continue
            user = f"{method.upper()} {name}"
            self._start(sent, item.get("parameters"), user)
            if operation.get("x-stability-level") in ("draft", "alpha"):
                continue
            for part in ("parameters", "requestBody"):
                self._start(sent, operation.get(part), user)
            self._start(got, operation.get("responses"), user)
            for callback in as_map(operation.get("callbacks")).values():
                for expression, inner in self._document.follow(callback).items():
                    self._path_item(inner, f"{expression} of {user}", not flipped, path)

    def _start(self, side: Side, part: Any, user: str) -> None:
        for reference in references(part) if part is not None else ():
            self._starts[side].setdefault(reference, set()).add(user)
