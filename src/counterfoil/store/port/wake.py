"""Wake-ups inside one process: a commit sets events that workers and callers of this process wait for.

Another process's commit is known here only where the store passes it on. Every waiter therefore has a timeout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from counterfoil.core.run import TERMINAL
from counterfoil.store.port.transitions import (
    Admit,
    Advance,
    ApplyPlan,
    Conclude,
    Decide,
    Expire,
    Intent,
    MoveRun,
    PlaceCall,
    Receive,
    Resolve,
    Transition,
    Turn,
    Turned,
)


class Wake(StrEnum):
    """A kind of work that a commit may have made."""

    ADMIT = "admit"
    TURN = "turn"
    RELEASE = "release"


class RunWatch:
    """One caller's watch over one Run, made by `Store.watch_run`."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, timeout: float) -> bool:
        """Return True once this process has committed that the Run ended or waits for an approval.

        Return False after `timeout` seconds. A commit since the watch began, or since the last True, counts: a
        caller that reads the Run between waits misses none. Commits of other processes are not seen; give a
        timeout of about half a second and read the Run again.
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
        self._events = {what: asyncio.Event() for what in Wake}
        self._watches: dict[str, set[RunWatch]] = {}

    def committed(self, transition: Transition, answer: Any) -> frozenset[Wake]:
        """Wake the watches of the Run that a commit halted; return the kinds of work that the commit makes."""
        if self._watches and (run := halted(transition, answer)) is not None:
            for watch in self._watches.get(run, ()):
                watch.set()
        return wakes(transition, answer)

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

    def set(self, what: Iterable[Wake]) -> None:
        for wake in what:
            self._events[wake].set()

    async def wait(self, what: Wake, timeout: float) -> None:
        """Return once it is set, or when `timeout` seconds have passed."""
        event = self._events[what]
        try:
            await asyncio.wait_for(event.wait(), timeout)
        except TimeoutError:
            return
        event.clear()


def wakes(transition: Transition, answer: Any) -> frozenset[Wake]:
    """What a committed transition makes to be done by anybody. What its own caller goes on with wakes nobody."""
    turn, admit, release = False, False, False
    match transition:
        case Receive():
            admit = "new" in answer.verdicts
        case Admit(starts=starts, links=links, posts=posts):
            leased = {start.run for start in starts if start.lease is not None}
            turn = bool(answer.woken) or bool(set(answer.born) - leased) or len(starts) > len(answer.born)
            admit = bool(links or posts)
        case Turn():
            turn, admit = _turn_wakes(transition, answer), bool(transition.events)
        case Advance(conclude=conclude, turn=decided):
            lost = answer.turned.verdict != "done"
            turn = lost or _turn_wakes(decided, answer.turned)
            admit = bool(decided.events or conclude.links)
        case Conclude(links=links):
            turn, admit = True, bool(links)
        case PlaceCall(start=start):
            turn = start is not None and answer.verdict == "new"
        case Intent():
            turn = answer.verdict == "stale"
        case Decide() | Expire():
            turn = True
        case Resolve():
            turn = admit = True
        case ApplyPlan():
            release = answer.verdict == "applied"
        case MoveRun():
            turn = answer.verdict == "moved"
        case _:
            pass
    told = {Wake.TURN: turn, Wake.ADMIT: admit, Wake.RELEASE: release}
    return frozenset(wake for wake, said in told.items() if said)


def halted(transition: Transition, answer: Any) -> str | None:
    """Return the Run that a committed turn ended, or left waiting for an approval that it opened."""
    turn, turned = transition, answer
    if isinstance(turn, Advance):
        turn, turned = turn.turn, turned.turned
    if isinstance(turn, Turn) and turned.verdict == "done" and (turn.status in TERMINAL or turn.approvals):
        return turn.run
    return None


def _turn_wakes(turn: Turn, answer: Turned) -> bool:
    soon = answer.due is not None and answer.due <= turn.at
    return answer.verdict == "done" and (soon or bool(answer.woken or turn.starts))
