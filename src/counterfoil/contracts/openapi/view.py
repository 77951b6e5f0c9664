"""What a schema says, in one form: OpenAPI 3.0's `nullable` and boolean bounds, 3.1's type lists and `const`,
references and `allOf` all become the same few fields, so that two schemas can be compared field by field."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from counterfoil.contracts.openapi.document import Document, Unresolved

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
_MAPS = ("patternProperties", "dependentRequired", "dependentSchemas")
DEEPEST = 40


class Union(msgspec.Struct):
    """`oneOf` or `anyOf`, without the alternative that is only null."""

    keyword: str
    variants: list[Any]
    null: bool


class View(msgspec.Struct):
    """What a schema says. None where it says nothing."""

    types: frozenset[str] | None = None
    null: bool | None = None
    """Whether null is admitted; None where neither type nor `nullable` say so."""
    enum: list[Any] | None = None
    extensible: list[Any] | None = None
    properties: dict[str, Any] = msgspec.field(default_factory=dict)
    required: set[str] = msgspec.field(default_factory=set)
    additional: Any = True
    low: tuple[float, bool] | None = None
    """The least number, and whether it is excluded."""
    high: tuple[float, bool] | None = None
    sizes: dict[str, int] = msgspec.field(default_factory=dict)
    patterns: set[str] = msgspec.field(default_factory=set)
    maps: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    carried: dict[str, Any] = msgspec.field(default_factory=dict)
    unions: list[Union] = msgspec.field(default_factory=list)
    unresolved: list[str] = msgspec.field(default_factory=list)
    names: set[str] = msgspec.field(default_factory=set)
    """The components that it is made of."""
    split: bool = False
    """One of several types alone: what is said of other types does not matter to it."""

    def admits(self, kind: str) -> bool:
        """Whether values of a type may be valid."""
        return self.types is None or kind in self.types or (kind == "integer" and "number" in self.types)

    def only(self, *kinds: str) -> bool:
        """Whether values of no other types are valid."""
        return self.types is not None and all(kind in kinds for kind in self.types)


def look(schema: Any, document: Document, borrowed: dict[str, Document] | None = None) -> View:
    """The view of a schema. References named in `borrowed` are looked up in that document: two schemas that extend
    the same component are compared as if it had not changed, for its own changes are told at its own place."""
    view = View()
    _take(view, schema, document, borrowed or {}, 0)
    _settle(view)
    return view


def _take(view: View, schema: Any, document: Document, borrowed: dict[str, Document], depth: int) -> None:
    if schema is True or schema is None:
        return
    if schema is False:
        view.types = frozenset()
        view.null = False
        return
    if not isinstance(schema, dict) or depth > DEEPEST:
        view.unresolved.append("a schema that is no schema")
        return
    reference = schema.get("$ref")
    if isinstance(reference, str):
        try:
            target = borrowed.get(reference, document).resolve(reference)
        except Unresolved as error:
            view.unresolved.append(str(error))
            return
        view.names.add(reference)
        _take(view, target, document, borrowed, depth + 1)
        if all(key == "$ref" or key in _ANNOTATIONS or key.startswith("x-") for key in schema):
            return
    _types(view, schema)
    _values(view, schema)
    _bounds(view, schema)
    _object(view, schema)
    for key in _CARRIED:
        if key in schema:
            if key in ("items", "contains", "propertyNames", "not") and key in view.carried:
                joined = "anyOf" if key == "not" else "allOf"
                view.carried[key] = {joined: [view.carried[key], schema[key]]}
            else:
                view.carried[key] = schema[key]
    for key in _MAPS:
        if isinstance(schema.get(key), dict):
            view.maps.setdefault(key, {}).update(schema[key])
    for keyword in ("oneOf", "anyOf"):
        if isinstance(schema.get(keyword), list):
            _union(view, keyword, schema[keyword], document, borrowed, depth)
    for part in _list(schema.get("allOf")):
        _take(view, part, document, borrowed, depth + 1)


def _types(view: View, schema: dict[str, Any]) -> None:
    said = schema.get("type")
    names = [said] if isinstance(said, str) else _list(said)
    types = frozenset(str(name) for name in names) if names else None
    null: bool | None = None
    if types is not None:
        null = "null" in types or schema.get("nullable") is True
        types -= {"null"}
        if said == "file":
            types = frozenset(("string",))
        view.types = types if view.types is None else _both(view.types, types)
    elif schema.get("nullable") is True:
        null = True
    if null is not None:
        view.null = null if view.null is None else view.null and null


def _both(first: frozenset[str], second: frozenset[str]) -> frozenset[str]:
    both = first & second
    if ("integer" in first and "number" in second) or ("number" in first and "integer" in second):
        both |= {"integer"}
    return both


def _values(view: View, schema: dict[str, Any]) -> None:
    values = schema["enum"] if isinstance(schema.get("enum"), list) else None
    if "const" in schema:
        values = [schema["const"]]
    if values is not None:
        view.enum = values if view.enum is None else [v for v in view.enum if has(values, v)]
    growing = schema.get("x-extensible-enum")
    if isinstance(growing, list):
        view.extensible = growing
    elif growing is True and values is not None:
        view.extensible = values
    if isinstance(schema.get("pattern"), str):
        view.patterns.add(schema["pattern"])


def _bounds(view: View, schema: dict[str, Any]) -> None:
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
            known = view.sizes.get(key, size)
            view.sizes[key] = max(known, size) if key.startswith("min") else min(known, size)


def _tighten(view: View, low: bool, bound: tuple[Any, bool]) -> None:
    known = view.low if low else view.high
    if known is None or tighter(bound, known, low):
        if low:
            view.low = bound
        else:
            view.high = bound


def tighter(one: tuple[float, bool], other: tuple[float, bool], low: bool) -> bool:
    """Whether one bound leaves fewer numbers than the other."""
    if one[0] == other[0]:
        return one[1] and not other[1]
    return one[0] > other[0] if low else one[0] < other[0]


def _object(view: View, schema: dict[str, Any]) -> None:
    properties = schema.get("properties")
    if isinstance(properties, dict):
        for name, value in properties.items():
            name = str(name)
            known = view.properties.get(name)
            view.properties[name] = value if known is None or known == value else {"allOf": [known, value]}
    view.required.update(str(name) for name in _list(schema.get("required")))
    additional = schema.get("additionalProperties", True)
    if additional is not True:
        if view.additional is True or additional is False:
            view.additional = additional
        elif view.additional is not False and view.additional != additional:
            view.additional = {"allOf": [view.additional, additional]}


def _union(
    view: View,
    keyword: str,
    variants: list[Any],
    document: Document,
    borrowed: dict[str, Document],
    depth: int,
) -> None:
    rest = [variant for variant in variants if not _is_null(variant)]
    null = len(rest) < len(variants)
    if len(rest) == 1 and depth < DEEPEST:
        # A choice of one is no choice: what it says holds.
        single = View()
        _take(single, rest[0], document, borrowed, depth + 1)
        if null:
            single.null = True
        _join(view, single)
    elif rest:
        view.unions.append(Union(keyword, rest, null))
    elif null:
        view.types, view.null = frozenset(), True


def join(one: View, other: View) -> View:
    """A view that says what both say."""
    joined = View(
        types=one.types, null=one.null, enum=one.enum, extensible=one.extensible, properties=dict(one.properties),
        required=set(one.required), additional=one.additional, low=one.low, high=one.high, sizes=dict(one.sizes),
        patterns=set(one.patterns), maps={key: dict(entries) for key, entries in one.maps.items()},
        carried=dict(one.carried), unions=list(one.unions), unresolved=list(one.unresolved),
        names=set(one.names), split=one.split,
    )  # fmt: skip
    _join(joined, other)
    _settle(joined)
    return joined


def _join(view: View, other: View) -> None:
    """Let one view say what another says too."""
    if other.types is not None:
        view.types = other.types if view.types is None else _both(view.types, other.types)
    if other.null is not None:
        view.null = other.null if view.null is None else view.null and other.null
    if other.enum is not None:
        view.enum = other.enum if view.enum is None else [v for v in view.enum if has(other.enum, v)]
    view.extensible = view.extensible or other.extensible
    for name, value in other.properties.items():
        known = view.properties.get(name)
        view.properties[name] = value if known is None or known == value else {"allOf": [known, value]}
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
        view.carried.setdefault(key, value)
    view.unions.extend(other.unions)
    view.unresolved.extend(other.unresolved)
    view.names |= other.names


def _settle(view: View) -> None:
    """Say what is only implied: types by values or by what is said of them, and null by both."""
    if view.enum is not None:
        if None in view.enum:
            view.null = view.null if view.null is False else True
        elif view.null is None:
            view.null = False
        view.enum = [value for value in view.enum if value is not None]
        kinds = {json_type(value) for value in view.enum}
        if view.types is None and kinds:
            view.types = frozenset(kinds)
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
    """The JSON type of a value; whole numbers are integers."""
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


def has(values: Iterable[Any], wanted: Any) -> bool:
    """Whether a value is among others, true and 1 being different."""
    return any(value == wanted and isinstance(value, bool) == isinstance(wanted, bool) for value in values)


def _is_null(variant: Any) -> bool:
    return isinstance(variant, dict) and (
        variant.get("type") in ("null", ["null"]) or variant.get("enum") == [None]
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> bool:
    return not isinstance(value, bool) and (isinstance(value, int | float) or hasattr(value, "as_tuple"))
