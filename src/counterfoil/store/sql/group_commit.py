"""Continuous group commit: whoever asks puts a transition in the queue; a committer takes what is there.

Nothing waits for a batch to fill, and no answer is given before the transaction that it came from is durable.
How a batch becomes a transaction is the store's matter. Reads share a snapshot in the same way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from counterfoil.core.errors import TryAgain
from counterfoil.store.port.transition import ALONE, NO_KEYS

Work = TypeVar("Work")

_SCANNED = 1024
"""How many that cannot go now a committer passes over before it takes what it has found."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of one transition: its answer, or the exception that it alone raised."""

    answer: Any = None
    error: BaseException | None = None


def no_keys(work: object) -> frozenset[str]:
    """For stores where whatever is asked goes one after another."""
    del work
    return NO_KEYS


@dataclass(slots=True, eq=False)
class _Pending(Generic[Work]):
    work: Work
    keys: frozenset[str]
    answer: asyncio.Future[Any] = field(repr=False)


class GroupCommit(Generic[Work]):
    """A queue of transitions (or reads) and the committers that empty it.

    `keys` names what one touches: two that share a key are never under way at once, in one
    transaction or in two, and keep their order.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Work]], Awaitable[Sequence[BatchResult]]],
        keys: Callable[[Work], frozenset[str]] = no_keys,
        committers: int = 1,
        most: int = 256,
    ) -> None:
        self._commit = commit
        self._keys = keys
        self._most = most
        self._queue: deque[_Pending[Work]] = deque()
        self._busy: set[str] = set()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._closing = False
        self._tasks = [asyncio.create_task(self._work()) for _ in range(committers)]

    @property
    def depth(self) -> int:
        """How many wait for a transaction; those in one are not counted."""
        return len(self._queue)

    async def submit(self, work: Work) -> Any:
        """The answer, once durable. A caller that is cancelled meanwhile learns nothing of it; the
        transition may still happen, as with any lost answer."""
        if self._closing:
            raise TryAgain("the store is closing")
        asked = _Pending(work, self._keys(work), asyncio.get_running_loop().create_future())
        self._queue.append(asked)
        self._call_one()
        return await asked.answer

    async def close(self) -> None:
        """Answer everything asked so far, then stop."""
        self._closing = True
        while self._idle:
            self._call_one()
        await asyncio.gather(*self._tasks)

    def _call_one(self) -> None:
        while self._idle:
            waiting = self._idle.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return

    async def _work(self) -> None:
        while True:
            batch = self._take()
            if not batch:
                if self._closing and not self._queue:
                    while self._idle:
                        self._call_one()
                    return
                waiting = asyncio.get_running_loop().create_future()
                self._idle.append(waiting)
                await waiting
                continue
            if self._queue:
                self._call_one()
            try:
                await self._serve(batch)
            finally:
                for asked in batch:
                    self._busy -= asked.keys

    def _take(self) -> list[_Pending[Work]]:
        """The oldest of the queue that touch nothing under way or asked for earlier."""
        batch: list[_Pending[Work]] = []
        passed: deque[_Pending[Work]] = deque()
        blocked: set[str] = set()
        while self._queue and len(batch) < self._most and len(passed) < _SCANNED:
            asked = self._queue.popleft()
            if asked.answer.cancelled():
                continue
            alone = ALONE in asked.keys
            touched = asked.keys - {ALONE} if alone else asked.keys
            if (alone and batch) or touched & self._busy or touched & blocked:
                blocked |= touched
                passed.append(asked)
                continue
            batch.append(asked)
            self._busy |= touched
            if alone:
                break
        self._queue.extendleft(reversed(passed))
        return batch

    async def _serve(self, batch: list[_Pending[Work]]) -> None:
        try:
            outcomes = await self._commit([asked.work for asked in batch])
        except BaseException as error:
            for asked in batch:
                if not asked.answer.done():
                    _fail(asked.answer, error)
            if not isinstance(error, Exception):
                raise
            return
        for asked, outcome in zip(batch, outcomes, strict=True):
            if asked.answer.done():
                continue
            if outcome.error is not None:
                _fail(asked.answer, outcome.error)
            else:
                asked.answer.set_result(outcome.answer)


def _fail(answer: asyncio.Future[Any], error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError):
        answer.cancel()
    else:
        answer.set_exception(error)
