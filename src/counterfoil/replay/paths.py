"""The documents that each type of delivery and event runs through, compared between two models.

Equal documents give equal results, so such deliveries need no replay. They may still read heads, Links and limits that
differ because of earlier deliveries; a `ReplayPath` lists what it may read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import msgspec

from counterfoil.core import wire
from counterfoil.model import Model, kinds
from counterfoil.model.compile.mapping import emits_of, emitted_types
from counterfoil.model.compile.policy import FAILURE_OUTCOMES
from counterfoil.model.walk import BlockPlace, steps, steps_of
from counterfoil.rules import routing

_HEAD = re.compile(r"\bhead\(\s*'([a-z_][a-z0-9_]*)'")
_ANY_HEAD = re.compile(r"\b(?:head|period|cutoff)\(")
_LINK = re.compile(r"\b(?:canon|xref)\(\s*'([a-z_][a-z0-9_]*)'")
PERIODS = "period"
ANY_OBJECT = "*"


class DivergedKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that differs from the recording so far: objects by heads and by Links, limits by scope."""

    heads: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()
    limits: frozenset[str] = frozenset()


class ReplayPath(msgspec.Struct, frozen=True, kw_only=True):
    """The path of one type. `same`: the documents are equal in both models."""

    same: bool
    reads: frozenset[str] = frozenset()
    """Objects whose heads it may read; `*`: any."""
    links: frozenset[str] = frozenset()
    """Objects whose Links it may read."""
    limits: frozenset[str] = frozenset()
    """Scopes of limits that it may reserve."""

    def is_untouched(self, diverged: DivergedKeys) -> bool:
        """Return True if no earlier difference can influence this path."""
        if diverged.heads and ANY_OBJECT in self.reads:
            return False
        return (
            self.reads.isdisjoint(diverged.heads)
            and self.links.isdisjoint(diverged.links)
            and self.limits.isdisjoint(diverged.limits)
        )


