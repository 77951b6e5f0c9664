"""shed: a delivery that cannot be taken care of in time is refused before anything of it is kept.

Whoever was told 202 keeps that word; whoever is told 503 still has the delivery and sends it again. Persons'
decisions never pass here, and a repeat of what is kept is answered as it was the first time.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import NoReturn, overload

import msgspec

from counterfoil.core.errors import Misconfigured, TryAgain
from counterfoil.store.port.intake import Receive, ReceiveResult
from counterfoil.store.port.store import (
    Store,
    Todo,
)
from counterfoil.store.port.usage import StoreUsage, StoreUsageResult

LOOK_EVERY = 1.0
"""Seconds for which what was read of the backlog is good."""
PLACE = 1000
"""Age is that of the todo with so many before it: a few that wait for a system that is down refuse nobody."""
VARIABLES = {
    "queue": "COUNTERFOIL_SHED_QUEUE",
    "backlog": "COUNTERFOIL_SHED_BACKLOG",
    "age": "COUNTERFOIL_SHED_AGE",
}
RETRY_AFTER = {"queue": 1.0, "backlog": 10.0, "age": 10.0}


class BacklogLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much may wait before deliveries are refused."""

    queue: int = 500
    """Transitions of this process that wait for a transaction."""
    backlog: int = 100_000
    """Deliveries kept and not admitted yet, of all processes."""
    age: float = 900.0
    """Seconds that the backlog may be old."""

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> BacklogLimits:
        """Those that the environment sets. Raises Misconfigured for what is no positive number."""
        found: dict[str, float] = {}
        for name, variable in VARIABLES.items():
            text = environment.get(variable, "")
            if not text:
                continue
            if not text.isascii() or not text.isdigit() or int(text) < 1:
                raise Misconfigured(f"{variable} is {text!r}: give a whole number from 1 on")
            found[name] = int(text)
        return msgspec.convert(found, cls)


class Intake:
    """The way of deliveries into a store. One for each process."""

    def __init__(
        self,
        store: Store,
        bounds: BacklogLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
        offer: Callable[[Todo], None] | None = None,
    ) -> None:
        """`offer` is told what was kept, once it is durable: a worker in this process need not look for it."""
        self.bounds = bounds or BacklogLimits()
        self.refused: Counter[str] = Counter()
        """Deliveries refused since the start, by what there was too much of: `queue`, `backlog`, `age`."""
        self._store = store
        self._clock = clock
        self._looked = float("-inf")
        self._over = ""
        self._looking = asyncio.Lock()
        self._offer = offer

    @property
    def depth(self) -> int:
        return self._store.depth

    @overload
    async def apply(self, transition: Receive, /) -> ReceiveResult: ...
    @overload
    async def apply(self, transition: StoreUsage, /) -> StoreUsageResult: ...
    async def apply(self, transition: Receive | StoreUsage, /) -> ReceiveResult | StoreUsageResult:
        """Keep deliveries or usage, unless too much waits. Raises TryAgain, and then nothing is kept."""
        over = await self.over()
        if isinstance(transition, StoreUsage):
            if over:
                self.refuse(over)
            return await self._store.apply(transition)
        if not over:
            return self._offered(transition, await self._store.apply(transition))
        return await self._kept(transition, over)

    def _offered(self, receive: Receive, received: ReceiveResult) -> ReceiveResult:
        if self._offer is not None:
            for receipt, no, verdict in zip(
                receive.receipts, received.numbers, received.verdicts, strict=True
            ):
                if verdict == "new" and receipt.door != "fetch":
                    kept = msgspec.structs.replace(receipt, no=no)
                    self._offer(Todo(kind="receipt", ref=str(no), receipt=kept))
        return received

    async def _kept(self, receive: Receive, over: str) -> ReceiveResult:
        """The answer to a repeat of what is all there; whatever else comes is refused."""
        held = await self._store.kept([(r.system, r.ext_id) for r in receive.receipts])
        numbers = []
        for receipt in receive.receipts:
            no, identity = held.get((receipt.system, receipt.ext_id), (0, ""))
            if identity != receipt.identity:
                self.refuse(over)
            numbers.append(no)
        return ReceiveResult(numbers=tuple(numbers), verdicts=tuple("same" for _ in numbers))

    async def over(self) -> str:
        """What there is too much of: `queue`, `backlog` or `age`; empty when a delivery can be taken."""
        if self._store.depth > self.bounds.queue:
            return "queue"
        if self._clock() - self._looked >= LOOK_EVERY:
            async with self._looking:
                if self._clock() - self._looked >= LOOK_EVERY:
                    self._over = await self._look()
                    self._looked = self._clock()
        return self._over

    async def _look(self) -> str:
        backlog = await self._store.backlog(self.bounds.backlog + 1, PLACE)
        if backlog.waiting > self.bounds.backlog:
            return "backlog"
        if backlog.since is None:
            return ""
        return "age" if await self._store.now() - backlog.since > timedelta(seconds=self.bounds.age) else ""

    def refuse(self, over: str) -> NoReturn:
        """Raises TryAgain: nothing was kept, and when to send it again."""
        self.refused[over] += 1
        said = {
            "queue": "more waits to be written here than can be in good time",
            "backlog": f"more than {self.bounds.backlog} deliveries wait to be admitted",
            "age": f"deliveries have waited for longer than {self.bounds.age:g} s to be admitted",
        }
        raise TryAgain(f"Nothing was kept: {said[over]}. Send it again later.", after=RETRY_AFTER[over])
