"""The real server or worker in a process that kills or stops itself: before or after a transition is committed, a
call is made.

`python -m tests.crash.process [--lease S] JOURNAL COMMAND...` is `counterfoil COMMAND...`, its store and connectors
wrapped from outside. JOURNAL.armed holds lines `kill POINT` or `stop POINT`; a POINT is `apply:before:LABEL:N`,
`send:after:OPERATION:N` or `find:...`: the N-th one of that name since the start, or since the file was last written.
The journal gets a line for every point passed, for every answer of the store, for the order to end, and for every write
that leaves; the last two with the processor time of the process.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from counterfoil import bootstrap
from counterfoil.cli import main as cli
from counterfoil.connectors.sdk import Connector, Finding, Outcome, Request, Unknown
from counterfoil.core.clock import utc_now
from counterfoil.flow.runs import snapshot
from counterfoil.flow.worker.worker import Worker
from counterfoil.store.sql.store import SqlStore
from tests.patching import replace_attribute, replace_constant

STEPS = frozenset({
    "Receive", "Admit", "Turn", "ConcludeAndTurn", "Intent", "ResendUnknown", "Conclude", "LookAgain", "Decide", "Resolve",
    "ExpireFoils", "OpenCases",
})  # fmt: skip
"""Transitions that come with a step of a Run: each has its points. `ConcludeAndTurn` is an outcome and the next turn in one."""
STOPPED = "stopped"
"""The file by which one process tells the others of its folder that it is the one that stops."""
READING = timedelta(seconds=1)
"""Longer than the row of a write takes to read; less than the time until which it may be sent."""
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


def armed_file(journal: Path) -> Path:
    return journal.with_name(journal.name + ".armed")


def arm(journal: Path, points: Iterable[str], how: str = "kill") -> None:
    """Tell the process of that journal where to end (or stop); its counting begins anew."""
    fresh = journal.with_name(journal.name + ".arming")
    journal.with_name(STOPPED).unlink(missing_ok=True)
    fresh.write_text("".join(f"{how} {point}\n" for point in points))
    fresh.replace(armed_file(journal))


class Journal:
    """Counts points by name, writes them down, and ends or stops the process at those asked for."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._armed = armed_file(path)
        self._as_of: tuple[int, int] | None = None
        self._signals: dict[str, str] = {}
        self._passed: Counter[str] = Counter()

    def line(self, text: str) -> None:
        os.write(self._file, text.encode() + b"\n")

    def point(self, name: str) -> None:
        self._look()
        self._passed[name] += 1
        point = f"{name}:{self._passed[name]}"
        self.line(f"point {point}")
        how = self._signals.pop(point, None)
        if how is not None and self._first(how):
            self.line(f"{how} {point}")
            os.kill(os.getpid(), SIGNALS[how])

    def _first(self, how: str) -> bool:
        """Of several processes that are to stop at a point, the one that comes first does."""
        if how != "stop":
            return True
        try:
            os.close(os.open(self._armed.with_name(STOPPED), os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
        return True

    def _look(self) -> None:
        try:
            stat = self._armed.stat()
        except FileNotFoundError:
            return
        as_of = stat.st_mtime_ns, stat.st_ino
        if as_of == self._as_of:
            return
        self._as_of = as_of
        self._passed.clear()
        lines = [line.split(" ", 1) for line in self._armed.read_text().splitlines()]
        self._signals = {point: how for how, point in lines}


class KilledStore:
    """A store that passes everything on; around `apply` the process may end."""

    def __init__(self, store: SqlStore, journal: Journal) -> None:
        self._store = store
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def apply(self, transition: Any) -> Any:
        name = type(transition).__name__
        if name not in STEPS:
            return await self._store.apply(transition)
        label = f"{name}{await self._about(name, transition)}"
        self._journal.point(f"apply:before:{label}")
        answer = await self._store.apply(transition)
        for part in (answer, getattr(answer, "concluded", None), getattr(answer, "turned", None)):
            if verdict := getattr(part, "verdict", ""):
                self._journal.line(f"answer {label} {verdict}")
        self._journal.point(f"apply:after:{label}")
        return answer

    async def _about(self, name: str, transition: Any) -> str:
        """What a transition is about, so that counting is not upset by other work."""
        match name:
            case "Turn":
                loaded = await self._store.load(transition.run)
                return f"/{loaded.run.workflow if loaded is not None else ''}"
            case "ConcludeAndTurn":
                return f"/{await self._operation(transition.conclude.effect)}"
            case "Intent" | "ResendUnknown":
                return f"/{await self._operation(transition.send.effect)}"
            case "Conclude" | "LookAgain":
                return f"/{await self._operation(transition.effect)}"
            case "Admit":
                return f"/{'+'.join(sorted(event.type for event in transition.events)) or 'nothing'}"
            case "Receive":
                kinds = {
                    f"{r.system}.{r.type}" if r.door != "poll" else r.system for r in transition.receipts
                }
                return f"/{'+'.join(sorted(kinds)) or 'nothing'}"
        return ""

    async def _operation(self, effect: str) -> str:
        held = await self._store.effect(effect)
        return held.operation if held is not None else ""


class KilledConnector:
    """A connector that passes everything on; around `send` and `find` the process may end."""

    def __init__(self, connector: Connector, journal: Journal, stores: list[KilledStore]) -> None:
        self._connector = connector
        self._journal = journal
        self._stores = stores

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connector, name)

    async def send(self, request: Request, timeout: float) -> Outcome:
        now = utc_now()  # before the row is read: what takes time here would not take it there
        held = await self._stores[0].effect(request.key)
        late = held.send_by is None or now >= held.send_by
        if utc_now() - now > READING:
            # A pause fell into the reading of the row, which is ours: there is no such gap without this wrapper.
            self._journal.line(f"delayed {held.id}")
            return Unknown("a pause fell into the reading of the row")
        self._journal.line(
            f"wire {held.id} {held.attempt} {time.process_time():.3f} {held.state}{' late' if late else ''}"
        )
        self._journal.point(f"send:before:{request.operation}")
        outcome = await self._connector.send(request, timeout)
        self._journal.point(f"send:after:{request.operation}")
        return outcome

    async def find(self, request: Request, timeout: float) -> Finding:
        self._journal.point(f"find:before:{request.operation}")
        found = await self._connector.find(request, timeout)
        self._journal.point(f"find:after:{request.operation}")
        return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("journal", type=Path)
    parser.add_argument("--lease", type=float)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args(arguments)
    if asked.lease is not None:
        replace_constant(snapshot, "LEASE", timedelta(seconds=asked.lease))
    journal = Journal(asked.journal)
    stores: list[KilledStore] = []
    open_store, connectors_of = bootstrap.open_store, bootstrap.connectors_of

    async def killed_store(url: str) -> Any:
        stores.append(KilledStore(await open_store(url), journal))
        return stores[0]

    def killed_connectors(model: Any, folder: Path) -> Mapping[str, Any]:
        return {n: KilledConnector(c, journal, stores) for n, c in connectors_of(model, folder).items()}

    def told(worker: Worker) -> None:
        journal.line(f"told {time.process_time():.3f}")
        stop(worker)

    stop = Worker.stop
    replace_attribute(Worker, "stop", told)
    replace_attribute(bootstrap, "open_store", killed_store)
    replace_attribute(bootstrap, "connectors_of", killed_connectors)
    sys.argv = ["counterfoil", *asked.command]
    cli.main()


if __name__ == "__main__":
    main()
