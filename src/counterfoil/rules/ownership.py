"""Ownership: may this system assert this? Field by field."""

from __future__ import annotations

from collections.abc import Collection
from weakref import WeakKeyDictionary

from counterfoil.model import Model

REQUESTED_BY = "requested_by"
"""The field of a call's event that says who called; no input can set it to anybody else."""


class Ownership:
    """The fields of its object that events of one type assert, with the system of record of each."""

    def __init__(self, model: Model, event: str) -> None:
        kind = model.events[event]
        self.object = kind.object
        self._owners: dict[str, str] = {}
        if kind.object is not None:
            own = model.schema_of_object(kind.object)["properties"]
            data = model.schema_of_event(event)["properties"]
            for field in kind.sets if kind.sets is not None else data:
                if field in own:
                    self._owners[field] = model.system_of_record(kind.object, field)

    @classmethod
    def of(cls, model: Model, event: str) -> Ownership:
        """Worked out once for a model. Raises KeyError for an event that is not declared."""
        known = _KNOWN.setdefault(model, {})
        if event not in known:
            known[event] = cls(model, event)
        return known[event]

    @property
    def fields(self) -> Collection[str]:
        """The object's fields whose head a fact of this type moves."""
        return self._owners.keys()

    def trespasses(self, system: str, present: Collection[str]) -> list[str]:
        """Fields that the event asserts although another system is their record; `present` are the data's."""
        return [
            f"{self.object}.{field} belongs to {owner}"
            for field, owner in self._owners.items()
            if owner != system and field in present
        ]


_KNOWN: WeakKeyDictionary[Model, dict[str, Ownership]] = WeakKeyDictionary()


def asserted_fields(model: Model, event: str) -> Collection[str]:
    """The object's fields whose head a fact of this type moves."""
    return Ownership.of(model, event).fields


def trespasses_of_call(
    model: Model, operation: str, speaks: Collection[str], present: Collection[str]
) -> list[str]:
    """Fields that a call's input asserts although the caller speaks for no system that is their record."""
    return [
        f"{field} belongs to {system}"
        for field, system in model.asserted_by_call(operation).items()
        if field in present and system not in speaks
    ]


def trespasses(model: Model, event: str, system: str, present: Collection[str]) -> list[str]:
    """Fields that the event asserts although another system is their record; `present` are the data's."""
    return Ownership.of(model, event).trespasses(system, present)
