"""The whole model: compiled views over its documents, for the rules and for the path of an event.

A Model is data. `to_json` gives the canonical form that a Release stores. `from_json` gives the same Model back,
without files and lines, and compiles the same definitions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from functools import cached_property
from typing import TypeVar

from counterfoil.core import wire
from counterfoil.core.errors import Misconfigured
from counterfoil.core.minor_units import MinorUnits
from counterfoil.model import kinds, overlays
from counterfoil.model.closure import Closure
from counterfoil.model.compile.foil import Sides, compile_foils, compile_observations
from counterfoil.model.compile.mapping import compile_inbound, compile_outbound, events_of, minor_units
from counterfoil.model.compile.workflow import compile_workflow
from counterfoil.model.definition import Definition, InboundMapping, OutboundMapping
from counterfoil.model.document import Data, Document
from counterfoil.model.document_definition import FoilDefinition, Ledgers, ObservationDefinition
from counterfoil.model.documents import Documents
from counterfoil.model.envelope import EnvelopeRules
from counterfoil.model.personal import PersonalFields
from counterfoil.model.versions import ContractVersions

T = TypeVar("T")


class Model(Documents):
    """Governance as one immutable value: its documents, and their compiled forms, each compiled once.

    It inherits from `Documents`, so a look-up made for each event costs no forwarded call.
    """

    def __init__(
        self, documents: Iterable[Document], broken: Collection[tuple[str, str]] = frozenset()
    ) -> None:
        super().__init__(documents, broken)
        self._definitions: dict[str, Definition] = {}
        self._by_overlays: dict[tuple[str, ...], Model] = {}
        self._by_place: dict[tuple[str, str], Model] = {}
        """By region and declared legal entity; no key comes from a name that a system sent."""
        self.stand_ins_here: Mapping[str, str] = {}
        """Of the Model of one legal entity: the systems that stand for others, by the system whose part they play."""

    @cached_property
    def versions(self) -> ContractVersions:
        """Versions of events and operations, and the casts between them."""
        return ContractVersions(self)

    @cached_property
    def envelope(self) -> EnvelopeRules:
        """Rules that complete the envelope of an event when a formula or a client reads it."""
        return EnvelopeRules.of(self)

    @cached_property
    def personal(self) -> PersonalFields:
        """Fields that are marked as personal data."""
        return PersonalFields(self)

    # -------------------------------------------------------------- overlays

    @cached_property
    def overlays(self) -> tuple[Document, ...]:
        """Overlays of regions and legal entities, the less specific first."""
        return tuple(overlays.in_order(document for document, _ in self.documents_of(kinds.Overlay)))

    @cached_property
    def differs_by_entity(self) -> bool:
        """True if Runs of some legal entities follow overlays, or call systems of their own."""
        return bool(self.overlays) or self.has_stand_ins

    def at(self, legal_entity: str, on: date) -> Model:
        """Return the Model of a legal entity in its region on a day; this Model itself if nothing differs there.

        Raises Misconfigured for an overlay that does not fit. `check` reports such an overlay.
        """
        if not self.differs_by_entity:
            return self
        region = self.envelope.region(legal_entity, on)
        model = self._by_place.get((region, legal_entity))
        if model is None:
            model = self._at_place(region, legal_entity)
            if not legal_entity or legal_entity in self.legal_entities:
                self._by_place[region, legal_entity] = model
        return model

    def _at_place(self, region: str, legal_entity: str) -> Model:
        where = overlays.Where("", region, legal_entity)
        chosen = overlays.applicable(self.overlays, where)
        stand_ins = self.stand_ins(legal_entity) if legal_entity else {}
        names = (*(document.name for document in chosen), *sorted(stand_ins.values()))
        if not names:
            return self
        if names not in self._by_overlays:
            overlaid, findings = overlays.apply_overlays(self, chosen)
            # A Release that was accepted with a weaker control keeps working.
            faults = [f for f in findings if f.rule != "overlay-loosens"]
            if faults:
                raise Misconfigured("; ".join(map(str, faults)))
            here = overlays.with_stand_ins(overlaid, stand_ins)
            here.stand_ins_here = stand_ins
            self._by_overlays[names] = here
        return self._by_overlays[names]

    def variants(self, on: date) -> dict[str, Model]:
        """Return the Model of one legal entity for each set of overlays that Runs follow on a day, the default entity first.

        Raises Misconfigured for an overlay that does not fit.
        """
        by_overlays: dict[tuple[str, ...], str] = {}
        for entity in (self.default_entity, *sorted(self.legal_entities)):
            where = overlays.Where("", self.envelope.region(entity, on), entity)
            names = tuple(document.name for document in overlays.applicable(self.overlays, where))
            by_overlays.setdefault(names, entity)
        return {entity: self.at(entity, on) for entity in by_overlays.values()}

    def closure(self, workflow: str) -> list[Data]:
        """Return the workflow and every document that its Runs are pinned to, sorted.

        These are policies without late parts, operations, mappings, schemas and foil rules. Approval matrices,
        sums of limits, tables, roles and systems are bound late.
        """
        return Closure(self, self.versions).of(workflow)

    # -------------------------------------------------------------- definitions

    def workflow(self, name: str) -> Definition:
        """Return the compiled definition.

        Raises KeyError for an unknown name, Misconfigured where `check` has an error about the workflow.
        """
        if name not in self._definitions:
            workflow = self.workflows[name]
            digest, foils_of = wire.digest(self.closure(name)), self.foils_by_operation
            self._definitions[name] = compile_workflow(self, self.versions, foils_of, workflow, digest)
        return self._definitions[name]

    def starts_by_event(self, event: str) -> list[Definition]:
        return [self.workflow(name) for name in self._workflows_by_event.get(event, ())]

    @cached_property
    def _workflows_by_event(self) -> dict[str, list[str]]:
        return _grouped((w.start.event, name) for name, w in self.workflows.items())

    def starts_by_object(self, name: str) -> list[Definition]:
        """Return the workflows that become due by a date of this object."""
        return [self.workflow(n) for n in self._workflows_by_object.get(name, ())]

    @cached_property
    def _workflows_by_object(self) -> dict[str, list[str]]:
        return _grouped(
            (w.start.due.object if w.start.due else None, name) for name, w in self.workflows.items()
        )

    def generations_by_event(self, event: str) -> list[Definition]:
        """Return the workflows for which this event starts a successor Run of the same key."""
        return [self.workflow(name) for name in self._workflows_by_generation.get(event, ())]

    @cached_property
    def _workflows_by_generation(self) -> dict[str, list[str]]:
        return _grouped((w.start.successor_event, name) for name, w in self.workflows.items())

    @cached_property
    def consumed(self) -> frozenset[str]:
        """Events that start Runs, write foils or match foils, by their declared names; waits are not included."""
        events = {w.start.event for w in self.workflows.values()}
        events |= {w.start.successor_event for w in self.workflows.values()}
        rules = self.reconciliations.values()
        events |= {entry.event for rule in rules for _, entry in rule.entries}
        return frozenset(name for name in events if name is not None)

    # -------------------------------------------------------------- mappings

    @cached_property
    def _inbound(self) -> list[InboundMapping]:
        """Every mapping, for each system that plays the part of the one that it names."""
        return [
            compile_inbound(
                m,
                tuple(self.owners_of(m)),
                self,
                self.source_name(m),
                self.minor_units(system),
            )
            for m in self.mappings.values()
            if m.from_ is not None
            for system in self.members(m.from_.system)
        ]

    def minor_units(self, system: str) -> MinorUnits:
        """Return the minor units in which a system sends and takes amounts."""
        return minor_units(system, self.systems.get(system))

    def source_name(self, mapping: kinds.Mapping) -> str:
        """Return the mapping name that fact ids contain: its own, or that of the mapping which it continues."""
        visited = {mapping.name}
        while mapping.continues is not None and mapping.continues not in visited:
            visited.add(mapping.continues)
            predecessor = self.mappings.get(mapping.continues)
            if predecessor is None:
                return mapping.continues
            mapping = predecessor
        return mapping.name

    def inbound(self, system: str, delivery_type: str) -> list[InboundMapping]:
        """Return the mappings that accept a delivery type of a system; `invoice.*` accepts every type with this prefix."""
        of_system = self._inbound_by_system.get(system, [])
        return [m for m in of_system if _accept(m.types, delivery_type)]

    @cached_property
    def _inbound_by_system(self) -> dict[str, list[InboundMapping]]:
        return _grouped((m.system, m) for m in self._inbound)

    def events_of(self, system: str, delivery_type: str) -> list[str]:
        """Return the events that a system's deliveries of a type may become."""
        family = self.family(system)
        of_system = [m for m in self.mappings.values() if m.from_ is not None and m.from_.system == family]
        accepting = (m for m in of_system if m.from_ and _accept(m.from_.types, delivery_type))
        return list(dict.fromkeys(event for mapping in accepting for event in events_of(mapping)))

    @cached_property
    def _outbound(self) -> dict[str, OutboundMapping]:
        compiled = {}
        for mapping in self.mappings.values():
            operation = self.operations.get(mapping.to.operation) if mapping.to else None
            if mapping.to and operation and self._is_to(mapping.to.system, operation.system):
                compiled[operation.name] = compile_outbound(mapping, self.minor_units(operation.system))
        return compiled

    def _is_to(self, named: str | None, system: str) -> bool:
        """Report whether a mapping to the named system is one to a system: none named means each."""
        return named is None or named in (system, self.family(system))

    def outbound(self, operation: str) -> OutboundMapping | None:
        """Return the compiled mapping of an operation for the system that implements it."""
        return self._outbound.get(operation)

    def operation_of(self, step: object) -> kinds.Operation | None:
        """Return the operation that a step calls."""
        return self.operations.get(step.call) if isinstance(step, kinds.Call) else None

    def is_previewed(self, operation: str) -> bool:
        """Return True if a workflow answers the operation on paper, instead of a system."""
        mapping = self.mapping_to(operation)
        return mapping is not None and mapping.to is not None and mapping.to.previews is not None

    def mapping_to(self, operation: str) -> kinds.Mapping | None:
        """Return the mapping of an operation as written."""
        return next((m for m in self.mappings.values() if m.to and m.to.operation == operation), None)

    def producers(self, event: str) -> list[kinds.Mapping]:
        """Return the mappings that may emit this event."""
        return self._producers.get(event, [])

    def objects_of_deliveries(self, system: str, types: Collection[str]) -> list[str]:
        """Return the objects about which deliveries of these types from a system bring events, sorted."""
        events = (self.events.get(name) for type_ in types for name in self.events_of(system, type_))
        return sorted({event.object for event in events if event is not None and event.object})

    @cached_property
    def _producers(self) -> dict[str, list[kinds.Mapping]]:
        return _grouped((event, m) for m in self.mappings.values() for event in events_of(m))

    # -------------------------------------------------------------- foils

    @cached_property
    def foils(self) -> list[FoilDefinition]:
        """Rules of the left sides."""
        return [
            foil
            for rule in self.reconciliations.values()
            for foil in compile_foils(rule, tuple(self.owners_of(rule)), self.envelope, self._sides(rule))
        ]

    @cached_property
    def _foils_by_event(self) -> dict[str, list[FoilDefinition]]:
        return _grouped((foil.event, foil) for foil in self.foils)

    @cached_property
    def _observations(self) -> dict[str, list[ObservationDefinition]]:
        return _grouped(
            (entry.event, entry)
            for rule in self.reconciliations.values()
            for entry in compile_observations(
                rule, tuple(self.owners_of(rule)), self.envelope, self._sides(rule)
            )
        )

    def _sides(self, rule: kinds.Reconciliation) -> Sides:
        left, right = (Ledgers(system, self.stand_ins_of(system)) for system in (rule.left, rule.right))
        return Sides(left, right)

    def foils_by_event(self, event: str) -> list[FoilDefinition]:
        """Return the rules by which this event shows documents of left systems."""
        return self._foils_by_event.get(event, [])

    def foils_by_operation(self, operation: str) -> list[FoilDefinition]:
        """Return the rules by which the intent of this operation writes foils."""
        return [foil for foil in self.foils if foil.operation == operation]

    def foils_by_observation(self, event: str) -> list[ObservationDefinition]:
        """Return the rules by which this event shows documents of right systems."""
        return self._observations.get(event, [])


def _grouped(pairs: Iterable[tuple[str | None, T]]) -> dict[str, list[T]]:
    """Return the values by their keys, in order; a value without a key is left out."""
    groups: dict[str, list[T]] = {}
    for key, value in pairs:
        if key is not None:
            groups.setdefault(key, []).append(value)
    return groups


def _accept(patterns: Collection[str], delivery_type: str) -> bool:
    """Return whether one of the patterns accepts a delivery type: its name, `invoice.*`, or `*` for every type."""
    if delivery_type in patterns:
        return True
    prefixes = tuple(p[:-1] for p in patterns if p == "*" or p.endswith(".*"))
    return delivery_type.startswith(prefixes)
