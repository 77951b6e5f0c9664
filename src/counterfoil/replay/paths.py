"""What two models make of a delivery without looking at it: the same documents give the same results.

For every type of delivery and of event: is all that it can run through the same in both models, and which objects and
limits may it read besides? What is the same is not run; what it reads may still have become different before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import msgspec

from counterfoil.core import wire
from counterfoil.model import Model, kinds
from counterfoil.model.compile.mapping import emits_of
from counterfoil.model.compile.policy import FAILURE_OUTCOMES
from counterfoil.model.emitted_types import emitted_types
from counterfoil.model.walk import BlockPlace, steps, steps_of
from counterfoil.rules import routing

_HEAD = re.compile(r"\bhead\(\s*'([a-z_][a-z0-9_]*)'")
_ANY_HEAD = re.compile(r"\b(?:head|period|cutoff)\(")
_LINK = re.compile(r"\b(?:canon|xref)\(\s*'([a-z_][a-z0-9_]*)'")
PERIODS = "period"
EVERYTHING = "*"


class DivergedKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Of what something differs by now: objects by their heads and by their Links, limits by their scopes."""

    heads: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()
    limits: frozenset[str] = frozenset()


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """What things of one type run through. `same`: it is the same in both models."""

    same: bool
    reads: frozenset[str] = frozenset()
    """Objects whose heads it may read; `*`: any."""
    links: frozenset[str] = frozenset()
    """Objects whose Links it may read."""
    limits: frozenset[str] = frozenset()
    """Scopes of limits on which it may reserve."""

    def untouched(self, by: DivergedKeys) -> bool:
        """Whether nothing that became different before can make it different now."""
        if by.heads and EVERYTHING in self.reads:
            return False
        return (
            self.reads.isdisjoint(by.heads)
            and self.links.isdisjoint(by.links)
            and self.limits.isdisjoint(by.limits)
        )


class _Reach:
    """Documents that something of one model runs through, as they are compared."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.waited = routing.waited_fields(model)

    def mapping(self, system: str, delivery: str) -> tuple[list[Any], list[str]]:
        """Of a delivery up to its events: documents, and the types of event that may come of it."""
        found: list[Any] = []
        types: dict[str, None] = {}
        for compiled in sorted(self.model.inbound(system, delivery), key=lambda m: m.name):
            found.append(self._data("mapping", compiled.name))
            for emit in emits_of(self.model.mappings[compiled.name]):
                types |= dict.fromkeys(emitted_types(emit.type))
        found += [self.event_contract(t) for t in sorted(types)]
        found.append([[name, s.account] for name, s in sorted(self.model.systems.items())])
        found.append("legal_entity" in self.model.objects)
        found.append([[o.name, o.system] for o in sorted(self.model.objects.values(), key=lambda o: o.name)])
        found.append(self._tables(found))
        return found, sorted(types)

    def event_contract(self, type_: str) -> list[Any]:
        """What judges an event and says what it moves."""
        kind = self.model.events.get(type_)
        found = [self._data("event", type_)]
        if kind is not None and kind.object:
            found.append(self._data("object", kind.object))
        return found

    def consequences(self, type_: str) -> tuple[list[Any], set[str]]:
        """Of an event on: foils, topics, the workflows that it begins and those that their events begin."""
        found: list[Any] = []
        workflows: set[str] = set()
        pending = [type_, *(other for other in self.model.versions.of(type_, "event") if other != type_)]
        seen = set(pending)
        found.append(self.casts)
        while pending:
            event = pending.pop()
            found.append([event, self.event_contract(event)])
            found += [
                self._data("reconciliation", name)
                for name, rule in sorted(self.model.reconciliations.items())
                if event in (rule.foil.event, rule.observe.event)
            ]
            found.append(sorted(self.waited.get(event, set())))
            for name in self._begun(event):
                if name in workflows:
                    continue
                workflows.add(name)
                found.append([name, self._workflow(name)])
                emitted = _emitted(self.model, name)
                emitted += [o for e in emitted for o in self.model.versions.of(e, "event") if o != e]
                pending += [e for e in emitted if e not in seen]
                seen |= set(emitted)
        found.append(self._tables(found))
        return found, workflows

    @cached_property
    def casts(self) -> list[Any]:
        """What makes one version of a fact another."""
        return [self._data("mapping", name) for name, m in sorted(self.model.mappings.items()) if m.cast]

    def _begun(self, event: str) -> list[str]:
        kind = self.model.events.get(event)
        begun = [d.name for d in self.model.starts_by_event(event)]
        begun += [d.name for d in self.model.generations_by_event(event)]
        if kind is not None and kind.object:
            begun += [d.name for d in self.model.starts_by_object(kind.object)]
        return sorted(set(begun))

    def _workflow(self, name: str) -> list[Any]:
        """Its closure, with the matrices and sums that a Run is not pinned to but asked under."""
        closure = self.model.closure(name)
        late = [
            self._data("policy", d["name"])
            for d in closure
            if isinstance(d, dict) and d.get("kind") == "policy"
        ]
        systems = [[s.name, s.role] for s in self.model.systems.values()]
        return [closure, late, sorted(systems)]

    def _data(self, kind: str, name: str) -> Any:
        document = self.model.document(kind, name)
        return None if document is None else document.data

    def _tables(self, found: list[Any]) -> list[Any]:
        """Tables that what was found may look up: those whose name stands in it."""
        text = wire.dumps(found).decode()
        return [
            self.model.digest_of("table", name)
            for name in sorted(self.model.tables)
            if re.search(rf"\b{re.escape(name)}\b", text)
        ]


def _emitted(model: Model, workflow: str) -> list[str]:
    """Types of event that a workflow emits, in its steps or in its failure policy's."""
    kind = model.workflows[workflow]
    places = list(steps(kind))
    failure = model.policies[kind.failure].failure
    for outcome in FAILURE_OUTCOMES:
        reaction = getattr(failure, outcome, None)
        if isinstance(reaction, list):
            places += steps_of(BlockPlace(reaction, (), "failure", outcome))
    return [place.step.emit for place in places if isinstance(place.step, kinds.Emit)]


