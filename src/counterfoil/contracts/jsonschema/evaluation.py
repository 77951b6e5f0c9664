"""Properties and items that a schema evaluates, which decides what `unevaluated...` still applies to.

The answer depends on the branches that accept the instance, so there are several answers, each with a condition. For
any instance that the schema accepts, exactly one condition holds.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

from counterfoil.contracts.json_parts import as_list, as_map
from counterfoil.contracts.jsonschema.document import SchemaDocument
from counterfoil.contracts.jsonschema.formula import Formula, all_of, negate

MAX_EVALUATIONS = 32
"""Limit of combined answers."""


class Evaluation(NamedTuple):
    """Names and items that a schema evaluates if the condition holds."""

    condition: Formula = True
    names: frozenset[str] = frozenset()
    patterns: frozenset[str] = frozenset()
    items: int = 0
    everything: bool = False

    def empty(self) -> bool:
        return not (self.names or self.patterns or self.items or self.everything)


class UndecidedEvaluation(Exception):
    """The evaluated parts depend on more than conditions can express."""


Literals = Callable[[Any], Formula]


def evaluate(
    document: SchemaDocument, schema: Any, lit: Literals, type_: str, ancestors: frozenset[int] = frozenset()
) -> list[Evaluation]:
    """Return all answers for instances of one type, object or array. Raises UndecidedEvaluation."""
    if not isinstance(schema, dict):
        return [Evaluation()]
    if id(schema) in ancestors:
        raise UndecidedEvaluation  # a schema that leads back to itself has no meaning
    ancestors |= {id(schema)}
    if "$dynamicRef" in schema or "$recursiveRef" in schema:
        raise UndecidedEvaluation

    def inner(part: Any) -> list[Evaluation]:
        return _close(part, evaluate(document, part, lit, type_, ancestors), type_)

    factors = [[_own_names(schema) if type_ == "object" else _own_items(document, schema)]]
    conjuncts = list(as_list(schema.get("allOf")))
    if "$ref" in schema:
        target = document.resolve(document.absolute(str(schema["$ref"]), schema))
        if target is None:
            raise UndecidedEvaluation
        conjuncts.append(target)
    factors += [inner(part) for part in conjuncts]
    for name in ("anyOf", "oneOf"):
        for part in as_list(schema.get(name)):
            factors.append(_when(lit(part), inner(part)))
    if "if" in schema and isinstance(schema["if"], dict | bool):
        condition_answers = inner(schema["if"])
        then, other = inner(schema.get("then", True)), inner(schema.get("else", True))
        if not all(part.empty() for part in (*condition_answers, *then, *other)):
            condition = lit(schema["if"])
            factors.append(
                [_with(condition, part) for part in _product([condition_answers, then])]
                + [_with(negate(condition), part) for part in other]
            )
    if type_ == "object":
        for name, part in as_map(schema.get("dependentSchemas")).items():
            factors.append(_when(("required", name), inner(part)))
    return _product(factors)


def _own_names(schema: dict[str, Any]) -> Evaluation:
    return Evaluation(
        names=frozenset(as_map(schema.get("properties"))),
        patterns=frozenset(as_map(schema.get("patternProperties"))),
        everything="additionalProperties" in schema,
    )


def _own_items(document: SchemaDocument, schema: dict[str, Any]) -> Evaluation:
    items = schema.get("items")
    if "contains" in schema:
        raise UndecidedEvaluation  # validators evaluate contained items in 2019-09 too, where they should not
    if document.draft >= 2020:
        return Evaluation(items=len(as_list(schema.get("prefixItems"))), everything="items" in schema)
    if isinstance(items, list):
        return Evaluation(items=len(items), everything="additionalItems" in schema)
    return Evaluation(everything="items" in schema)


def _close(part: Any, answers: list[Evaluation], type_: str) -> list[Evaluation]:
    """Mark everything as evaluated if the inner schema states `unevaluated...` itself."""
    keyword = "unevaluatedProperties" if type_ == "object" else "unevaluatedItems"
    if isinstance(part, dict) and keyword in part:
        return [answer._replace(everything=True) for answer in answers]
    return answers


def _when(condition: Formula, answers: list[Evaluation]) -> list[Evaluation]:
    if all(part.empty() for part in answers):
        return [Evaluation()]
    return [*(_with(condition, part) for part in answers), Evaluation(condition=negate(condition))]


def _with(condition: Formula, part: Evaluation) -> Evaluation:
    return part._replace(condition=all_of([condition, part.condition]))


def _product(factors: list[list[Evaluation]]) -> list[Evaluation]:
    count = 1
    for factor in factors:
        count *= len(factor)
        if count > MAX_EVALUATIONS:
            raise UndecidedEvaluation
    return [
        Evaluation(
            condition=all_of(part.condition for part in parts),
            names=frozenset[str]().union(*(part.names for part in parts)),
            patterns=frozenset[str]().union(*(part.patterns for part in parts)),
            items=max(part.items for part in parts),
            everything=any(part.everything for part in parts),
        )
        for parts in product(*factors)
    ]
