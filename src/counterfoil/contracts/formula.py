"""A schema, seen by instances of one type, as a formula over simple statements about the instance.

A formula is True, False, `("and", parts)`, `("or", parts)`, `("one", parts)` for exactly one of them, `("notone", parts)`,
`("lit", positive, number)` for another schema at the same instance, or a statement `(name, ...)`. The statements of each type and their opposites are listed in `opposite`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, TypeAlias

from counterfoil.contracts.document import Document
from counterfoil.contracts.nodes import Inside, Nodes, Step

Formula: TypeAlias = Any
Literal: TypeAlias = tuple[bool, int]
"""Whether an instance is in the schema of that number, or outside of it."""

TYPES = ("string", "object", "number", "array", "boolean", "null")


def all_of(parts: Iterable[Formula]) -> Formula:
    return _joined("and", parts, unit=True)


def any_of(parts: Iterable[Formula]) -> Formula:
    return _joined("or", parts, unit=False)


def _joined(kind: str, parts: Iterable[Formula], *, unit: bool) -> Formula:
    kept: list[Formula] = []
    for part in parts:
        if part is unit:
            continue
        if isinstance(part, bool):
            return part
        kept.extend(part[1] if part[0] == kind else [part])
    if len(kept) == 1:
        return kept[0]
    return (kind, tuple(dict.fromkeys(kept))) if kept else unit


def negate(formula: Formula) -> Formula:
    if isinstance(formula, bool):
        return not formula
    if formula[0] == "and":
        return any_of(negate(part) for part in formula[1])
    if formula[0] == "or":
        return all_of(negate(part) for part in formula[1])
    if formula[0] == "lit":
        return ("lit", not formula[1], formula[2])
    return opposite(formula)


def _not(literal: Literal) -> Literal:
    return (not literal[0], literal[1])


PAIRS = {"oneof": "noneof", "multiple": "nomultiple", "integer": "fraction", "pattern": "nopattern"}
PAIRS |= {"format": "noformat", "opaque": "noopaque", "required": "absent", "unique": "repeats"}
PAIRS |= {"one": "notone"}
PAIRS |= {other: one for one, other in PAIRS.items()}


def opposite(atom: Formula) -> Formula:
    """What holds exactly when the statement does not, for an instance of the statement's type."""
    name, *rest = atom
    match name:
        case "min" | "max":
            return ("max" if name == "min" else "min", rest[0], not rest[1])
        case "minlen" | "minprops" | "minitems":
            return ("max" + name[3:], rest[0] - 1)
        case "maxlen" | "maxprops" | "maxitems":
            return ("min" + name[3:], rest[0] + 1)
        case "prop":
            return all_of([("required", rest[0]), ("prop", rest[0], _not(rest[1]))])
        case "every":
            return ("some", *rest[:3], _not(rest[3]))
        case "some":
            return ("every", *rest[:3], _not(rest[3]))
        case "names" | "somename":
            return ("somename" if name == "names" else "names", _not(rest[0]))
        case "item":
            return all_of([("minitems", rest[0] + 1), ("item", rest[0], _not(rest[1]))])
        case "rest" | "somerest":
            return ("somerest" if name == "rest" else "rest", rest[0], _not(rest[1]))
        case "contains":
            literal, low, high = rest
            few = ("contains", literal, 0, low - 1) if low > 0 else False
            many = ("contains", literal, high + 1, None) if high is not None else False
            return any_of([few, many])
        case _:
            return (PAIRS[name], *rest)