class _ModelPaths:
    """Collects the documents of one model for comparison."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.waited = routing.waited_fields(model)

    def mapping(self, system: str, delivery: str) -> str:
        """Return the documents from a delivery to its events, as text."""
        documents: list[Any] = []
        types: dict[str, None] = {}
        for compiled in sorted(self.model.inbound(system, delivery), key=lambda m: m.name):
            documents.append(self._data("mapping", compiled.name))
            for emit in emits_of(self.model.mappings[compiled.name]):
                types |= dict.fromkeys(emitted_types(emit.type))
        documents += [self.event_contract(t) for t in sorted(types)]
        documents.append([[name, s.account] for name, s in sorted(self.model.systems.items())])
        documents.append(self.currencies)
        documents.append(["legal_entity" in self.model.objects, self.entities])
        documents.append(
            [[o.name, o.system] for o in sorted(self.model.objects.values(), key=lambda o: o.name)]
        )
        return self._with_tables(documents)

    def event_contract(self, type_: str) -> list[Any]:
        """Return the documents that validate an event and define the object it changes."""
        kind = self.model.events.get(type_)
        documents = [self._data("event", type_)]
        if kind is not None and kind.object:
            documents.append(self._data("object", kind.object))
        return documents

    def consequences(self, type_: str) -> tuple[str, set[str]]:
        """Return the documents that follow an event, as text, and the workflows among them.

        They are foils, topics, and all workflows that it may start, directly or through emitted events.
        """
        documents: list[Any] = []
        workflows: set[str] = set()
        pending = [type_, *(other for other in self.model.versions.of(type_, "event") if other != type_)]
        queued = set(pending)
        documents += [self.casts, self.entities, self.overlays]
        while pending:
            event = pending.pop()
            documents.append([event, self.event_contract(event)])
            documents += [
                self._data("reconciliation", name)
                for name, rule in sorted(self.model.reconciliations.items())
                if any(event == entry.event for _, entry in rule.entries)
            ]
            documents.append(sorted(self.waited.get(event, set())))
            for name in self._started_by(event):
                if name in workflows:
                    continue
                workflows.add(name)
                documents.append([name, self._workflow(name)])
                emitted = _emitted(self.model, name)
                emitted += [o for e in emitted for o in self.model.versions.of(e, "event") if o != e]
                pending += [e for e in emitted if e not in queued]
                queued |= set(emitted)
        return self._with_tables(documents), workflows

    @cached_property
    def currencies(self) -> list[Any]:
        """Minor units that systems declare: they change amounts in their mappings."""
        systems = sorted(self.model.systems.items())
        return [[name, self._data("system", name).get("currencies")] for name, s in systems if s.currencies]

    @cached_property
    def entities(self) -> list[Any]:
        """Legal entities, and those of systems: mappings read them, and an event has the region of its own."""
        of_systems = [
            [name, s.legal_entity] for name, s in sorted(self.model.systems.items()) if s.legal_entity
        ]
        return [[self._data("legal_entity", name) for name in sorted(self.model.legal_entities)], of_systems]

    @cached_property
    def overlays(self) -> list[Any]:
        """Overlays of regions and legal entities, and the systems that stand for others: Runs follow those of their own."""
        stand_ins = [[s.name, s.stands_for] for s in self.model.systems.values() if s.stands_for]
        return [[document.data for document in self.model.overlays], sorted(stand_ins)]

    @cached_property
    def casts(self) -> list[Any]:
        """Mappings that convert one version of an event to another."""
        return [self._data("mapping", name) for name, m in sorted(self.model.mappings.items()) if m.cast]

    def _started_by(self, event: str) -> list[str]:
        kind = self.model.events.get(event)
        workflows = [d.name for d in self.model.starts_by_event(event)]
        workflows += [d.name for d in self.model.generations_by_event(event)]
        if kind is not None and kind.object:
            workflows += [d.name for d in self.model.starts_by_object(kind.object)]
        return sorted(set(workflows))

    def _workflow(self, name: str) -> list[Any]:
        """Return a workflow's closure, and the policies that apply in their current form: Runs are not pinned to them."""
        closure = self.model.closure(name)
        late = [
            self._data("policy", d["name"])
            for d in closure
            if isinstance(d, dict) and d.get("kind") == "policy"
        ]
        systems = [[s.name, s.role] for s in self.model.systems.values()]
        return [closure, late, sorted(systems), self.currencies]

    def _data(self, kind: str, name: str) -> Any:
        document = self.model.document(kind, name)
        return None if document is None else document.data

    def _with_tables(self, documents: list[Any]) -> str:
        """Return documents as text, with the digests of the tables that they may look up, by name."""
        text = wire.dumps(documents).decode()
        tables = [
            self.model.digest_of("table", name)
            for name in sorted(self.model.tables)
            if name in text and re.search(rf"\b{re.escape(name)}\b", text)
        ]
        return f"{text}{tables}"


def _emitted(model: Model, workflow: str) -> list[str]:
    """Return the event types that a workflow emits, in its steps or in its failure policy."""
    kind = model.workflows[workflow]
    places = list(steps(kind))
    failure = model.policies[kind.failure].failure
    for outcome in FAILURE_OUTCOMES:
        reaction = getattr(failure, outcome, None)
        if isinstance(reaction, list):
            places += steps_of(BlockPlace(reaction, (), "failure", outcome))
    return [place.step.emit for place in places if isinstance(place.step, kinds.Emit)]


def _reads(text: str, workflows: Iterable[str], model: Model) -> frozenset[str]:
    heads = _HEAD.findall(text)
    objects = set(heads)
    if len(_ANY_HEAD.findall(text)) > len(heads):
        objects.add(ANY_OBJECT)
    for name in workflows:
        kind = model.workflows[name]
        for fact in kind.facts.values():
            objects |= {o for o in (fact.head, fact.period) if o is not None}
        if kind.start.due is not None:
            objects.add(kind.start.due.object)
        objects |= {p.periods for p in model.workflow(name).postings.values()}
    return frozenset(objects)


