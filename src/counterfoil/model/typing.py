"""Types of formulas and templates, checked against the schemas of their place.

It works on syntax trees and compiles nothing: a folder has thousands of formulas, and `check` only needs their faults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from counterfoil.core.finding import Finding, closest, did_you_mean
from counterfoil.expr import ExpressionError
from counterfoil.expr.check import Checker
from counterfoil.expr.errors import ExpressionFinding
from counterfoil.expr.parse import parse
from counterfoil.expr.tree import ExprNode, names_and_paths
from counterfoil.expr.types import DYN, Type, fits, from_schema, type_of
from counterfoil.model.document import Document
from counterfoil.model.fields import Schema
from counterfoil.model.source import Path
from counterfoil.model.template import is_formula, is_repeated, text_of

Roots = dict[str, Type]
BOOL = type_of("bool")
MONEY = type_of("money")
STRING = type_of("string")
MOMENT = type_of("timestamp", "date")


SHOWN_LENGTH = 60
"""Characters of a formula that a finding shows."""


@lru_cache(maxsize=16_384)
def tree_of(text: str) -> ExprNode:
    """Return the syntax tree of a formula's text. Raises ExpressionError."""
    return parse(text)


def paths_of(text: str) -> frozenset[str] | None:
    """Return the dotted paths that a formula reads; None if it does not parse."""
    try:
        _, paths = names_and_paths(tree_of(text_of(text)))
    except ExpressionError:
        return None
    return frozenset(".".join(path) for path in paths)


def roots(schemas: Mapping[str, Schema]) -> Roots:
    return {name: from_schema(schema) for name, schema in schemas.items()}


