"""Load shedding: a delivery that cannot be handled in time is rejected before anything of it is stored.

A sender that got 202 may forget the delivery; one that gets 503 sends it again. Decisions of persons never pass here.
A repeat of a stored delivery is answered as the first time.
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

from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain
from counterfoil.store.port.intake import Receive, ReceiveResult
from counterfoil.store.port.store import AdmissionTodo, Store
from counterfoil.store.port.usage import StoreUsage, StoreUsageResult

BACKLOG_CACHE_SECONDS = 1.0
MAX_OLDER_TODOS = 1000
"""Older todos that the age of the backlog ignores: a few that wait for a system that is down cause no rejections."""
VARIABLES = {
    "queue": "COUNTERFOIL_SHED_QUEUE",
    "backlog": "COUNTERFOIL_SHED_BACKLOG",
    "age": "COUNTERFOIL_SHED_AGE",
}
RETRY_AFTER_SECONDS = {"queue": 1.0, "backlog": 10.0, "age": 10.0}


class SheddingLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits on waiting work, beyond which deliveries are rejected."""

    queue: int = 500
    """Transitions of this process that wait for a transaction."""
    backlog: int = 100_000
    """Deliveries stored and not admitted yet, of all processes."""
    age: float = 900.0
    """Seconds of age that the backlog may have."""

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> SheddingLimits:
        """Read the limits that the environment sets. Raises Misconfigured for a value that is not a positive number."""
        limits: dict[str, float] = {}
        for name, variable in VARIABLES.items():
            text = environment.get(variable, "")
            if not text:
                continue
            if not text.isascii() or not text.isdigit() or int(text) < 1:
                raise Misconfigured(f"{variable} is {text!r}: use a whole number of at least 1")
            limits[name] = int(text)
        return msgspec.convert(limits, cls)


class Intake:
    """Entry of deliveries into a store. One per process."""

    def __init__(
        self,
        store: Store,
        bounds: SheddingLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
        offer: Callable[[AdmissionTodo], None] | None = None,
    ) -> None:
        """`offer` gets each new todo once it is durable, so that a worker of this process admits it at once."""
        self.bounds = bounds or SheddingLimits()
        self.refused: Counter[str] = Counter()
        """Deliveries rejected since the start, by limit exceeded: `queue`, `backlog`, `age`."""
        self._store = store
        self._clock = clock
        self._read_at = float("-inf")
        self._over = ""
        self._reading = asyncio.Lock()
        self._offer = offer

    @property
    def depth(self) -> int:
        return self._store.depth

    @overload
    async def apply(self, transition: Receive, /) -> ReceiveResult: ...
    @overload
    async def apply(self, transition: StoreUsage, /) -> StoreUsageResult: ...
    async def apply(self, transition: Receive | StoreUsage, /) -> ReceiveResult | StoreUsageResult:
        """Store deliveries or usage. Raises TryAgain if a limit is exceeded; nothing is stored then.

        Raises Refused for an id that a database cannot store.
        """
        over = await self.over()
        if isinstance(transition, StoreUsage):
            if over:
                self.refuse(over)
            return await self._store.apply(transition)
        if any("\0" in receipt.ext_id + receipt.type for receipt in transition.receipts):
            raise Refused(
                "The delivery's id or type contains the character U+0000. Send it without.",
                ErrorClass.INVALID,
            )
        if not over:
            return self._offer_new(transition, await self._store.apply(transition))
        return await self._repeat(transition, over)

    def _offer_new(self, receive: Receive, received: ReceiveResult) -> ReceiveResult:
        if self._offer is not None:
            stored_as = zip(received.numbers, received.verdicts, strict=True)
            for receipt, (no, verdict) in zip(receive.receipts, stored_as, strict=True):
                if verdict == "new" and receipt.door != "fetch":
                    stored = msgspec.structs.replace(receipt, no=no)
                    self._offer(AdmissionTodo(kind="receipt", ref=str(no), receipt=stored))
        return received

    async def _repeat(self, receive: Receive, over: str) -> ReceiveResult:
        """Answer a repeat of deliveries that are all stored. Raises TryAgain for any other."""
        stored = await self._store.existing_receipts([(r.system, r.ext_id) for r in receive.receipts])
        numbers = []
        for receipt in receive.receipts:
            no, identity = stored.get((receipt.system, receipt.ext_id), (0, ""))
            if identity != receipt.identity:
                self.refuse(over)
            numbers.append(no)
        return ReceiveResult(numbers=tuple(numbers), verdicts=tuple("same" for _ in numbers))

    async def over(self) -> str:
        """Return the limit exceeded: `queue`, `backlog` or `age`; empty if a delivery can be stored."""
        if self._store.depth > self.bounds.queue:
            return "queue"
        if self._clock() - self._read_at >= BACKLOG_CACHE_SECONDS:
            async with self._reading:
                if self._clock() - self._read_at >= BACKLOG_CACHE_SECONDS:
                    self._over = await self._read_backlog()
                    self._read_at = self._clock()
        return self._over

    async def _read_backlog(self) -> str:
        backlog = await self._store.backlog(self.bounds.backlog + 1, MAX_OLDER_TODOS)
        if backlog.waiting > self.bounds.backlog:
            return "backlog"
        if backlog.since is None:
            return ""
        return "age" if await self._store.now() - backlog.since > timedelta(seconds=self.bounds.age) else ""

    def refuse(self, over: str) -> NoReturn:
        """Raise TryAgain with the time after which to send the delivery again."""
        self.refused[over] += 1
        reasons = {
            "queue": "too many transitions wait for the store",
            "backlog": f"more than {self.bounds.backlog} deliveries wait for admission",
            "age": f"deliveries have waited longer than {self.bounds.age:g} s for admission",
        }
        message = f"Nothing was stored: {reasons[over]}. Send it again later."
        raise TryAgain(message, after=RETRY_AFTER_SECONDS[over])