def _links(text: str, workflows: Iterable[str], model: Model) -> frozenset[str]:
    objects = set(_LINK.findall(text))
    for name in workflows:
        objects |= {fact.xref for fact in model.workflows[name].facts.values() if fact.xref is not None}
    return frozenset(objects)


class Paths:
    """The paths of two models, each computed on first use."""

    def __init__(self, old: Model, new: Model) -> None:
        self.old = old
        self.new = new
        self._sides = (_ModelPaths(old), _ModelPaths(new))
        self._deliveries: dict[tuple[str, str], ReplayPath] = {}
        self._events: dict[str, ReplayPath] = {}

    def delivery(self, system: str, type_: str) -> ReplayPath:
        """Return the path from a delivery to its events."""
        key = (system, type_)
        if key not in self._deliveries:
            a, b = (side.mapping(system, type_) for side in self._sides)
            reads, links = _reads(a, (), self.old), _links(a, (), self.old)
            if a != b:  # equal documents read the same
                reads |= _reads(b, (), self.new)
                links |= _links(b, (), self.new)
            self._deliveries[key] = ReplayPath(same=a == b, reads=reads, links=links)
        return self._deliveries[key]

    def event(self, type_: str) -> ReplayPath:
        """Return the path from an event to the end of everything that it starts."""
        if type_ not in self._events:
            (a, in_old), (b, in_new) = (side.consequences(type_) for side in self._sides)
            limits = {
                scope
                for model, names in ((self.old, in_old), (self.new, in_new))
                for name in names
                for scope in guard_scopes(model, name)
            }
            reads, links = _reads(a, in_old, self.old), _links(a, in_old, self.old)
            if a != b:
                reads |= _reads(b, in_new, self.new)
                links |= _links(b, in_new, self.new)
            self._events[type_] = ReplayPath(same=a == b, reads=reads, links=links, limits=frozenset(limits))
        return self._events[type_]

    @cached_property
    def differing_events(self) -> frozenset[str]:
        """Event types that the two models may create or validate differently."""
        types = set()
        for name in {*self.old.events, *self.new.events}:
            digests = []
            for side in self._sides:
                mappings = [side._data("mapping", m.name) for m in side.model.producers(name)]
                parts = [
                    side.event_contract(name),
                    side._with_tables(mappings),
                    side.casts,
                    side.currencies,
                    side.entities,
                ]
                digests.append(wire.digest(parts))
            if digests[0] != digests[1]:
                types.add(name)
        return frozenset(types)

    @cached_property
    def trusted(self) -> frozenset[str]:
        """Event types with the same contract in both models."""
        a, b = self._sides
        return frozenset(
            name
            for name in {*self.old.events, *self.new.events}
            if wire.digest(a.event_contract(name)) == wire.digest(b.event_contract(name))
        )

    @cached_property
    def fetches(self) -> tuple[str, ...]:
        """Operations that fetch the object of a delivery."""
        operations = {
            m.fetch.call for model in (self.old, self.new) for m in model.mappings.values() if m.fetch
        }
        return tuple(sorted(operations))

    @cached_property
    def calendars(self) -> tuple[str, ...]:
        """Objects that hold accounting periods."""
        objects = {PERIODS}
        for model in (self.old, self.new):
            objects |= {p.posting_date.periods for p in model.policies.values() if p.posting_date is not None}
        return tuple(sorted(objects))


def guard_scopes(model: Model, workflow: str) -> list[str]:
    """Return the scopes of guards that a workflow may reserve."""
    definition = model.workflow(workflow)
    checks = [
        f"once:{workflow}:{place.name}"
        for place in steps(model.workflows[workflow])
        if isinstance(place.step, kinds.Check) and place.step.once
    ]
    return [*definition.limits, *checks]
