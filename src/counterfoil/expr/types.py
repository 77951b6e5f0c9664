"""Types for checking: sets of kinds, read lazily from JSON Schemas, and function signatures written as text.

A type describes the possible values; an empty set of kinds is `dyn`, anything. Null is ignored: a nullable field has the
type of its other values, because `first` and `has` handle absence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

JsonSchema = Mapping[str, Any] | bool


class Type(msgspec.Struct, frozen=True, eq=False):
    """Set of possible kinds of a value; empty is dyn.

    `item`: type of the elements of a list. `schemas`: (schema, document) pairs that declare fields. `values`: allowed strings of
    an enumeration.
    """

    kinds: frozenset[str] = frozenset()
    item: Type | None = None
    schemas: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...] = ()
    values: frozenset[str] | None = None

    @property
    def dyn(self) -> bool:
        """True if nothing is known about the value."""
        return not self.kinds

    def __str__(self) -> str:
        if self.dyn:
            return "dyn"
        if self.kinds == {"list"} and self.item is not None:
            return f"list<{self.item}>"
        return " or ".join(sorted(self.kinds))


DYN = Type()
NUMBER = frozenset({"int", "decimal"})
_NAMED = {"dyn": frozenset[str](), "number": NUMBER}


def type_of(*kinds: str) -> Type:
    """Return the type of exactly these kinds."""
    return Type(frozenset(kinds))


def list_of(item: Type) -> Type:
    """Return the type of lists of `item`."""
    return Type(frozenset({"list"}), item=item)


def union(types: list[Type]) -> Type:
    """Return the union of types; dyn if one of them is."""
    types = [t for t in types if t.kinds != {"null"}] or types
    if not types or any(t.dyn for t in types):
        return DYN
    if len(types) == 1:
        return types[0]
    items = [t.item for t in types if "list" in t.kinds]
    item_types = [item for item in items if item is not None]
    enums = [t.values for t in types]
    strings = [values for values in enums if values is not None]
    return Type(
        frozenset().union(*(t.kinds for t in types)),
        item=union(item_types) if item_types and len(item_types) == len(items) else None,
        schemas=tuple(pair for t in types for pair in t.schemas),
        values=frozenset().union(*strings) if len(strings) == len(enums) else None,
    )


def fits(actual: Type, expected: Type, widen: bool = True) -> bool:
    """Return true if a value of type `actual` may be used where `expected` is required; unknown parts always may.

    `widen`: an int may stand for a decimal.
    """
    if actual.dyn or expected.dyn:
        return True
    allowed = expected.kinds | {"int"} if widen and "decimal" in expected.kinds else expected.kinds
    shared = actual.kinds & allowed
    if shared == {"list"} and actual.item is not None and expected.item is not None:
        return fits(actual.item, expected.item, widen)
    return bool(shared)


# --- JSON Schema -----------------------------------------------------------------------------------------------

_FORMATS = {"date": "date", "date-time": "timestamp", "duration": "duration", "decimal": "decimal"}
_EXTENSIONS = ("money", "date", "timestamp", "decimal", "duration")
_CONSTANT_KINDS = {bool: "bool", int: "int", str: "string"}
_JSON_TYPES = {
    "string": frozenset({"string"}),
    "integer": frozenset({"int"}),
    "number": NUMBER,
    "boolean": frozenset({"bool"}),
    "null": frozenset({"null"}),
    "array": frozenset({"list"}),
    "object": frozenset({"map"}),
}


def from_schema(schema: JsonSchema, document: Mapping[str, Any] | None = None, depth: int = 0) -> Type:
    """Return the type of the values of a JSON Schema (draft 2020-12); unstated parts are dyn.

    Supported: type, enum, const, items, properties, $ref within the document, allOf, anyOf, oneOf, format (date, date-time,
    duration, decimal) and x-type (money, date, timestamp, duration, decimal). Fields are read on demand, so recursive schemas
    work.
    """
    if not isinstance(schema, Mapping) or depth > 12:
        return DYN
    document = schema if document is None else document
    schema = _resolve(schema, document)
    extension = schema.get("x-type")
    if extension in _EXTENSIONS:
        return type_of(extension)
    has_own = "properties" in schema or schema.get("type") == "object"
    for word in ("anyOf", "oneOf"):
        if word in schema and not has_own:
            return union([from_schema(part, document, depth + 1) for part in schema[word][:50]])
    if "const" in schema or "enum" in schema:
        return _constants([schema["const"]] if "const" in schema else schema["enum"])
    parts = [schema, *(_resolve(part, document) for part in _parts(schema))]
    for part in parts[1:]:
        if part.get("x-type") in _EXTENSIONS:
            return from_schema(part, document, depth + 1)
    declared = next((part["type"] for part in parts if "type" in part), None)
    if declared is None:
        declared = "object" if any("properties" in part for part in parts) else None
    if declared is None:
        return DYN
    names = [declared] if isinstance(declared, str) else list(declared)
    if "string" in names and schema.get("format") in _FORMATS:
        return type_of(_FORMATS[schema["format"]])
    kinds = frozenset[str]().union(*(_JSON_TYPES.get(name, frozenset()) for name in names))
    kinds = kinds - {"null"} or kinds
    item, items = None, schema.get("items")
    if "list" in kinds and isinstance(items, Mapping):
        item = from_schema(items, document, depth + 1)
    return Type(kinds, item, tuple((part, document) for part in parts) if "map" in kinds else ())


def _parts(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the schemas that further describe the same value: each may declare fields."""
    described = [part for word in ("allOf", "anyOf", "oneOf") for part in schema.get(word, ())]
    described += [schema[word] for word in ("then", "else") if word in schema]
    return [part for part in described if isinstance(part, Mapping)][:100]


