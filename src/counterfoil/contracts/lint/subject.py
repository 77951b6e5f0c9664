"""Types of the lint: the checked document, a rule and its hits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from counterfoil.contracts.lint.fields import Field, Path

Form: TypeAlias = Literal["jsonschema", "openapi", "asyncapi", "event", "object", "operation", "workflow"]
RuleHit: TypeAlias = tuple[Path, str, str]
"""Path, problem and fix."""

GOVERNANCE: tuple[Form, ...] = ("event", "object", "operation", "workflow")
OUTSIDE: tuple[Form, ...] = ("jsonschema", "openapi", "asyncapi")
WITH_FIELDS: tuple[Form, ...] = (*OUTSIDE, "event", "object", "operation")


@dataclass(frozen=True, slots=True)
class LintSubject:
    """One document with all of its fields."""

    form: Form
    data: dict[str, Any]
    fields: tuple[Field, ...]


RuleFunction: TypeAlias = Callable[[LintSubject], Iterator[RuleHit]]


@dataclass(frozen=True, slots=True)
class LintRule:
    """One rule: its name, the forms of contract that it checks, and its function."""

    name: str
    forms: tuple[Form, ...]
    summary: str
    """Requirement and reason, as the reference page shows them."""
    check: RuleFunction
