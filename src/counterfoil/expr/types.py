"""Types for checking: sets of kinds, read lazily from JSON Schemas, and signatures of functions written as text.

A type says what a value may be; an empty set of kinds is `dyn`, anything. Null is left out of account: a field
that may be null types as what it is otherwise, because absence is a matter of `first` and `has`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

JsonSchema = Mapping[str, Any] | bool


class Type(msgspec.Struct, frozen=True, eq=False):
    """`kinds` empty: dyn. `item`: elements of a list. `schemas`: (schema, document) pairs to find fields in.

    `values`: the allowed strings of an enumeration, when the type is one.
    """

    kinds: frozenset[str] = frozenset()
    item: Type | None = None
    schemas: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...] = ()
    values: frozenset[str] | None = None

    @property
    def dyn(self) -> bool:
        """Whether nothing is known."""
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
    """The type of exactly these kinds."""
    return Type(frozenset(kinds))


def list_of(item: Type) -> Type:
    """The type of lists of `item`."""
    return Type(frozenset({"list"}), item=item)


def union(types: list[Type]) -> Type:
    """What any of the types allows; dyn when one of them is."""
    types = [t for t in types if t.kinds != {"null"}] or types
    if not types or any(t.dyn for t in types):
        return DYN
    if len(types) == 1:
        return types[0]
    items = [t.item for t in types if "list" in t.kinds]
    known = [item for item in items if item is not None]
    enums = [t.values for t in types]
    strings = [values for values in enums if values is not None]
    return Type(
        frozenset().union(*(t.kinds for t in types)),
        item=union(known) if known and len(known) == len(items) else None,
        schemas=tuple(pair for t in types for pair in t.schemas),
        values=frozenset().union(*strings) if len(strings) == len(enums) else None,
    )


def fits(given: Type, wanted: Type, widen: bool = True) -> bool:
    """Whether a value of type `given` may be taken where `wanted` is; unknown parts always may.

    `widen`: an int may stand for a decimal.
    """
    if given.dyn or wanted.dyn:
        return True
    allowed = wanted.kinds | {"int"} if widen and "decimal" in wanted.kinds else wanted.kinds
    shared = given.kinds & allowed
    if shared == {"list"} and given.item is not None and wanted.item is not None:
        return fits(given.item, wanted.item, widen)
    return bool(shared)


# --- JSON Schema -----------------------------------------------------------------------------------------------

_FORMATS = {"date": "date", "date-time": "timestamp", "duration": "duration", "decimal": "decimal"}
_EXTENSIONS = {
    "money": "money",
    "date": "date",
    "timestamp": "timestamp",
    "decimal": "decimal",
    "duration": "duration",
}
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
    """The type of values that a JSON Schema (draft 2020-12) describes; what it does not say is dyn.

    Read: type, enum, const, items, properties, $ref within the document, allOf, anyOf, oneOf, format (date,
    date-time, duration, decimal) and x-type (money, date, timestamp, duration, decimal). Fields are read on demand,
    so recursive schemas are fine.
    """
    if not isinstance(schema, Mapping) or depth > 12:
        return DYN
    document = schema if document is None else document
    schema = _resolve(schema, document)
    extension = schema.get("x-type")
    if extension in _EXTENSIONS:
        return type_of(_EXTENSIONS[extension])
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
    items = schema.get("items")
    return Type(
        kinds,
        item=from_schema(items, document, depth + 1)
        if "list" in kinds and isinstance(items, Mapping)
        else None,
        schemas=tuple((part, document) for part in parts) if "map" in kinds else (),
    )


def _parts(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Schemas that say more about the same value: a field that any of them names may be there."""
    named = [part for word in ("allOf", "anyOf", "oneOf") for part in schema.get(word, ())]
    named += [schema[word] for word in ("then", "else") if word in schema]
    return [part for part in named if isinstance(part, Mapping)][:100]


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
    kinds = {
        "bool"
        if isinstance(v, bool)
        else "int"
        if isinstance(v, int)
        else "string"
        if isinstance(v, str)
        else ""
        for v in values
        if v is not None
    }
    if not kinds or "" in kinds:
        return DYN
    return Type(
        frozenset(kinds),
        values=frozenset(v for v in values if v is not None) if kinds == {"string"} else None,
    )


def field(owner: Type, name: str) -> Type | list[str]:
    """The type of a field, or the names that there are instead when it is certainly unknown.

    A schema that lists properties is taken as complete unless it says `additionalProperties`.
    """
    if owner.dyn or ("map" in owner.kinds and not owner.schemas):
        return DYN
    found: list[Type] = []
    known: list[str] = []
    if "money" in owner.kinds:
        known += ["minor", "currency"]
        if name in known:
            found.append(type_of("int" if name == "minor" else "string"))
    is_open = False
    for schema, document in owner.schemas:
        properties = schema.get("properties")
        additional = schema.get("additionalProperties", properties is None and len(owner.schemas) == 1)
        if isinstance(properties, Mapping):
            if name in properties:
                found.append(from_schema(properties[name], document))
                continue
            known += properties
        if additional is True or "patternProperties" in schema or isinstance(additional, Mapping):
            is_open = True
            if isinstance(additional, Mapping) and not found:
                found.append(from_schema(additional, document))
    if found:
        return union(found)
    return DYN if is_open else known


# --- signatures ------------------------------------------------------------------------------------------------


class Signature(msgspec.Struct, frozen=True, eq=False):
    """One way to call a function. `optional` counts parameters that may be left out; `rest` repeats the last."""

    params: tuple[Type, ...]
    result: Type
    optional: int
    rest: bool
    method: bool

    def takes(self, count: int) -> bool:
        """Whether it can be called with so many arguments (the receiver of a method is the first)."""
        return len(self.params) - self.optional <= count and (self.rest or count <= len(self.params))

    def accepts(self, given: list[Type], widen: bool = True) -> bool:
        """Whether arguments of these types may be meant."""
        return self.takes(len(given)) and all(
            fits(t, self.params[min(i, len(self.params) - 1)], widen) for i, t in enumerate(given)
        )


_SIGNATURE = re.compile(r"(?:([a-z<>|]+)\.)?(\w+)\((.*)\) -> ([a-z<>|]+)")


def signature(text: str) -> tuple[str, Signature]:
    """Name and signature from text such as `string.contains(string) -> bool` or `minor(int|string, string?) -> money`.

    `?` marks a parameter that may be left out, `*` one that may be repeated (also no times).
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
