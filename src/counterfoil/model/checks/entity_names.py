"""Legal entities that overlays, mappings, reconciliations and tests name: names of places, and constants of formulas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from counterfoil.expr import ExpressionError
from counterfoil.expr.tree import ExprNode, LiteralNode, TernaryNode
from counterfoil.model import kinds
from counterfoil.model.compile.mapping import emits_with_places
from counterfoil.model.source import Path
from counterfoil.model.template import is_formula, text_of
from counterfoil.model.typing import tree_of

EntityReference = tuple[str, str, Path]


def entity_references(value: kinds.Kind) -> Iterator[EntityReference]:
    """Yield (`legal_entity`, name, place) of the entities that a document names where facts get or have theirs."""
    for name, path in _names(value):
        yield "legal_entity", name, path


def _names(value: kinds.Kind) -> Iterator[tuple[str, Path]]:
    match value:
        case kinds.Overlay():
            many = isinstance(value.of.legal_entity, list)
            for position, name in enumerate(value.of.entities):
                yield name, ("of", "legal_entity", position) if many else ("of", "legal_entity")
        case kinds.Mapping():
            for emit, path in emits_with_places(value):
                yield from _constants(emit.legal_entity, (*path, "legal_entity"))
                yield from _written(emit.data.get("legal_entity"), (*path, "data", "legal_entity"))
        case kinds.Reconciliation():
            for path, entry in value.entries:
                yield from _constants(entry.entity, (*path, "entity"))
        case kinds.Test():
            yield from _in_test(value)


def _in_test(test: kinds.Test) -> Iterator[tuple[str, Path]]:
    """Yield the names in the steps and the expected rows of a test, also those in their data."""
    for position, step in enumerate(test.given):
        yield from _in_part(step, ("given", position))
    for section in type(test.expect).model_fields:
        rows_of_section = getattr(test.expect, section)
        for position, part in enumerate(rows_of_section if isinstance(rows_of_section, list) else []):
            yield from _in_part(part, ("expect", section, position))


def _in_part(part: Any, path: Path) -> Iterator[tuple[str, Path]]:
    fields = vars(part) if isinstance(part, kinds.Part) else {}
    yield from _written(fields.get("legal_entity") or None, (*path, "legal_entity"))
    for key in ("data", "state", "with_", "input"):
        values = fields.get(key)
        if isinstance(values, dict):
            name = values.get("legal_entity") or None
            yield from _written(name, (*path, key.removesuffix("_"), "legal_entity"))


def _written(value: Any, path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the names of a template: a literal, or the constants of a formula."""
    if is_formula(value):
        yield from _constants(value, path)
    elif isinstance(value, str):
        yield value, path


def _constants(text: str | None, path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the texts that a formula may return as they are: `body.eu ? 'acme-de' : 'acme-us'` has two."""
    if text is None:
        return
    try:
        tree = tree_of(text_of(text))
    except (ExpressionError, RecursionError):
        return  # reported by `formula`
    yield from ((name, path) for name in _results(tree))


def _results(node: ExprNode) -> Iterator[str]:
    match node:
        case LiteralNode(value=str(name)) if name:
            yield name
        case TernaryNode():
            yield from _results(node.yes)
            yield from _results(node.no)
