"""Matching of the branches of `allOf`, `anyOf` and `oneOf` in two versions of a schema."""

from __future__ import annotations

from typing import Any

from counterfoil.contracts.json_parts import as_map
from counterfoil.contracts.jsonschema.document import SchemaDocument


def match_branches(
    old_document: SchemaDocument, old: dict[int, Any], new_document: SchemaDocument, new: dict[int, Any]
) -> list[tuple[int, int]]:
    """Match branches by reference, by tag, or by type if no other mark exists. Return pairs of positions."""
    pairs: list[tuple[int, int]] = []
    for old_position, old_branch in old.items():
        marks = _marks(old_document, old_branch)
        for new_position, new_branch in new.items():
            matched = {position for _, position in pairs}
            if marks & _marks(new_document, new_branch) and new_position not in matched:
                pairs.append((old_position, new_position))
                break
    return pairs


def _marks(document: SchemaDocument, branch: Any) -> set[str]:
    """Return texts that identify a branch: its reference, its title and its tags, else its type."""
    if not isinstance(branch, dict):
        return set()
    if isinstance(branch.get("$ref"), str):
        return {"$ref " + branch["$ref"]}
    marks = {f"title {branch['title']}"} if isinstance(branch.get("title"), str) else set()
    for name, part in as_map(branch.get("properties")).items():
        part, _ = document.follow(part, "")
        if isinstance(part, dict):
            tag = (
                part["const"] if "const" in part else part["enum"] if len(part.get("enum", "")) == 1 else None
            )
            if tag is not None:
                marks.add(f"{name} {tag[0] if isinstance(tag, list) and tag else tag}")
    if not marks and isinstance(branch.get("type"), str) and branch["type"] != "object":
        marks.add(f"type {branch['type']}")
    return marks
