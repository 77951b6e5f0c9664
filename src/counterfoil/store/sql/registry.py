"""The SQL of each transition, registered under its class: `@sql(Turn)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

from counterfoil.store.port.transition import Transition
from counterfoil.store.sql.statements import Work
from counterfoil.store.sql.transaction import Tx, write_leaves

A = TypeVar("A")
T_co = TypeVar("T_co", bound=Transition[Any], covariant=True)
Verb: TypeAlias = Callable[[Tx, Any], Work[Any]]

VERBS: dict[type[Transition[Any]], Verb] = {}


class Registration(Generic[T_co]):
    """Decorator for the verb of one transition; mypy checks the verb's transition and answer."""

    __slots__ = ("_kind",)

    def __init__(self, kind: type[T_co]) -> None:
        self._kind = kind

    def __call__(
        self: Registration[Transition[A]], verb: Callable[[Tx, T_co], Work[A]]
    ) -> Callable[[Tx, T_co], Work[A]]:
        VERBS[self._kind] = verb
        return verb


sql = Registration


async def perform(tx: Tx, transition: Transition[A]) -> A:
    """Apply one transition inside the open transaction; its answer holds once that transaction is durable."""
    answer: A = await VERBS[type(transition)](tx, transition)
    await write_leaves(tx.leaves)
    return answer
