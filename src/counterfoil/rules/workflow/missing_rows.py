"""Rows that a table lacks, as the reason of a formula of a workflow that is null or has no value."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from counterfoil.expr import EvaluationError, Expression
from counterfoil.model import definition as d
from counterfoil.rules.templates import FAULTS, may_be_null_by, names_place, row_not_found, says_null
from counterfoil.rules.workflow.context import DecisionContext


def required_field(
    context: DecisionContext, step: d.Call, template: d.Template, value: Any, names: Mapping[str, Any]
) -> str:
    """Return the message about a required field of a call's input that no row of a table gives; empty if all are there."""
    required = context.definition.operations[step.operation].input_schema.get("required", ())
    if not isinstance(template, d.Record) or not isinstance(required, list | tuple):
        return ""
    for name in required:
        part = template.fields.get(name)
        if value.get(name) is None and isinstance(part, d.Formula):
            row = _row_behind(context, part.expression, names)
            if row:
                return f"{name} is required, and {row}"
    return ""


def explained(context: DecisionContext, error: Exception) -> Exception:
    """Return the error of a formula. If it is about a let without a value, its text begins with the row that is missing."""
    if not isinstance(error, EvaluationError):
        return error
    names = context.names()
    for name, expression in context.definition.let:
        if names_place(error, name) and context.state.names.get(name, error) is None:
            row = _row_behind(context, expression, names)
            if row:
                longer = EvaluationError(f"{row}: {error.message}", error.text, error.offset, error.length)
                longer.__cause__ = error.__cause__
                return longer
    return error


def _row_behind(context: DecisionContext, expression: Expression, names: Mapping[str, Any]) -> str:
    """Return the message about the row whose lack leaves a formula null, itself or by a let that it reads."""
    with suppress(*FAULTS):  # then it is not null, and its own error is the reason
        return _row(context, expression, names)
    return ""


def _row(context: DecisionContext, expression: Expression, names: Mapping[str, Any]) -> str:
    row = row_not_found(expression, names, context.lookup)
    if row or says_null(expression, names, context.lookup):
        return row
    lets = (
        e for name, e in context.definition.let if may_be_null_by(expression, name) and names[name] is None
    )
    return next(filter(None, (_row_behind(context, e, names) for e in lets)), "")
