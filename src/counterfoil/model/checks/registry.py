"""Registry of the checks by rule name; the reference quotes the docstring of each check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from counterfoil.core.finding import Finding
from counterfoil.model.model import Model

CheckFunction: TypeAlias = Callable[[Model], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class CheckRule:
    """A rule of `check`: its name in findings, its function and its explanation."""

    name: str
    check: CheckFunction
    explanation: str


RULES: dict[str, CheckRule] = {}


def rule(name: str, **also: str) -> Callable[[CheckFunction], CheckFunction]:
    """Register a check under the rule name of its findings.

    `also` explains further rules that the check reports, by name with `_` for `-`.
    """

    def register(check: CheckFunction) -> CheckFunction:
        RULES[name] = CheckRule(name, check, " ".join((check.__doc__ or "").split()))
        for other, explanation in also.items():
            further = other.replace("_", "-")
            RULES[further] = CheckRule(further, check, explanation)
        return check

    return register
