"""Schemas as formulas about instances of one type, read by the draft of their document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from counterfoil.contracts.json_parts import as_map
from counterfoil.contracts.jsonschema.circles import leads_back
from counterfoil.contracts.jsonschema.document import SchemaDocument
from counterfoil.contracts.jsonschema.evaluation import UndecidedEvaluation, evaluate
from counterfoil.contracts.jsonschema.examples import checks_format
from counterfoil.contracts.jsonschema.formula import Formula, Literal, all_of, any_of, count, negate, number
from counterfoil.contracts.jsonschema.nodes import Nodes, PartCondition, Step


class FormulaReader:
    """Reader of schemas as formulas. Caches them."""

    def __init__(self, nodes: Nodes, *, assert_formats: bool) -> None:
        self.nodes = nodes
        self.assert_formats = assert_formats
        self._memo: dict[tuple[int, str], Formula] = {}
        self._circles: dict[int, bool] = {}

    def formula(self, key: int, type_: str) -> Formula:
        formula = self._memo.get((key, type_))
        if formula is None:
            document, schema = self.nodes.table[key]
            formula = self._memo[key, type_] = self._read(document, schema, type_)
        return formula

    def _read(self, document: SchemaDocument, schema: Any, type_: str) -> Formula:
        if isinstance(schema, bool):
            return schema
        if isinstance(schema, PartCondition):
            return _part_formula(self.nodes, schema, type_)
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
                parts.extend(self._textual(document, schema))
            case "object":
                parts.extend(_objects(document, schema, lit))
            case "array":
                parts.extend(_arrays(document, schema, lit))
        return all_of(parts)

    def _reference(self, document: SchemaDocument, schema: Any, name: str, lit: _Literals) -> Formula:
        ref = document.absolute(str(schema[name]), schema)
        if len(document.dynamic_targets(name, ref)) > 1:
            return ("opaque", name, ref, id(document))
        target = document.resolve(ref)
        if target is None:
            return ("opaque", "$ref", ref)
        if self._leads_back(document, target):
            return ("opaque", "circle", self.nodes.key(document, target))
        return lit(target)

    def _leads_back(self, document: SchemaDocument, target: Any) -> bool:
        if id(target) not in self._circles:
            self._circles[id(target)] = leads_back(document, target)
        return self._circles[id(target)]

    def _combined(
        self, document: SchemaDocument, schema: dict[str, Any], lit: _Literals, type_: str
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
            then, otherwise = lit(schema.get("then", True)), lit(schema.get("else", True))
            yield any_of([all_of([condition, then]), all_of([negate(condition), otherwise])])

    def _textual(self, document: SchemaDocument, schema: dict[str, Any]) -> Iterator[Formula]:
        low, high = count(schema.get("minLength")), count(schema.get("maxLength"))
        if low:
            yield ("minlen", low)
        if high is not None:
            yield ("maxlen", high)
        if isinstance(schema.get("pattern"), str):
            yield ("pattern", schema["pattern"])
        name = schema.get("format")
        if isinstance(name, str) and self.assert_formats and checks_format(document.dialect, name):
            yield ("format", name)


def _part_formula(nodes: Nodes, condition: PartCondition, type_: str) -> Formula:
    step, literals = condition
    if step.kind == "here":
        return all_of(("lit", *literal) for literal in literals)
    here = (True, nodes.inside(PartCondition(Step("here"), literals)))
    if type_ == "object":
        match step.kind:
            case "property":
                return all_of([("required", step.name), ("prop", step.name, here)])
            case "other":
                return ("some", step.excluded, step.must, step.must_not, here)
            case "name":
                return ("somename", here)
    if type_ == "array":
        match step.kind:
            case "item":
                return all_of([("minitems", step.at + 1), ("item", step.at, here)])
            case "rest":
                return ("somerest", step.at, here)
    return False


class _Literals:
    def __init__(self, nodes: Nodes, document: SchemaDocument) -> None:
        self.nodes = nodes
        self.document = document

    def __call__(self, schema: Any) -> Formula:
        if isinstance(schema, bool):
            return schema
        return ("lit", True, self.nodes.key(self.document, schema))

    def pair(self, schema: Any) -> Literal:
        return (True, self.nodes.key(self.document, schema))


def _types(document: SchemaDocument, schema: dict[str, Any], type_: str) -> Formula:
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
            yield ("lit", True, lit.nodes.own_key(exactly_object(value)))
        elif type_ == "array" and isinstance(value, list):
            yield ("lit", True, lit.nodes.own_key(exactly_array(value)))
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
    undecided = tuple(part for part in parts if not isinstance(part, bool))
    if certain:
        return all_of(negate(part) for part in undecided) if certain == 1 else False
    if len(undecided) <= 1:
        return undecided[0] if undecided else False
    return ("one", undecided)


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


def _objects(document: SchemaDocument, schema: dict[str, Any], lit: _Literals) -> Iterator[Formula]:
    properties, patterns = as_map(schema.get("properties")), as_map(schema.get("patternProperties"))
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
        yield _unevaluated(document, schema, lit, "object", lit.pair(unevaluated))
    if isinstance(schema.get("required"), list):
        for name in schema["required"]:
            if isinstance(name, str):
                yield ("required", name)
    low, high = count(schema.get("minProperties")), count(schema.get("maxProperties"))
    if low:
        yield ("minprops", low)
    if high is not None:
        yield ("maxprops", high)
    if "propertyNames" in schema and document.draft >= 6:
        yield ("names", lit.pair(schema["propertyNames"]))
    dependencies: list[tuple[str, Any]] = []
    for keyword in ("dependencies", "dependentRequired", "dependentSchemas"):
        if isinstance(schema.get(keyword), dict) and (keyword == "dependencies" or document.draft >= 2019):
            dependencies.extend(schema[keyword].items())
    for name, dependency in dependencies:
        if isinstance(dependency, list | str):
            others = [dependency] if isinstance(dependency, str) else dependency
            then = all_of(("required", other) for other in others if isinstance(other, str))
        else:
            then = lit(dependency)
        yield any_of([("absent", name), then])


def _unevaluated(
    document: SchemaDocument, schema: dict[str, Any], lit: _Literals, type_: str, rest: Literal
) -> Formula:
    """Return the formula for the parts that the schema does not evaluate otherwise."""
    try:
        answers = evaluate(document, schema, lit, type_)
    except UndecidedEvaluation:
        return ("opaque", f"unevaluated {type_}", lit.pair(schema))
    alternatives = []
    for part in answers:
        others: Formula = ("rest", part.items, rest)
        if type_ == "object":
            others = ("every", part.names, (), tuple(sorted(part.patterns)), rest)
        alternatives.append(all_of([part.condition, part.everything or others]))
    return any_of(alternatives)


def _arrays(document: SchemaDocument, schema: dict[str, Any], lit: _Literals) -> Iterator[Formula]:
    items = schema.get("items", True)
    newest = document.draft >= 2020
    head = schema.get("prefixItems") if newest else items if isinstance(items, list) else []
    if newest:
        tail = items
    else:
        tail = schema.get("additionalItems", True) if isinstance(items, list) else items
    if newest and isinstance(items, list):
        tail = True
    if not isinstance(head, list):
        head = []
    for index, part in enumerate(head):
        if part is not True and part != {}:
            yield ("item", index, lit.pair(part))
    if tail is not True and tail != {}:
        yield ("rest", len(head), lit.pair(tail))
    unevaluated = schema.get("unevaluatedItems", True)
    if document.draft >= 2019 and unevaluated is not True and unevaluated != {}:
        yield _unevaluated(document, schema, lit, "array", lit.pair(unevaluated))
    low, high = count(schema.get("minItems")), count(schema.get("maxItems"))
    if low:
        yield ("minitems", low)
    if high is not None:
        yield ("maxitems", high)
    if schema.get("uniqueItems") is True:
        yield ("unique",)
    if "contains" in schema and document.draft >= 6:
        minimum, maximum = 1, None
        if document.draft >= 2019:
            stated = count(schema.get("minContains"))
            minimum = 1 if stated is None else stated
            maximum = count(schema.get("maxContains"))
        if minimum > 0 or maximum is not None:
            yield ("contains", lit.pair(schema["contains"]), minimum, maximum)
