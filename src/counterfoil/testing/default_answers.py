"""Answers of a played system that a test does not state.

The operation's mapping reads an answer (`returns`), and its contract says what must come out. So an answer is sought that
the mapping reads as a plausible output: amounts and references as requested, days of today, and a number for what the
system creates. The search is deterministic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from itertools import product
from typing import Any

from counterfoil.core import wire
from counterfoil.core.money import Money
from counterfoil.expr import Expression
from counterfoil.model import Model
from counterfoil.model.definition import Formula, OutboundMapping
from counterfoil.rules.json_values import plain
from counterfoil.rules.mapping import FAILURES

_ROOT = "result."
_NO_AMOUNT = Money(0, "USD")


def default_answer(
    model: Model, operation: str, inputs: Any, request: Any, now: datetime, number: int
) -> dict[str, Any]:
    """Return the answer to a request in the system's own form.

    `inputs` is the canonical input, `request` the rendered one; `number` counts what the system has created.
    """
    inputs = inputs if isinstance(inputs, dict) else {}
    request = request if isinstance(request, dict) else {}
    schema = (
        model.schema_of_operation(operation, "output")["properties"] if operation in model.operations else {}
    )
    assert isinstance(schema, dict)
    target = {
        name: _target_output(name, part, inputs, operation, now, number) for name, part in schema.items()
    }
    return _answer(model, operation, target, inputs, request, now, number) or {"id": number}


def answer_for(
    model: Model, operation: str, result: dict[str, Any], inputs: Any, request: Any, now: datetime
) -> dict[str, Any]:
    """Return an answer in the system's own form that the operation's mapping reads as this canonical result."""
    inputs = inputs if isinstance(inputs, dict) else {}
    request = request if isinstance(request, dict) else {}
    return _answer(model, operation, result, inputs, request, now, 1, exact=True)


def _answer(
    model: Model,
    operation: str,
    target: Mapping[str, Any],
    inputs: Mapping[str, Any],
    request: Mapping[str, Any],
    now: datetime,
    number: int,
    exact: bool = False,
) -> dict[str, Any]:
    outbound = model.outbound(operation)
    if outbound is None or outbound.result is None:
        return {name: plain(value) for name, value in target.items()}
    return _AnswerSearch(outbound, inputs, request, operation, now, number, exact).answer(target)


def _target_output(
    name: str,
    schema: Mapping[str, Any],
    inputs: Mapping[str, Any],
    operation: str,
    now: datetime,
    number: int,
) -> Any:
    """Return the output that is plausible for a field: as requested, else by its type."""
    if name in inputs:
        return inputs[name]
    match schema.get("x-type") or schema.get("type"):
        case "money":
            return next(_amounts(inputs), _NO_AMOUNT)
        case "date":
            return now.date()
        case "timestamp":
            return now
        case "integer" | "decimal" | "number":
            return number
        case "boolean":
            return True
        case "array":
            return []
        case "object":
            return {}
    return schema["enum"][0] if schema.get("enum") else f"{_noun(operation)}-{number}"


def _noun(operation: str) -> str:
    return operation.split(".")[1] if operation.count(".") > 1 else operation


def _amounts(value: Any) -> Iterator[Money]:
    """Yield the amounts of an input, outer ones first."""
    parts = list(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
    yield from (part for part in parts if isinstance(part, Money))
    for part in parts:
        if isinstance(part, dict | list):
            yield from _amounts(part)


class _AnswerSearch:
    """Search for the values of an answer, one formula of `returns` after another."""

    def __init__(
        self,
        outbound: OutboundMapping,
        inputs: Mapping[str, Any],
        request: Mapping[str, Any],
        operation: str,
        now: datetime,
        number: int,
        exact: bool,
    ) -> None:
        self._exact = exact
        """Texts and days must be those of the target; otherwise only amounts must."""
        self._outbound, self._inputs, self._request = outbound, inputs, request
        self._operation, self._now, self._number = operation, now, number
        self._values: dict[str, Any] = {}
        """Chosen values by path below `result`."""

    def answer(self, target: Mapping[str, Any]) -> dict[str, Any]:
        assert self._outbound.result is not None
        for name, template in self._outbound.result.fields.items():
            if isinstance(template, Formula):
                self._choose(template.expression, target.get(name))
        for expression in self._outbound.links.values():
            self._choose(expression, None)
        return _nested(self._values)

    def _choose(self, expression: Expression, target: Any) -> None:
        """Choose values for the paths of a formula that have none yet, so that it gives the target."""
        paths = sorted(p.removeprefix(_ROOT) for p in expression.paths if p.startswith(_ROOT))
        free = [path for path in paths if path not in self._values]
        second: dict[str, Any] | None = None
        for choice in product(*(list(self._candidates(path, target)) for path in free)):
            values = dict(zip(free, choice, strict=True))
            try:
                value = expression({"input": self._inputs, "result": _nested(self._values | values)})
            except FAILURES:
                continue
            if type(value) is type(target) and (
                value == target or not (self._exact or isinstance(target, Money))
            ):
                self._values |= values
                return
            if second is None and value is not None and (target is None or isinstance(value, str)):
                second = values
        self._values |= second or {}

    def _candidates(self, path: str, target: Any) -> Iterator[Any]:
        last = path.rpartition(".")[2]
        if last != "id" and self._request.get(last) is not None:
            yield self._request[last]
        amount = target if isinstance(target, Money) else next(_amounts(self._inputs), _NO_AMOUNT)
        if "currency" in last:
            yield amount.currency
        if isinstance(target, Money):
            major = amount.major()
            yield from (str(major), str(-major), amount.minor, -amount.minor)
        if isinstance(target, datetime):
            yield from (wire.time_text(target), int(target.timestamp()))
        elif isinstance(target, date):
            yield from (target.isoformat(), wire.time_text(self._now), int(self._now.timestamp()))
        if self._exact and isinstance(target, str):
            yield from ([int(target), target] if target.isdecimal() else [target])
        yield self._number
        yield target if isinstance(target, str) and self._inputs.get(last) == target else self._reference
        yield from (True, [], {})

    @property
    def _reference(self) -> str:
        return f"{_noun(self._operation)}-{self._number}"


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by path as nested mappings."""
    tree: dict[str, Any] = {}
    for path, value in values.items():
        *above, last = path.split(".")
        node = tree
        for part in above:
            node = node.setdefault(part, {})
        node[last] = value
    return tree
