"""What an expression gives on a sample: for the one who writes it, before it stands in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from counterfoil import expr
from counterfoil.core.errors import CounterfoilError
from counterfoil.core.finding import Finding
from counterfoil.core.money import Money
from counterfoil.expr import ExpressionError
from counterfoil.expr.errors import EvaluationError, LookupNeeded
from counterfoil.model.template import text_of


@dataclass(frozen=True, slots=True)
class Explanation:
    """`value` is None with a message in `problem` when there is none; `reads` are the paths that the expression
    reads, with what the sample has there; `lookups` are the look-ups that it would ask."""

    text: str
    type: str = "dyn"
    value: Any = None
    problem: str = ""
    reads: Mapping[str, Any] = field(default_factory=dict)
    lookups: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def explain(text: str, sample: Mapping[str, Any] | None = None) -> Explanation:
    """Runs an expression on a sample: its root names and their JSON values, numbers read exactly.

    `{"minor": ..., "currency": ...}` in the sample is money. Without a sample only the text is looked at. A
    look-up has no answer here: the explanation says which one is asked.
    """
    source = text_of(text.strip())
    try:
        expression = expr.compile(source)
    except ExpressionError as error:
        findings = tuple(
            Finding("formula", fault.message, "EXPR", fault.line, fault.column) for fault in error.findings
        )
        return Explanation(source, problem="it does not parse", findings=findings)
    lookups = tuple(sorted(expression.lookup_calls))
    if sample is None:
        return Explanation(
            source, expression.type, reads=dict.fromkeys(sorted(expression.paths)), lookups=lookups
        )
    bindings = {name: values(value) for name, value in sample.items()}
    reads = {path: _at(bindings, path) for path in sorted(expression.paths)}
    value, problem = None, ""
    try:
        value = expression(bindings, _ask)
    except LookupNeeded as needed:
        problem = f"needs the answer of {needed.name}({', '.join(map(repr, needed.args))})"
    except EvaluationError as error:
        problem = error.message
    except CounterfoilError as error:
        problem = str(error)
    return Explanation(source, expression.type, value, problem, reads, lookups)


def values(value: Any) -> Any:
    """A JSON value as expressions read it: money in its wire form becomes Money."""
    if isinstance(value, Mapping):
        if value.keys() == {"minor", "currency"}:
            return Money(value["minor"], value["currency"])
        return {key: values(part) for key, part in value.items()}
    return [values(part) for part in value] if isinstance(value, list) else value


def _ask(name: str, args: tuple[Any, ...]) -> object:
    raise LookupNeeded(name, args)


def _at(bindings: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(bindings, Money):
            bindings = {"minor": bindings.minor, "currency": bindings.currency}
        if not isinstance(bindings, Mapping) or part not in bindings:
            return None
        bindings = bindings[part]
    return bindings
