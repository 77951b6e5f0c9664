"""Tests as files: what they name exists, and their values have the form of what they are compared with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from counterfoil.core.case_reasons import CATALOGUE
from counterfoil.core.errors import CounterfoilError
from counterfoil.core.finding import Finding, did_you_mean
from counterfoil.expr import ExpressionError, compile
from counterfoil.model import kinds
from counterfoil.model.blocks import blocks_of
from counterfoil.model.checks.registry import rule
from counterfoil.model.document import Document
from counterfoil.model.kinds.test import MONEY_TEXT
from counterfoil.model.model import Model
from counterfoil.model.source import Path
from counterfoil.model.template import is_formula
from counterfoil.model.texts import texts_where

_NAMES = frozenset({"now", "today"})
_PARTS = frozenset({"start", "facts", "let", "signals", "undo", "returns", "invariants"})
"""Parts of a workflow beside its steps."""
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")
_RULE = "test"
_DOCUMENTS = {
    "event": ("event", "event"), "operation": ("operation", "operation"), "from_": ("system", "from"),
    "answer": ("operation", "answer"), "down": ("system", "down"), "approve": ("policy", "approve"),
    "reject": ("policy", "reject"), "known": ("object", "known"),
}  # fmt: skip
"""Fields of steps that name a document: its kind, and their key in the file."""
_PERSONS = ("by", "leaves")
_SECTIONS = {
    "events": ("event", "type"), "runs": ("workflow", "workflow"), "effects": ("operation", "operation"),
    "approvals": ("policy", "policy"), "foils": ("reconciliation", "reconciliation"),
    "unmatched": ("reconciliation", "reconciliation"), "money": ("reconciliation", "reconciliation"),
}  # fmt: skip


@rule(_RULE)
def tests(model: Model) -> Iterator[Finding]:
    """A test names only existing documents, persons, fields and Case reasons. Its formulas compile and read only `now`
    and `today`, and money is text such as `250.00 USD`."""
    for document, test in model.documents_of(kinds.Test):
        yield from _TestCheck(model, document, test).findings()


class _TestCheck:
    """Findings about one test."""

    def __init__(self, model: Model, document: Document, test: kinds.Test) -> None:
        self._model, self._document, self._test = model, document, test

    def findings(self) -> Iterator[Finding]:
        for position, subject in enumerate(self._test.covers):
            kind, _, name = subject.partition(" ")
            name, _, part = name.partition("/")
            yield from self._document_named(kind, name, ("covers", position))
            if part and kind == "workflow" and name in self._model.workflows:
                yield from self._step_named(name, part, ("covers", position))
        for name, rows in self._test.tables.items():
            yield from self._document_named("table", name, ("tables", name))
            yield from self._rows(name, rows)
        for name, roles in self._test.persons.items():
            for role in [roles] if isinstance(roles, str) else roles:
                yield from self._document_named("role", role, ("persons", name))
        for position, step in enumerate(self._test.given):
            yield from self._step(step, ("given", position))
        yield from self._known_twice()
        yield from self._expected()
        yield from self._formulas()

    # ------------------------------------------------------------------ steps

    def _step(self, step: kinds.GivenStep, path: Path) -> Iterator[Finding]:
        for field in type(step).model_fields:
            name = getattr(step, field)
            if field in _DOCUMENTS and isinstance(name, str):
                kind, key = _DOCUMENTS[field]
                yield from self._document_named(kind, name, (*path, key))
            elif field in _PERSONS:
                yield from self._person(name, (*path, field))
        match step:
            case kinds.GivenEvent() if step.event in self._model.events:
                schema = self._model.schema_of_event(step.event)
                # A misspelt field is a finding of its own.
                spelt = step.data.keys() <= schema["properties"].keys()
                for name in sorted(set(schema.get("required", ())) - step.data.keys()) if spelt else ():
                    message = f"{step.event} needs the field `{name}`"
                    yield self._document.finding(_RULE, message, (*path, "data"))
                yield from self._fields(step.data, schema, (*path, "data"))
            case kinds.GivenObject() if step.known in self._model.objects:
                schema = self._model.schema_of_object(step.known)
                yield from self._fields(step.state, schema, (*path, "state"))
                for system in step.ids:
                    yield from self._document_named("system", system, (*path, "ids", system))
            case kinds.GivenCall() if step.operation in self._model.operations:
                schema = self._model.schema_of_operation(step.operation, "input")
                yield from self._fields(step.with_, schema, (*path, "with"))
            case kinds.GivenResolution():
                yield from self._reason(step.resolve, (*path, "resolve"))
            case kinds.GivenReceipt() if step.from_ in self._model.systems:
                yield from self._receipt(step, path)

    def _known_twice(self) -> Iterator[Finding]:
        objects: set[tuple[str, str]] = set()
        for position, step in enumerate(self._test.given):
            if not isinstance(step, kinds.GivenObject):
                continue
            if (step.known, step.id) in objects:
                message = f"{step.known} {step.id} is known already, so this state would not count"
                path: Path = ("given", position, "known")
                yield self._document.finding(_RULE, message, path, fix="give the change as an event")
            objects.add((step.known, step.id))

    def _receipt(self, step: kinds.GivenReceipt, path: Path) -> Iterator[Finding]:
        mappings = [
            m.from_
            for m in self._model.mappings.values()
            if m.from_ and m.from_.system == self._model.family(step.from_)
        ]
        types = [type_ for source in mappings for type_ in source.types]
        accepts = (t == step.receipt or (t.endswith("*") and step.receipt.startswith(t[:-1])) for t in types)
        if not any(accepts):
            fix = did_you_mean(step.receipt, types)
            message = f"no mapping accepts `{step.receipt}` from {step.from_}: its Case is `unrouted`"
            yield self._document.finding(_RULE, message, (*path, "receipt"), severity="warning", fix=fix)

    # ------------------------------------------------------------------ expect

    def _expected(self) -> Iterator[Finding]:
        for section, (kind, key) in _SECTIONS.items():
            for position, entry in enumerate(getattr(self._test.expect, section) or []):
                path: Path = ("expect", section, position)
                yield from self._document_named(kind, getattr(entry, key), (*path, key))
                yield from self._values(section, entry, path)
        for position, case in enumerate(self._test.expect.cases or []):
            yield from self._reason(case.reason, ("expect", "cases", position, "reason"))
            if case.owner is not None:
                yield from self._document_named("role", case.owner, ("expect", "cases", position, "owner"))

    def _values(self, section: str, entry: Any, path: Path) -> Iterator[Finding]:
        model = self._model
        for role in [*(getattr(entry, "roles", None) or []), getattr(entry, "owner", None)]:
            if role is not None:
                yield from self._document_named("role", role, path)
        for key in ("asserted", "residual", "amounts"):
            yield from self._legs(entry, key, path)
        if section == "events" and entry.type in model.events and entry.data is not None:
            yield from self._fields(entry.data, model.schema_of_event(entry.type), (*path, "data"))
        if section == "effects" and entry.operation in model.operations:
            for part, side in (("input", "input"), ("result", "output")):
                values = getattr(entry, part)
                schema = model.schema_of_operation(entry.operation, "input" if side == "input" else "output")
                if values is not None and schema["properties"]:
                    yield from self._fields(values, schema, (*path, part))

    def _legs(self, entry: Any, key: str, path: Path) -> Iterator[Finding]:
        """Yield a finding for each leg that the reconciliation does not have."""
        rule = self._model.reconciliations.get(getattr(entry, "reconciliation", ""))
        if rule is None:
            return
        legs_of_rule = {
            *rule.legs,
            *(leg for _, e in (*rule.assertions, *rule.observations) for leg in e.legs),
        }
        values = getattr(entry, key, None)
        for leg in values if isinstance(values, dict) else ():
            if leg.partition("[")[0] not in legs_of_rule:
                fix = did_you_mean(leg, legs_of_rule, f"one of {', '.join(sorted(legs_of_rule))}")
                yield self._document.finding(
                    _RULE, f"there is no leg `{leg}`", (*path, key, leg), at_key=True, fix=fix
                )

    # ------------------------------------------------------------------ parts

    def _document_named(self, kind: str, name: str, path: Path) -> Iterator[Finding]:
        if not self._model.has(kind, name):
            names = [d.name for d in self._model.documents if d.kind == kind]
            fix = did_you_mean(name, names, f"one of {', '.join(sorted(names)[:8])}" if names else "")
            yield self._document.finding(_RULE, f"there is no {kind} `{name}`", path, fix=fix)

    def _step_named(self, workflow: str, step: str, path: Path) -> Iterator[Finding]:
        """A part of a workflow is the path of a step, such as `check0` or `post`, or a key of the workflow."""
        try:
            blocks = blocks_of(self._model.workflow(workflow))
        except (CounterfoilError, ExpressionError, KeyError):
            return  # a finding of its own
        paths = {s.path for block in blocks.values() for s in block.steps}
        if step not in paths and step not in _PARTS:
            fix = did_you_mean(step, paths, f"one of {', '.join(sorted(paths)[:12])}")
            yield self._document.finding(_RULE, f"{workflow} has no step `{step}`", path, fix=fix)

    def _person(self, name: str, path: Path) -> Iterator[Finding]:
        persons = {*self._test.persons, *self._model.roles}
        if name not in persons and not self._model.has_broken("role"):
            fix = did_you_mean(name, persons, f"add `{name}` to `persons`, with a role")
            yield self._document.finding(_RULE, f"there is no person `{name}`", path, fix=fix)

    def _reason(self, reason: str, path: Path) -> Iterator[Finding]:
        if reason not in CATALOGUE:
            fix = did_you_mean(reason, CATALOGUE, "docs/how-to/resolve-a-case.md lists the reasons")
            yield self._document.finding(_RULE, f"there is no Case reason `{reason}`", path, fix=fix)

    def _rows(self, name: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
        table = self._model.of_kind(kinds.Table).get(name)
        if table is None:
            return
        columns = [*table.key, table.value, *(c for c in (table.valid_from,) if c)]
        for position, row in enumerate(rows):
            for column in row.keys() - set(columns):
                fix = did_you_mean(column, columns, f"one of {', '.join(columns)}")
                path = ("tables", name, position, column)
                yield self._document.finding(_RULE, f"the table has no column `{column}`", path, fix=fix)

    def _fields(self, value: Any, schema: Mapping[str, Any], path: Path) -> Iterator[Finding]:
        """Yield a finding for each field that does not exist and each amount that is no money."""
        if isinstance(value, str) and value.startswith("="):
            return
        is_text = isinstance(value, str) and MONEY_TEXT.fullmatch(value) is not None
        if schema.get("x-type") == "money" and value is not None and not (is_text or isinstance(value, dict)):
            message = f"`{path[-1]}` is money: write `250.00 USD`, not `{value}`"
            yield self._document.finding(_RULE, message, path)
        if value is not None and not _fits_type(value, str(schema.get("x-type") or schema.get("type") or "")):
            message = (
                f"`{path[-1]}` is of the type {schema.get('x-type') or schema['type']}, and `{value}` is not"
            )
            yield self._document.finding(_RULE, message, path)
        properties = schema.get("properties", {})
        if isinstance(value, dict) and properties and schema.get("x-type") != "money":
            for key, part in value.items():
                if key in properties:
                    yield from self._fields(part, properties[key], (*path, key))
                else:
                    fix = did_you_mean(key, properties, f"one of {', '.join(list(properties)[:12])}")
                    message = f"there is no field `{key}`"
                    yield self._document.finding(_RULE, message, (*path, key), at_key=True, fix=fix)
        if isinstance(value, list) and isinstance(schema.get("items"), dict):
            for position, part in enumerate(value):
                yield from self._fields(part, schema["items"], (*path, position))

    def _formulas(self) -> Iterator[Finding]:
        for text, path in texts_where(self._document.data, is_formula):
            try:
                unknown = compile(text[1:]).names - _NAMES
            except ExpressionError as error:
                yield self._document.finding(_RULE, str(error.findings[0].message), path)
                continue
            for name in sorted(unknown):
                message = f"a test has no name `{name}`; its formulas read `now` and `today`"
                yield self._document.finding(_RULE, message, path, fix=did_you_mean(name, _NAMES))


def _fits_type(value: Any, type_: str) -> bool:
    """Report whether a value may be of a type. A formula may, and so may any value of another type than these."""
    if isinstance(value, str) and value.startswith("="):
        return True
    match type_:
        case "string" | "id":
            return isinstance(value, str | date)
        case "int" | "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "decimal" | "number":
            return isinstance(value, int | Decimal | float | str) and not isinstance(value, bool)
        case "bool" | "boolean":
            return isinstance(value, bool)
        case "date":
            return isinstance(value, date) or (isinstance(value, str) and _DATE.fullmatch(value) is not None)
        case "timestamp":
            return isinstance(value, date) or (isinstance(value, str) and _TIME.match(value) is not None)
    return True