def number(value: Any) -> Fraction | None:
    """Exact; `0.1` is one tenth."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return Fraction(str(value)) if isinstance(value, float) else Fraction(value)
    except ValueError:
        return None


def count(value: Any) -> int | None:
    found = number(value)
    return int(found) if found is not None and found.denominator == 1 else None


class Reader:
    """Reads schemas into formulas, by the draft of the document that each stands in."""

    def __init__(self, nodes: Nodes, *, assert_formats: bool) -> None:
        self.nodes = nodes
        self.assert_formats = assert_formats
        self._memo: dict[tuple[int, str], Formula] = {}

    def formula(self, key: int, type_: str) -> Formula:
        found = self._memo.get((key, type_))
        if found is None:
            document, schema = self.nodes.table[key]
            found = self._memo[key, type_] = self._read(document, schema, type_)
        return found

    def _read(self, document: Document, schema: Any, type_: str) -> Formula:
        if isinstance(schema, bool):
            return schema
        if isinstance(schema, Inside):
            return _inside(self.nodes, schema, type_)
        if not isinstance(schema, dict):
            return ("opaque", repr(schema))
        lit = _Literals(self.nodes, document)
        if "$ref" in schema and document.draft <= 7:
            return self._reference(document, schema, "$ref", lit)
        parts = [
            self._reference(document, schema, name, lit)
            for name in ("$ref", "$dynamicRef", "$recursiveRef")
            if name in schema
        ]
        parts.append(_types(document, schema, type_))
        if parts[-1] is False:
            return False
        parts.extend(self._combined(document, schema, lit, type_))
        match type_:
            case "number":
                parts.extend(_numeric(schema))
            case "string":
                parts.extend(self._textual(schema))
            case "object":
                parts.extend(_objects(document, schema, lit, self._evaluated))
            case "array":
                parts.extend(_arrays(document, schema, lit))
        return all_of(parts)

    def _reference(self, document: Document, schema: Any, name: str, lit: _Literals) -> Formula:
        ref = document.absolute(str(schema[name]), schema)
        if name == "$dynamicRef" and len(document.dynamic.get(ref.rpartition("#")[2], [])) > 1:
            return ("opaque", name, ref, id(document))
        target = document.resolve(ref)
        if target is None:
            return ("opaque", "$ref", ref)
        return lit(target)

    def _combined(
        self, document: Document, schema: dict[str, Any], lit: _Literals, type_: str
    ) -> Iterator[Formula]:
        values = schema.get("enum")
        if isinstance(values, list):
            yield any_of(_values(values, type_, lit))
        if "const" in schema and document.draft >= 6:
            yield any_of(_values([schema["const"]], type_, lit))
        for name, join in (("allOf", all_of), ("anyOf", any_of)):
            if isinstance(schema.get(name), list):
                yield join(lit(part) for part in schema[name])
        if isinstance(schema.get("oneOf"), list):
            yield _exactly_one([lit(part) for part in schema["oneOf"]])
        if "not" in schema:
            yield negate(lit(schema["not"]))
        if "if" in schema and document.draft >= 7 and ("then" in schema or "else" in schema):
            condition = lit(schema["if"])
            yield any_of(
                [
                    all_of([condition, lit(schema.get("then", True))]),
                    all_of([negate(condition), lit(schema.get("else", True))]),
                ]
            )

    def _textual(self, schema: dict[str, Any]) -> Iterator[Formula]:
        low, high = count(schema.get("minLength")), count(schema.get("maxLength"))
        if low:
            yield ("minlen", low)
        if high is not None:
            yield ("maxlen", high)
        if isinstance(schema.get("pattern"), str):
            yield ("pattern", schema["pattern"])
        if isinstance(schema.get("format"), str) and self.assert_formats:
            yield ("format", schema["format"])

    def _evaluated(self, document: Document, schema: Any, seen: frozenset[int]) -> Evaluated | None:
        """The property names that the schema always looks at; None when that depends on the instance."""
        if not isinstance(schema, dict):
            return Evaluated((), (), False)
        if id(schema) in seen:
            return Evaluated((), (), False)
        seen |= {id(schema)}
        if any(name in schema for name in ("anyOf", "oneOf", "if", "dependentSchemas", "$dynamicRef")):
            return None
        names = list(schema.get("properties", ()))
        patterns = list(schema.get("patternProperties", ()))
        everything = "additionalProperties" in schema
        inner = list(schema.get("allOf", ()))
        if "$ref" in schema:
            target = document.resolve(document.absolute(str(schema["$ref"]), schema))
            if target is None:
                return None
            inner.append(target)
        for part in inner:
            found = self._evaluated(document, part, seen)
            if found is None:
                return None
            names.extend(found[0])
            patterns.extend(found[1])
            everything |= found[2] or (isinstance(part, dict) and "unevaluatedProperties" in part)
        return Evaluated(tuple(names), tuple(patterns), everything)


def _inside(nodes: Nodes, what: Inside, type_: str) -> Formula:
    step, literals = what
    if step.kind == "here":
        return all_of(("lit", *literal) for literal in literals)
    both = (True, nodes.inside(Inside(Step("here"), literals)))
    if type_ == "object":
        match step.kind:
            case "property":
                return all_of([("required", step.name), ("prop", step.name, both)])
            case "other":
                return ("some", step.excluded, step.must, step.must_not, both)
            case "name":
                return ("somename", both)
    if type_ == "array":
        match step.kind:
            case "item":
                return all_of([("minitems", step.at + 1), ("item", step.at, both)])
            case "rest":
                return ("somerest", step.at, both)
    return False


class Evaluated(tuple[tuple[str, ...], tuple[str, ...], bool]):
    """Names, patterns, and whether every other name was looked at too."""

    __slots__ = ()

    def __new__(cls, names: tuple[str, ...], patterns: tuple[str, ...], everything: bool) -> Evaluated:
        return super().__new__(cls, (names, patterns, everything))


class _Literals:
    def __init__(self, nodes: Nodes, document: Document) -> None:
        self.nodes = nodes
        self.document = document

    def __call__(self, schema: Any) -> Formula:
        if isinstance(schema, bool):
            return schema
        return ("lit", True, self.nodes.key(self.document, schema))

    def pair(self, schema: Any) -> Literal:
        return (True, self.nodes.key(self.document, schema))


def _types(document: Document, schema: dict[str, Any], type_: str) -> Formula:
    stated = schema.get("type")
    names = [stated] if isinstance(stated, str) else stated
    if not isinstance(names, list):
        return True
    if document.dialect == "openapi-3.0" and schema.get("nullable") is True and type_ == "null":
        return True
    if type_ in names:
        return True
    return ("integer",) if type_ == "number" and "integer" in names else False


def _values(values: list[Any], type_: str, lit: _Literals) -> Iterator[Formula]:
    scalars: set[Any] = set()
    for value in values:
        if type_ == "number" and (exact := number(value)) is not None:
            scalars.add(exact)
        elif (
            (type_ == "string" and isinstance(value, str))
            or (type_ == "boolean" and isinstance(value, bool))
            or (type_ == "null" and value is None)
        ):
            scalars.add(value)
        elif type_ == "object" and isinstance(value, dict):
            yield ("lit", True, lit.nodes.made(exactly_object(value)))
        elif type_ == "array" and isinstance(value, list):
            yield ("lit", True, lit.nodes.made(exactly_array(value)))
    if scalars:
        yield ("oneof", frozenset(scalars))


def exactly_object(value: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(value),
        "maxProperties": len(value),
        "properties": {name: {"const": part} for name, part in value.items()},
    }


def exactly_array(value: list[Any]) -> dict[str, Any]:
    return {
        "type": "array",
        "minItems": len(value),
        "maxItems": len(value),
        "prefixItems": [{"const": part} for part in value],
    }


def _exactly_one(parts: list[Formula]) -> Formula:
    certain = sum(part is True for part in parts)
    open_ = tuple(part for part in parts if not isinstance(part, bool))
    if certain:
        return all_of(negate(part) for part in open_) if certain == 1 else False
    if len(open_) <= 1:
        return open_[0] if open_ else False
    return ("one", open_)


def _numeric(schema: dict[str, Any]) -> Iterator[Formula]:
    for name, atom in (("minimum", "min"), ("maximum", "max")):
        exclusive = schema.get("exclusive" + name.capitalize())
        bound = number(schema.get(name))
        if bound is not None:
            yield (atom, bound, exclusive is True)
        if (bound := number(exclusive)) is not None:
            yield (atom, bound, True)
    factor = number(schema.get("multipleOf"))
    if factor:
        yield ("multiple", abs(factor))


def _objects(document: Document, schema: dict[str, Any], lit: _Literals, evaluated: Any) -> Iterator[Formula]:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    patterns = schema.get("patternProperties")
    patterns = patterns if isinstance(patterns, dict) else {}
    for name, part in properties.items():
        if part is not True and part != {}:
            yield ("prop", name, lit.pair(part))
    for pattern, part in patterns.items():
        yield ("every", frozenset(), (pattern,), (), lit.pair(part))
    additional = schema.get("additionalProperties", True)
    if additional is not True and additional != {}:
        yield ("every", frozenset(properties), (), tuple(patterns), lit.pair(additional))
    unevaluated = schema.get("unevaluatedProperties", True)
    if document.draft >= 2019 and unevaluated is not True and unevaluated != {}:
        found = evaluated(document, schema, frozenset())
        if found is None:
            yield ("opaque", "unevaluatedProperties", lit.pair(schema))
        elif not found[2]:
            yield ("every", frozenset(found[0]), (), tuple(dict.fromkeys(found[1])), lit.pair(unevaluated))
    if isinstance(schema.get("required"), list):
        for name in schema["required"]:
            yield ("required", name)
    low, high = count(schema.get("minProperties")), count(schema.get("maxProperties"))
    if low:
        yield ("minprops", low)
    if high is not None:
        yield ("maxprops", high)
    if "propertyNames" in schema and document.draft >= 6:
        yield ("names", lit.pair(schema["propertyNames"]))
    needs: list[tuple[str, Any]] = []
    for keyword in ("dependencies", "dependentRequired", "dependentSchemas"):
        if isinstance(schema.get(keyword), dict) and (keyword == "dependencies" or document.draft >= 2019):
            needs.extend(schema[keyword].items())
    for name, need in needs:
        then = (
            all_of(("required", other) for other in ([need] if isinstance(need, str) else need))
            if isinstance(need, list | str)
            else lit(need)
        )
        yield any_of([("absent", name), then])


def _arrays(document: Document, schema: dict[str, Any], lit: _Literals) -> Iterator[Formula]:
    items = schema.get("items", True)
    newest = document.draft >= 2020
    head = schema.get("prefixItems", []) if newest else items if isinstance(items, list) else []
    if newest:
        tail = items
    else:
        tail = schema.get("additionalItems", True) if isinstance(items, list) else items
    if newest and isinstance(items, list):
        tail = True
    for index, part in enumerate(head):
        if part is not True and part != {}:
            yield ("item", index, lit.pair(part))
    if tail is not True and tail != {}:
        yield ("rest", len(head), lit.pair(tail))
    unevaluated = schema.get("unevaluatedItems", True)
    if document.draft >= 2019 and unevaluated is not True and unevaluated != {}:
        combined = ("$ref", "allOf", "anyOf", "oneOf", "if", "contains", "dependentSchemas", "$dynamicRef")
        if any(name in schema for name in combined):
            yield ("opaque", "unevaluatedItems", lit.pair(schema))
        elif (newest and "items" not in schema) or (
            not newest and "additionalItems" not in schema and ("items" not in schema or head)
        ):
            yield ("rest", len(head), lit.pair(unevaluated))
    low, high = count(schema.get("minItems")), count(schema.get("maxItems"))
    if low:
        yield ("minitems", low)
    if high is not None:
        yield ("maxitems", high)
    if schema.get("uniqueItems") is True:
        yield ("unique",)
    if "contains" in schema and document.draft >= 6:
        least, most = 1, None
        if document.draft >= 2019:
            stated = count(schema.get("minContains"))
            least = 1 if stated is None else stated
            most = count(schema.get("maxContains"))
        if least > 0 or most is not None:
            yield ("contains", lit.pair(schema["contains"]), least, most)
