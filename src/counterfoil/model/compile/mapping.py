"""Mappings compiled: deliveries to events, and operations to calls of a system."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from counterfoil.core.minor_units import MinorUnit, MinorUnits
from counterfoil.core.money import EXPONENTS
from counterfoil.model import definition as d
from counterfoil.model import kinds
from counterfoil.model.documents import Documents
from counterfoil.model.entity_names import entity_formula, reads_entity
from counterfoil.model.source import Path
from counterfoil.model.template import (
    compile_lets,
    compile_template,
    formula,
    is_formula,
    optional,
    record,
    text_of,
)

_CONSTANT = re.compile(r"'([^'\\]*)'|\"([^\"\\]*)\"")
EVENT_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\.v[1-9][0-9]*")


def minor_units(name: str, system: kinds.System | None) -> MinorUnits:
    """Return the minor units of a system: as its file declares them, else as its connector does, else of ISO 4217."""
    if system is None:
        return MinorUnits(name, "")
    declared = (
        (
            code,
            MinorUnit(EXPONENTS.get(code, 0) if unit.decimals is None else unit.decimals, unit.multiple_of),
        )
        for code, unit in sorted(system.currencies.items())
    )
    return MinorUnits(name, system.connector, tuple(declared))


def compile_inbound(
    mapping: kinds.Mapping, owners: tuple[str, ...], documents: Documents, source_name: str, units: MinorUnits
) -> d.InboundMapping:
    assert mapping.from_ is not None
    source, units = mapping.from_, msgspec.structs.replace(units, sends=False)
    return d.InboundMapping(
        name=mapping.name,
        system=units.system,
        types=tuple(source.types),
        when=optional(source.when, units),
        ignore=mapping.ignore,
        fetch_operation=mapping.fetch.call if mapping.fetch else None,
        fetch_input=record(mapping.fetch.with_, units) if mapping.fetch else None,
        let=compile_lets(lets_of(mapping, documents, units.system), units),
        emits=tuple(_emit(emit, units) for emit in emits_of(mapping)),
        assertion=optional(mapping.assert_, units),
        owners=owners,
        source_name=source_name,
    )


def compile_outbound(mapping: kinds.Mapping, units: MinorUnits) -> d.OutboundMapping:
    assert mapping.to is not None
    returns = mapping.returns
    return d.OutboundMapping(
        name=mapping.name,
        operation=mapping.to.operation,
        system=units.system,
        let=compile_lets(mapping.let.items(), units),
        input=record(mapping.with_ or {}, units),
        assertion=optional(mapping.assert_, units),
        result=record(returns.result, units) if returns.result else None,
        links={name: formula(text, units) for name, text in returns.links.items()},
        compare=tuple(returns.compare),
        previews=mapping.to.previews,
    )


def _emit(emit: kinds.EmitMapping, units: MinorUnits) -> d.EmitDefinition:
    return d.EmitDefinition(
        type=compile_template(emit.type, units),
        when=optional(emit.when, units),
        key=formula(emit.key, units),
        version=optional(emit.version, units),
        identity=optional(emit.identity, units),
        occurred=optional(emit.occurred, units),
        effective=optional(emit.effective, units),
        legal_entity=optional(emit.legal_entity, units),
        data=record(emit.data, units),
        links={name: formula(text, units) for name, text in emit.links.items()},
    )


def emits_of(mapping: kinds.Mapping) -> list[kinds.EmitMapping]:
    return [emit for emit, _ in emits_with_places(mapping)]


def emits_with_places(mapping: kinds.Mapping) -> list[tuple[kinds.EmitMapping, Path]]:
    emit = mapping.emit
    if isinstance(emit, list):
        return [(part, ("emit", position)) for position, part in enumerate(emit)]
    return [] if emit is None else [(emit, ("emit",))]


def events_of(mapping: kinds.Mapping) -> list[str]:
    """Return the event types that a mapping may emit."""
    return list(dict.fromkeys(name for emit in emits_of(mapping) for name in emitted_types(emit.type)))


def emitted_types(value: Any) -> list[str]:
    """Return the event types that the `type` of an emit names: a literal, or the constants of a formula.

    `=i.total < 0 ? 'credit.issued.v1' : 'invoice.finalized.v1'` has two.
    """
    if not isinstance(value, str):
        return []
    if not is_formula(value):
        return [value]
    constants = (match[1] or match[2] or "" for match in _CONSTANT.finditer(value))
    return list(dict.fromkeys(text for text in constants if EVENT_NAME.fullmatch(text)))


def lets_of(mapping: kinds.Mapping, documents: Documents, by: str = "") -> list[tuple[str, str]]:
    """Return the lets of a mapping, with `entity` added if it reads that name.

    `entity` is the legal entity of the first emitted fact that names one. If the folder declares entities, it is the
    document; facts that name none belong to the entity of the system, else to the default. The system is `by`, which may
    stand for the one that the mapping names. In other folders it is the head of the object `legal_entity`.
    """
    lets = list(mapping.let.items())
    if "entity" in mapping.let or not reads_entity(mapping.model_dump(include={"let", "emit", "assert_"})):
        return lets
    text = _entity_of(mapping)
    if documents.legal_entities:
        system = documents.systems.get(by or mapping.from_.system) if mapping.from_ else None
        own = system.legal_entity if system is not None else None
        entity = entity_formula(documents, text or "''", own or documents.default_entity)
    elif text is not None and "legal_entity" in documents.objects:
        entity = f"head('legal_entity', {text})"
    else:
        return lets
    read = text or ""
    after = [i for i, (name, _) in enumerate(lets) if re.search(rf"\b{re.escape(name)}\b", read)]
    lets.insert(max(after, default=-1) + 1, ("entity", entity))
    return lets


def _entity_of(mapping: kinds.Mapping) -> str | None:
    """Return the formula of the legal entity of the first emitted fact that names one."""
    for emit in emits_of(mapping):
        entity = emit.legal_entity or emit.data.get("legal_entity")
        if isinstance(entity, str):
            is_literal = emit.legal_entity is None and not entity.startswith("=")
            return f"'{entity}'" if is_literal else text_of(entity)
    return None
