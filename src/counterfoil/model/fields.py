"""Short form of fields of objects and contracts, as JSON Schema draft 2020-12.

`x-type` marks types that JSON does not have: money, date, timestamp, decimal, duration. The wire form of money is
`{"minor": 1250, "currency": "USD"}`. A reader that ignores these marks still validates the form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from counterfoil.model.kinds import FieldSpec

Schema: TypeAlias = dict[str, Any]

MONEY: Schema = {
    "type": "object",
    "x-type": "money",
    "properties": {"minor": {"type": "integer"}, "currency": {"type": "string", "pattern": "^[A-Z]{3}$"}},
    "required": ["minor", "currency"],
    "additionalProperties": False,
}
DATE: Schema = {"type": "string", "format": "date", "x-type": "date"}
TIMESTAMP: Schema = {"type": "string", "format": "date-time", "x-type": "timestamp"}
DECIMAL: Schema = {"type": "number", "x-type": "decimal"}
STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}
ANY: Schema = {}

TYPES: dict[str, Schema] = {
    "string": STRING,
    "id": {"type": "string", "minLength": 1},
    "int": INTEGER,
    "decimal": DECIMAL,
    "bool": BOOLEAN,
    "money": MONEY,
    "date": DATE,
    "timestamp": TIMESTAMP,
    "duration": {"type": "string", "format": "duration", "x-type": "duration"},
    "any": ANY,
    "object": {"type": "object"},
    "list": {"type": "array"},
}


def closed_object(properties: Mapping[str, Schema]) -> Schema:
    """Return the schema of an object with these properties and no others."""
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def object_schema(fields: Mapping[str, Any]) -> Schema:
    """Return the schema of a field map as a closed object; a field whose name ends in `?` is optional."""
    schema = closed_object({name: field_schema(spec) for name, _, spec in each_field(fields)})
    required = [name for name, optional, _ in each_field(fields) if not optional]
    if required:
        schema["required"] = required
    return schema


def each_field(fields: Mapping[str, Any]) -> Iterator[tuple[str, bool, Any]]:
    """Yield (name, optional, written form) of every field."""
    for name, spec in fields.items():
        yield name.removesuffix("?"), name.endswith("?"), spec


def field_names(fields: Mapping[str, Any]) -> list[str]:
    return [name for name, _, _ in each_field(fields)]


def field_schema(spec: Any) -> Schema:
    """Return the schema of a field in any written form."""
    if isinstance(spec, str):
        if spec.startswith("["):
            return list_of(field_schema(spec[1:-1]))
        return dict(TYPES[spec])
    if isinstance(spec, list):
        return list_of(field_schema(spec[0]))
    assert isinstance(spec, FieldSpec)
    schema = _full(spec)
    if spec.enum is not None:
        schema["enum"] = list(spec.enum)
    if spec.pii:
        schema["x-pii"] = True
    if spec.negative and is_money(spec):
        schema["x-negative"] = True
    if spec.doc:
        schema["description"] = spec.doc
    return schema


def _full(spec: FieldSpec) -> Schema:
    kind = spec.type
    if kind == "object" and spec.enum is not None:
        return {"type": "string"}
    if kind == "object" and spec.items is not None:
        kind = "list"
    if kind == "object":
        return object_schema(spec.fields) if spec.fields is not None else {"type": "object"}
    if kind == "list":
        if spec.fields is not None:
            return list_of(object_schema(spec.fields))
        return list_of(field_schema(spec.items)) if spec.items is not None else {"type": "array"}
    return field_schema(kind)


def inner_fields(spec: Any) -> tuple[Mapping[str, Any], bool]:
    """Return the fields inside a field, and True if they are fields of list items."""
    if isinstance(spec, list):
        return inner_fields(spec[0])[0], True
    if not isinstance(spec, FieldSpec):
        return {}, False
    if spec.items is not None:
        return inner_fields(spec.items)[0], True
    return spec.fields or {}, spec.type == "list"


def is_identity(spec: Any) -> bool:
    """Return True for a field that contains a canonical id, or a list of them."""
    if isinstance(spec, list):
        return is_identity(spec[0])
    if isinstance(spec, FieldSpec):
        return spec.type in ("id", "[id]") or (spec.items is not None and is_identity(spec.items))
    return spec in ("id", "[id]")


def is_money(spec: Any) -> bool:
    """Return True for a field that contains money, at any depth."""
    if isinstance(spec, list):
        return is_money(spec[0])
    if isinstance(spec, FieldSpec):
        inner = [*(spec.fields or {}).values(), *([spec.items] if spec.items is not None else [])]
        return spec.type in ("money", "[money]") or any(is_money(part) for part in inner)
    return spec in ("money", "[money]")