def _resolve(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    for _ in range(32):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        if not reference.startswith("#"):
            return {}
        target: Any = document
        for part in reference[1:].strip("/").split("/") if reference != "#" else ():
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, Mapping) or key not in target:
                return {}
            target = target[key]
        if not isinstance(target, Mapping):
            return {}
        schema = target
    return {}


def _constants(values: list[Any]) -> Type:
    values = [value for value in values if value is not None]
    kinds = frozenset(_CONSTANT_KINDS.get(type(value), "") for value in values)
    if not kinds or "" in kinds:
        return DYN
    return Type(kinds, values=frozenset(values) if kinds == {"string"} else None)


def field(owner: Type, name: str) -> Type | list[str]:
    """Return the type of a field, or the existing field names if the field certainly does not exist.

    A schema that lists properties is complete unless it has `additionalProperties`.
    """
    if owner.dyn or ("map" in owner.kinds and not owner.schemas):
        return DYN
    types: list[Type] = []
    names: list[str] = []
    if "money" in owner.kinds:
        names += ["minor", "currency"]
        if name in names:
            types.append(type_of("int" if name == "minor" else "string"))
    is_open = False
    for schema, document in owner.schemas:
        properties = schema.get("properties")
        additional = schema.get("additionalProperties", properties is None and len(owner.schemas) == 1)
        if isinstance(properties, Mapping):
            if name in properties:
                types.append(from_schema(properties[name], document))
                continue
            names += properties
        if additional is True or "patternProperties" in schema or isinstance(additional, Mapping):
            is_open = True
            if isinstance(additional, Mapping) and not types:
                types.append(from_schema(additional, document))
    if types:
        return union(types)
    return DYN if is_open else names


# --- signatures ------------------------------------------------------------------------------------------------


class Signature(msgspec.Struct, frozen=True, eq=False):
    """One way to call a function. `optional`: number of parameters that may be omitted; `rest`: the last one may repeat."""

    params: tuple[Type, ...]
    result: Type
    optional: int
    rest: bool
    method: bool

    def takes(self, count: int) -> bool:
        """Return true if the function accepts this number of arguments (the receiver of a method is the first)."""
        return len(self.params) - self.optional <= count and (self.rest or count <= len(self.params))

    def accepts(self, arguments: list[Type], widen: bool = True) -> bool:
        """Return true if arguments of these types may match."""
        return self.takes(len(arguments)) and all(
            fits(t, self.params[min(i, len(self.params) - 1)], widen) for i, t in enumerate(arguments)
        )


_SIGNATURE = re.compile(r"(?:([a-z<>|]+)\.)?(\w+)\((.*)\) -> ([a-z<>|]+)")


def signature(text: str) -> tuple[str, Signature]:
    """Parse a signature such as `string.contains(string) -> bool` or `minor(int|string, string?) -> money`.

    `?` marks an optional parameter, `*` one that may occur zero or more times. Returns the name and the signature.
    """
    match = _SIGNATURE.fullmatch(text)
    if match is None:
        raise ValueError(f"not a signature: {text}")
    receiver, name, params, result = match.groups()
    names = [p.strip() for p in params.split(",")] if params else []
    rest = bool(names) and names[-1].endswith("*")
    return name, Signature(
        params=tuple(_type(p.rstrip("?*")) for p in ([receiver] if receiver else []) + names),
        result=_type(result),
        optional=sum(p.endswith("?") for p in names) + rest,
        rest=rest,
        method=receiver is not None,
    )


def _type(text: str) -> Type:
    if text.startswith("list<"):
        return list_of(_type(text[5:-1]))
    if text in _NAMED:
        return Type(_NAMED[text])
    return Type(frozenset[str]().union(*(_NAMED.get(part, frozenset({part})) for part in text.split("|"))))
