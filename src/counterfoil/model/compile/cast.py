"""Casts compiled: one version of an event or operation to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from counterfoil.model import kinds
from counterfoil.model.definition import CastDefinition
from counterfoil.model.documents import Documents
from counterfoil.model.fields import each_field, field_schema, object_schema
from counterfoil.model.template import formula, lets_in_order, record


@dataclass(frozen=True, slots=True)
class CastSide:
    """One record that a cast converts: the name its formulas read, and the fields of both versions."""

    root: str
    """`data` of an event, `input` of an operation, or `result` of its answer, which is cast back."""
    source: Mapping[str, Any]
    target: Mapping[str, Any]
    templates: Mapping[str, Any]
    """Templates by field of the target, as written in the file."""

    @property
    def fields(self) -> dict[str, Any]:
        """Templates of the target's fields: those written, and copies of fields that both versions share."""
        source = {name: (optional, spec) for name, optional, spec in each_field(self.source)}
        templates: dict[str, Any] = {}
        for name, optional, spec in each_field(self.target):
            if name in self.templates:
                templates[name] = self._if_present(self.templates[name], source)
            elif (
                name in source and same_contract(source[name][1], spec) and (optional or not source[name][0])
            ):
                templates[name] = self._if_present(f"={self.root}.{name}", source)
        return templates | {name: value for name, value in self.templates.items() if name not in templates}

    @property
    def carried(self) -> list[str]:
        """Fields that the file does not mention and that both versions share."""
        return [name for name in self.fields if name not in self.templates]

    def copied_field(self, value: Any) -> str | None:
        """Return the source field that a template copies unchanged; None for any other template."""
        prefix = f"={self.root}."
        if not isinstance(value, str) or not value.startswith(prefix):
            return None
        name = value.removeprefix(prefix).strip()
        return name if name.isidentifier() else None

    def _if_present(self, value: Any, source: Mapping[str, tuple[bool, Any]]) -> Any:
        """Return a template that copies an absent field as absent."""
        name = self.copied_field(value)
        if name is None or not source.get(name, (False, None))[0]:
            return value
        return f"=has({self.root}.{name}) ? {self.root}.{name} : null"


def same_contract(left: Any, right: Any) -> bool:
    """Compare the contracts of two fields; descriptions do not count."""
    return bool(_without_notes(field_schema(left)) == _without_notes(field_schema(right)))


def _without_notes(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {k: _without_notes(v) for k, v in schema.items() if k not in ("description", "x-pii")}
    return [_without_notes(v) for v in schema] if isinstance(schema, list) else schema


def cast_sides(documents: Documents, mapping: kinds.Mapping) -> list[CastSide]:
    """Return the records that a cast converts: an event's data; or an operation's input, and its answer back."""
    assert mapping.cast is not None
    source, target = mapping.cast.from_, mapping.cast.to
    templates = mapping.with_ or {}
    if source in documents.events:
        return [CastSide("data", documents.events[source].data, documents.events[target].data, templates)]
    old, new = documents.operations[source], documents.operations[target]
    return [
        CastSide("input", old.input, new.input, templates),
        CastSide("result", new.output, old.output, mapping.returns.result),
    ]


def compile_cast(documents: Documents, mapping: kinds.Mapping) -> CastDefinition:
    """Compile a cast. Raises ExpressionError or KeyError where `check` has an error about it."""
    assert mapping.cast is not None
    forward, *back = cast_sides(documents, mapping)
    target = mapping.cast.to
    event = forward.root == "data"
    return CastDefinition(
        name=mapping.name,
        source=mapping.cast.from_,
        target=target,
        root=forward.root,
        let=tuple((name, formula(text)) for name, text in lets_in_order(mapping.let.items())),
        fields=record(forward.fields),
        result=record(back[0].fields) if back and back[0].target else None,
        schema=documents.schema_of_event(target)
        if event
        else object_schema(documents.operations[target].input),
    )
