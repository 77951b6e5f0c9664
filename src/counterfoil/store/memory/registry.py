"""The specification of each transition, registered under its class: `@memory(Turn)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.transition import Transition

A = TypeVar("A")
T_co = TypeVar("T_co", bound=Transition[Any], covariant=True)
Rule: TypeAlias = Callable[[Tables, Any], Any]

RULES: dict[type[Transition[Any]], Rule] = {}


class Specification(Generic[T_co]):
    """Decorator for the function of one transition; mypy checks its transition and answer."""

    __slots__ = ("_kind",)

    def __init__(self, kind: type[T_co]) -> None:
        self._kind = kind

    def __call__(
        self: Specification[Transition[A]], rule: Callable[[Tables, T_co], A]
    ) -> Callable[[Tables, T_co], A]:
        RULES[self._kind] = rule
        return rule


memory = Specification