@dataclass
class Typing:
    """Collects findings about the formulas and templates of one document."""

    document: Document
    findings: list[Finding] = field(default_factory=list)
    broken: set[Path] = field(default_factory=set)
    """Places of formulas that cannot be judged further, because of an unknown name or a fault of their form."""

    def formula(self, text: str, path: Path, names: Roots, expect: Type = DYN, what: str = "") -> Type:
        """Return the type of a formula over `names`; report a type that does not fit `expect`."""
        source = text_of(text)
        shift = len(text) - len(source)
        try:
            tree = tree_of(source)
            checker = Checker(source, names, True)
            inferred = checker.infer(tree, {})
            faults = checker.findings
        except ExpressionError as error:
            faults, inferred = error.findings, DYN
        except RecursionError:
            self.report("formula", "the formula is nested too deep", path)
            return DYN
        for fault in faults:
            rule = "unknown-name" if fault.rule in ("name", "field") else "formula"
            fix = _position(source, fault)
            self.report(rule, f"{what}{fault.message}", path, fault.offset + shift, fix)
        if faults:
            self.broken.add(path)
            return DYN
        if not fits(inferred, expect):
            self.report("formula", f"{what}expected a {expect}, found a {inferred}", path, 0)
        return inferred

    def report(self, rule: str, message: str, path: Path, offset: int | None = None, fix: str = "") -> None:
        self.findings.append(self.document.finding(rule, message, path, offset=offset, fix=fix))

    def _report_key(self, rule: str, message: str, path: Path, fix: str) -> None:
        self.findings.append(self.document.finding(rule, message, path, at_key=True, fix=fix))

    def template(self, value: Any, path: Path, names: Roots, schema: Schema, rule: str) -> None:
        """Check that a template produces what `schema` describes; report misfits under `rule`."""
        if is_formula(value):
            before = len(self.findings)
            actual = self.formula(value, path, names)
            if len(self.findings) == before:
                self._check_type(actual, from_schema(schema), path, rule)
        elif is_repeated(value):
            self._repeated(value, path, names, schema, rule)
        elif isinstance(value, dict):
            self._record(value, path, names, schema, rule)
        elif isinstance(value, list):
            items = schema.get("items", {}) if self._is(schema, "list", path, rule) else {}
            for position, item in enumerate(value):
                self.template(item, (*path, position), names, items, rule)
        else:
            self._literal(value, path, schema, rule)

    def record(self, fields: Mapping[str, Any], path: Path, names: Roots, schema: Schema, rule: str) -> None:
        """Check a `with` or `data`: a template that is always a mapping, even with the keys each/as/data."""
        self._record(dict(fields), path, names, schema, rule)

    def _check_type(self, actual: Type, expected: Type, path: Path, rule: str) -> None:
        if not fits(actual, expected):
            where = f"`{path[-1]}` takes" if path and isinstance(path[-1], str) else "this takes"
            self.report(rule, f"{where} a {expected}, not a {actual}", path, 0)

    def _is(self, schema: Schema, kind: str, path: Path, rule: str) -> bool:
        expected = from_schema(schema)
        if fits(type_of(kind), expected):
            return True
        self.report(rule, f"`{path[-1] if path else ''}` takes a {expected}, not a {kind}", path)
        return False

    def _repeated(self, value: dict[str, Any], path: Path, names: Roots, schema: Schema, rule: str) -> None:
        each = value["each"]
        inner = dict(names)
        if isinstance(each, str):
            over = self.formula(each, (*path, "each"), names, type_of("list", "map"))
            inner[str(value["as"])] = over.item or DYN
        else:
            self.template(each, (*path, "each"), names, {}, rule)
            inner[str(value["as"])] = DYN
        if isinstance(value.get("when"), str):
            self.formula(value["when"], (*path, "when"), inner, BOOL)
        items = schema.get("items", {}) if self._is(schema, "list", path, rule) else {}
        self.template(value["data"], (*path, "data"), inner, items, rule)

    def _record(self, value: dict[str, Any], path: Path, names: Roots, schema: Schema, rule: str) -> None:
        properties = schema.get("properties")
        money = schema.get("x-type") == "money"
        if not money and not self._is(schema, "map", path, rule):
            return
        declared = properties if isinstance(properties, dict) else {}
        closed = bool(declared) or schema.get("additionalProperties") is False
        unknown = [key for key in value if closed and key not in declared]
        absent = [key for key in schema.get("required", ()) if key not in value]
        for key, inner in value.items():
            if key in unknown:
                fix = did_you_mean(key, absent) or did_you_mean(key, declared, "remove it, or declare it")
                self._report_key(rule, f"there is no field `{key}`", (*path, key), fix)
            self.template(inner, (*path, key), names, declared.get(key, {}), rule)
        meant = {closest(key, absent) for key in unknown}  # a misspelt field is reported once, as unknown
        for key in absent:
            if key not in meant:
                self._report_key(rule, f"the field `{key}` is missing", path, f"add `{key}:`")

    def _literal(self, value: Any, path: Path, schema: Schema, rule: str) -> None:
        expected = from_schema(schema)
        kind = _kind(value, expected)
        if not fits(kind, expected):
            fix = "a formula begins with `=`" if isinstance(value, str) else ""
            self.report(rule, f"`{path[-1]}` takes a {expected}, not a {kind}", path, None, fix)
        elif expected.values is not None and isinstance(value, str) and value not in expected.values:
            self.report(rule, f"`{value}` is not one of: {', '.join(sorted(expected.values))}", path)


def _kind(value: Any, expected: Type) -> Type:
    """Return the type of a literal; a text counts as an expected date, time or duration if it parses as one."""
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return type_of("int")
    if isinstance(value, Decimal):
        return type_of("decimal")
    text = str(value)
    for kind in expected.kinds & {"date", "timestamp", "duration"}:
        if kind == "duration":
            return type_of(kind)
        try:
            if kind == "date":
                date.fromisoformat(text)
            elif datetime.fromisoformat(text).tzinfo is None:
                continue
            return type_of(kind)
        except ValueError:
            continue
    return STRING


def _position(text: str, fault: ExpressionFinding) -> str:
    """Return where in a formula a fault is, with the text around it."""
    line = text.splitlines()[fault.line - 1] if text else ""
    start = max(0, fault.column - 1 - SHOWN_LENGTH // 2)
    part = line[start : start + SHOWN_LENGTH].strip()
    of_line = f"line {fault.line}, " if "\n" in text.strip() else ""
    return f"see {of_line}column {fault.column} of `{part}`"
