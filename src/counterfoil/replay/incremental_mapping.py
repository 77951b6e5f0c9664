"""Evaluates only the fields whose mappings differ; equal fields are copied from the recorded event.

Only for a single mapping with one event per type, where the models differ in data fields and the assertion. An equal formula
gives the same value for the same body, unless it makes a look-up, itself or by a let that it reads: the answer may have
changed. So fields with look-ups are evaluated again. A mapping with look-ups in the event's key, version or times is
evaluated completely.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from counterfoil.core.canonical import CanonicalEvent
from counterfoil.expr import BudgetExceeded, EvaluationError, Expression, LookupNeeded
from counterfoil.model import Model
from counterfoil.model.definition import Formula, InboundMapping, Items, Literal, Record, Repeated, Template
from counterfoil.rules import mapping as mappings
from counterfoil.rules.lookup import Answers
from counterfoil.rules.mapping import MappedEvent, MappedEvents
from counterfoil.rules.templates import truth


class _Emit(NamedTuple):
    """An event of the new mapping: all its data fields, and those that can be copied from the recorded event."""

    fields: tuple[str, ...]
    same_fields: frozenset[str]
    others: Record


class IncrementalMapping:
    """A mapping of the new model with the fields that can be copied from the recorded event, by the event's type."""

    def __init__(self, mapping: InboundMapping, emits: Mapping[str, _Emit]) -> None:
        self._mapping = mapping
        self._emits = emits

    @classmethod
    def of(cls, old: Model, new: Model, system: str, type_: str) -> IncrementalMapping | None:
        """Return None if no field can be copied."""
        before, after = old.inbound(system, type_), new.inbound(system, type_)
        if len(before) != 1 or len(after) != 1 or old.minor_units(system) != new.minor_units(system):
            return None
        if _entities(old, system) != _entities(new, system):
            return None
        mapping = after[0]
        old_document = _mapping_and_data(old, before[0].name)
        new_document = _mapping_and_data(new, mapping.name)
        if old_document is None or new_document is None:
            return None
        lets = _lets_with_lookups(mapping)
        if _identity_looks_up(mapping, lets):
            return None
        (old_rest, old_data), (new_rest, new_data) = old_document, new_document
        types = [str(emit.type.value) if isinstance(emit.type, Literal) else "" for emit in mapping.emits]
        if old_rest != new_rest or (len(types) > 1 and ("" in types or len(set(types)) < len(types))):
            return None
        emits = {
            type_: _emit(emit.data.fields, old_fields, new_fields, lets)
            for type_, emit, old_fields, new_fields in zip(
                types, mapping.emits, old_data, new_data, strict=True
            )
        }
        return cls(mapping, emits) if any(emit.same_fields for emit in emits.values()) else None

    def apply(
        self, then: CanonicalEvent, body: Any, fetched: Any, received: datetime, answers: Answers
    ) -> MappedEvents | None:
        """Return the event, given the old model's event `then` for the same bodies. None: evaluate the whole mapping."""
        emit = self._emits.get("") or self._emits.get(then.type)
        if emit is None:
            return None
        evaluated = mappings.fields_of(self._mapping, emit.others, body, fetched, received, answers)
        if evaluated is None:
            return None
        names, values = evaluated
        data = {
            name: then.data.get(name) if name in emit.same_fields else values[name] for name in emit.fields
        }
        try:
            if not truth(self._mapping.assertion, {**names, "data": data}):
                return None
        except (EvaluationError, BudgetExceeded, LookupNeeded):
            return None
        event = MappedEvent(
            id=then.id,
            type=then.type,
            key=then.correlation,
            version=then.version,
            occurred_at=then.occurred_at,
            effective_at=then.effective_at,
            legal_entity=then.legal_entity,
            data={name: value for name, value in data.items() if value is not None},
            links=(),
        )
        return MappedEvents((event,))


def _entities(model: Model, system: str) -> tuple[Mapping[str, Any], str | None]:
    """Return the legal entities that mappings of a system read, and the one that the system belongs to."""
    document = model.systems.get(system)
    return model.legal_entities, document.legal_entity if document is not None else None


def _lets_with_lookups(mapping: InboundMapping) -> frozenset[str]:
    """Return the lets whose value a look-up gives, by their own formula or by another let."""
    lets: frozenset[str] = frozenset()
    for name, expression in mapping.let:
        if _formula_looks_up(expression, lets):
            lets |= {name}
    return lets


def _formula_looks_up(expression: Expression, lets: frozenset[str]) -> bool:
    return bool(expression.lookup_calls) or not lets.isdisjoint(expression.names)


def _emit(
    fields: Mapping[str, Template],
    old_data: Mapping[str, Any],
    new_data: Mapping[str, Any],
    lets: frozenset[str],
) -> _Emit:
    same_fields = frozenset(
        name
        for name, part in fields.items()
        if name in old_data
        and name in new_data
        and old_data[name] == new_data[name]
        and not _looks_up(part, lets)
    )
    others = Record({name: part for name, part in fields.items() if name not in same_fields})
    return _Emit(tuple(fields), same_fields, others)


def _identity_looks_up(mapping: InboundMapping, lets: frozenset[str]) -> bool:
    """Return True if the mapping makes look-ups outside the event's data, or establishes Links."""
    formulas: list[Expression] = []
    for emit in mapping.emits:
        if _looks_up(emit.type, lets) or emit.links:
            return True
        of_emit = (
            emit.when,
            emit.key,
            emit.version,
            emit.identity,
            emit.occurred,
            emit.effective,
            emit.legal_entity,
        )
        formulas += [e for e in of_emit if e is not None]
    return any(_formula_looks_up(e, lets) for e in formulas)


def _mapping_and_data(model: Model, name: str) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]] | None:
    """Return a mapping's document without assertion and event data, and the data of each event."""
    document = model.document("mapping", name)
    emit = document.data.get("emit") if document is not None else None
    emits: list[dict[str, Any]] = [e for e in (emit if isinstance(emit, list) else [emit]) if e]
    if document is None or not emits or not all(isinstance(e.get("data"), dict) for e in emits):
        return None
    rest = {k: v for k, v in document.data.items() if k not in ("assert", "emit", "doc")}
    without_data = [{k: v for k, v in e.items() if k != "data"} for e in emits]
    return {**rest, "emit": without_data}, [e["data"] for e in emits]


def _looks_up(template: Template | None, lets: frozenset[str]) -> bool:
    match template:
        case None | Literal():
            return False
        case Formula(expression):
            return _formula_looks_up(expression, lets)
        case Record(fields):
            return any(_looks_up(part, lets) for part in fields.values())
        case Items(items):
            return any(_looks_up(part, lets) for part in items)
        case Repeated(each, _, data, when):
            return (
                _looks_up(each, lets)
                or _looks_up(data, lets)
                or (when is not None and _formula_looks_up(when, lets))
            )
    return True
