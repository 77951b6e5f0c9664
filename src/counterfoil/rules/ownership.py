"""Ownership: the fields that a system may assert."""

from __future__ import annotations

from collections.abc import Collection
from weakref import WeakKeyDictionary

from counterfoil.model import Model

REQUESTED_BY = "requested_by"
"""The field of a call's event that names the caller. The input cannot set it to another person."""


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
        """Return the ownership of an event, compiled once per model. Raises KeyError for an undeclared event."""
        compiled = _COMPILED.setdefault(model, {})
        if event not in compiled:
            compiled[event] = cls(model, event)
        return compiled[event]

    @property
    def fields(self) -> Collection[str]:
        """Fields of the object's head that an event of this type sets."""
        return self._owners.keys()

    def trespasses(self, system: str, present: Collection[str]) -> list[str]:
        """Return the fields that the event asserts and another system owns. `present` are the fields of its data."""
        return [
            f"{self.object}.{field} belongs to {owner}"
            for field, owner in self._owners.items()
            if owner != system and field in present
        ]


_COMPILED: WeakKeyDictionary[Model, dict[str, Ownership]] = WeakKeyDictionary()


def asserted_fields(model: Model, event: str) -> Collection[str]:
    """Return the fields of the object's head that an event of this type sets."""
    return Ownership.of(model, event).fields


def trespasses_of_call(
    model: Model, operation: str, speaks: Collection[str], present: Collection[str]
) -> list[str]:
    """Return the fields that a call's input asserts without the right to speak for the system that owns them."""
    return [
        f"{field} belongs to {system}"
        for field, system in model.asserted_by_call(operation).items()
        if field in present and system not in speaks
    ]


def trespasses(model: Model, event: str, system: str, present: Collection[str]) -> list[str]:
    """Return the fields that the event asserts and another system owns. `present` are the fields of its data."""
    return Ownership.of(model, event).trespasses(system, present)
