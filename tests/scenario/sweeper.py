"""Reads the sweeps of a store in processes that kill themselves after some pages, until one has read them to their ends.

`python -m tests.scenario.sweeper FOLDER STORE HOME PAGES [LIVES]`: each process is a fork that runs Counterfoil's worker
and is killed by SIGKILL once PAGES pages are stored; after LIVES of them the next one is left alone. PAGES 0 kills none.
The last line of the output is the number of kills.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from counterfoil.application import Application
from counterfoil.bootstrap import application
from counterfoil.core.sweep import SweepState
from counterfoil.flow.worker import sweeps
from counterfoil.store.port.sweeps import ReceiveSweepPage
from counterfoil.store.sql.store import SqlStore
from tests.patching import replace_attribute, replace_constant
from tests.patience import PATIENCE_SECONDS

PAGE_DELIVERIES = 3
LEASE_SECONDS = 0.3


def count_pages(most: int) -> None:
    """Have this process killed once so many pages of sweeps are stored."""
    apply, count = SqlStore.apply, 0

    async def counted(store: SqlStore, transition: Any) -> Any:
        nonlocal count
        answer = await apply(store, transition)
        if isinstance(transition, ReceiveSweepPage) and answer.sweep is not None:
            count += 1
            if count == most:
                os.kill(os.getpid(), signal.SIGKILL)
        return answer

    replace_attribute(SqlStore, "apply", counted)


async def read_to_the_end(folder: Path, store: str, home: Path) -> None:
    """Run the worker until every sweep has ended and nothing is left to admit, turn or send."""
    async with application(folder, store, home) as app:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not await is_quiet(app):
            assert time.monotonic() < deadline, "the sweeps do not end"
            await asyncio.sleep(0.05)


async def is_quiet(app: Application) -> bool:
    if any(sweep.state is SweepState.READING for sweep in await app.store.latest_sweeps()):
        return False
    dump = await app.store.dump()  # type: ignore[attr-defined]
    waiting = any(parked is None for _, _, parked in dump.todos)
    moving = any(e.state in ("planned", "sending", "unknown") for e in dump.effects)
    unread = any(run.inbox_n > run.consumed for run in dump.runs if run.status in ("ready", "waiting"))
    return not (waiting or moving or unread)


def main() -> int:
    folder, store, home = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    pages, lives = int(sys.argv[4]), int(sys.argv[5]) if len(sys.argv) > 5 else sys.maxsize
    replace_constant(sweeps, "MAX_PAGE_DELIVERIES", PAGE_DELIVERIES)
    replace_constant(sweeps, "LEASE", timedelta(seconds=LEASE_SECONDS))
    kills = 0
    while True:
        child = os.fork()
        if child == 0:
            if pages and kills < lives:
                count_pages(pages)
            asyncio.run(read_to_the_end(folder, store, home))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            print(kills)
            return os.waitstatus_to_exitcode(status)
        assert os.WTERMSIG(status) == signal.SIGKILL
        kills += 1


if __name__ == "__main__":
    sys.exit(main())
