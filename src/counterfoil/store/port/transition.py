"""The base of all transitions: what a store must know of each one besides its fields.

A transition is data. A store applies it in one guarded transaction together with its audit leaf, and acknowledges
nothing before that transaction is durable. `store.memory` says in plain Python what each transition does; one contract
suite holds the SQL stores to it. `at` is the caller's time (aware UTC); `bytes` bodies are in the encoding of core.wire.

A new transition is three places: its class in `store/port`, its SQL in `store/sql/verbs` (`@sql(Kind)`) and its
specification in `store/memory` (`@memory(Kind)`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, Generic, TypeVar

import msgspec

from counterfoil.store.port.wake import WakeKind

A = TypeVar("A")

ALONE: Final = "*"
"""Among the keys of a transition: it shares its database transaction with no other."""
NO_KEYS: Final[frozenset[str]] = frozenset()
NO_WAKES: Final[frozenset[WakeKind]] = frozenset()


class Transition(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """A change of state; `A` is the store's answer to it."""

    together: ClassVar[bool] = False
    """The keys and effects named cover all rows that it touches, so it may share statements with others."""

    def keys(self) -> frozenset[str]:
        """Return names of what it touches; the group commit keeps two transitions that share one apart.

        Row locks keep the data right. Keys keep the committers of one process from waiting for each other, and from
        deadlocks with each other.
        """
        return NO_KEYS

    def effects_named(self) -> Sequence[str]:
        """Return the effects that it names without naming their Runs and match rows."""
        return ()

    def wakes(self, answer: A) -> frozenset[WakeKind]:
        """Return the kinds of work that its commit makes for any worker, besides what its caller continues with."""
        del answer
        return NO_WAKES

    def halts(self, answer: A) -> str | None:
        """Return the Run that its commit ended, or left waiting for an approval that it opened."""
        del answer
        return None


def wake_set(*, admit: bool = False, turn: bool = False, release: bool = False) -> frozenset[WakeKind]:
    flags = ((WakeKind.ADMIT, admit), (WakeKind.TURN, turn), (WakeKind.RELEASE, release))
    return frozenset(wake for wake, flag in flags if flag)
