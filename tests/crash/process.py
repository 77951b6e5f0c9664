"""The real server in a process that kills itself: before or after a transition is committed, a call is made.

`python -m tests.crash.process FOLDER STORE PORT --journal FILE [--kill POINT]...` is `counterfoil up`, its store and
connectors wrapped from outside. A POINT is `apply:before:LABEL:N`, `send:after:OPERATION:N` or `find:...`:
the N-th one of that name since the start. The journal gets a line for every point passed, and one for every write
that leaves, so that the parent can count both.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterfoil import app
from counterfoil.cli import main as cli
from counterfoil.connectors.sdk import Connector, Finding, Outcome, Request
from counterfoil.store import store as port
from counterfoil.store.sqlstore import SqlStore

UPKEEP = (port.Claim, port.Seal, port.PutCheckpoint, port.PutRelease, port.PutPerson, port.PutToken)
"""Transitions that come by themselves, not with a step of a Run; they are passed unnamed."""


class Journal:
    """Counts points by name, writes them down, and ends the process at those asked for."""

    def __init__(self, path: Path, kills: frozenset[str]) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._kills = kills
        self._passed: Counter[str] = Counter()

    def line(self, text: str) -> None:
        os.write(self._file, text.encode() + b"\n")

    def point(self, name: str) -> None:
        self._passed[name] += 1
        point = f"{name}:{self._passed[name]}"
        self.line(f"point {point}")
        if point in self._kills:
            self.line(f"kill {point}")
            os.kill(os.getpid(), signal.SIGKILL)


class KilledStore:
    """A store that passes everything on; around `apply` the process may end."""

    def __init__(self, store: SqlStore, journal: Journal) -> None:
        self._store = store
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def apply(self, transition: Any) -> Any:
        if isinstance(transition, UPKEEP):
            return await self._store.apply(transition)
        label = await self._label(transition)
        self._journal.point(f"apply:before:{label}")
        answer = await self._store.apply(transition)
        self._journal.point(f"apply:after:{label}")
        return answer

    async def _label(self, transition: Any) -> str:
        """The transition's name with what it is about, so that counting is not upset by other work."""
        name = type(transition).__name__
        match transition:
            case port.Turn(run=run):
                loaded = await self._store.load(run)
                return f"{name}/{loaded.run.workflow if loaded is not None else ''}"
            case port.Intent(send=send) | port.Resend(send=send):
                return f"{name}/{await self._operation(send.effect)}"
            case port.Conclude(effect=effect) | port.LookedUp(effect=effect):
                return f"{name}/{await self._operation(effect)}"
            case port.Admit(events=events):
                return f"{name}/{'+'.join(sorted(event.type for event in events)) or 'nothing'}"
            case port.Receive(receipts=receipts):
                kinds = {f"{r.system}.{r.type}" if r.door != "poll" else r.system for r in receipts}
                return f"{name}/{'+'.join(sorted(kinds)) or 'nothing'}"
        return name

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
        store = self._stores[0]
        held, now = await store.effect(request.key), await store.now()
        late = held.send_by is None or now >= held.send_by
        self._journal.line(f"wire {held.id} {held.attempt} {held.state}{' late' if late else ''}")
        self._journal.point(f"send:before:{request.operation}")
        outcome = await self._connector.send(request, timeout)
        self._journal.point(f"send:after:{request.operation}")
        return outcome

    async def find(self, request: Request, timeout: float) -> Finding:
        self._journal.point(f"find:before:{request.operation}")
        found = await self._connector.find(request, timeout)
        self._journal.point(f"find:after:{request.operation}")
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("store")
    parser.add_argument("port", type=int)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--kill", action="append", default=[])
    asked = parser.parse_args()
    journal = Journal(asked.journal, frozenset(asked.kill))
    stores: list[KilledStore] = []
    open_store, connectors_of = app.open_store, app.connectors_of

    async def killed_store(url: str) -> Any:
        stores.append(KilledStore(await open_store(url), journal))
        return stores[0]

    def killed_connectors(model: Any) -> Mapping[str, Any]:
        return {n: KilledConnector(c, journal, stores) for n, c in connectors_of(model).items()}

    app.open_store = killed_store
    app.connectors_of = killed_connectors  # type: ignore[assignment]
    sys.argv = ["counterfoil", "up", str(asked.folder), "--store", asked.store, "--port", str(asked.port)]
    cli.main()


if __name__ == "__main__":
    main()
