"""Reader of the canonical library: its files as plain values, with the fields that they share filled in.

An object has the fields of its `base`. An event has the id of its object and the fields that it `takes` from it. Fields
are in the form of governance files; `model/canonical` gives them types, `model/extends` merges them into a folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Literal, TypeAlias, cast

from counterfoil.core import wire
from counterfoil.json_or_yaml import parse

CanonicalKind: TypeAlias = Literal["object", "event", "operation"]
Fields: TypeAlias = dict[str, Any]
"""Field name to type as written; a trailing `?` makes the field optional."""

PARTS: Mapping[CanonicalKind, tuple[str, ...]] = {
    "object": ("fields",),
    "event": ("data",),
    "operation": ("input", "output"),
}
"""Keys of a document that declare fields, by its kind."""
_FOLDERS: Mapping[CanonicalKind, str] = {kind: f"{kind}s" for kind in PARTS}
_STATUS = "status"


@dataclass(frozen=True, slots=True)
class CanonicalDocument:
    """One version of a canonical object, event or operation. A published version never changes."""

    kind: CanonicalKind
    name: str
    version: int
    doc: str
    parts: Mapping[str, Fields]
    """Fields by their part of the document: `fields`, `data`, `input`, `output`."""
    columns: Fields = field(default_factory=dict)
    """Fields of an object that Counterfoil keeps with every record."""
    states: tuple[str, ...] = ()
    """Usual values of an object's status. A system may have words of its own."""
    negative: bool | None = None
    """Amounts of an operation's input may be negative."""
    workflows: tuple[str, ...] = ()
    """Workflows that use it. They are not part of its digest."""

    @property
    def reference(self) -> str:
        """Name and version as `extends` writes them: `customer@1`."""
        return f"{self.name}@{self.version}"

    @property
    def digest(self) -> str:
        """SHA-256 of everything that a folder takes over, in hex."""
        content = [self.kind, self.reference, self.doc, self.parts, self.columns, self.negative]
        return wire.digest([*content, list(self.states)])


class CanonicalLibrary:
    """Documents of the library by kind, name and version."""

    def __init__(self, documents: Iterable[CanonicalDocument]) -> None:
        self.documents = tuple(documents)
        self._by_reference = {(document.kind, document.reference): document for document in self.documents}

    def document(self, kind: str, reference: str) -> CanonicalDocument | None:
        """Return the document that a reference such as `customer@1` names."""
        return self._by_reference.get((cast(CanonicalKind, kind), reference))

    def references(self, kind: str) -> list[str]:
        return [document.reference for document in self.documents if document.kind == kind]

    def named(self, name: str) -> list[CanonicalDocument]:
        """Return all versions of a name, the newest last. An object and an event never share a name."""
        versions = [document for document in self.documents if document.name == name]
        return sorted(versions, key=lambda document: document.version)


@cache
def library() -> CanonicalLibrary:
    """Return the library of this installation."""
    return read_library(resources.files("counterfoil.canon"))


def read_library(folder: Traversable) -> CanonicalLibrary:
    """Read the library of a folder. Raises `UnreadableText` or KeyError for files that are no library."""
    bases = {_reference(written): written for written in _content(folder / "bases.yaml")}
    objects = [_object(written, bases) for written in _documents(folder, "object")]
    subjects = {document.reference: document for document in objects}
    events = [_event(written, subjects) for written in _documents(folder, "event")]
    operations = [_operation(written) for written in _documents(folder, "operation")]
    users = _users(_content(folder / "workflows.yaml"))
    return CanonicalLibrary(
        replace(document, workflows=users.get((document.kind, document.reference), ()))
        for document in (*objects, *events, *operations)
    )


def _documents(folder: Traversable, kind: CanonicalKind) -> Iterator[dict[str, Any]]:
    files = (folder / _FOLDERS[kind]).iterdir()
    for file in sorted((file for file in files if file.name.endswith(".yaml")), key=lambda file: file.name):
        yield from _content(file)


def _content(file: Traversable) -> Any:
    return parse(file.read_bytes())


def _reference(written: Mapping[str, Any]) -> str:
    return f"{written['name']}@{written['version']}"


def _users(workflows: Mapping[str, Mapping[str, list[str]]]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the workflows that use each document, by its kind and reference."""
    users: dict[tuple[str, str], tuple[str, ...]] = {}
    for workflow, uses in workflows.items():
        for kind in PARTS:
            for reference in uses.get(_FOLDERS[kind], ()):
                users[kind, reference] = (*users.get((kind, reference), ()), workflow)
    return users


def _object(written: Mapping[str, Any], bases: Mapping[str, Mapping[str, Any]]) -> CanonicalDocument:
    columns, fields = _base(written["base"], bases)
    states = written.get("states", {"values": []})
    status = states.get("field", _STATUS)
    if status != _STATUS:
        fields = _without(fields, _STATUS)
    for name, spec in written["fields"].items():
        fields = {**_without(fields, name.removesuffix("?")), name: spec}
    if states["values"]:
        name = next(name for name in fields if name.removesuffix("?") == status)
        text = f"Usual values: {', '.join(states['values'])}."
        final = {"final": states["final"]} if "final" in states else {}
        fields[name] = {"type": "string", **final, "doc": text}
    return CanonicalDocument(
        "object",
        written["name"],
        written["version"],
        written["doc"],
        {"fields": fields},
        columns,
        tuple(states["values"]),
    )


def _base(reference: str, bases: Mapping[str, Mapping[str, Any]]) -> tuple[Fields, Fields]:
    """Return the columns and fields of a base, with those of the base below it first."""
    written = bases[reference]
    columns, fields = _base(written["base"], bases) if "base" in written else ({}, {})
    return {**columns, **written.get("columns", {})}, {**fields, **written["fields"]}


def _without(fields: Fields, name: str) -> Fields:
    return {key: spec for key, spec in fields.items() if key.removesuffix("?") != name}


def _event(written: Mapping[str, Any], objects: Mapping[str, CanonicalDocument]) -> CanonicalDocument:
    data: Fields = {}
    if "object" in written:
        subject = objects[written["object"]]
        specs = {key.removesuffix("?"): spec for key, spec in subject.parts["fields"].items()}
        data[f"{subject.name}_id"] = "id"
        for name in written["takes"]:
            data[name] = _as_reported(specs[name.removesuffix("?")])
    return CanonicalDocument(
        "event",
        written["name"],
        written["version"],
        written["doc"],
        {"data": {**data, **written.get("data", {})}},
    )


def _as_reported(spec: Any) -> Any:
    """Return the field of an object as an event reports it: only the object says which values are final."""
    return {key: part for key, part in spec.items() if key != "final"} if isinstance(spec, dict) else spec


def _operation(written: Mapping[str, Any]) -> CanonicalDocument:
    return CanonicalDocument(
        "operation",
        written["name"],
        written["version"],
        written["doc"],
        {part: written[part] for part in PARTS["operation"] if part in written},
        negative=written.get("negative"),
    )
