"""Catalog of one Model: documents, their owners, and the flow between producers and consumers.

An entry describes a document; an edge is a relation between two entries, in one word. Edges come from the names in
documents, so the catalog contains nothing that is not in a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from counterfoil.model import kinds
from counterfoil.model.checks.references import references
from counterfoil.model.document import Document
from counterfoil.model.fields import each_field, field_names, inner_fields
from counterfoil.model.model import Model

Key: TypeAlias = tuple[str, str]
"""Kind and name."""
Word: TypeAlias = Literal["produces", "consumes", "calls", "reads", "uses"]
ORDER: tuple[Word, ...] = ("produces", "consumes", "calls", "reads", "uses")


@dataclass(frozen=True, slots=True)
class Edge:
    source: Key
    word: Word
    target: Key


@dataclass(frozen=True, slots=True)
class FieldEntry:
    """A field of an object or contract; `path` has dots and `[]` for the items of a list."""

    path: str
    type: str
    optional: bool = False
    pii: bool = False
    system: str = ""
    """System of record, for a field of an object."""
    owners: tuple[str, ...] = ()
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    kind: str
    name: str
    doc: str
    owners: Mapping[str, tuple[str, ...]]
    """Role or roles by the part that they own: `definition`, `exceptions`."""
    digest: str
    system: str = ""
    fields: Mapping[str, tuple[FieldEntry, ...]] = field(default_factory=dict)
    """Fields by their part of the document: `fields`, `data`, `input`, `output`."""

    @property
    def key(self) -> Key:
        return self.kind, self.name

    def search_text(self) -> str:
        """Return the text that a search matches."""
        owners = [role for roles in self.owners.values() for role in roles]
        paths = [part.path for group in self.fields.values() for part in group]
        return " ".join([self.kind, self.name, self.doc, self.system, *owners, *paths]).casefold()


class Catalog:
    """Entries sorted by kind and name, and the edges between them."""

    def __init__(self, model: Model) -> None:
        documents = sorted(model.documents, key=lambda d: (d.kind, d.name))
        self.entries: dict[Key, Entry] = {(d.kind, d.name): _entry(model, d) for d in documents}
        edges = dict.fromkeys(edge for document in model.documents for edge in _edges(model, document))
        self.edges = tuple(e for e in edges if e.source in self.entries and e.target in self.entries)

    def search(self, text: str = "", kind: str = "") -> list[Entry]:
        """Return the entries that contain every word of the text; matches in the name first."""
        words = text.casefold().split()
        entries = [entry for entry in self.entries.values() if not kind or entry.kind == kind]
        matches = [entry for entry in entries if all(word in entry.search_text() for word in words)]
        return sorted(matches, key=lambda e: not all(word in e.name for word in words)) if words else matches

    def of(self, key: Key) -> list[Edge]:
        """Return the edges from and to an entry."""
        return [edge for edge in self.edges if key in (edge.source, edge.target)]

    def flow(self, near: Key | None = None) -> list[Edge]:
        """Return the edges between producers and consumers; with `near`, those that lead to or from one entry."""
        moving = [edge for edge in self.edges if edge.word in ("produces", "consumes", "calls")]
        if near is None:
            return moving
        reachable = {*_reach(moving, near, back=True), *_reach(moving, near, back=False)}
        return [edge for edge in moving if edge in reachable]


def _reach(edges: list[Edge], near: Key, back: bool) -> Iterator[Edge]:
    """Yield the edges of paths to an entry, or from it. A `consumes` edge counts in the reverse direction."""
    neighbours: dict[Key, list[tuple[Key, Edge]]] = {}
    for edge in edges:
        begin, end = (edge.target, edge.source) if edge.word == "consumes" else (edge.source, edge.target)
        neighbours.setdefault(end if back else begin, []).append((begin if back else end, edge))
    visited, pending = {near}, [near]
    while pending:
        for other, edge in neighbours.get(pending.pop(), []):
            yield edge
            if other not in visited and other[0] != "system":
                visited.add(other)
                pending.append(other)


# ------------------------------------------------------------------ entries


def _entry(model: Model, document: Document) -> Entry:
    value = document.value
    system = getattr(value, "system", "")
    if isinstance(value, kinds.Mapping):
        system = value.from_.system if value.from_ else ""
    return Entry(
        kind=document.kind,
        name=document.name,
        doc=value.doc,
        owners=_owners(model, value),
        digest=model.digest_of(document.kind, document.name),
        system=system if isinstance(system, str) else "",
        fields={part: tuple(_fields(model, value, spec)) for part, spec in _maps(value)},
    )


def _owners(model: Model, value: kinds.Kind) -> dict[str, tuple[str, ...]]:
    """Return owners by part if several roles share the document, else under `owner`; owners may be inherited."""
    if isinstance(value.owner, dict):
        parts: dict[str, tuple[str, ...]] = {}
        for role, part in value.owner.items():
            parts[part] = (*parts.get(part, ()), role)
        return parts
    roles = model.owners_of(value)
    return {"owner": tuple(roles)} if roles else {}


def _maps(value: kinds.Kind) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(value, kinds.Object):
        yield "fields", value.fields
    elif isinstance(value, kinds.Event):
        yield "data", value.data
    elif isinstance(value, kinds.Operation):
        yield from ((part, spec) for part, spec in (("input", value.input), ("output", value.output)) if spec)


def _fields(
    model: Model, value: kinds.Kind, specs: Mapping[str, Any], path: str = ""
) -> Iterator[FieldEntry]:
    for name, optional, spec in each_field(specs):
        system = ""
        if isinstance(value, kinds.Object):
            system = model.system_of_record(value.name, name) if not path else ""
        elif isinstance(value, kinds.Event) and value.object and not path:
            system = _record_of(model, value.object, name)
        owner = model.systems.get(system)
        full = spec if isinstance(spec, kinds.FieldSpec) else None
        yield FieldEntry(
            path=f"{path}{name}",
            type=_type(spec),
            optional=optional,
            pii=full.pii if full else False,
            system=system,
            owners=tuple(model.owners_of(owner)) if owner else (),
            doc=full.doc if full else "",
        )
        inner, is_list = inner_fields(spec)
        if inner:
            yield from _fields(model, value, inner, f"{path}{name}{'[]' if is_list else ''}.")


def _record_of(model: Model, object_: str, name: str) -> str:
    subject = model.objects.get(object_)
    return model.system_of_record(object_, name) if subject and name in field_names(subject.fields) else ""


def _type(spec: Any) -> str:
    if isinstance(spec, list):
        return f"[{_type(spec[0])}]"
    if not isinstance(spec, kinds.FieldSpec):
        return str(spec)
    if spec.enum is not None:
        return " | ".join(spec.enum)
    if spec.items is not None:
        return f"[{_type(spec.items)}]"
    return spec.type


# ------------------------------------------------------------------ edges


def _edges(model: Model, document: Document) -> Iterator[Edge]:
    here: Key = (document.kind, document.name)
    value = document.value
    for kind, name, path in references(document):
        if kind != "role":
            yield Edge(here, _word(document.kind, kind, path), (kind, name))
    # A mapping is the voice of its system: the system produces the events that the mapping emits.
    if isinstance(value, kinds.Mapping) and value.from_:
        yield Edge(("system", value.from_.system), "produces", here)
    elif isinstance(value, kinds.Operation):
        yield Edge(here, "calls", ("system", value.system))


def _word(kind: str, other: str, path: tuple[str | int, ...]) -> Word:
    """Return the relation that a name at this path means."""
    if other == "event":
        is_produced = kind == "mapping" or path[-1] == "emit"
        return "produces" if is_produced else "consumes" if kind in ("workflow", "reconciliation") else "uses"
    if other == "operation" and kind == "workflow":
        return "consumes" if path[0] == "start" else "reads" if path[0] == "facts" else "calls"
    if other == "workflow" and kind == "operation":
        return "uses"
    return "reads" if other in ("object", "table") and kind in ("workflow", "mapping") else "uses"