def _reads(text: str, workflows: Iterable[str], model: Model) -> frozenset[str]:
    """Objects whose heads what was found may read."""
    heads = _HEAD.findall(text)
    named = set(heads)
    if len(_ANY_HEAD.findall(text)) > len(heads):
        named.add(EVERYTHING)
    for name in workflows:
        kind = model.workflows[name]
        for fact in kind.facts.values():
            named |= {o for o in (fact.head, fact.period) if o is not None}
        if kind.start.due is not None:
            named.add(kind.start.due.object)
        named |= {p.periods for p in model.workflow(name).postings.values()}
    return frozenset(named)


def _links(text: str, workflows: Iterable[str], model: Model) -> frozenset[str]:
    """Objects whose Links what was found may read."""
    named = set(_LINK.findall(text))
    for name in workflows:
        named |= {fact.xref for fact in model.workflows[name].facts.values() if fact.xref is not None}
    return frozenset(named)


class Paths:
    """The paths of two models, each worked out when it is first asked for."""

    def __init__(self, old: Model, new: Model) -> None:
        self.old = old
        self.new = new
        self._sides = (_Reach(old), _Reach(new))
        self._deliveries: dict[tuple[str, str], Path] = {}
        self._events: dict[str, Path] = {}

    def delivery(self, system: str, type_: str) -> Path:
        """From a delivery to its events."""
        key = (system, type_)
        if key not in self._deliveries:
            a, b = (wire.dumps(side.mapping(system, type_)[0]).decode() for side in self._sides)
            reads, links = _reads(a, (), self.old), _links(a, (), self.old)
            if a != b:  # the same documents read the same
                reads |= _reads(b, (), self.new)
                links |= _links(b, (), self.new)
            self._deliveries[key] = Path(same=a == b, reads=reads, links=links)
        return self._deliveries[key]

    def event(self, type_: str) -> Path:
        """From an event to the end of all that it begins."""
        if type_ not in self._events:
            (was, in_old), (is_, in_new) = (side.consequences(type_) for side in self._sides)
            a, b = wire.dumps(was).decode(), wire.dumps(is_).decode()
            limits = {
                scope
                for model, names in ((self.old, in_old), (self.new, in_new))
                for name in names
                for scope in scopes(model, name)
            }
            reads, links = _reads(a, in_old, self.old), _links(a, in_old, self.old)
            if a != b:
                reads |= _reads(b, in_new, self.new)
                links |= _links(b, in_new, self.new)
            self._events[type_] = Path(same=a == b, reads=reads, links=links, limits=frozenset(limits))
        return self._events[type_]

    @cached_property
    def otherwise(self) -> frozenset[str]:
        """Types of event that the two models may make otherwise, or judge otherwise."""
        found = set()
        for name in {*self.old.events, *self.new.events}:
            sides = []
            for reach in self._sides:
                mappings = [reach._data("mapping", m.name) for m in reach.model.producers(name)]
                parts = [reach.event_contract(name), mappings, reach._tables(mappings), reach.casts]
                sides.append(wire.digest(parts))
            if sides[0] != sides[1]:
                found.add(name)
        return frozenset(found)

    @cached_property
    def trusted(self) -> frozenset[str]:
        """Types of event that both models judge alike."""
        a, b = self._sides
        return frozenset(
            name
            for name in {*self.old.events, *self.new.events}
            if wire.digest(a.event_contract(name)) == wire.digest(b.event_contract(name))
        )

    @cached_property
    def fetches(self) -> tuple[str, ...]:
        """Operations by which admissions fetch what a delivery only hints at."""
        found = {m.fetch.call for model in (self.old, self.new) for m in model.mappings.values() if m.fetch}
        return tuple(sorted(found))

    @cached_property
    def calendars(self) -> tuple[str, ...]:
        """Objects that hold accounting periods."""
        found = {PERIODS}
        for model in (self.old, self.new):
            found |= {p.posting_date.periods for p in model.policies.values() if p.posting_date is not None}
        return tuple(sorted(found))


def scopes(model: Model, workflow: str) -> list[str]:
    """Scopes of guards on which a workflow may reserve."""
    definition = model.workflow(workflow)
    once = [
        f"once:{workflow}:{place.name}"
        for place in steps(model.workflows[workflow])
        if isinstance(place.step, kinds.Check) and place.step.once
    ]
    return [*definition.limits, *once]
