"""The whole Model: every document by kind and name, its digests, and what the rules and the path of an event ask.

A Model is data. `to_json` is the canonical form that a Release stores; `from_json` gives the same Model back,
without files and lines, and compiles the same definitions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from counterfoil.core import wire
from counterfoil.core.errors import Misconfigured
from counterfoil.model import kinds, overlays
from counterfoil.model.closure import Closure
from counterfoil.model.compile import workflow as compiling
from counterfoil.model.definition import Definition, FoilDefinition, InboundMapping, OutboundMapping, Signal
from counterfoil.model.document import Data, Document, build
from counterfoil.model.emitted_types import emitted_types
from counterfoil.model.fields import Schema, each_field, object_schema
from counterfoil.model.source import Source
from counterfoil.model.tables import Rows
from counterfoil.model.versions import Versions

K = TypeVar("K", bound=kinds.Kind)


class Model:
    """Governance as one immutable value. Documents keep their order of reading; digests do not depend on it.

    `broken` are the names of documents whose form was refused: they exist, and nothing is known about them.
    """

    def __init__(
        self, documents: Iterable[Document], broken: Collection[tuple[str, str]] = frozenset()
    ) -> None:
        self.documents = tuple(documents)
        self.broken = frozenset(broken)
        self._by_name = {(document.kind, document.name): document for document in self.documents}
        self._definitions: dict[str, Definition] = {}
        self._places: dict[tuple[str, ...], Model] = {}

    # -------------------------------------------------------------- documents

    def document(self, kind: str, name: str) -> Document | None:
        return self._by_name.get((kind, name))

    def has(self, kind: str, name: str) -> bool:
        """Whether a document of that name was written, well or badly."""
        return (kind, name) in self._by_name or (kind, name) in self.broken

    def of_kind(self, kind: type[K]) -> dict[str, K]:
        return {doc.name: doc.value for doc in self.documents if isinstance(doc.value, kind)}

    @cached_property
    def systems(self) -> Mapping[str, kinds.System]:
        return self.of_kind(kinds.System)

    @cached_property
    def objects(self) -> Mapping[str, kinds.Object]:
        return self.of_kind(kinds.Object)

    @cached_property
    def events(self) -> Mapping[str, kinds.Event]:
        return self.of_kind(kinds.Event)

    @cached_property
    def operations(self) -> Mapping[str, kinds.Operation]:
        return self.of_kind(kinds.Operation)

    @cached_property
    def mappings(self) -> Mapping[str, kinds.Mapping]:
        return self.of_kind(kinds.Mapping)

    @cached_property
    def workflows(self) -> Mapping[str, kinds.Workflow]:
        return self.of_kind(kinds.Workflow)

    @cached_property
    def policies(self) -> Mapping[str, kinds.Policy]:
        return self.of_kind(kinds.Policy)

    @cached_property
    def reconciliations(self) -> Mapping[str, kinds.Reconciliation]:
        return self.of_kind(kinds.Reconciliation)

    @cached_property
    def roles(self) -> Mapping[str, kinds.Role]:
        return self.of_kind(kinds.Role)

    @cached_property
    def tables(self) -> Mapping[str, Rows]:
        return {name: Rows(table, table.rows or []) for name, table in self.of_kind(kinds.Table).items()}

    @cached_property
    def versions(self) -> Versions:
        """Which versions of events and operations there are, and the casts between them."""
        return Versions(self)

    # -------------------------------------------------------------- places

    @cached_property
    def overlays(self) -> tuple[Document, ...]:
        """What is different in some regions and legal entities, the less specific first."""
        return tuple(overlays.ordered(d for d in self.documents if isinstance(d.value, kinds.Overlay)))

    def at(self, legal_entity: str, on: date) -> Model:
        """The Model for what belongs to a legal entity, in the region that it is in on a day: itself where no overlay
        counts. Raises Misconfigured for an overlay that does not fit, which `check` would have told."""
        if not self.overlays:
            return self
        where = overlays.Where("", overlays.region_of(self, legal_entity, on), legal_entity)
        chosen = overlays.counting(self.overlays, where)
        names = tuple(document.name for document in chosen)
        if not names:
            return self
        if names not in self._places:
            found, findings = overlays.expanded(self, chosen)
            faults = [f for f in findings if f.rule != "overlay-loosens"]  # what was let in stays as it is
            if faults:
                raise Misconfigured("; ".join(map(str, faults)))
            self._places[names] = found
        return self._places[names]

    # -------------------------------------------------------------- canonical form

    @classmethod
    def from_documents(cls, documents: Iterable[Data]) -> Model:
        """A Model of plain documents, as `plain` gave them. Raises Misconfigured for one that is not of its kind."""
        built = []
        for data in documents:
            document, findings = build(Source(f"{_text(data, 'kind')}/{_text(data, 'name')}", data))
            if document is None:
                raise Misconfigured("; ".join(map(str, findings)))
            built.append(Document(document.value, data))
        return cls(built)

    def plain(self) -> list[Data]:
        """Every document as plain data, sorted by kind and name; tables hold their rows."""
        return [self._by_name[key].data for key in sorted(self._by_name)]

    def to_json(self) -> bytes:
        """The canonical form: sorted documents, sorted keys; comments and places are not part of it."""
        return wire.dumps(self.plain())

    @classmethod
    def from_json(cls, data: bytes) -> Model:
        try:
            return cls.from_documents(wire.loads(data))
        except (ValueError, ValidationError) as error:
            raise Misconfigured(f"not a stored model: {error}") from error

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical form, in hex: the name of a Release."""
        return wire.digest(self.to_json())

    def digest_of(self, kind: str, name: str) -> str:
        """SHA-256 of one document's canonical form."""
        return wire.digest(self._by_name[kind, name].data)

    def closure(self, workflow: str) -> list[Data]:
        """The workflow and all that a Run of it is pinned to: policies' structure, operations, mappings,
        schemas and foil rules, sorted. Matrices, limits' sums, tables, roles and systems are bound late."""
        return Closure(self).of(workflow)

    # -------------------------------------------------------------- definitions

    def workflow(self, name: str) -> Definition:
        """The compiled definition. Raises KeyError for a name that is not there, Misconfigured where `check`
        has findings that forbid it."""
        if name not in self._definitions:
            kind = self.workflows[name]
            self._definitions[name] = compiling.compile_workflow(self, kind, wire.digest(self.closure(name)))
        return self._definitions[name]

    def starts_by_event(self, event: str) -> list[Definition]:
        return [self.workflow(name) for name in self._begun_by.get(event, ())]

    @cached_property
    def _begun_by(self) -> dict[str, list[str]]:
        """Workflows by the event that begins them."""
        found: dict[str, list[str]] = {}
        for name, workflow in self.workflows.items():
            if workflow.start.event is not None:
                found.setdefault(workflow.start.event, []).append(name)
        return found

    def starts_by_object(self, name: str) -> list[Definition]:
        """Workflows that become due by a date of this object."""
        return [self.workflow(n) for n in self._due_by.get(name, ())]

    @cached_property
    def _due_by(self) -> dict[str, list[str]]:
        """Workflows by the object whose date begins them."""
        found: dict[str, list[str]] = {}
        for name, workflow in self.workflows.items():
            if workflow.start.due:
                found.setdefault(workflow.start.due.object, []).append(name)
        return found

    def starts_by_operation(self, operation: str) -> list[Definition]:
        return [self.workflow(n) for n, w in self.workflows.items() if w.start.operation == operation]

    def generations_by_event(self, event: str) -> list[Definition]:
        """Workflows to which this event gives a successor Run for the same key."""
        return [self.workflow(name) for name in self._succeeded_by.get(event, ())]

    @cached_property
    def _succeeded_by(self) -> dict[str, list[str]]:
        """Workflows by the event that gives them a successor."""
        found: dict[str, list[str]] = {}
        for name, workflow in self.workflows.items():
            if isinstance(workflow.start.generation, kinds.GenerationEvent):
                found.setdefault(workflow.start.generation.event, []).append(name)
        return found

    def signals_by_event(self, event: str) -> list[tuple[Definition, Signal]]:
        return [
            (self.workflow(name), signal)
            for name, w in self.workflows.items()
            if any(s.event == event for s in w.signals)
            for signal in self.workflow(name).signals
            if signal.event == event
        ]

    @cached_property
    def consumed(self) -> frozenset[str]:
        """Events that begin Runs, write foils or are observed, as they are named there; waits are not among them."""
        found = {w.start.event for w in self.workflows.values()}
        found |= {
            w.start.generation.event
            for w in self.workflows.values()
            if isinstance(w.start.generation, kinds.GenerationEvent)
        }
        rules = self.reconciliations.values()
        found |= {rule.foil.event for rule in rules} | {rule.observe.event for rule in rules}
        return frozenset(name for name in found if name is not None)

    # -------------------------------------------------------------- mappings

    @cached_property
    def _inbound(self) -> list[InboundMapping]:
        return [
            compiling.compile_inbound(
                m, tuple(self.owners_of(m)), "legal_entity" in self.objects, self.tells_as(m)
            )
            for m in self.mappings.values()
            if m.from_ is not None
        ]

    def tells_as(self, mapping: kinds.Mapping) -> str:
        """The name that the ids of a mapping's facts bear: its own, or that of the one which it continues."""
        seen = {mapping.name}
        while mapping.continues is not None and mapping.continues not in seen:
            seen.add(mapping.continues)
            before = self.mappings.get(mapping.continues)
            if before is None:
                return mapping.continues
            mapping = before
        return mapping.name

    def inbound(self, system: str, delivery_type: str) -> list[InboundMapping]:
        """Mappings that take a system's deliveries of a type; `invoice.*` takes every type so begun."""
        return [
            m for m in self._inbound if m.system == system and any(_takes(t, delivery_type) for t in m.types)
        ]

    def events_of(self, system: str, delivery_type: str) -> list[str]:
        """Events that a system's deliveries of a type may become."""
        found = [
            event
            for m in self.mappings.values()
            if m.from_ is not None and m.from_.system == system
            if any(
                _takes(t, delivery_type)
                for t in ([m.from_.type] if isinstance(m.from_.type, str) else m.from_.type)
            )
            for emit in compiling.emits_of(m)
            for event in emitted_types(emit.type)
        ]
        return list(dict.fromkeys(found))

    @cached_property
    def _outbound(self) -> dict[str, OutboundMapping]:
        found = {}
        for mapping in self.mappings.values():
            operation = self.operations.get(mapping.to.operation) if mapping.to else None
            if mapping.to and operation and (mapping.to.system or operation.system) == operation.system:
                found[operation.name] = compiling.compile_outbound(mapping, operation.system)
        return found

    def outbound(self, operation: str) -> OutboundMapping | None:
        """The mapping of an operation for the system that implements it."""
        return self._outbound.get(operation)

    def mapping_to(self, operation: str) -> kinds.Mapping | None:
        """The same, as it was written."""
        return next((m for m in self.mappings.values() if m.to and m.to.operation == operation), None)

    def producers(self, event: str) -> list[kinds.Mapping]:
        """Mappings that may emit this event."""
        return self._producers.get(event, [])

    @cached_property
    def _producers(self) -> dict[str, list[kinds.Mapping]]:
        found: dict[str, list[kinds.Mapping]] = {}
        for mapping in self.mappings.values():
            for emit in compiling.emits_of(mapping):
                for event in emitted_types(emit.type):
                    found.setdefault(event, []).append(mapping)
        return found

    # -------------------------------------------------------------- foils

    @cached_property
    def foils(self) -> Mapping[str, FoilDefinition]:
        return {
            name: compiling.compile_foil(rule, tuple(self.owners_of(rule)))
            for name, rule in self.reconciliations.items()
        }

    def foils_by_event(self, event: str) -> list[FoilDefinition]:
        """Foils that this event writes."""
        return self._owed_by.get(event, [])

    @cached_property
    def _owed_by(self) -> dict[str, list[FoilDefinition]]:
        """Foils by the event that writes them."""
        found: dict[str, list[FoilDefinition]] = {}
        for foil in self.foils.values():
            if foil.event is not None:
                found.setdefault(foil.event, []).append(foil)
        return found

    def foils_by_operation(self, operation: str) -> list[FoilDefinition]:
        """Foils that the intent of this operation writes."""
        return [foil for foil in self.foils.values() if foil.operation == operation]

    def foils_by_observation(self, event: str) -> list[FoilDefinition]:
        """Foils that this event may match."""
        return [foil for foil in self.foils.values() if foil.observe_event == event]

    # -------------------------------------------------------------- schemas, tables, owners

    def schema_of_event(self, name: str) -> Schema:
        """JSON Schema (draft 2020-12) of an event's data."""
        return object_schema(self.events[name].data)

    def schema_of_object(self, name: str) -> Schema:
        """JSON Schema of an object's fields."""
        return object_schema(self.objects[name].fields)

    def schema_of_operation(self, name: str, side: Literal["input", "output"]) -> Schema:
        operation = self.operations[name]
        return object_schema(operation.input if side == "input" else operation.output)

    def system_of_record(self, name: str, field: str) -> str:
        """The system that may assert a field of an object."""
        found = self.objects[name]
        for own, _, spec in each_field(found.fields):
            if own == field and isinstance(spec, kinds.FieldSpec) and spec.system:
                return spec.system
        return found.system

    def asserted_by_call(self, operation: str) -> dict[str, str]:
        """Fields that an exposed operation's input asserts, with the system of record of each: those that name a
        system, and those of the object that the input speaks of. All others are wishes and references."""
        found = self.operations[operation]
        subject = self.objects.get(found.object or "")
        own = {name for name, _, _ in each_field(subject.fields)} if subject is not None else set()
        asserted = {}
        for name, _, spec in each_field(found.input):
            if isinstance(spec, kinds.FieldSpec) and spec.system:
                asserted[name] = spec.system
            elif name in own and found.object is not None:
                asserted[name] = self.system_of_record(found.object, name)
        return asserted

    def lookup_table(self, name: str, keys: Sequence[object], on: date) -> Any:
        """The value in force on a day, or None. KeyError for a table that is not there."""
        return self.tables[name].lookup(keys, on)

    def owners_of(self, kind: kinds.Kind, part: str = "exceptions") -> list[str]:
        """The roles that answer for a part of a document: its own owner, else that of the system or object
        that it serves. Empty where nobody does."""
        own = kind.owners(part)
        if own:
            return own
        behind: list[kinds.Kind | None] = []
        if isinstance(kind, kinds.Mapping):
            if kind.from_:
                behind = [self.systems.get(kind.from_.system)]
            elif kind.to and kind.to.operation in self.operations:
                behind = [self.operations[kind.to.operation]]
            elif kind.cast:
                cast = kind.cast.from_
                behind = [self.events.get(cast), self.operations.get(cast)]
        elif isinstance(kind, kinds.Reconciliation):
            behind = [self.objects.get(kind.object), self.systems.get(kind.left)]
        elif isinstance(kind, kinds.Object | kinds.Operation):
            behind = [self.systems.get(kind.system)]
        elif isinstance(kind, kinds.Event) and kind.object:
            behind = [self.objects.get(kind.object)]
        for other in behind:
            found = self.owners_of(other, part) if other is not None else []
            if found:
                return found
        return []


def _text(data: Any, key: str) -> str:
    return str(data.get(key, "?")) if isinstance(data, dict) else "?"


def _takes(pattern: str, delivery_type: str) -> bool:
    if pattern == "*" or pattern == delivery_type:
        return True
    return pattern.endswith(".*") and delivery_type.startswith(pattern[:-1])
