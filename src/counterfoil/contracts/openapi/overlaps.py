"""Choices (`oneOf`) whose text is equal, but whose alternatives changed behind their references.

A component is compared at its own place, where a wider alternative breaks no client. At the choice, a value may match two
alternatives now.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from counterfoil.contracts.json_parts import as_map, escape, part_at, pointer
from counterfoil.contracts.openapi.context import ComparisonContext
from counterfoil.contracts.openapi.document import METHODS, references
from counterfoil.contracts.openapi.schema import SchemaPlace

_PREFIX = "#/components/schemas/"


def compare(context: ComparisonContext) -> None:
    """Report values that were accepted in requests, and that match several alternatives of an equal choice now."""
    old, new = context.old.section("components", "schemas"), context.new.section("components", "schemas")
    changed = {f"{_PREFIX}{escape(str(name))}" for name in old if name in new and old[name] != new[name]}
    if not changed:
        return
    for where, before, after in _requests(context):
        for path, choice in _choices(after):
            if not changed & context.new.reach(references(choice["oneOf"])):
                continue
            try:
                former = part_at(before, path)
            except LookupError:
                continue
            if as_map(former).get("oneOf") == choice["oneOf"]:
                place = SchemaPlace(where=f"{where}{pointer(path)}", side="request")
                context.schemas.overlap(former, choice, place)


def _requests(context: ComparisonContext) -> Iterator[tuple[str, Any, Any]]:
    """Yield the parts of both documents that clients send: components, and bodies of operations."""
    usages = context.component_usages()
    for reference in sorted(usages[0].by_side["request"] & usages[1].by_side["request"]):
        if reference.startswith("#/components/") and reference.count("/") == 3:
            section, name = reference.split("/")[2:]
            nodes = [document.section("components", section) for document in (context.old, context.new)]
            for key in nodes[0]:
                if escape(str(key)) == name and key in nodes[1]:
                    yield reference[1:], nodes[0][key], nodes[1][key]
    paths = context.old.section("paths"), context.new.section("paths")
    for path in paths[0]:
        items = [context.old.follow(paths[0][path]), context.new.follow(paths[1].get(path))]
        for method in METHODS:
            before, after = (as_map(item.get(method)).get("requestBody") for item in items)
            if before is not None and after is not None:
                yield f"{method.upper()} {path} /requestBody", before, after


def _choices(root: Any) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield the schemas with several alternatives in `oneOf`, with their paths."""
    pending: list[tuple[tuple[str, ...], Any]] = [((), root)]
    while pending:
        path, node = pending.pop()
        if isinstance(node, dict):
            if isinstance(node.get("oneOf"), list) and len(node["oneOf"]) > 1:
                yield path, node
            pending.extend(((*path, str(key)), part) for key, part in node.items())
        elif isinstance(node, list):
            pending.extend(((*path, str(at)), part) for at, part in enumerate(node))
