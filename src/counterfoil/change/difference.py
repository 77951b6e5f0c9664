"""What is different between two Models, by meaning, and whom it breaks.

Compares documents by kind and name, never files. Contracts are judged by those who use them: an event and an
operation's output by their readers, an operation's input by its callers, and only by the fields that these use.
Tables are compared row by row. Nothing here knows of Runs or traffic; see the plan of a change for those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Literal

from counterfoil.change.change_classes import CLASSES, SERVICE_LEVELS, Class, classes_of, money_fields
from counterfoil.change.contract_fields import ContractChange, contract_changes
from counterfoil.change.document_diff import FieldChange, What, compare, meant, written
from counterfoil.change.table_diff import InForce, RowChange, in_force, row_changes
from counterfoil.model import kinds
from counterfoil.model.checks.references import references
from counterfoil.model.document import Document
from counterfoil.model.field_usage import Contract, User, Uses, fed_by
from counterfoil.model.fields import Schema, object_schema
from counterfoil.model.model import Model

OUTSIDE = "outside"
"""The kind of a user that is no document: whoever calls a door of ours."""


@dataclass(frozen=True, slots=True, order=True)
class AffectedUser:
    """Who uses what changed: a document by kind and name, or a door (`outside`)."""

    kind: str
    name: str
    how: str
    """`reads total`, `gives amount`, `names it`."""
    broken: bool = False
    follows: bool = False
    """Its own document changes too. Runs in flight keep the definition that they are pinned to."""


@dataclass(frozen=True, slots=True)
class ChangeDetail:
    """One thing inside a document. `path` joins keys with `/`; steps stand in it by id or by what they do."""

    path: str
    what: What
    old: Any
    new: Any
    message: str
    classes: tuple[Class, ...]
    rule: str = ""
    """For contracts: which kind of change it is."""
    breaking: bool = False
    affects: tuple[AffectedUser, ...] = ()

    @property
    def is_service_level(self) -> bool:
        """Whether it says how long something may take."""
        return any(part in SERVICE_LEVELS for part in self.path.split("/"))


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """One document that was added, removed or changed."""

    kind: str
    name: str
    change: Literal["added", "removed", "changed"]
    classes: tuple[Class, ...]
    breaking: bool
    affects: tuple[AffectedUser, ...]
    details: tuple[ChangeDetail, ...]
    place: str
    """`file:line` of the new document, of the old one where it is removed; empty for a Model without files."""
    rows: tuple[RowChange, ...] = ()
    in_force: tuple[InForce, ...] = ()
    """Of a table: keys whose value is another today; empty when no day was given."""


def difference(old: Model, new: Model, today: date | None = None) -> list[DocumentChange]:
    """Every document that means something else, by kind and name. `today` tells rows in force from later ones."""
    return _ModelComparison(old, new, today).differences()


class _ModelComparison:
    def __init__(self, old: Model, new: Model, today: date | None) -> None:
        self.old = old
        self.new = new
        self.today = today
        self.old_documents = {(d.kind, d.name): d for d in old.documents}
        self.new_documents = {(d.kind, d.name): d for d in new.documents}

    def differences(self) -> list[DocumentChange]:
        keys = sorted(self.old_documents.keys() | self.new_documents.keys())
        found = (self._one(self.old_documents.get(key), self.new_documents.get(key)) for key in keys)
        return [one for one in found if one is not None]

    # -------------------------------------------------------------- what uses what

    @cached_property
    def uses_before(self) -> Uses:
        return Uses(self.old)

    @cached_property
    def uses_after(self) -> Uses:
        return Uses(self.new)

    @cached_property
    def money(self) -> frozenset[str]:
        return money_fields(self.old) | money_fields(self.new)

    @cached_property
    def altered(self) -> frozenset[tuple[str, str]]:
        """Documents that say something else, one way or another."""
        both = self.old_documents.keys() | self.new_documents.keys()
        return frozenset(
            key for key in both if _data(self.old_documents.get(key)) != _data(self.new_documents.get(key))
        )

    @cached_property
    def referrers(self) -> dict[tuple[str, str], dict[User, None]]:
        """Who names a document, before or after."""
        found: dict[tuple[str, str], dict[User, None]] = {}
        for model in (self.old, self.new):
            for document in model.documents:
                for kind, name, path in references(document):
                    if path[:1] != ("owner",) and (document.kind, document.name) != (kind, name):
                        found.setdefault((kind, name), {})[document.kind, document.name] = None
        return found

    def naming(self, kind: str, name: str, broken: bool = False) -> tuple[AffectedUser, ...]:
        users = dict(self.referrers.get((kind, name), {}))
        for documents in (self.old_documents, self.new_documents) if kind == "overlay" else ():
            overlay = documents.get((kind, name))
            for change in (
                overlay.value.changes if overlay and isinstance(overlay.value, kinds.Overlay) else ()
            ):
                users |= self.referrers.get((change.kind, change.name), {})
        return tuple(sorted(AffectedUser(k, n, "names it", broken, (k, n) in self.altered) for k, n in users))

    # -------------------------------------------------------------- documents

    def _one(self, old: Document | None, new: Document | None) -> DocumentChange | None:
        if old is None or new is None:
            return self._whole(old, new)
        if old.data == new.data:
            return None
        details = list(self._details(old, new))
        rows: list[RowChange] = []
        forces: list[InForce] = []
        if (
            isinstance(old.value, kinds.Table)
            and isinstance(new.value, kinds.Table)
            and len(old.value.key) == len(new.value.key)
        ):
            rows = row_changes(old.value, new.value, self.today)
            forces = in_force(old.value, new.value, self.today) if self.today else []
        if not details and not rows:
            return None
        classes = {c for detail in details for c in detail.classes}
        if rows:
            beside = all(row.change == "changed" and row.beside and row.old == row.new for row in rows)
            classes |= {"table"} if beside else {"table", "money"}
        affects = {a: None for detail in details for a in detail.affects}
        if not affects and (classes != {"text"}):
            affects = dict.fromkeys(self.naming(new.kind, new.name))
        return DocumentChange(
            kind=new.kind,
            name=new.name,
            change="changed",
            classes=_ordered(classes),
            breaking=any(detail.breaking for detail in details),
            affects=tuple(affects),
            details=tuple(details),
            place=_place(new, details),
            rows=tuple(rows),
            in_force=tuple(forces),
        )

    def _whole(self, old: Document | None, new: Document | None) -> DocumentChange:
        document = new or old
        assert document is not None
        said = written(document)
        classes = {
            c for key, part in said.items() for c in classes_of(document.value, (key,), (part,), self.money)
        }
        if document.kind not in ("pattern", "test"):
            classes -= {"text"}
        affects: list[AffectedUser] = []
        if old is not None:
            affects = self._orphaned(old)
        rows: list[RowChange] = []
        if isinstance(document.value, kinds.Table):
            empty = document.value.model_copy(update={"rows": []})
            pair = (document.value, empty) if new is None else (empty, document.value)
            rows = row_changes(*pair, self.today)
        return DocumentChange(
            kind=document.kind,
            name=document.name,
            change="removed" if new is None else "added",
            classes=_ordered(classes) or ("text",),
            breaking=any(a.broken for a in affects),
            affects=tuple(affects) or self.naming(document.kind, document.name),
            details=(),
            place=_place(document, []),
            rows=tuple(rows),
        )

    def _orphaned(self, old: Document) -> list[AffectedUser]:
        """Who used a document that is gone: readers of a contract, and doors."""
        found: dict[tuple[str, str], AffectedUser] = {}
        for contract, _ in _contracts(old.value):
            for user in self.uses_before.readers(contract, ""):
                if user != (old.kind, old.name):
                    found[user] = self._affected(user, "reads it", True)
            if contract[0] == "input":
                for user in self.uses_before.gives.get(contract, {}):
                    found.setdefault(user, self._affected(user, "calls it", True))
        for door in _doors(old.value):
            found[OUTSIDE, door] = AffectedUser(OUTSIDE, door, "uses it", True)
        return sorted(found.values())

    # -------------------------------------------------------------- fields

    def _details(self, old: Document, new: Document) -> Iterator[ChangeDetail]:
        contracts = dict(_contracts(new.value))
        skipped = {key for _, key in contracts.items()}
        before = {key: part for key, part in meant(old).items() if key not in skipped}
        after = {key: part for key, part in meant(new).items() if key not in skipped}
        if isinstance(new.value, kinds.Table):
            before.pop("rows", None)
            after.pop("rows", None)
        for change in compare(before, after):
            yield self._detail(old, new, change)
        if isinstance(old.value, kinds.Object) and isinstance(new.value, kinds.Object):
            yield from self._systems_of_record(old.value, new.value)
        for contract, key in contracts.items():
            pair = _schema(old.value, key), _schema(new.value, key)
            for found in contract_changes(*pair):
                yield self._contract(old, new, contract, key, found)

    def _detail(self, old: Document, new: Document, change: FieldChange) -> ChangeDetail:
        path = "/".join(change.path)
        classes = classes_of(new.value, change.path, (change.old, change.new), self.money)
        affects: tuple[AffectedUser, ...] = ()
        if change.path[0] in ("exposes", "produced"):
            lost = set(_doors(old.value)) - set(_doors(new.value))
            affects = tuple(AffectedUser(OUTSIDE, door, "uses it", True) for door in sorted(lost))
        if change.path[0] == "system" and isinstance(new.value, kinds.Object):
            affects = self._mappings_of(new.name, None)
        return ChangeDetail(
            path=path,
            what=change.what,
            old=change.old,
            new=change.new,
            message=_told(change),
            classes=classes,
            breaking=any(a.broken for a in affects),
            affects=affects,
        )

    def _systems_of_record(self, old: kinds.Object, new: kinds.Object) -> Iterator[ChangeDetail]:
        """Fields that another system may assert from now on."""
        held = set(object_schema(old.fields)["properties"]) & set(object_schema(new.fields)["properties"])
        for field in sorted(held):
            before = self.old.system_of_record(old.name, field)
            after = self.new.system_of_record(new.name, field)
            if before != after:
                yield ChangeDetail(
                    path=f"fields/{field}/system",
                    what="changed",
                    old=before,
                    new=after,
                    message=f"the system of record of `{field}` is {after} and was {before}",
                    classes=("contract", "ownership"),
                    rule="system-of-record",
                    affects=self._mappings_of(new.name, field),
                )

    def _mappings_of(self, name: str, field: str | None) -> tuple[AffectedUser, ...]:
        """The mappings whose facts move an object, or one field of it."""
        found = set()
        for model in (self.old, self.new):
            for event in model.events:
                fed = fed_by(model, event)
                if fed is None or fed[0] != name or not (field is None or field in fed[1]):
                    continue
                for mapping in model.producers(event):
                    key = ("mapping", mapping.name)
                    found.add(AffectedUser(*key, f"asserts {field or 'it'}", False, key in self.altered))
        return tuple(sorted(found))

    # -------------------------------------------------------------- contracts

    def _contract(
        self, old: Document, new: Document, contract: Contract, key: str, change: ContractChange
    ) -> ChangeDetail:
        affected = sorted(self._affected_by(old, new, contract, change), key=lambda a: (not a.broken, a))
        what: What = "changed"
        if change.rule == "field-added":
            what = "added"
        elif change.rule == "field-removed":
            what = "removed"
        return ChangeDetail(
            path="/".join([key, *change.field.split(".")]),
            what=what,
            old=change.old,
            new=change.new,
            message=change.message,
            classes=("contract", "security") if change.rule == "personal-data" else ("contract",),
            rule=change.rule,
            breaking=any(a.broken for a in affected),
            affects=tuple(affected),
        )

    def _affected_by(
        self, old: Document, new: Document, contract: Contract, change: ContractChange
    ) -> Iterator[AffectedUser]:
        field = change.field
        own = (old.kind, old.name)
        for user, asks in self._readers(contract, field).items():
            if self._implements(user, contract) or (user == own and contract[0] != "event"):
                # It is part of the contract's own side: what counts is whether it fits the new one, as check says.
                continue
            broken = change.breaks_readers and not (asks and change.absent)
            yield self._affected(user, f"reads {field}", broken)
        for user, given in self._givers(contract).items():
            gives = field.split(".")[0] in given
            if change.breaks_writers and (gives != change.demands or ("." in field and gives)):
                yield self._affected(user, f"gives {field}" if gives else f"does not give {field}", True)
        door = next(iter({*_doors(old.value)} & {*_doors(new.value)}), None)
        if door is not None:
            writes = contract[0] != "output"
            broken = change.breaks_writers if writes else change.breaks_readers
            yield AffectedUser(OUTSIDE, door, f"{'gives' if writes else 'reads'} {field}", broken)

    def _readers(self, contract: Contract, field: str) -> dict[User, bool]:
        """Those who read a field, directly or from the head that an event moves."""
        found = dict(self.uses_before.readers(contract, field))
        fed = fed_by(self.old, contract[1]) if contract[0] == "event" else None
        if fed is not None and field.split(".")[0] in fed[1]:
            for user, asks in self.uses_before.readers(("object", fed[0]), field).items():
                found[user] = found.get(user, True) and asks
        return found

    def _givers(self, contract: Contract) -> dict[User, set[str]]:
        """Callers of an operation as they are; producers of an event as they will be, where those who bring the
        facts in use the new ones at once, and as they are where Runs in flight still emit."""
        if contract[0] == "input":
            return self.uses_before.gives.get(contract, {})
        if contract[0] == "event":
            after = self.uses_after.gives.get(contract, {})
            running = self.uses_before.gives.get(contract, {})
            return {u: f for u, f in after.items() if u[0] != "workflow"} | {
                u: f for u, f in running.items() if u[0] == "workflow"
            }
        return {}

    def _implements(self, user: User, contract: Contract) -> bool:
        mapping = self.old.mappings.get(user[1]) if user[0] == "mapping" else None
        if mapping is None:
            return False
        if contract[0] == "event":
            return mapping.cast is None  # it asserts what it emits itself; a cast is a reader
        return mapping.to is not None and mapping.to.operation == contract[1]

    def _affected(self, user: User, how: str, broken: bool) -> AffectedUser:
        return AffectedUser(*user, how, broken, user in self.altered)


def _contracts(value: kinds.Kind) -> Iterator[tuple[Contract, str]]:
    """The contracts of a document with the key that each stands under."""
    match value:
        case kinds.Event():
            yield ("event", value.name), "data"
        case kinds.Object():
            yield ("object", value.name), "fields"
        case kinds.Operation():
            yield ("input", value.name), "input"
            yield ("output", value.name), "output"


def _schema(value: kinds.Kind, key: str) -> Schema:
    return object_schema(getattr(value, key))


def _doors(value: kinds.Kind) -> Iterator[str]:
    """Doors by which somebody outside uses a contract."""
    if isinstance(value, kinds.Event) and value.produced == "http":
        yield "POST /v1/usage" if value.usage else "POST /v1/events"
    if isinstance(value, kinds.Operation) and value.exposes != "none":
        yield f"POST /v1/operations/{value.name}"


def _told(change: FieldChange) -> str:
    name = "/".join(change.path)
    match change.what:
        case "added":
            return f"`{name}` is new"
        case "removed":
            return f"`{name}` is gone"
        case "moved":
            return f"`{name}` stands in another place"
    if isinstance(change.old, dict | list) or isinstance(change.new, dict | list):
        return f"`{name}` changed"
    return f"`{name}` is {_short(change.new)} and was {_short(change.old)}"


def _short(value: Any) -> str:
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _ordered(classes: set[Class]) -> tuple[Class, ...]:
    return tuple(c for c in CLASSES if c in classes)


def _data(document: Document | None) -> Any:
    return None if document is None else document.data


def _place(document: Document, details: list[ChangeDetail]) -> str:
    """The line of a document, and of the one field where it is one field that changed."""
    if document.source is None:
        return ""
    at: tuple[str | int, ...] = ("name",)
    if len(details) == 1:
        first = details[0].path.split("/")[0]
        at = (first,) if first in document.data else at
    file, mark = document.source.place(at)
    return f"{file}:{mark.line}"
