"""Schemas in one normal form, so that two schemas can be compared field by field.

OpenAPI 3.0's `nullable` and boolean bounds, 3.1's type lists and `const`, references and `allOf` become the same
fields.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec

from counterfoil.contracts.json_parts import Node, as_list, as_map
from counterfoil.contracts.openapi.document import ApiDescription, UnresolvedReference

TYPES = ("array", "boolean", "integer", "number", "object", "string")
_ANNOTATIONS = frozenset(
    ("title", "description", "example", "examples", "externalDocs", "xml", "$comment", "$schema", "$id", "$anchor",
     "summary", "default", "deprecated", "$defs", "definitions", "discriminator")
)  # fmt: skip
_SIZES = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains",
          "maxContains")  # fmt: skip
_CARRIED = ("format", "default", "readOnly", "writeOnly", "discriminator", "deprecated", "x-sunset", "x-stability-level",
            "title", "multipleOf", "uniqueItems", "contains", "propertyNames", "not", "if", "then", "else",
            "unevaluatedProperties", "unevaluatedItems", "contentEncoding", "contentMediaType", "contentSchema",
            "items", "prefixItems")  # fmt: skip
_BOTH = frozenset(("items", "contains", "propertyNames", "not", "if", "uniqueItems", "format", "multipleOf"))
"""Keywords of which a view keeps what all parts of a schema state."""
_MAPS = ("patternProperties", "dependentRequired", "dependentSchemas")
MAX_SCHEMA_DEPTH = 40


class Union(msgspec.Struct):
    """`oneOf` or `anyOf`, without an alternative that is only null."""

    keyword: str
    variants: list[Any]
    null: bool


class View(msgspec.Struct):
    """Normal form of a schema. None: the schema does not constrain the field."""

    types: frozenset[str] | None = None
    null: bool | None = None
    """True if null is valid; None if neither `type` nor `nullable` decides it."""
    enum: list[Any] | None = None
    extensible: list[Any] | None = None
    properties: Node = msgspec.field(default_factory=dict)
    required: set[str] = msgspec.field(default_factory=set)
    additional: Any = True
    low: tuple[float, bool] | None = None
    """Minimum, and true if the minimum itself is excluded."""
    high: tuple[float, bool] | None = None
    sizes: dict[str, int] = msgspec.field(default_factory=dict)
    patterns: set[str] = msgspec.field(default_factory=set)
    maps: dict[str, Node] = msgspec.field(default_factory=dict)
    carried: Node = msgspec.field(default_factory=dict)
    unions: list[Union] = msgspec.field(default_factory=list)
    unresolved: list[str] = msgspec.field(default_factory=list)
    names: set[str] = msgspec.field(default_factory=set)
    """References to the components in the schema."""
    split: bool = False
    """True for a view reduced to one of several types: constraints on other types do not matter."""

    def admits(self, kind: str) -> bool:
        """Return true if values of a type may be valid."""
        return self.types is None or kind in self.types or (kind == "integer" and "number" in self.types)

    def only(self, *kinds: str) -> bool:
        """Return true if only values of these types are valid."""
        return self.types is not None and all(kind in kinds for kind in self.types)


def view_of(schema: Any, document: ApiDescription, borrowed: dict[str, ApiDescription] | None = None) -> View:
    """Return the view of a schema.

    References in `borrowed` are resolved in that document: two schemas that extend the same component are compared as if
    it had not changed, because its own changes are reported at its own place.
    """
    view = View()
    _read(view, schema, document, borrowed or {}, 0)
    _settle(view)
    return view


def _read(
    view: View, schema: Any, document: ApiDescription, borrowed: dict[str, ApiDescription], depth: int
) -> None:
    if schema is True or schema is None:
        return
    if schema is False:
        view.types = frozenset()
        view.null = False
        return
    if not isinstance(schema, dict) or depth > MAX_SCHEMA_DEPTH:
        view.unresolved.append("a schema must be an object or a boolean")
        return
    reference = schema.get("$ref")
    if isinstance(reference, str):
        try:
            target = borrowed.get(reference, document).resolve(reference)
        except UnresolvedReference as error:
            view.unresolved.append(str(error))
            return
        view.names.add(reference)
        _read(view, target, document, borrowed, depth + 1)
        if document.ignores_siblings:
            return
        if "default" in schema:
            view.carried["default"] = schema["default"]
        if all(key == "$ref" or key in _ANNOTATIONS or key.startswith("x-") for key in schema):
            return
    _types(view, schema)
    _values(view, schema)
    _bounds(view, schema)
    _object(view, schema)
    for key in _CARRIED:
        if key in schema:
            _carry(view, key, schema[key])
    for key in _MAPS:
        if isinstance(schema.get(key), dict):
            view.maps.setdefault(key, {}).update(schema[key])
    for keyword in ("oneOf", "anyOf"):
        if isinstance(schema.get(keyword), list):
            _union(view, keyword, schema[keyword], document, borrowed, depth)
    for part in as_list(schema.get("allOf")):
        _read(view, part, document, borrowed, depth + 1)


def _carry(view: View, key: str, value: Any) -> None:
    """Add a keyword; if another part of the schema states it too, both count."""
    current = view.carried.get(key)
    if key not in view.carried or current == value:
        view.carried[key] = value
    elif key in ("items", "contains", "propertyNames", "not", "if"):
        view.carried[key] = {"anyOf" if key == "not" else "allOf": [current, value]}
    elif key == "default":
        return  # the outermost one counts
    elif key == "uniqueItems":
        view.carried[key] = current is True or value is True
    elif key == "format":
        view.carried[key] = " and ".join(sorted({*str(current).split(" and "), str(value)}))
    elif key == "multipleOf" and isinstance(current, int) and isinstance(value, int):
        view.carried[key] = math.lcm(current, value)
    else:
        view.carried[key] = value


def _types(view: View, schema: Node) -> None:
    stated = schema.get("type")
    names = [stated] if isinstance(stated, str) else as_list(stated)
    types = frozenset(str(name) for name in names) if names else None
    null: bool | None = None
    if types is not None:
        null = "null" in types or schema.get("nullable") is True
        types -= {"null"}
        if stated == "file":
            types = frozenset(("string",))
        view.types = types if view.types is None else _common_types(view.types, types)
    elif schema.get("nullable") is True:
        null = True
    if null is not None:
        view.null = null if view.null is None else view.null and null


def _common_types(first: frozenset[str], second: frozenset[str]) -> frozenset[str]:
    common = first & second
    if ("integer" in first and "number" in second) or ("number" in first and "integer" in second):
        common |= {"integer"}
    return common


def _values(view: View, schema: Node) -> None:
    values = schema["enum"] if isinstance(schema.get("enum"), list) else None
    if "const" in schema:
        values = [schema["const"]]
    if values is not None:
        view.enum = values if view.enum is None else [v for v in view.enum if has(values, v)]
    extensible = schema.get("x-extensible-enum")
    if isinstance(extensible, list):
        view.extensible = extensible
    elif extensible is True and values is not None:
        view.extensible = values
    if isinstance(schema.get("pattern"), str):
        view.patterns.add(schema["pattern"])


def _bounds(view: View, schema: Node) -> None:
    for plain, excluded, low in (
        ("minimum", "exclusiveMinimum", True),
        ("maximum", "exclusiveMaximum", False),
    ):
        limit, other = schema.get(plain), schema.get(excluded)
        if _number(limit):
            _tighten(view, low, (limit, other is True))
        if _number(other):
            _tighten(view, low, (other, True))
    for key in _SIZES:
        size = schema.get(key)
        if isinstance(size, int) and not isinstance(size, bool):
            current = view.sizes.get(key, size)
            view.sizes[key] = max(current, size) if key.startswith("min") else min(current, size)


def _tighten(view: View, low: bool, bound: tuple[Any, bool]) -> None:
    current = view.low if low else view.high
    if current is None or tighter(bound, current, low):
        if low:
            view.low = bound
        else:
            view.high = bound


def tighter(first: tuple[float, bool], second: tuple[float, bool], low: bool) -> bool:
    """Return true if the first bound allows fewer numbers than the second."""
    if first[0] == second[0]:
        return first[1] and not second[1]
    return first[0] > second[0] if low else first[0] < second[0]


def _object(view: View, schema: Node) -> None:
    properties = schema.get("properties")
    if isinstance(properties, dict):
        for name, value in properties.items():
            _add_property(view, str(name), value)
    view.required.update(str(name) for name in as_list(schema.get("required")))
    additional = schema.get("additionalProperties", True)
    if additional is not True:
        if view.additional is True or additional is False:
            view.additional = additional
        elif view.additional is not False and view.additional != additional:
            view.additional = {"allOf": [view.additional, additional]}


def _add_property(view: View, name: str, schema: Any) -> None:
    current = view.properties.get(name)
    same = current is None or current == schema
    view.properties[name] = schema if same else {"allOf": [current, schema]}


def _union(
    view: View,
    keyword: str,
    variants: list[Any],
    document: ApiDescription,
    borrowed: dict[str, ApiDescription],
    depth: int,
) -> None:
    rest = [variant for variant in variants if not _is_null(variant)]
    null = len(rest) < len(variants)
    if len(rest) == 1 and depth < MAX_SCHEMA_DEPTH:
        # A choice of one alternative is that alternative.
        single = View()
        _read(single, rest[0], document, borrowed, depth + 1)
        if null and single.unions:
            view.unions.append(Union(keyword, rest, null))
            return
        if null:
            single.null = True
        _join(view, single)
    elif rest:
        view.unions.append(Union(keyword, rest, null))
    elif null:
        view.types, view.null = frozenset(), True


def join(first: View, second: View) -> View:
    """Return a view with the constraints of both views."""
    joined = View(
        types=first.types, null=first.null, enum=first.enum, extensible=first.extensible, properties=dict(first.properties),
        required=set(first.required), additional=first.additional, low=first.low, high=first.high, sizes=dict(first.sizes),
        patterns=set(first.patterns), maps={key: dict(entries) for key, entries in first.maps.items()},
        carried=dict(first.carried), unions=list(first.unions), unresolved=list(first.unresolved),
        names=set(first.names), split=first.split,
    )  # fmt: skip
    _join(joined, second)
    _settle(joined)
    return joined


def _join(view: View, other: View) -> None:
    """Add the constraints of another view to a view."""
    if other.types is not None:
        view.types = other.types if view.types is None else _common_types(view.types, other.types)
    if other.null is not None:
        view.null = other.null if view.null is None else view.null and other.null
    if other.enum is not None:
        view.enum = other.enum if view.enum is None else [v for v in view.enum if has(other.enum, v)]
    view.extensible = view.extensible or other.extensible
    for name, value in other.properties.items():
        _add_property(view, name, value)
    view.required |= other.required
    if other.additional is not True:
        view.additional = other.additional
    for low, bound in ((True, other.low), (False, other.high)):
        if bound is not None:
            _tighten(view, low, bound)
    view.sizes.update(other.sizes)
    view.patterns |= other.patterns
    for key, entries in other.maps.items():
        view.maps.setdefault(key, {}).update(entries)
    for key, value in other.carried.items():
        if key in _BOTH:
            _carry(view, key, value)
        else:
            view.carried.setdefault(key, value)
    view.unions.extend(other.unions)
    view.unresolved.extend(other.unresolved)
    view.names |= other.names


def _settle(view: View) -> None:
    """Set what is only implied: types from values or from keywords, and null from both."""
    if view.enum is not None:
        if None in view.enum:
            view.null = view.null if view.null is False else True
        elif view.null is None:
            view.null = False
        view.enum = [value for value in view.enum if value is not None]
        kinds = {json_type(value) for value in view.enum}
        if view.types is None and kinds:
            view.types = frozenset(kinds)
        if view.types == frozenset(("boolean",)) and has(view.enum, True) and has(view.enum, False):
            view.enum = None  # the list excludes no value of the type
    if view.types is None and not view.unions:
        implied = set()
        if view.properties or view.required:
            implied.add("object")
        if "items" in view.carried or "prefixItems" in view.carried:
            implied.add("array")
        if len(implied) == 1:
            view.types = frozenset(implied)
            view.null = bool(view.null)
    if view.null is None and view.unions:
        view.null = all(union.null for union in view.unions)


def json_type(value: Any) -> str:
    """Return the JSON type of a value; whole numbers are integers."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, str):
        return "string"
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "array"
    return "number" if isinstance(value, float) or hasattr(value, "as_tuple") else "string"


def has(values: Iterable[Any], searched: Any) -> bool:
    """Return true if a value is in a list; true and 1 are different."""
    is_bool = isinstance(searched, bool)
    return any(value == searched and isinstance(value, bool) == is_bool for value in values)


def _is_null(variant: Any) -> bool:
    node = as_map(variant)
    return node.get("type") in ("null", ["null"]) or node.get("enum") == [None]


def _number(value: Any) -> bool:
    return not isinstance(value, bool) and (isinstance(value, int | float) or hasattr(value, "as_tuple"))
