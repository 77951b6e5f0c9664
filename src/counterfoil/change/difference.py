"""Differences in meaning between two Models, and the documents and clients that they break.

Compares documents by kind and name, never files; tables row by row. Tests are left out: no Release holds them.
`change.affected_users` finds what a change breaks. Runs and recorded traffic are not looked at; `change.plan` does that.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any, Literal

from counterfoil.change.affected_users import OUTSIDE, AffectedUser, AffectedUsers, contracts_of, routes_of
from counterfoil.change.change_classes import CLASSES, SERVICE_LEVELS, Class, classes_of, money_fields
from counterfoil.change.contract_fields import ContractChange, contract_changes
from counterfoil.change.document_diff import (
    FieldChange,
    What,
    compare,
    fields_as_written,
    fields_with_defaults,
)
from counterfoil.change.table_diff import InForce, RowChange, in_force, row_changes
from counterfoil.model import kinds
from counterfoil.model.document import Document
from counterfoil.model.field_usage import Contract
from counterfoil.model.fields import Schema, object_schema
from counterfoil.model.model import Model


@dataclass(frozen=True, slots=True)
class ChangeDetail:
    """One change inside a document. `path` joins keys with `/`; a step appears by its id or its action."""

    path: str
    what: What
    old: Any
    new: Any
    message: str
    classes: tuple[Class, ...]
    rule: str = ""
    """Id of the kind of change, for contracts."""
    breaking: bool = False
    affects: tuple[AffectedUser, ...] = ()

    @property
    def is_service_level(self) -> bool:
        """True if the change affects a time limit."""
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
    """`file:line` of the new document, or of the old one if it was removed. Empty for a Model without files."""
    rows: tuple[RowChange, ...] = ()
    in_force: tuple[InForce, ...] = ()
    """For tables: keys with another value today. Empty without a date."""


def difference(old: Model, new: Model, today: date | None = None) -> list[DocumentChange]:
    """Return the documents that differ in meaning, by kind and name. `today` separates current from later rows."""
    return _ModelComparison(old, new, today).differences()


class _ModelComparison:
    def __init__(self, old: Model, new: Model, today: date | None) -> None:
        self.old = old
        self.new = new
        self.today = today
        old, new = old.released, new.released
        self.old_documents = {(d.kind, d.name): d for d in old.documents}
        self.new_documents = {(d.kind, d.name): d for d in new.documents}
        self.users = AffectedUsers(old, new)

    def differences(self) -> list[DocumentChange]:
        keys = sorted(self.old_documents.keys() | self.new_documents.keys())
        changes = (
            self._document_change(self.old_documents.get(key), self.new_documents.get(key)) for key in keys
        )
        return [change for change in changes if change is not None]

    @cached_property
    def money(self) -> frozenset[str]:
        return money_fields(self.old) | money_fields(self.new)

    # -------------------------------------------------------------- documents

    def _document_change(self, old: Document | None, new: Document | None) -> DocumentChange | None:
        if old is None or new is None:
            return self._added_or_removed(old, new)
        if old.data == new.data:
            return None
        details = list(self._details(old, new))
        rows: list[RowChange] = []
        current: list[InForce] = []
        if (
            isinstance(old.value, kinds.Table)
            and isinstance(new.value, kinds.Table)
            and len(old.value.key) == len(new.value.key)
        ):
            rows = row_changes(old.value, new.value, self.today)
            current = in_force(old.value, new.value, self.today) if self.today else []
        elif isinstance(old.value, kinds.Overlay) and isinstance(new.value, kinds.Overlay):
            rows = list(self._rows_of_overlay(old.value, new.value))
            replaced = {row.table for row in rows}
            details = [d for d in details if not _is_row(d.path, replaced)]
        if not details and not rows:
            return None
        classes = {c for detail in details for c in detail.classes}
        if rows:
            values_same = all(row.change == "changed" and row.beside and row.old == row.new for row in rows)
            classes |= {"table"} if values_same else {"table", "money"}
        affects = {a: None for detail in details for a in detail.affects}
        if not affects and (classes != {"text"}):
            affects = dict.fromkeys(self.users.naming(new.kind, new.name))
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
            in_force=tuple(current),
        )

    def _added_or_removed(self, old: Document | None, new: Document | None) -> DocumentChange:
        document = new or old
        assert document is not None
        classes = {
            c
            for key, part in fields_as_written(document).items()
            for c in classes_of(document.value, (key,), (part,), self.money)
        }
        if document.kind != "pattern":
            classes -= {"text"}
        affects: list[AffectedUser] = []
        if old is not None:
            affects = self.users.of_removed(old)
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
            affects=tuple(affects) or self.users.naming(document.kind, document.name),
            details=(),
            place=_place(document, []),
            rows=tuple(rows),
        )

    def _rows_of_overlay(self, old: kinds.Overlay, new: kinds.Overlay) -> Iterator[RowChange]:
        """Yield the changed rows of the tables that an overlay replaces."""
        pairs = _replaced_tables(old, self.old), _replaced_tables(new, self.new)
        for name in sorted(pairs[0].keys() & pairs[1].keys()):
            before, after = (tables[name] for tables in pairs)
            if len(before.key) == len(after.key):
                yield from (replace(row, table=name) for row in row_changes(before, after, self.today))

    # -------------------------------------------------------------- fields

    def _details(self, old: Document, new: Document) -> Iterator[ChangeDetail]:
        contracts = dict(contracts_of(new.value))
        skipped = {key for _, key in contracts.items()}
        before = {key: part for key, part in fields_with_defaults(old).items() if key not in skipped}
        after = {key: part for key, part in fields_with_defaults(new).items() if key not in skipped}
        if isinstance(new.value, kinds.Table):
            before.pop("rows", None)
            after.pop("rows", None)
        for change in compare(before, after):
            yield self._detail(old, new, change)
        if isinstance(old.value, kinds.Object) and isinstance(new.value, kinds.Object):
            yield from self._systems_of_record(old.value, new.value)
        for contract, key in contracts.items():
            pair = _schema(old.value, key), _schema(new.value, key)
            for contract_change in contract_changes(*pair):
                yield self._contract(old, new, contract, key, contract_change)

    def _detail(self, old: Document, new: Document, change: FieldChange) -> ChangeDetail:
        path = "/".join(change.path)
        classes = classes_of(new.value, change.path, (change.old, change.new), self.money)
        affects: tuple[AffectedUser, ...] = ()
        if change.path[0] in ("exposes", "produced"):
            removed = set(routes_of(old.value)) - set(routes_of(new.value))
            affects = tuple(AffectedUser(OUTSIDE, route, "uses it", True) for route in sorted(removed))
        if change.path[0] == "system" and isinstance(new.value, kinds.Object):
            affects = self.users.mappings_of(new.name, None)
        return ChangeDetail(
            path=path,
            what=change.what,
            old=change.old,
            new=change.new,
            message=_message(change),
            classes=classes,
            breaking=any(a.broken for a in affects),
            affects=affects,
        )

    def _systems_of_record(self, old: kinds.Object, new: kinds.Object) -> Iterator[ChangeDetail]:
        common = set(object_schema(old.fields)["properties"]) & set(object_schema(new.fields)["properties"])
        for field in sorted(common):
            before = self.old.system_of_record(old.name, field)
            after = self.new.system_of_record(new.name, field)
            if before != after:
                yield ChangeDetail(
                    path=f"fields/{field}/system",
                    what="changed",
                    old=before,
                    new=after,
                    message=f"the system of record of `{field}` is now {after}; before it was {before}",
                    classes=("contract", "ownership"),
                    rule="system-of-record",
                    affects=self.users.mappings_of(new.name, field),
                )

    # -------------------------------------------------------------- contracts

    def _contract(
        self, old: Document, new: Document, contract: Contract, key: str, change: ContractChange
    ) -> ChangeDetail:
        affected = sorted(self.users.of_contract(old, new, contract, change), key=lambda a: (not a.broken, a))
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


def _replaced_tables(overlay: kinds.Overlay, model: Model) -> dict[str, kinds.Table]:
    """Return the tables whose rows an overlay replaces, with its rows."""
    tables = model.of_kind(kinds.Table)
    return {
        change.name: tables[change.name].model_copy(update={"rows": change.set["rows"]})
        for change in overlay.changes
        if change.kind == "table" and change.name in tables and isinstance(change.set.get("rows"), list)
    }


def _is_row(path: str, tables: Container[str]) -> bool:
    """Report whether a place in an overlay is in a row of one of these tables."""
    match path.split("/"):
        case ["changes", table, "set", "rows", *_]:
            return table in tables
    return False


def _schema(value: kinds.Kind, key: str) -> Schema:
    return object_schema(getattr(value, key))


def _message(change: FieldChange) -> str:
    name = "/".join(change.path)
    match change.what:
        case "added":
            return f"`{name}` is new"
        case "removed":
            return f"`{name}` was removed"
        case "moved":
            return f"`{name}` has another position"
    if isinstance(change.old, dict | list) or isinstance(change.new, dict | list):
        return f"`{name}` changed"
    return f"`{name}` is now {_short(change.new)}; before it was {_short(change.old)}"


def _short(value: Any) -> str:
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _ordered(classes: set[Class]) -> tuple[Class, ...]:
    return tuple(c for c in CLASSES if c in classes)


def _place(document: Document, details: list[ChangeDetail]) -> str:
    """Return `file:line` of a document, or of the changed field if only one field changed."""
    if document.source is None:
        return ""
    at: tuple[str | int, ...] = ("name",)
    if len(details) == 1:
        first = details[0].path.split("/")[0]
        at = (first,) if first in document.data else at
    file, mark = document.source.place(at)
    return f"{file}:{mark.line}"
