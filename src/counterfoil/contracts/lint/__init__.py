"""Lint of contracts: names, versions, metadata, envelope, money, dates and personal data, over every form of contract.

Looks at one document as plain data and never at two; whom a change breaks is asked of the comparisons. The rules
are rows of `lint_rules.RULES`; the words that they go by stand in `vocabulary.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from counterfoil.contracts.lint.fields import Path, fields
from counterfoil.contracts.lint.rules import RULES
from counterfoil.contracts.lint.subject import GOVERNANCE, WITH_FIELDS, Form, LintSubject


@dataclass(frozen=True, slots=True, order=True)
class LintFinding:
    """One finding: `where` is the path of keys and positions from the document's root."""

    where: tuple[str, ...]
    rule: str
    message: str
    fix: str
    path: Path = ()


def form_of(data: Any) -> Form | None:
    """What a document is, by the marks that it must carry; None for one that has no contract in it."""
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
    marks = (
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
    return "jsonschema" if kind is None and any(mark in data for mark in marks) else None


def lint(data: Any, form: Form | None = None) -> list[LintFinding]:
    """Everything that the rules find in a document, in the order of its places. Raises ValueError for a document
    that is no contract of a known form."""
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
        for path, message, fix in rule.look(subject)
    )
