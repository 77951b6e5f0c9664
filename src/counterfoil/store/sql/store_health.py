"""The state of the database, by the latest requests of this process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

SETTLE_SECONDS = 5.0
"""After a failure the problem stays this long, although small writes may succeed on a disk that is almost full."""
log = logging.getLogger("counterfoil.store")


class StoreHealth:
    """The latest failure of a database. It is over after a later commit. May be used by several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed_at = float("-inf")
        self._reason = ""
        self._failing = False

    @property
    def problem(self) -> str:
        """Return the reason of the failure for operators; empty if there is none."""
        settled = self._clock() - self._failed_at >= SETTLE_SECONDS
        return "" if settled and not self._failing else self._reason

    def failed(self, reason: str) -> None:
        if not self._failing:
            log.warning("%s", reason)
        self._reason, self._failed_at, self._failing = reason, self._clock(), True

    def committed(self) -> None:
        if self._failing:
            self._failing = False
            log.warning("the store can be written again")
