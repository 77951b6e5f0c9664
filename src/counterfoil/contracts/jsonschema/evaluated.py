"""What a schema has looked at in an instance, which decides what `unevaluated...` still speaks of.

It depends on which branches accept the instance, so there are several answers, each with its condition. Exactly one of
the conditions holds for any instance that the schema accepts.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

from counterfoil.contracts.jsonschema.document import SchemaDocument
from counterfoil.contracts.jsonschema.formula import Formula, all_of, negate

MAX_EVALUATIONS = 32
"""More answers than these are not worth trying."""


class Evaluated(NamedTuple):
    condition: Formula = True
    names: frozenset[str] = frozenset()
    patterns: frozenset[str] = frozenset()
    items: int = 0
    everything: bool = False

    def empty(self) -> bool:
        return not (self.names or self.patterns or self.items or self.everything)


class UndecidedEvaluation(Exception):
    """It depends on more than can be said here."""


Literals = Callable[[Any], Formula]


def evaluated(
    document: SchemaDocument, schema: Any, lit: Literals, type_: str, seen: frozenset[int] = frozenset()
) -> list[Evaluated]:
    """Every answer for instances of one type, objects or arrays; raises Unknown where there is none."""
    if not isinstance(schema, dict) or id(schema) in seen:
        return [Evaluated()]
    seen |= {id(schema)}
    if "$dynamicRef" in schema or "$recursiveRef" in schema:
        raise UndecidedEvaluation
    factors = [[_own_names(schema) if type_ == "object" else _own_items(document, schema)]]
    together = list(_list(schema, "allOf"))
    if "$ref" in schema:
        target = document.resolve(document.absolute(str(schema["$ref"]), schema))
        if target is None:
            raise UndecidedEvaluation
        together.append(target)
    factors += [_closed(part, evaluated(document, part, lit, type_, seen), type_) for part in together]
    for name in ("anyOf", "oneOf"):
        for part in _list(schema, name):
            inner = _closed(part, evaluated(document, part, lit, type_, seen), type_)
            factors.append(_when(lit(part), inner))
    if "if" in schema and isinstance(schema["if"], dict | bool):
        tested = evaluated(document, schema["if"], lit, type_, seen)
        then = evaluated(document, schema.get("then", True), lit, type_, seen)
        other = evaluated(document, schema.get("else", True), lit, type_, seen)
        if not all(part.empty() for part in (*tested, *then, *other)):
            condition = lit(schema["if"])
            factors.append(
                [_with(condition, part) for part in _product([tested, then])]
                + [_with(negate(condition), part) for part in other]
            )
    if type_ == "object" and isinstance(schema.get("dependentSchemas"), dict):
        for name, part in schema["dependentSchemas"].items():
            factors.append(_when(("required", name), evaluated(document, part, lit, type_, seen)))
    return _product(factors)


def _list(schema: dict[str, Any], name: str) -> list[Any]:
    found = schema.get(name)
    return found if isinstance(found, list) else []


def _map(schema: dict[str, Any], name: str) -> dict[str, Any]:
    found = schema.get(name)
    return found if isinstance(found, dict) else {}


def _own_names(schema: dict[str, Any]) -> Evaluated:
    return Evaluated(
        names=frozenset(_map(schema, "properties")),
        patterns=frozenset(_map(schema, "patternProperties")),
        everything="additionalProperties" in schema,
    )


def _own_items(document: SchemaDocument, schema: dict[str, Any]) -> Evaluated:
    items = schema.get("items")
    if document.draft >= 2020:
        if "contains" in schema:
            raise UndecidedEvaluation
        return Evaluated(items=len(_list(schema, "prefixItems")), everything="items" in schema)
    if isinstance(items, list):
        return Evaluated(items=len(items), everything="additionalItems" in schema)
    return Evaluated(everything="items" in schema)


def _closed(part: Any, found: list[Evaluated], type_: str) -> list[Evaluated]:
    """Inner schemas that say `unevaluated...` themselves have looked at everything."""
    keyword = "unevaluatedProperties" if type_ == "object" else "unevaluatedItems"
    if isinstance(part, dict) and keyword in part:
        return [each._replace(everything=True) for each in found]
    return found


def _when(condition: Formula, found: list[Evaluated]) -> list[Evaluated]:
    if all(part.empty() for part in found):
        return [Evaluated()]
    return [
        *(_with(condition, part) for part in found),
        Evaluated(condition=negate(condition)),
    ]


def _with(condition: Formula, part: Evaluated) -> Evaluated:
    return part._replace(condition=all_of([condition, part.condition]))


def _product(factors: list[list[Evaluated]]) -> list[Evaluated]:
    count = 1
    for factor in factors:
        count *= len(factor)
        if count > MAX_EVALUATIONS:
            raise UndecidedEvaluation
    return [
        Evaluated(
            condition=all_of(part.condition for part in parts),
            names=frozenset[str]().union(*(part.names for part in parts)),
            patterns=frozenset[str]().union(*(part.patterns for part in parts)),
            items=max(part.items for part in parts),
            everything=any(part.everything for part in parts),
        )
        for parts in product(*factors)
    ]
