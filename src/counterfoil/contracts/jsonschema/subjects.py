"""Subjects that a difference between two schemas can have, their keywords, and texts about changed keywords."""

from __future__ import annotations

import json
from typing import Any

GROUPS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("values", ("enum", "const"), ""),
    ("minimum", ("minimum", "exclusiveMinimum"), "number"),
    ("maximum", ("maximum", "exclusiveMaximum"), "number"),
    ("multiple-of", ("multipleOf",), "number"),
    ("min-length", ("minLength",), "string"),
    ("max-length", ("maxLength",), "string"),
    ("pattern", ("pattern",), "string"),
    ("format", ("format",), "string"),
    ("content", ("contentEncoding", "contentMediaType", "contentSchema"), "string"),
    ("min-items", ("minItems",), "array"),
    ("max-items", ("maxItems",), "array"),
    ("unique-items", ("uniqueItems",), "array"),
    ("contains", ("contains", "minContains", "maxContains"), "array"),
    ("unevaluated-items", ("unevaluatedItems",), "array"),
    ("min-properties", ("minProperties",), "object"),
    ("max-properties", ("maxProperties",), "object"),
    ("property-names", ("propertyNames",), "object"),
    ("dependencies", ("dependencies", "dependentRequired", "dependentSchemas"), "object"),
    ("unevaluated-properties", ("unevaluatedProperties",), "object"),
    ("not", ("not",), ""),
    ("condition", ("if", "then", "else"), ""),
)
"""Subject, the keywords compared together, and the type of instance that they apply to; empty for every type."""
SUBJECTS = frozenset(subject for subject, _, _ in GROUPS) | {
    "schema", "type", "item", "additional-items", "additional-properties", "pattern-property", "property-added",
    "property-removed", "required-added", "required-removed", "all-of", "any-of", "one-of", "reference", "annotation",
}  # fmt: skip
"""All subjects of differences."""
ANNOTATIONS = (
    "title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment",
)  # fmt: skip


def changed_keywords(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Describe what changed among keywords, without the unchanged ones."""
    parts = []
    for key in [*old, *(key for key in new if key not in old)]:
        if key not in new:
            parts.append(f"{key} {brief(old[key])} was removed")
        elif key not in old:
            parts.append(f"{key} {brief(new[key])} was added")
        elif isinstance(old[key], list) and isinstance(new[key], list) and key in {"enum", "type"}:
            removed = [value for value in old[key] if value not in new[key]]
            added = [value for value in new[key] if value not in old[key]]
            parts += [f"{_listed(removed)} removed"] if removed else []
            parts += [f"{_listed(added)} added"] if added else []
        elif old[key] != new[key]:
            parts.append(f"{key} {brief(old[key])} became {brief(new[key])}")
    return ", ".join(parts)


def _listed(values: list[Any]) -> str:
    text = ", ".join(brief(value) for value in values[:5])
    return text + (f" and {len(values) - 5} more" if len(values) > 5 else "")


def brief(value: Any) -> str:
    """Return a value as JSON, cut after 60 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
