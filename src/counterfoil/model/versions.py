"""The versions of events and operations that live at once, and the casts that lead from one to another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from counterfoil.contracts import versions
from counterfoil.model import kinds
from counterfoil.model.compile.workflow import lets_in_order
from counterfoil.model.definition import CastDefinition
from counterfoil.model.fields import each_field, field_schema, object_schema
from counterfoil.model.template import formula, record

if TYPE_CHECKING:
    from counterfoil.model.model import Model

CastPath = tuple[CastDefinition, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """One thing that a cast turns into another: what its formulas read it by, and the fields of both."""

    root: str
    """`data` of an event, `input` of an operation, `result` of its answer, which goes the other way."""
    source: Mapping[str, Any]
    target: Mapping[str, Any]
    given: Mapping[str, Any]
    """What the file says: templates by field of the target."""

    @property
    def fields(self) -> dict[str, Any]:
        """Templates of the target's fields: those given, and those that both have alike under one name."""
        source = {name: (optional, spec) for name, optional, spec in each_field(self.source)}
        found: dict[str, Any] = {}
        for name, optional, spec in each_field(self.target):
            if name in self.given:
                found[name] = self._tolerant(self.given[name], source)
            elif name in source and alike(source[name][1], spec) and (optional or not source[name][0]):
                found[name] = self._tolerant(f"={self.root}.{name}", source)
        return found | {name: value for name, value in self.given.items() if name not in found}

    @property
    def carried(self) -> list[str]:
        """Fields that the file does not speak of and that both have alike."""
        return [name for name in self.fields if name not in self.given]

    def taken(self, value: Any) -> str | None:
        """The field of the source that a template takes as it is, and nothing else."""
        prefix = f"={self.root}."
        if not isinstance(value, str) or not value.startswith(prefix):
            return None
        name = value.removeprefix(prefix).strip()
        return name if name.isidentifier() else None

    def _tolerant(self, value: Any, source: Mapping[str, tuple[bool, Any]]) -> Any:
        """A field that may be absent is taken over as absent."""
        name = self.taken(value)
        if name is None or not source.get(name, (False, None))[0]:
            return value
        return f"=has({self.root}.{name}) ? {self.root}.{name} : null"


def alike(one: Any, other: Any) -> bool:
    """Whether two fields have the same contract, whatever their files say about them."""
    return bool(_bare(field_schema(one)) == _bare(field_schema(other)))


def _bare(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {k: _bare(v) for k, v in schema.items() if k not in ("description", "x-pii")}
    return [_bare(v) for v in schema] if isinstance(schema, list) else schema


class Versions:
    """Which versions there are of what, and how one becomes another. Events and operations never share a name."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._of: dict[tuple[str, str], list[str]] = {}
        for kind, names in (("event", model.events), ("operation", model.operations)):
            for name in names:
                self._of.setdefault((kind, versions.family(name)), []).append(name)
        for found in self._of.values():
            found.sort(key=versions.number)
        self.casts: dict[tuple[str, str], kinds.Mapping] = {}
        """The documents that cast, by what they cast from and to; the first where there are several."""
        self.apart: dict[tuple[str, str], str] = {}
        """What is not offered as something else, and why."""
        for mapping in model.mappings.values():
            if mapping.cast is not None and self.kind_of(mapping.cast.from_) is not None:
                pair = (mapping.cast.from_, mapping.cast.to)
                if mapping.ignore is not None:
                    self.apart[pair] = mapping.ignore
                elif self.kind_of(pair[0]) == self.kind_of(pair[1]):
                    self.casts.setdefault(pair, mapping)
        self._compiled: dict[tuple[str, str], CastDefinition] = {}
        self._paths: dict[tuple[str, str], CastPath | None] = {}
        self._others: dict[str, tuple[str, ...]] = {}
        self._newest: dict[str, str] = {}

    def kind_of(self, name: str) -> str | None:
        if name in self._model.events:
            return "event"
        return "operation" if name in self._model.operations else None

    def of(self, name: str, kind: str | None = None) -> list[str]:
        """The declared versions of what `name` is a version of, oldest first; `name` itself need not be one."""
        base = versions.family(name)
        if kind is None:
            kind = "event" if ("event", base) in self._of else "operation"
        return self._of.get((kind, base), [])

    def families(self) -> Iterator[tuple[str, str, list[str]]]:
        """(kind, family, versions) of everything, in order."""
        for (kind, base), names in sorted(self._of.items()):
            yield kind, base, names

    def others(self, name: str) -> tuple[str, ...]:
        """Its other versions, the nearest first and of two as near the newer one."""
        if name not in self._others:
            at = versions.number(name)
            found = [other for other in self.of(name) if other != name]
            found.sort(key=lambda o: (abs(versions.number(o) - at), -versions.number(o)))
            self._others[name] = tuple(found)
        return self._others[name]

    def newest(self, event: str) -> str:
        """The newest version of an event to which casts lead: an object that a fact moves has one shape, and it is
        that one's."""
        if event not in self._newest:
            reached = [other for other in self.of(event, "event") if self.path(event, other) is not None]
            self._newest[event] = reached[-1] if reached else event
        return self._newest[event]

    def path(self, source: str, target: str) -> CastPath | None:
        """The shortest way of casts; empty where both are the same, None where there is no way."""
        pair = (source, target)
        if pair not in self._paths:
            found = next(iter(self.ways(source, target)), None)
            self._paths[pair] = None if found is None else tuple(self._cast(step) for step in found)
        return self._paths[pair]

    def ways(self, source: str, target: str) -> list[list[tuple[str, str]]]:
        """Every way of casts that is as short as any, in order of names; more than one is no way to choose by."""
        if source == target:
            return [[]]
        if (source, target) in self.apart:
            return []
        reached = {source: [list[tuple[str, str]]()]}
        while reached and target not in reached:
            seen = {step[0] for ways in reached.values() for way in ways for step in way} | set(reached)
            further: dict[str, list[list[tuple[str, str]]]] = {}
            for at, ways in sorted(reached.items()):
                for step in sorted(pair for pair in self.casts if pair[0] == at and pair[1] not in seen):
                    further.setdefault(step[1], []).extend([*way, step] for way in ways)
            reached = further
        return reached.get(target, [])

    def _cast(self, pair: tuple[str, str]) -> CastDefinition:
        if pair not in self._compiled:
            self._compiled[pair] = compile_cast(self._model, self.casts[pair])
        return self._compiled[pair]


def sides(model: Model, mapping: kinds.Mapping) -> list[Side]:
    """What a cast turns: an event's data; or an operation's input, and its answer the other way."""
    assert mapping.cast is not None
    source, target = mapping.cast.from_, mapping.cast.to
    given = mapping.with_ or {}
    if source in model.events:
        return [Side("data", model.events[source].data, model.events[target].data, given)]
    one, other = model.operations[source], model.operations[target]
    return [
        Side("input", one.input, other.input, given),
        Side("result", other.output, one.output, mapping.returns.result),
    ]


def compile_cast(model: Model, mapping: kinds.Mapping) -> CastDefinition:
    """Raises ExpressionError or KeyError for what `check` has findings about."""
    assert mapping.cast is not None
    there, *back = sides(model, mapping)
    target = mapping.cast.to
    event = there.root == "data"
    return CastDefinition(
        name=mapping.name,
        source=mapping.cast.from_,
        target=target,
        root=there.root,
        let=tuple((name, formula(text)) for name, text in lets_in_order(mapping.let.items())),
        fields=record(there.fields),
        result=record(back[0].fields) if back and back[0].target else None,
        schema=model.schema_of_event(target) if event else object_schema(model.operations[target].input),
    )
