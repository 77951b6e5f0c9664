"""Users of the documents that a change touches, and which of them it breaks: other documents, and clients over HTTP.

A contract change breaks only the users of the changed fields: the readers of an event or of an operation's output, the
callers of an operation's input.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from counterfoil.change.contract_fields import ContractChange
from counterfoil.model import kinds
from counterfoil.model.checks.references import references
from counterfoil.model.document import Document
from counterfoil.model.document_usage import asserted_fields, usage_of
from counterfoil.model.entity_names import reads_entity
from counterfoil.model.field_usage import Contract, FieldUsage, User
from counterfoil.model.model import Model

OUTSIDE = "outside"
"""Kind of a user that is not a document: a client of our HTTP API."""
_READERS = frozenset({"mapping", "workflow", "policy", "reconciliation"})
"""Kinds whose formulas may read `entity`."""


@dataclass(frozen=True, slots=True, order=True)
class AffectedUser:
    """A user of the changed document: another document, or an HTTP route (`outside`)."""

    kind: str
    name: str
    how: str
    """`reads total`, `gives amount`, `names it`."""
    broken: bool = False
    follows: bool = False
    """The user's document changes too. Running Runs keep the definition that they are pinned to."""


class AffectedUsers:
    """The users of documents in two Models."""

    def __init__(self, old: Model, new: Model) -> None:
        self._old = old
        self._new = new
        self._old_documents = {(d.kind, d.name): d for d in old.documents}
        self._new_documents = {(d.kind, d.name): d for d in new.documents}

    @cached_property
    def _uses_before(self) -> FieldUsage:
        return usage_of(self._old)

    @cached_property
    def _uses_after(self) -> FieldUsage:
        return usage_of(self._new)

    @cached_property
    def _altered(self) -> frozenset[tuple[str, str]]:
        """Documents whose data differs in any way."""
        both = self._old_documents.keys() | self._new_documents.keys()
        return frozenset(
            key for key in both if _data(self._old_documents.get(key)) != _data(self._new_documents.get(key))
        )

    @cached_property
    def _referrers(self) -> dict[tuple[str, str], dict[User, None]]:
        """Documents that refer to a document, before or after."""
        users: dict[tuple[str, str], dict[User, None]] = {}
        for model in (self._old, self._new):
            for document in model.documents:
                for kind, name, path in references(document):
                    if path[:1] != ("owner",) and (document.kind, document.name) != (kind, name):
                        users.setdefault((kind, name), {})[document.kind, document.name] = None
        return users

    @cached_property
    def _entity_readers(self) -> dict[User, None]:
        """Documents with a formula that reads the legal entity of its fact or Run, before or after."""
        documents = (*self._old.documents, *self._new.documents)
        return {(d.kind, d.name): None for d in documents if d.kind in _READERS and reads_entity(d.data)}

    def naming(self, kind: str, name: str) -> tuple[AffectedUser, ...]:
        """Return the documents that name a document; for an overlay, those that name what it changes; for a legal
        entity, also those whose formulas read `entity`."""
        users = dict(self._referrers.get((kind, name), {}))
        if kind == "legal_entity":
            users |= self._entity_readers
        for documents in (self._old_documents, self._new_documents):
            overlay = documents.get((kind, name))
            if overlay is not None and isinstance(overlay.value, kinds.Overlay):
                for change in overlay.value.changes:
                    users |= self._referrers.get((change.kind, change.name), {})
        return tuple(sorted(self._affected(user, "names it", False) for user in users))

    def of_removed(self, old: Document) -> list[AffectedUser]:
        """Return the users of a removed document: readers and callers of its contracts, and HTTP routes."""
        users: dict[tuple[str, str], AffectedUser] = {}
        for contract, _ in contracts_of(old.value):
            for user in self._uses_before.readers(contract, ""):
                if user != (old.kind, old.name):
                    users[user] = self._affected(user, "reads it", True)
            if contract[0] == "input":
                for user in self._uses_before.gives.get(contract, {}):
                    users.setdefault(user, self._affected(user, "calls it", True))
        for route in routes_of(old.value):
            users[OUTSIDE, route] = AffectedUser(OUTSIDE, route, "uses it", True)
        return sorted(users.values())

    def mappings_of(self, name: str, field: str | None) -> tuple[AffectedUser, ...]:
        """Return the mappings that write an object, or one field of it."""
        users = set()
        for model in (self._old, self._new):
            for event in model.events:
                fed = asserted_fields(model, event)
                if fed is None or fed[0] != name or not (field is None or field in fed[1]):
                    continue
                for mapping in model.producers(event):
                    key = ("mapping", mapping.name)
                    users.add(AffectedUser(*key, f"asserts {field or 'it'}", False, key in self._altered))
        return tuple(sorted(users))

    def of_contract(
        self, old: Document, new: Document, contract: Contract, change: ContractChange
    ) -> Iterator[AffectedUser]:
        field = change.field
        document = (old.kind, old.name)
        for user, tests_presence in self._readers(contract, field).items():
            if self._implements(user, contract) or (user == document and contract[0] != "event"):
                # It implements the contract. `check` verifies that it fits the new one.
                continue
            broken = change.breaks_readers and not (tests_presence and change.absent)
            yield self._affected(user, f"reads {field}", broken)
        for user, fields in self._writers(contract).items():
            writes_field = field.split(".")[0] in fields
            if change.breaks_writers and (writes_field != change.demands or ("." in field and writes_field)):
                how = f"gives {field}" if writes_field else f"does not give {field}"
                yield self._affected(user, how, True)
        route = next(iter({*routes_of(old.value)} & {*routes_of(new.value)}), None)
        if route is not None:
            writes = contract[0] != "output"
            broken = change.breaks_writers if writes else change.breaks_readers
            yield AffectedUser(OUTSIDE, route, f"{'gives' if writes else 'reads'} {field}", broken)

    def _readers(self, contract: Contract, field: str) -> dict[User, bool]:
        """Return the readers of a field, directly or from the head that an event writes. The value is True if the
        reader tests that the field is present."""
        readers = dict(self._uses_before.readers(contract, field))
        fed = asserted_fields(self._old, contract[1]) if contract[0] == "event" else None
        if fed is not None and field.split(".")[0] in fed[1]:
            for user, tests_presence in self._uses_before.readers(("object", fed[0]), field).items():
                readers[user] = readers.get(user, True) and tests_presence
        return readers

    def _writers(self, contract: Contract) -> dict[User, set[str]]:
        """Return the writers of a contract with the fields that they write.

        Callers of an operation: as they are now. Producers of an event: mappings as they will be, because they switch
        at once; workflows as they are now, because running Runs keep their definition.
        """
        if contract[0] == "input":
            return self._uses_before.gives.get(contract, {})
        if contract[0] == "event":
            after = self._uses_after.gives.get(contract, {})
            before = self._uses_before.gives.get(contract, {})
            return {u: f for u, f in after.items() if u[0] != "workflow"} | {
                u: f for u, f in before.items() if u[0] == "workflow"
            }
        return {}

    def _implements(self, user: User, contract: Contract) -> bool:
        mapping = self._old.mappings.get(user[1]) if user[0] == "mapping" else None
        if mapping is None:
            return False
        if contract[0] == "event":
            return mapping.cast is None  # a cast reads the event; any other mapping writes it
        return mapping.to is not None and mapping.to.operation == contract[1]

    def _affected(self, user: User, how: str, broken: bool) -> AffectedUser:
        return AffectedUser(*user, how, broken, user in self._altered)


def contracts_of(value: kinds.Kind) -> Iterator[tuple[Contract, str]]:
    """Yield the contracts of a document, each with its key in the document."""
    match value:
        case kinds.Event():
            yield ("event", value.name), "data"
        case kinds.Object():
            yield ("object", value.name), "fields"
        case kinds.Operation():
            yield ("input", value.name), "input"
            yield ("output", value.name), "output"


def routes_of(value: kinds.Kind) -> Iterator[str]:
    """Yield the HTTP routes by which clients use a contract."""
    if isinstance(value, kinds.Event) and value.produced == "http":
        yield "POST /v1/usage" if value.usage else "POST /v1/events"
    if isinstance(value, kinds.Operation) and value.exposes != "none":
        yield f"POST /v1/operations/{value.name}"


def _data(document: Document | None) -> Any:
    return None if document is None else document.data
