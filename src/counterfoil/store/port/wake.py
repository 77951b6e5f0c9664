"""Who waits for something to do in this process, and how a commit tells them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from counterfoil.store.port.store import Wake
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


class Wakes:
    """One event for each kind of work. A wake that nobody waits for is kept for the next who does."""

    def __init__(self) -> None:
        self._events = {what: asyncio.Event() for what in Wake}

    def set(self, what: Iterable[Wake]) -> None:
        for each in what:
            self._events[each].set()

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


def _turn_wakes(turn: Turn, answer: Turned) -> bool:
    soon = answer.due is not None and answer.due <= turn.at
    return answer.verdict == "done" and (soon or bool(answer.woken or turn.starts))
