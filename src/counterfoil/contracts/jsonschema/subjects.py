"""Subjects that a difference between two schemas can have, and the keywords that each subject compares."""

from __future__ import annotations

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
