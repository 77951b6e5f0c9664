"""The whole-model checks by rule name; a check's docstring is what the reference says of its rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from counterfoil.core.finding import Finding
from counterfoil.model.model import Model

Check: TypeAlias = Callable[[Model], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    check: Check
    explanation: str


RULES: dict[str, Rule] = {}


def rule(name: str, **also: str) -> Callable[[Check], Check]:
    """Registers a check under the name that its findings carry; `also` explains further rules that it tells,
    by name with `_` for `-`."""

    def register(check: Check) -> Check:
        RULES[name] = Rule(name, check, " ".join((check.__doc__ or "").split()))
        for other, explanation in also.items():
            further = other.replace("_", "-")
            RULES[further] = Rule(further, check, explanation)
        return check

    return register
