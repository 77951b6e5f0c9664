"""Scripted outside systems, in process. `write_store.py` saves their state beside the dump; the test continues with it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tests.upgrade import engine

NAMES = ("desk", "bills", "ledger", "stock", "mail")
DEDUPLICATING = ("bills", "ledger")
"""Systems that do nothing twice under one idempotency key. The others carry out every request."""
SEARCHABLE = ("bills", "ledger", "stock")
"""Systems whose look-up finds a request by its key."""


class Systems:
    """State of all outside systems.

    `script` maps an operation and the beginning of a text in its request to the behaviour of the next calls:
    `request_lost` (no answer, nothing done), `answer_lost` (no answer, done), the same with `hang_` in front (the call
    never returns), `refused` and `invalid` (proof that nothing was done), `job` (accepted, done later).
    """

    def __init__(self) -> None:
        self.script: dict[tuple[str, str], list[str]] = {}
        self.calls: Counter[str] = Counter()
        """Number of requests by idempotency key."""
        self.requests: dict[str, str] = {}
        """Operation and body by key."""
        self.results: dict[str, list[dict[str, Any]]] = {}
        """What was done, by key. Two entries are one thing done twice."""
        self.documents: dict[str, int] = {}
        """Cents of each ledger document, by our id."""
        self.jobs: dict[str, list[str]] = {}
        """Key and body of each accepted job, by our id."""
        self.hanging = 0

    # ------------------------------------------------------------------ state as text

    def to_json(self) -> str:
        state = {
            "calls": dict(sorted(self.calls.items())),
            "requests": dict(sorted(self.requests.items())),
            "results": dict(sorted(self.results.items())),
            "documents": self.documents,
            "jobs": self.jobs,
        }
        return json.dumps(state, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Systems:
        state, systems = json.loads(text), cls()
        systems.calls = Counter(state["calls"])
        systems.requests = state["requests"]
        systems.results = state["results"]
        systems.documents = state["documents"]
        systems.jobs = state["jobs"]
        return systems

    # ------------------------------------------------------------------ calls

    def connectors(self) -> dict[str, Any]:
        return {name: Connector(self, name) for name in NAMES}

    async def send(self, system: str, request: Any) -> Any:
        self.calls[request.key] += 1
        body = request.body.decode()
        content = f"{request.operation} {body}"
        if self.requests.setdefault(request.key, content) != content:
            raise AssertionError(f"{request.key} was sent with other bytes than before")
        behaviour = self._next_behaviour(request.operation, body)
        if behaviour in ("ok", "answer_lost", "hang_answer_lost"):
            self._execute(system, request.operation, request.key, json.loads(body))
        if behaviour.startswith("hang"):
            self.hanging += 1
            await asyncio.Event().wait()
        if behaviour in ("refused", "invalid"):
            return engine.Rejected(engine.ErrorClass(behaviour), f"{system} answers {behaviour}")
        if behaviour in ("request_lost", "answer_lost"):
            return engine.Unknown("no answer")
        if behaviour == "job":
            self.jobs[json.loads(body)["id"]] = [request.key, body]
            return engine.Accepted("job")
        return engine.Confirmed(self.results[request.key][0])

    def _next_behaviour(self, operation: str, body: str) -> str:
        for (name, word), behaviours in self.script.items():
            if name == operation and f'"{word}' in body and behaviours:
                return behaviours.pop(0)
        return "ok"

    def _execute(self, system: str, operation: str, key: str, body: dict[str, Any]) -> None:
        if system in DEDUPLICATING and key in self.results:
            return
        number = sum(map(len, self.results.values())) + 1
        self.results.setdefault(key, []).append({"number": f"{system}-{number}"})
        if operation in ("ledger.document.post", "ledger.job.post"):
            self.documents[body["id"]] = body["amount"]["minor"]

    def finish_job(self, id_: str) -> None:
        """Carry out an accepted job."""
        key, body = self.jobs.pop(id_)
        self._execute("ledger", "ledger.job.post", key, json.loads(body))

    def find(self, system: str, key: str) -> Any:
        if system not in SEARCHABLE:
            return engine.Unknown(f"{system} has no look-up")
        return engine.Confirmed(self.results[key][0]) if key in self.results else engine.Absent()


class Connector:
    """Connector to one scripted system."""

    operations: Mapping[str, Any] = {}
    feeds: Sequence[str] = ("all",)

    def __init__(self, systems: Systems, name: str) -> None:
        self._systems = systems
        self._name = name

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Any:
        content = json.loads(body)
        ext_id = f"{content['type']}:{content['id']}:{content['version']}"
        return engine.Delivery(ext_id=ext_id, type=content["type"], identity=body, body=content)

    async def send(self, request: Any, timeout: float) -> Any:
        return await self._systems.send(self._name, request)

    async def find(self, request: Any, timeout: float) -> Any:
        return self._systems.find(self._name, request.key)

    async def read(self, operation: str, arguments: Mapping[str, Any], timeout: float) -> Any:
        return {"status": "open", "cents": 90_000}

    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Any:
        if cursor is not None:
            return engine.Page([], cursor)
        body = json.dumps({"type": "small.talk", "id": "talk-1", "version": 1}).encode()
        return engine.Page([self.receive({}, body, datetime.min)], "1")

    async def check(self, timeout: float) -> None:
        """Always reachable."""

    async def close(self) -> None:
        """Holds no resources."""
