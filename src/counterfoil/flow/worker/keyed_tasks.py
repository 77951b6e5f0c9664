"""Tasks of one worker process: at most one per key, each with its errors handled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from counterfoil.core.errors import CounterfoilError, TryAgain, log_text
from counterfoil.flow.dispatch.limiter import LimiterClosed

log = logging.getLogger("counterfoil.worker")
Work = Coroutine[Any, Any, None]
OnDefect = Callable[[str, str], Awaitable[None]]
"""Called with the key of a task that failed by a defect, and the name of the exception."""


class KeyedTasks:
    """Runs tasks under keys such as `run:ID`, `effect:ID` and `todo:KIND:REF`."""

    def __init__(self, on_defect: OnDefect) -> None:
        self._on_defect = on_defect
        self._by_key: dict[str, asyncio.Task[None]] = {}
        self.runs: set[asyncio.Task[None]] = set()
        """Runs being executed. Their leases keep other workers away, so they need no key here."""

    @property
    def keys(self) -> list[str]:
        return list(self._by_key)

    @property
    def busy(self) -> bool:
        return bool(self._by_key or self.runs)

    def start(self, key: str, work: Callable[[], Work]) -> bool:
        """Start a task under a key. False if a task runs under that key already."""
        if key in self._by_key:
            return False
        task = asyncio.create_task(self._run_guarded(key, work()))
        self._by_key[key] = task
        task.add_done_callback(lambda _: self._by_key.pop(key, None))
        return True

    def start_run(self, run: str, work: Work) -> None:
        task = asyncio.create_task(self._run_guarded(f"run:{run}", work))
        self.runs.add(task)
        task.add_done_callback(self.runs.discard)

    async def wait(self) -> None:
        """Return when no task is left."""
        while self.busy:
            await asyncio.wait([*self._by_key.values(), *self.runs])

    async def _run_guarded(self, key: str, work: Work) -> None:
        try:
            await work
        except (TryAgain, LimiterClosed) as error:
            log.warning("%s: %s", key, error)
        except CounterfoilError as error:
            log.error("%s: %s", key, log_text(error))
        except Exception as error:
            log.exception("%s failed; its row is unchanged", key)
            await self._on_defect(key, type(error).__name__)
