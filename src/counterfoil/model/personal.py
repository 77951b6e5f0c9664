"""Fields with personal data, read from the marks `pii: true` of a model, and the objects whose permission opens them.

The field of an event or operation belongs to its object: the permission `pii:OBJECT:read` opens it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from counterfoil.model.fields import each_field, inner_fields
from counterfoil.model.kinds import FieldSpec

if TYPE_CHECKING:
    from counterfoil.model.model import Model

Marks: TypeAlias = "dict[str, Marks | None]"
"""Marked fields by name. None: the field is personal as a whole; else it has marked fields inside."""


class MarkedForm(NamedTuple):
    """Marked fields of an object, event or operation, and the objects whose personal data they are."""

    objects: frozenset[str]
    marks: Marks


class PersonalFields:
    """Every marked field of one model."""

    def __init__(self, model: Model) -> None:
        self._own = {name: _marks(object_.fields) for name, object_ in model.objects.items()}
        for event in model.events.values():
            if event.object in self._own:
                self._own[event.object] = _union(self._own[event.object], _marks(event.data))
        self.objects = frozenset(name for name, marks in self._own.items() if marks)
        """Objects that have personal data."""
        self.events = {
            name: self._form([event.object or ""], _marks(event.data)) for name, event in model.events.items()
        }
        self.inputs = {name: self._call(name, op.input, op.object) for name, op in model.operations.items()}
        self.outputs = {
            name: self._form(self.inputs[name].objects, _marks(op.output))
            for name, op in model.operations.items()
        }
        forms = (*self.events.values(), *self.inputs.values(), *self.outputs.values())
        self.by_name: dict[str, frozenset[str]] = {}
        """Objects of marked fields by the name alone, for values of an unknown form."""
        for objects, marks in (*forms, *(self.of(name) for name in self.objects)):
            for field in _names(marks):
                self.by_name[field] = self.by_name.get(field, frozenset()) | objects

    def of(self, object_: str) -> MarkedForm:
        """Return the marked fields of an object; without one, no fields."""
        return MarkedForm(frozenset({object_}), self._own.get(object_, {}))

    def _call(self, name: str, fields: Mapping[str, Any], stated: str | None) -> MarkedForm:
        """Return the marked input of an operation: of its object, of that in its name, or of those whose ids it takes."""
        ids = [field.removesuffix("_id") for field, _, _ in each_field(fields) if field.endswith("_id")]
        middle = name.partition(".")[2].partition(".")[0]
        return self._form([stated or "", middle, *ids], _marks(fields))

    def _form(self, candidates: Iterable[str], marks: Marks) -> MarkedForm:
        """Return marked fields with those of their object added. Fields of no object with marks are of every one."""
        objects = frozenset(candidates) & self.objects
        for object_ in objects:
            marks = _union(marks, self._own[object_])
        return MarkedForm(objects or self.objects, marks)


def _marks(fields: Mapping[str, Any]) -> Marks:
    marks: Marks = {}
    for name, _, spec in each_field(fields):
        if isinstance(spec, FieldSpec) and spec.pii:
            marks[name] = None
        elif below := _marks(inner_fields(spec)[0]):
            marks[name] = below
    return marks


def _union(one: Marks, other: Marks) -> Marks:
    """Return the marks of both. A field that one of them marks as a whole is personal as a whole."""
    united = one | other
    for name in one.keys() & other.keys():
        left, right = one[name], other[name]
        united[name] = None if left is None or right is None else _union(left, right)
    return united


def _names(marks: Marks) -> Iterable[str]:
    for name, below in marks.items():
        if below is None:
            yield name
        else:
            yield from _names(below)
