"""Wake-ups: a commit sets events that workers and callers wait for.

Another process's commit is known here only where the store passes it on, as PostgreSQL does. A notification may be lost,
so every waiter has a timeout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Protocol


class WakeKind(StrEnum):
    """A kind of work that a commit may have made."""

    ADMIT = "admit"
    TURN = "turn"
    RELEASE = "release"


class WakingTransition(Protocol):
    """The part of a transition that wakes; see Transition."""

    def wakes(self, answer: Any, /) -> frozenset[WakeKind]: ...
    def halts(self, answer: Any, /) -> str | None: ...


class RunWatch:
    """One caller's watch over one Run, made by `Store.watch_run`."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, timeout: float) -> bool:
        """Return True once it is known that the Run ended or waits for an approval.

        Return False after `timeout` seconds. A commit since the watch began, or since the last True, counts: a
        caller that reads the Run between waits misses none. The notification of another process may be late or lost,
        or come twice; give a timeout of about half a second and read the Run again.
        """
        if not self._event.is_set():
            try:
                await asyncio.wait_for(self._event.wait(), timeout)
            except TimeoutError:
                return False
        self._event.clear()
        return True


class Wakes:
    """One event per kind of work, and the watches of single Runs. A wake without a waiter stays set for the next."""

    def __init__(self) -> None:
        self._events = {what: asyncio.Event() for what in WakeKind}
        self._watches: dict[str, set[RunWatch]] = {}

    def note_commit(self, transition: WakingTransition, answer: Any) -> frozenset[WakeKind]:
        """Wake the watches of the Run that a commit halted; return the kinds of work that the commit makes."""
        if self._watches and (run := transition.halts(answer)) is not None:
            self.note_halted(run)
        return transition.wakes(answer)

    def note_halted(self, run: str) -> None:
        """Wake the watches of a Run that ended, or waits for an approval."""
        for watch in self._watches.get(run, ()):
            watch.set()

    @contextmanager
    def watch_run(self, run: str) -> Iterator[RunWatch]:
        watch = RunWatch()
        self._watches.setdefault(run, set()).add(watch)
        try:
            yield watch
        finally:
            watches = self._watches[run]
            watches.discard(watch)
            if not watches:
                del self._watches[run]

    def set(self, what: Iterable[WakeKind]) -> None:
        for wake in what:
            self._events[wake].set()

    async def wait(self, what: WakeKind, timeout: float) -> None:
        """Return once it is set, or when `timeout` seconds have passed."""
        event = self._events[what]
        try:
            await asyncio.wait_for(event.wait(), timeout)
        except TimeoutError:
            return
        event.clear()
