"""Patterns that can be used: their form, their parameters, and the values that a parameter accepts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from counterfoil.core.finding import Finding, did_you_mean
from counterfoil.expr import ExpressionError
from counterfoil.model.kinds import KINDS
from counterfoil.model.kinds.control import Parameter, Pattern
from counterfoil.model.source import Path, Source
from counterfoil.model.template import is_duration, text_of
from counterfoil.model.typing import tree_of

RULE = "pattern"
PARAMETER = re.compile(r"\$\{([a-z][a-z0-9_]*)\}")
STEP_KEYS = frozenset({"pattern", "with"})
"""Keys of a step that stands for a pattern."""


@dataclass(frozen=True, slots=True)
class UsablePattern:
    """A pattern without faults."""

    source: Source
    parameters: Mapping[str, Parameter]
    body: dict[str, Any] | None
    steps: list[Any] | None


def usable_pattern(source: Source, findings: list[Finding]) -> UsablePattern | None:
    """Return a pattern, or None if it has faults. Faults are reported here, whether the pattern is used or not."""
    data = source.data
    try:
        pattern = Pattern.model_validate(data, strict=True)
    except ValueError:
        return None  # `build` reports faults of its form
    if source.broken:
        return None
    before = len(findings)
    parameters = {
        name: Parameter(doc=parameter) if isinstance(parameter, str) else parameter
        for name, parameter in pattern.parameters.items()
    }
    form: Path = ("body",) if pattern.body is not None else ("steps",)
    body: Any = pattern.body if pattern.body is not None else pattern.steps
    kind = pattern.body.get("kind") if pattern.body is not None else None
    if pattern.body is not None and (not isinstance(kind, str) or kind not in KINDS or kind == "pattern"):
        message = "the body needs the `kind` of the document that it creates"
        findings.append(source.finding(RULE, message, form))
    for path in _nested(body, form):
        fix = "write out the content of the inner pattern"
        message = "a pattern cannot use another pattern"
        findings.append(source.finding(RULE, message, path, at_key=True, fix=fix))
    uses = dict(_parameter_uses(body, form))
    for name, path in uses.items():
        if name not in parameters:
            fix = did_you_mean(name, parameters, f"add `{name}` to `parameters`")
            message = f"`{name}` is not a parameter of the pattern"
            findings.append(source.finding(RULE, message, path, fix=fix))
    for name, parameter in parameters.items():
        path = ("parameters", name)
        if name not in uses:
            findings.append(source.finding(RULE, f"the parameter `{name}` is not used", path, at_key=True))
        fault = misfit(parameter, parameter.default) if parameter.default is not None else ""
        if fault:
            findings.append(source.finding(RULE, f"the default {fault}", (*path, "default")))
    return UsablePattern(source, parameters, pattern.body, pattern.steps) if len(findings) == before else None


def _nested(value: Any, path: Path) -> Iterator[Path]:
    if isinstance(value, dict):
        if "pattern" in value and (path == ("body",) or value.keys() <= STEP_KEYS):
            yield (*path, "pattern")
        for key, part in value.items():
            yield from _nested(part, (*path, key))
    elif isinstance(value, list):
        for position, part in enumerate(value):
            yield from _nested(part, (*path, position))


def _parameter_uses(value: Any, path: Path) -> Iterator[tuple[str, Path]]:
    """Yield each parameter in a value, with its place."""
    if isinstance(value, str):
        for name in PARAMETER.findall(value):
            yield name, path
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _parameter_uses(part, (*path, key))
    elif isinstance(value, list):
        for position, part in enumerate(value):
            yield from _parameter_uses(part, (*path, position))


_WORDS = {
    "text": "text",
    "int": "a whole number",
    "decimal": "a number",
    "bool": "true or false",
    "list": "a list",
    "map": "a mapping",
    "duration": "a length of time such as 2d",
    "formula": "a formula",
}


def misfit(parameter: Parameter, value: Any) -> str:
    """Return why a parameter does not accept a value; empty if it does."""
    if parameter.enum is not None and value not in parameter.enum:
        return f"must be one of: {', '.join(map(str, parameter.enum))}"
    fits = parameter.type == "any" or _fits(parameter.type, value)
    return "" if fits else f"must be {_WORDS[parameter.type]}"


def _fits(kind: str, value: Any) -> bool:
    match kind:
        case "text":
            return isinstance(value, str)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "decimal":
            return isinstance(value, int | Decimal) and not isinstance(value, bool)
        case "bool":
            return isinstance(value, bool)
        case "list":
            return isinstance(value, list)
        case "map":
            return isinstance(value, dict)
        case "duration":
            return is_duration(value)
    try:
        tree_of(text_of(value_text(value)))
    except (ExpressionError, RecursionError):
        return False
    return not isinstance(value, dict | list)


def value_text(value: Any) -> str:
    """Return a value as YAML writes it inside other text."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
