"""Documents of one model by kind and name, their schemas, owners and digests.

This is the part of a model that needs no compilation. Compiler, closure, versions and overlays read it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import cached_property
from typing import Any, Literal, Self, TypeVar

from pydantic import ValidationError

from counterfoil.core import wire
from counterfoil.core.errors import Misconfigured
from counterfoil.model import kinds
from counterfoil.model.document import Data, Document, build
from counterfoil.model.fields import Schema, each_field, field_names, object_schema
from counterfoil.model.source import Source
from counterfoil.model.tables import TableRows, row_faults

K = TypeVar("K", bound=kinds.Kind)


def _values_of(kind: type[K]) -> cached_property[dict[str, K]]:
    """Return a property of `Documents`: the documents of a kind by name."""
    return cached_property(lambda documents: documents.of_kind(kind))


TEST = "test"
"""The kind of the documents that no Release holds."""
ANY = "*"
"""In place of a kind or a name in `broken`: that of a document that could not be read."""


def _require_rows(table: kinds.Table) -> None:
    """Raise Misconfigured unless the table includes its rows, and look-ups can use each of them."""
    if table.rows is None:
        raise Misconfigured(f"table/{table.name}: the canonical form of a table has `rows`")
    for position, fault in row_faults(table, table.rows):
        raise Misconfigured(f"table/{table.name}: row {position + 1}: {fault}")


class Documents:
    """Immutable index of governance documents.

    Documents keep the order in which they were read; digests do not depend on it. `broken` holds the names of
    documents that were refused for their form: they exist, but their content is unknown.
    """

    def __init__(
        self, documents: Iterable[Document], broken: Collection[tuple[str, str]] = frozenset()
    ) -> None:
        self.documents = tuple(documents)
        self.broken = frozenset(broken)
        self._by_name = {(document.kind, document.name): document for document in self.documents}
        self._schemas: dict[tuple[str, str], Schema] = {}

    # -------------------------------------------------------------- documents

    def document(self, kind: str, name: str) -> Document | None:
        return self._by_name.get((kind, name))

    def has(self, kind: str, name: str) -> bool:
        """Return True if a document of that name exists, valid or not."""
        if (kind, name) in self._by_name:
            return True
        return not self.broken.isdisjoint({(kind, name), (kind, ANY), (ANY, name), (ANY, ANY)})

    def documents_of(self, kind: type[K]) -> Iterator[tuple[Document, K]]:
        """Yield the documents of a kind, each with its value."""
        for document in self.documents:
            if isinstance(document.value, kind):
                yield document, document.value

    def of_kind(self, kind: type[K]) -> dict[str, K]:
        return {value.name: value for _, value in self.documents_of(kind)}

    def has_broken(self, *sorts: str) -> bool:
        """Return True if a document of one of these kinds was refused for its form: it may contain what is missing."""
        return any(kind in sorts or kind == ANY for kind, _ in self.broken)

    systems = _values_of(kinds.System)
    objects = _values_of(kinds.Object)
    events = _values_of(kinds.Event)
    operations = _values_of(kinds.Operation)
    mappings = _values_of(kinds.Mapping)
    workflows = _values_of(kinds.Workflow)
    policies = _values_of(kinds.Policy)
    reconciliations = _values_of(kinds.Reconciliation)
    roles = _values_of(kinds.Role)
    channels = _values_of(kinds.NoticeChannel)
    legal_entities = _values_of(kinds.LegalEntity)

    @cached_property
    def default_entity(self) -> str:
        """The legal entity of facts that name none; empty if the folder declares no entity."""
        names = [name for name, entity in self.legal_entities.items() if entity.default]
        if not names and len(self.legal_entities) == 1:
            names = list(self.legal_entities)
        return min(names, default="")

    @cached_property
    def tables(self) -> Mapping[str, TableRows]:
        return {name: TableRows(table, table.rows or []) for name, table in self.of_kind(kinds.Table).items()}

    def failure_of(self, workflow: kinds.Workflow) -> kinds.Failure | None:
        """Return the failure policy of a workflow; None if it is missing or of another sort."""
        policy = self.policies.get(workflow.failure)
        return policy.failure if policy is not None else None

    @cached_property
    def reads_payload_hash(self) -> bool:
        """True if a document names `payload_hash`, so a formula may read the digest of an event's data."""
        return b"payload_hash" in self.to_json()

    # -------------------------------------------------------------- canonical form

    @classmethod
    def from_documents(cls, documents: Iterable[Data]) -> Self:
        """Build a model from the result of `plain`. Raises Misconfigured for a document that does not fit its kind."""
        built = []
        for data in documents:
            document, findings = build(Source(f"{_text(data, 'kind')}/{_text(data, 'name')}", data))
            if document is None:
                raise Misconfigured("; ".join(map(str, findings)))
            if isinstance(document.value, kinds.Table):
                _require_rows(document.value)
            built.append(Document(document.value, data))
        return cls(built)

    @cached_property
    def released(self) -> Self:
        """The documents of a Release: all but tests, which govern no Run. This object itself if it has no test."""
        documents = [document for document in self.documents if document.kind != TEST]
        return self if len(documents) == len(self.documents) else type(self)(documents, self.broken)

    def plain(self) -> list[Data]:
        """Return every document but tests as plain data, sorted by kind and name; tables include their rows."""
        return [self._by_name[key].data for key in sorted(self._by_name) if key[0] != TEST]

    def to_json(self) -> bytes:
        """Return the canonical form: sorted documents, sorted keys, without comments and places."""
        return self._json

    @cached_property
    def _json(self) -> bytes:
        return wire.dumps(self.plain())

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Build a model from its canonical form. Raises Misconfigured for any other JSON.

        Tests are left out: a Release of a former version may hold some.
        """
        try:
            documents = wire.loads(data)
            if not isinstance(documents, list):
                raise Misconfigured("not a stored model: a model is a list of documents")
            return cls.from_documents(data for data in documents if _text(data, "kind") != TEST)
        except (ValueError, ValidationError) as error:
            raise Misconfigured(f"not a stored model: {error}") from error

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical form in hex. It identifies a Release."""
        return wire.digest(self.to_json())

    def digest_of(self, kind: str, name: str) -> str:
        """Return the SHA-256 of one document's canonical form in hex."""
        return wire.digest(self._by_name[kind, name].data)

    # -------------------------------------------------------------- schemas, tables, owners

    def schema_of_event(self, name: str) -> Schema:
        """Return the JSON Schema (draft 2020-12) of an event's data. All callers share it: none may change it."""
        return self._schema("data", name, self.events[name].data)

    def schema_of_object(self, name: str) -> Schema:
        """Return the JSON Schema of an object's fields. All callers share it: none may change it."""
        return self._schema("fields", name, self.objects[name].fields)

    def schema_of_operation(self, name: str, side: Literal["input", "output"]) -> Schema:
        """Return the JSON Schema of an operation's input or output. All callers share it: none may change it."""
        operation = self.operations[name]
        return self._schema(side, name, operation.input if side == "input" else operation.output)

    def _schema(self, side: str, name: str, fields: Mapping[str, Any]) -> Schema:
        if (side, name) not in self._schemas:
            self._schemas[side, name] = object_schema(fields)
        return self._schemas[side, name]

    def system_of_record(self, name: str, field: str) -> str:
        """Return the system that may assert a field of an object."""
        subject = self.objects[name]
        for own, _, spec in each_field(subject.fields):
            if own == field and isinstance(spec, kinds.FieldSpec) and spec.system:
                return spec.system
        return subject.system

    def final_values(self, name: str) -> dict[str, list[str]]:
        """Return the final values of an object's fields."""
        subject = self.objects.get(name)
        return {
            field: spec.final
            for field, _, spec in each_field(subject.fields if subject is not None else {})
            if isinstance(spec, kinds.FieldSpec) and spec.final
        }

    def asserted_by_event(self, event: kinds.Event) -> list[str]:
        """Return the fields of its object that an event asserts."""
        if event.sets is not None:
            return event.sets
        subject = self.objects.get(event.object or "")
        own = field_names(subject.fields) if subject is not None else []
        return [name for name in field_names(event.data) if name in own]

    def asserted_by_call(self, operation: str) -> dict[str, str]:
        """Return the fields that an exposed operation's input asserts, with their systems of record.

        These are fields that name a system, and fields of the operation's object. All others are requests or
        references.
        """
        definition = self.operations[operation]
        subject = self.objects.get(definition.object or "")
        own = field_names(subject.fields) if subject is not None else []
        asserted = {}
        for name, _, spec in each_field(definition.input):
            if isinstance(spec, kinds.FieldSpec) and spec.system:
                asserted[name] = spec.system
            elif name in own and definition.object is not None:
                asserted[name] = self.system_of_record(definition.object, name)
        return asserted

    def family(self, system: str) -> str:
        """Return the system whose part a system plays: another one, or its own."""
        kind = self.systems.get(system)
        return system if kind is None or kind.stands_for is None else kind.stands_for

    def members(self, family: str) -> list[str]:
        """Return the systems that play the part of a system: itself, then those that stand for it, sorted."""
        return [family, *sorted(name for name, kind in self.systems.items() if kind.stands_for == family)]

    def stand_ins(self, legal_entity: str) -> dict[str, str]:
        """Return the systems that stand for others in Runs of a legal entity, by the system whose part they play."""
        return {
            kind.stands_for: name
            for name, kind in self.systems.items()
            if kind.stands_for is not None and kind.legal_entity == legal_entity
        }

    def stand_ins_of(self, family: str) -> dict[str, str]:
        """Return the systems that stand for one system, by legal entity."""
        stand_ins = (kind for kind in self.systems.values() if kind.stands_for == family)
        return {kind.legal_entity: kind.name for kind in stand_ins if kind.legal_entity}

    @cached_property
    def has_stand_ins(self) -> bool:
        return any(kind.stands_for is not None for kind in self.systems.values())

    def lookup_table(self, name: str, keys: Sequence[object], on: date) -> Any:
        """Return the value that is effective on a day, or None. Raises KeyError for an unknown table.

        A date after the values of the key is the day instead of `on`: that of a document, not of the look-up.
        """
        table = self.tables[name]
        if len(keys) == len(table.table.key) + 1 and isinstance(keys[-1], date):
            day = keys[-1].date() if isinstance(keys[-1], datetime) else keys[-1]
            return table.lookup(keys[:-1], day)
        return table.lookup(keys, on)

    def owners_of(self, kind: kinds.Kind, part: str = "exceptions") -> list[str]:
        """Return the roles that own a part of a document: its own owner, else that of its system or object.

        Empty if there is no owner.
        """
        own = kind.owners(part)
        if own:
            return own
        sources: list[kinds.Kind | None] = []
        if isinstance(kind, kinds.Mapping):
            if kind.from_:
                sources = [self.systems.get(kind.from_.system)]
            elif kind.to and kind.to.operation in self.operations:
                sources = [self.operations[kind.to.operation]]
            elif kind.cast:
                cast = kind.cast.from_
                sources = [self.events.get(cast), self.operations.get(cast)]
        elif isinstance(kind, kinds.Reconciliation):
            sources = [self.objects.get(kind.object), self.systems.get(kind.left)]
        elif isinstance(kind, kinds.Object | kinds.Operation):
            sources = [self.systems.get(kind.system)]
        elif isinstance(kind, kinds.Event) and kind.object:
            sources = [self.objects.get(kind.object)]
        for source in sources:
            inherited = self.owners_of(source, part) if source is not None else []
            if inherited:
                return inherited
        return []


def _text(data: Any, key: str) -> str:
    return str(data.get(key, "?")) if isinstance(data, dict) else "?"
