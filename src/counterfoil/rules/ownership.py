"""Ownership: may this system assert this? Field by field."""

from __future__ import annotations

from collections.abc import Collection

from counterfoil.model import Model


def asserted_fields(model: Model, event: str) -> list[str]:
    """The object's fields whose head a fact of this type moves."""
    kind = model.events[event]
    if kind.object is None:
        return []
    own = set(model.schema_of_object(kind.object)["properties"])
    data = model.schema_of_event(event)["properties"]
    return [f for f in (kind.sets if kind.sets is not None else data) if f in own]


def trespasses_of_call(
    model: Model, operation: str, speaks: Collection[str], present: Collection[str]
) -> list[str]:
    """Fields that a call's input asserts although the caller speaks for no system that is their record."""
    return [
        f"{field} belongs to {system}"
        for field, system in model.asserted_by_call(operation).items()
        if field in present and system not in speaks
    ]


def trespasses(model: Model, event: str, system: str, present: set[str]) -> list[str]:
    """Fields that the event asserts although another system is their record; `present` are the data's."""
    kind = model.events[event]
    if kind.object is None:
        return []
    return [
        f"{kind.object}.{field} belongs to {owner}"
        for field in asserted_fields(model, event)
        if field in present and (owner := model.system_of_record(kind.object, field)) != system
    ]
