"""Result of an expression on a sample, for an author who tries it before writing it into a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from counterfoil import expr
from counterfoil.core.errors import CounterfoilError
from counterfoil.core.finding import Finding
from counterfoil.core.money import Money
from counterfoil.core.money_json import read_money
from counterfoil.expr import ExpressionError
from counterfoil.expr.errors import EvaluationError, LookupNeeded
from counterfoil.model.template import text_of


@dataclass(frozen=True, slots=True)
class Explanation:
    """Result of an expression on a sample.

    `value` is None with a message in `problem` if there is no result. `reads` are the paths that the expression
    reads, with the sample's values. `lookups` are the look-ups that it would make.
    """

    text: str
    type: str = "dyn"
    value: Any = None
    problem: str = ""
    reads: Mapping[str, Any] = field(default_factory=dict)
    lookups: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    sample_name: str = ""
    """Name for which the whole sample stands; empty if the sample has the names at its top."""


def explain(text: str, sample: Mapping[str, Any] | None = None) -> Explanation:
    """Evaluate an expression on a sample of root names and their JSON values; numbers are exact.

    A sample without the only name that the expression reads is the value of that name: a delivery is a `body`.
    `{"minor": ..., "currency": ...}` in the sample is money, also with `amount`. Without a sample only
    constants have a value. Look-ups
    have no answer here: the explanation names the first one that is needed.
    """
    source = text_of(text.strip())
    try:
        expression = expr.compile(source)
    except ExpressionError as error:
        faults = error.findings
        findings = tuple(Finding("formula", f.message, "EXPR", f.line, f.column) for f in faults)
        return Explanation(source, problem=f"the expression does not parse: {error}", findings=findings)
    lookups = tuple(sorted(expression.lookup_calls))
    if sample is None and (expression.paths or lookups):
        unread = dict.fromkeys(sorted(expression.paths))
        return Explanation(source, expression.type, reads=unread, lookups=lookups)
    roots = {path.partition(".")[0] for path in expression.paths}
    sample_name = roots.pop() if sample and len(roots) == 1 and not roots & sample.keys() else ""
    names = {sample_name: sample} if sample_name else (sample or {})
    bindings = {name: values(value) for name, value in names.items()}
    reads = {path: _at(bindings, path) for path in sorted(expression.paths)}
    value, problem = None, ""
    try:
        value = expression(bindings, _ask)
    except LookupNeeded as needed:
        problem = f"the result needs the look-up {needed.name}({', '.join(map(repr, needed.args))})"
    except EvaluationError as error:
        problem = error.excerpt()
    except CounterfoilError as error:
        problem = str(error)
    absent = sorted(roots - names.keys() - {sample_name})
    if problem and absent:
        problem += f"\nThe sample must have {', '.join(f'`{name}`' for name in absent)} at its top."
    return Explanation(source, expression.type, value, problem, reads, lookups, sample_name=sample_name)


def values(value: Any) -> Any:
    """Convert a JSON value to the form that expressions read; the wire form of money becomes Money."""
    if isinstance(value, Mapping):
        money = read_money(value)
        if money is not None:
            return money
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
