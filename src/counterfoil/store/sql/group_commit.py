"""Continuous group commit: callers queue transitions, and committers take whatever is queued.

Nothing waits for a batch to fill, and no caller gets its answer before its transaction is durable. The store decides
how a batch becomes a transaction. Reads share a snapshot in the same way.
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

_MAX_SKIPPED_ROWS = 1024
"""Entries that a committer may skip, because they cannot run now, before it takes its batch."""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """Result of one transition in a batch: its answer, or its own exception."""

    answer: Any = None
    error: BaseException | None = None


def no_keys(work: object) -> frozenset[str]:
    """Return no keys: for stores that run one work item after another."""
    del work
    return NO_KEYS


@dataclass(slots=True, eq=False)
class _Pending(Generic[Work]):
    work: Work
    keys: frozenset[str]
    answer: asyncio.Future[Any] = field(repr=False)


class GroupCommit(Generic[Work]):
    """A queue of transitions (or reads) and the committers that empty it.

    `keys` names what a work item touches. Two items that share a key never run at the same time, in one transaction or
    in two, and keep their order.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Work]], Awaitable[Sequence[ItemResult]]],
        keys: Callable[[Work], frozenset[str]] = no_keys,
        committers: int = 1,
        max_batch: int = 256,
    ) -> None:
        self._commit = commit
        self._keys = keys
        self._max_batch = max_batch
        self._queue: deque[_Pending[Work]] = deque()
        self._busy: set[str] = set()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._closing = False
        self._tasks = [asyncio.create_task(self._work()) for _ in range(committers)]

    @property
    def depth(self) -> int:
        """Number of items that wait for a transaction; running ones are not counted."""
        return len(self._queue)

    async def submit(self, work: Work) -> Any:
        """Return the answer, once durable.

        A caller that is cancelled gets no answer; its transition may still happen, as with any lost answer.
        """
        if self._closing:
            raise TryAgain("the store is closing")
        item = _Pending(work, self._keys(work), asyncio.get_running_loop().create_future())
        self._queue.append(item)
        self._wake_committer()
        return await item.answer

    async def close(self) -> None:
        """Answer everything in the queue, then stop."""
        self._closing = True
        while self._idle:
            self._wake_committer()
        await asyncio.gather(*self._tasks)

    def _wake_committer(self) -> None:
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
                        self._wake_committer()
                    return
                waiting = asyncio.get_running_loop().create_future()
                self._idle.append(waiting)
                await waiting
                continue
            if self._queue:
                self._wake_committer()
            try:
                await self._serve(batch)
            finally:
                for item in batch:
                    self._busy -= item.keys

    def _take(self) -> list[_Pending[Work]]:
        """Take the oldest items that share no key with running or skipped ones."""
        batch: list[_Pending[Work]] = []
        passed: deque[_Pending[Work]] = deque()
        blocked: set[str] = set()
        while self._queue and len(batch) < self._max_batch and len(passed) < _MAX_SKIPPED_ROWS:
            item = self._queue.popleft()
            if item.answer.cancelled():
                continue
            alone = ALONE in item.keys
            touched = item.keys - {ALONE} if alone else item.keys
            if (alone and batch) or touched & self._busy or touched & blocked:
                blocked |= touched
                passed.append(item)
                continue
            batch.append(item)
            self._busy |= touched
            if alone:
                break
        self._queue.extendleft(reversed(passed))
        return batch

    async def _serve(self, batch: list[_Pending[Work]]) -> None:
        try:
            outcomes = await self._commit([item.work for item in batch])
        except BaseException as error:
            for item in batch:
                if not item.answer.done():
                    _fail(item.answer, error)
            if not isinstance(error, Exception):
                raise
            return
        for item, outcome in zip(batch, outcomes, strict=True):
            if item.answer.done():
                continue
            if outcome.error is not None:
                _fail(item.answer, outcome.error)
            else:
                item.answer.set_result(outcome.answer)


def _fail(answer: asyncio.Future[Any], error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError):
        answer.cancel()
    else:
        answer.set_exception(error)
