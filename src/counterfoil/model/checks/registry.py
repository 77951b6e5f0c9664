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

    @property
    def explanation(self) -> str:
        return " ".join((self.check.__doc__ or "").split())


RULES: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Check], Check]:
    """Registers a check under the name that its findings carry."""

    def register(check: Check) -> Check:
        assert name not in RULES
        RULES[name] = Rule(name, check)
        return check

    return register
