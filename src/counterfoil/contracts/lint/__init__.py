"""Lint of contracts: names, versions, metadata, envelope, money, dates and personal data, in every form of contract.

Checks one document as plain data and never compares two; the comparisons judge changes. `rules.RULES` is the table of
rules, `vocabulary` the words that they use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from counterfoil.contracts.lint.rules import RULES
from counterfoil.contracts.lint.subject import GOVERNANCE, WITH_FIELDS, Form, LintSubject, Path, fields

_SCHEMA_MARKS = (
    "$schema",
    "$id",
    "$defs",
    "definitions",
    "properties",
    "type",
    "allOf",
    "anyOf",
    "oneOf",
    "$ref",
)


@dataclass(frozen=True, slots=True, order=True)
class LintFinding:
    """One finding; `where` is the path of keys and positions from the root of the document."""

    where: tuple[str, ...]
    rule: str
    message: str
    fix: str
    path: Path = ()


def form_of(data: Any) -> Form | None:
    """Return the form of a document by its marks; None if it contains no contract."""
    if not isinstance(data, dict):
        return None
    kind = data.get("kind")
    for form in GOVERNANCE:
        if kind == form:
            return form
    if "openapi" in data or "swagger" in data:
        return "openapi"
    if "asyncapi" in data:
        return "asyncapi"
    return "jsonschema" if kind is None and any(mark in data for mark in _SCHEMA_MARKS) else None


def lint(data: Any, form: Form | None = None) -> list[LintFinding]:
    """Return the findings of all rules in the order of their places. Raises ValueError for an unknown form of document."""
    form = form or form_of(data)
    if form is None:
        raise ValueError(
            "neither a JSON Schema, an OpenAPI or AsyncAPI description, nor a governance document"
        )
    subject = LintSubject(form, data, tuple(fields(data, form)) if form in WITH_FIELDS else ())
    return sorted(
        LintFinding(tuple(map(str, path)), rule.name, message, fix, path)
        for rule in RULES
        if form in rule.forms
        for path, message, fix in rule.check(subject)
    )
