"""What a rule of lint is, and what it looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from counterfoil.contracts.lint.fields import Field, Path

Form: TypeAlias = Literal["jsonschema", "openapi", "asyncapi", "event", "object", "operation", "workflow"]
RuleHit: TypeAlias = tuple[Path, str, str]
"""Where, what is wrong there, and what to do."""

GOVERNANCE: tuple[Form, ...] = ("event", "object", "operation", "workflow")
OUTSIDE: tuple[Form, ...] = ("jsonschema", "openapi", "asyncapi")
WITH_FIELDS: tuple[Form, ...] = (*OUTSIDE, "event", "object", "operation")


@dataclass(frozen=True, slots=True)
class LintSubject:
    """One document, and its fields wherever they stand."""

    form: Form
    data: dict[str, Any]
    fields: tuple[Field, ...]


RuleFunction: TypeAlias = Callable[[LintSubject], Iterator[RuleHit]]


@dataclass(frozen=True, slots=True)
class LintRule:
    name: str
    forms: tuple[Form, ...]
    says: str
    """What the rule demands and why, as the reference shows it."""
    look: RuleFunction
