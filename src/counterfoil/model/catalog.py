"""The catalog: what there is, who answers for it, and who produces and consumes what. Pure, over one Model.

An entry is a document as people look it up; an edge says what one entry is to another, in one word. Edges follow
from what documents name, so the catalog knows nothing that is not on file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from counterfoil.model import kinds
from counterfoil.model.checks.references import references
from counterfoil.model.document import Document
from counterfoil.model.fields import each_field
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
    """Its system of record, where it belongs to an object."""
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
    """By what they are of: `fields`, `data`, `input`, `output`."""

    @property
    def key(self) -> Key:
        return self.kind, self.name

    def says(self) -> str:
        """Everything that a search looks through."""
        owners = [role for roles in self.owners.values() for role in roles]
        paths = [part.path for group in self.fields.values() for part in group]
        return " ".join([self.kind, self.name, self.doc, self.system, *owners, *paths]).casefold()


class Catalog:
    """Entries in the order of kind and name, and the edges between them."""

    def __init__(self, model: Model) -> None:
        documents = [
            model.document(kind, name) for kind, name in sorted((d.kind, d.name) for d in model.documents)
        ]
        self.entries: dict[Key, Entry] = {
            (d.kind, d.name): _entry(model, d) for d in documents if d is not None
        }
        found = dict.fromkeys(edge for document in model.documents for edge in _edges(model, document))
        self.edges = tuple(e for e in found if e.source in self.entries and e.target in self.entries)

    def search(self, text: str = "", kind: str = "") -> list[Entry]:
        """Entries that hold every word of the text, those that are named so first."""
        words = text.casefold().split()
        found = [
            entry
            for entry in self.entries.values()
            if (not kind or entry.kind == kind) and all(word in entry.says() for word in words)
        ]
        return sorted(found, key=lambda e: not all(word in e.name for word in words)) if words else found

    def of(self, key: Key) -> list[Edge]:
        """What an entry has to do with others, both ways."""
        return [edge for edge in self.edges if key in (edge.source, edge.target)]

    def flow(self, near: Key | None = None) -> list[Edge]:
        """Who produces and consumes what; with `near`, the part of it that leads to or from one entry."""
        moving = [edge for edge in self.edges if edge.word in ("produces", "consumes", "calls")]
        if near is None:
            return moving
        kept = {*_reach(moving, near, back=True), *_reach(moving, near, back=False)}
        return [edge for edge in moving if edge in kept]


def _reach(edges: list[Edge], near: Key, back: bool) -> Iterator[Edge]:
    """Edges on the ways that end at (or begin with) an entry; consuming turns an edge round."""
    ways: dict[Key, list[tuple[Key, Edge]]] = {}
    for edge in edges:
        begin, end = (edge.target, edge.source) if edge.word == "consumes" else (edge.source, edge.target)
        ways.setdefault(end if back else begin, []).append((begin if back else end, edge))
    seen, due = {near}, [near]
    while due:
        for other, edge in ways.get(due.pop(), []):
            yield edge
            if other not in seen and other[0] != "system":
                seen.add(other)
                due.append(other)


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
        fields={part: tuple(_fields(model, document, spec)) for part, spec in _maps(value)},
    )


def _owners(model: Model, value: kinds.Kind) -> dict[str, tuple[str, ...]]:
    """By part where several roles share it, else under `owner`; inherited from what it serves."""
    if isinstance(value.owner, dict):
        parts: dict[str, tuple[str, ...]] = {}
        for role, part in value.owner.items():
            parts[part] = (*parts.get(part, ()), role)
        return parts
    found = model.owners_of(value)
    return {"owner": tuple(found)} if found else {}


def _maps(value: kinds.Kind) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(value, kinds.Object):
        yield "fields", value.fields
    elif isinstance(value, kinds.Event):
        yield "data", value.data
    elif isinstance(value, kinds.Operation):
        yield from ((part, spec) for part, spec in (("input", value.input), ("output", value.output)) if spec)


def _fields(
    model: Model, document: Document, specs: Mapping[str, Any], path: str = ""
) -> Iterator[FieldEntry]:
    value = document.value
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
        inner, mark = _inside(spec)
        if inner:
            yield from _fields(model, document, inner, f"{path}{name}{mark}.")


def _record_of(model: Model, object_: str, name: str) -> str:
    known = model.objects.get(object_)
    held = {own for own, _, _ in each_field(known.fields)} if known else set()
    return model.system_of_record(object_, name) if name in held else ""


def _inside(spec: Any) -> tuple[Mapping[str, Any], str]:
    """The fields within a field, and whether they are those of a list's items."""
    if isinstance(spec, list):
        return _inside(spec[0])[0], "[]"
    if not isinstance(spec, kinds.FieldSpec):
        return {}, ""
    if spec.items is not None:
        return _inside(spec.items)[0], "[]"
    return spec.fields or {}, "[]" if spec.type == "list" else ""


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
    # A mapping is how a system speaks: what it emits, the system produces; what leads to a system, it takes.
    if isinstance(value, kinds.Mapping) and value.from_:
        yield Edge(("system", value.from_.system), "produces", here)
    elif isinstance(value, kinds.Operation):
        yield Edge(here, "calls", ("system", value.system))


def _word(kind: str, other: str, path: tuple[str | int, ...]) -> Word:
    """What naming it there means."""
    if other == "event":
        made = kind == "mapping" or path[-1] == "emit"
        return "produces" if made else "consumes" if kind in ("workflow", "reconciliation") else "uses"
    if other == "operation" and kind == "workflow":
        return "consumes" if path[0] == "start" else "reads" if path[0] == "facts" else "calls"
    if other == "workflow" and kind == "operation":
        return "uses"
    return "reads" if other in ("object", "table") and kind in ("workflow", "mapping") else "uses"
