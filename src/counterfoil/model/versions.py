"""Versions of events and operations that are active at the same time, and the casts between them."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.contracts import versions
from counterfoil.model import kinds
from counterfoil.model.compile.cast import compile_cast
from counterfoil.model.definition import CastDefinition
from counterfoil.model.documents import Documents

CastPath = tuple[CastDefinition, ...]


class ContractVersions:
    """Declared versions by family, and shortest paths of casts between them.

    Events and operations never share a name.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._of: dict[tuple[str, str], list[str]] = {}
        for kind, names in (("event", documents.events), ("operation", documents.operations)):
            for name in names:
                self._of.setdefault((kind, versions.family(name)), []).append(name)
        for names_of_family in self._of.values():
            names_of_family.sort(key=versions.number)
        self.casts: dict[tuple[str, str], kinds.Mapping] = {}
        """Mappings that cast, by source and target; the first where there are several."""
        self.without_cast: dict[tuple[str, str], str] = {}
        """Pairs that are deliberately not cast, with the reason."""
        for mapping in documents.mappings.values():
            if mapping.cast is not None and self.kind_of(mapping.cast.from_) is not None:
                pair = (mapping.cast.from_, mapping.cast.to)
                if mapping.ignore is not None:
                    self.without_cast[pair] = mapping.ignore
                elif self.kind_of(pair[0]) == self.kind_of(pair[1]):
                    self.casts.setdefault(pair, mapping)
        self._compiled: dict[tuple[str, str], CastDefinition] = {}
        self._paths: dict[tuple[str, str], CastPath | None] = {}
        self._others: dict[str, tuple[str, ...]] = {}
        self._newest: dict[str, str] = {}

    def kind_of(self, name: str) -> str | None:
        if name in self._documents.events:
            return "event"
        return "operation" if name in self._documents.operations else None

    def of(self, name: str, kind: str | None = None) -> list[str]:
        """Return the declared versions of the family of `name`, oldest first; `name` itself need not be declared."""
        base = versions.family(name)
        if kind is None:
            kind = "event" if ("event", base) in self._of else "operation"
        return self._of.get((kind, base), [])

    def families(self) -> Iterator[tuple[str, str, list[str]]]:
        """Yield (kind, family, versions) of all events and operations, sorted."""
        for (kind, base), names in sorted(self._of.items()):
            yield kind, base, names

    def others(self, name: str) -> tuple[str, ...]:
        """Return the other versions, the nearest first; of two equally near ones the newer first."""
        if name not in self._others:
            at = versions.number(name)
            others = [other for other in self.of(name) if other != name]
            others.sort(key=lambda o: (abs(versions.number(o) - at), -versions.number(o)))
            self._others[name] = tuple(others)
        return self._others[name]

    def newest(self, event: str) -> str:
        """Return the newest version of an event to which casts lead.

        An object that several versions change has one shape: that of this version.
        """
        if event not in self._newest:
            reached = [other for other in self.of(event, "event") if self.path(event, other) is not None]
            self._newest[event] = reached[-1] if reached else event
        return self._newest[event]

    def path(self, source: str, target: str) -> CastPath | None:
        """Return the shortest path of casts; empty where both are the same, None where there is no path."""
        pair = (source, target)
        if pair not in self._paths:
            shortest = next(iter(self.shortest_paths(source, target)), None)
            self._paths[pair] = None if shortest is None else tuple(self._cast(step) for step in shortest)
        return self._paths[pair]

    def shortest_paths(self, source: str, target: str) -> list[list[tuple[str, str]]]:
        """Return all shortest paths of casts, sorted by name. More than one is ambiguous."""
        if source == target:
            return [[]]
        if (source, target) in self.without_cast:
            return []
        reached = {source: [list[tuple[str, str]]()]}
        while reached and target not in reached:
            visited = {step[0] for paths in reached.values() for path in paths for step in path} | {*reached}
            further: dict[str, list[list[tuple[str, str]]]] = {}
            for at, paths in sorted(reached.items()):
                for step in sorted(pair for pair in self.casts if pair[0] == at and pair[1] not in visited):
                    further.setdefault(step[1], []).extend([*path, step] for path in paths)
            reached = further
        return reached.get(target, [])

    def _cast(self, pair: tuple[str, str]) -> CastDefinition:
        if pair not in self._compiled:
            self._compiled[pair] = compile_cast(self._documents, self.casts[pair])
        return self._compiled[pair]
