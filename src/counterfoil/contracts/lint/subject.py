"""Subject of the lint: a document of any form with the fields that it declares, and the type of a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
Form: TypeAlias = Literal["jsonschema", "openapi", "asyncapi", "event", "object", "operation", "workflow"]
RuleHit: TypeAlias = tuple[Path, str, str]
"""Path, problem and fix."""

GOVERNANCE: tuple[Form, ...] = ("event", "object", "operation", "workflow")
OUTSIDE: tuple[Form, ...] = ("jsonschema", "openapi", "asyncapi")
WITH_FIELDS: tuple[Form, ...] = (*OUTSIDE, "event", "object", "operation")

_MAPS = ("data", "fields", "input", "output")
"""Keys of a governance document that declare fields."""
_TYPES = {"int": "integer", "decimal": "number", "bool": "boolean", "list": "array"}
_SKIPPED = frozenset({"example", "examples", "enum", "const", "default", "x-examples"})
"""Keys whose values are instances, which are never read as schemas."""


@dataclass(frozen=True, slots=True)
class Field:
    """Named value of an object.

    `type` is the JSON Schema type, or `money`, `date`, `timestamp`, `id`, `any`, or empty if none is stated.
    """

    name: str
    path: Path
    type: str
    format: str = ""
    values: tuple[str, ...] = ()
    """Texts of its enum."""
    pii: bool | None = None
    """Marked as personal data or not; None without a mark."""
    pattern: bool = False
    near: frozenset[str] = frozenset()
    """Names of the fields of its object and of the enclosing objects."""


@dataclass(frozen=True, slots=True)
class LintSubject:
    """One document with all of its fields."""

    form: Form
    data: dict[str, Any]
    fields: tuple[Field, ...]


RuleFunction: TypeAlias = Callable[[LintSubject], Iterator[RuleHit]]


@dataclass(frozen=True, slots=True)
class LintRule:
    """One rule: its name, the forms of contract that it checks, and its function."""

    name: str
    forms: tuple[Form, ...]
    summary: str
    """Requirement and reason, as the reference page shows them."""
    check: RuleFunction


def fields(data: Mapping[str, Any], form: str) -> Iterator[Field]:
    """Yield every field in the order of the document."""
    if form in ("event", "object", "operation"):
        for key in _MAPS:
            if isinstance(data.get(key), dict):
                yield from _declared(data[key], (key,), frozenset())
    else:
        yield from _schemas(data, (), frozenset())


# ------------------------------------------------------------------ governance


def _declared(map_: Mapping[str, Any], path: Path, near: frozenset[str]) -> Iterator[Field]:
    near |= {str(name).removesuffix("?") for name in map_}
    for key, spec in map_.items():
        yield from _spec(str(key).removesuffix("?"), spec, (*path, key), near)


def _spec(name: str, spec: Any, path: Path, near: frozenset[str]) -> Iterator[Field]:
    while isinstance(spec, list) and spec:
        spec, path = spec[0], (*path, 0)
    if isinstance(spec, str):
        word = spec.strip("[]")
        yield Field(name, path, _TYPES.get(word, word), near=near)
    elif isinstance(spec, dict):
        word = str(spec.get("type", "string" if "enum" in spec else "object")).strip("[]")
        values = tuple(v for v in spec.get("enum") or () if isinstance(v, str))
        pii = spec["pii"] if isinstance(spec.get("pii"), bool) else None
        yield Field(name, path, _TYPES.get(word, word), values=values, pii=pii, near=near)
        if isinstance(spec.get("fields"), dict):
            yield from _declared(spec["fields"], (*path, "fields"), near)
        items = spec.get("items")
        if isinstance(items, dict) and isinstance(items.get("fields"), dict):
            yield from _declared(items["fields"], (*path, "items", "fields"), near)


# ------------------------------------------------------------------ JSON Schema, wherever it stands


def _schemas(node: Any, path: Path, near: frozenset[str]) -> Iterator[Field]:
    if isinstance(node, list):
        for position, item in enumerate(node):
            yield from _schemas(item, (*path, position), near)
    if not isinstance(node, dict):
        return
    properties = node.get("properties")
    # Below a key `properties` the keys are names: a field named `properties` is not a map of schemas.
    inner = near
    if isinstance(properties, dict) and (not path or path[-1] != "properties" or "type" in node):
        inner = near | properties.keys()
        for name, schema in properties.items():
            if isinstance(schema, dict):
                yield _field(str(name), schema, (*path, "properties", name), inner)
    for key, value in node.items():
        if key not in _SKIPPED or path[-1:] == ("properties",):
            yield from _schemas(value, (*path, key), inner)


def _field(name: str, schema: Mapping[str, Any], path: Path, near: frozenset[str]) -> Field:
    stated = schema.get("type", "")
    types = [t for t in (stated if isinstance(stated, list) else [stated]) if t != "null"]
    values = tuple(v for v in schema.get("enum") or () if isinstance(v, str))
    pii = schema["x-pii"] if isinstance(schema.get("x-pii"), bool) else None
    return Field(
        name=name,
        path=path,
        type=str(schema.get("x-type") or (types[0] if types else "")),
        format=str(schema.get("format", "")),
        values=values,
        pii=pii,
        pattern="pattern" in schema,
        near=near,
    )
