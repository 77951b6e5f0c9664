"""Systems that a test plays: each does what is asked and answers plausibly, unless the test says otherwise.

What a system has done is kept by idempotency key, so a look-up finds it and a repeat gets the first answer. A read finds
the record of that id in what the system has sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from counterfoil.connectors.sdk import (
    Absent,
    Accepted,
    Confirmed,
    Delivery,
    Finding,
    OperationSpec,
    Outcome,
    Page,
    Rejected,
    Request,
    Unknown,
)
from counterfoil.core import wire
from counterfoil.core.errors import ErrorClass, Refused, TryAgain
from counterfoil.model import Model, kinds
from counterfoil.store.port.store import Store
from counterfoil.testing.default_answers import default_answer

TYPE_HEADER, ID_HEADER = "x-test-type", "x-test-id"


class _Stated:
    """An answer that the test states, and how many calls still get it; None: all."""

    def __init__(self, answer: kinds.GivenAnswer, result: Any) -> None:
        self.answer = answer
        self.result = result
        lasting = answer.result is not None
        self.left = answer.times if answer.times is not None else None if lasting else 1


class PlayedSystem:
    """The connector of one played system."""

    operations: Mapping[str, OperationSpec] = {}
    feeds: Sequence[str] = ()

    def __init__(self, name: str, model: Model, store: Store, clock: Callable[[], datetime]) -> None:
        self.name = name
        self._model, self._store, self._clock = model, store, clock
        self._stated: list[_Stated] = []
        self._done: dict[str, dict[str, Any]] = {}
        """Answers to what was done, by idempotency key."""
        self._records: dict[str, Any] = {}
        """Newest record of each id in what the system has sent."""
        self._created = 0
        self.down_until: datetime | None = None

    def state(self, answer: kinds.GivenAnswer, result: Any) -> None:
        """Set an answer. It replaces those of the same operation and condition."""
        self._stated = [
            s
            for s in self._stated
            if (s.answer.answer, s.answer.request) != (answer.answer, answer.request) or s.left is not None
        ]
        self._stated.append(_Stated(answer, result))

    @property
    def is_down(self) -> bool:
        return self.down_until is not None and self._clock() < self.down_until

    # ------------------------------------------------------------------ the connector

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        """Identify a delivery of the test and remember the records in it."""
        content = wire.read_trusted(body)
        self._remember(content)
        ext_id = headers.get(ID_HEADER) or (str(content.get("id", "")) if isinstance(content, dict) else "")
        ext_id = ext_id or hashlib.sha256(body).hexdigest()[:16]
        return Delivery(ext_id=ext_id, type=headers[TYPE_HEADER], identity=body, body=content)

    async def send(self, request: Request, timeout: float) -> Outcome:
        if self.is_down:
            return Rejected(ErrorClass.TRANSIENT, f"{self.name} cannot be reached")
        body = wire.read_trusted(request.body)
        stated = self._take(request.operation, body)
        answer = stated.answer if stated is not None else None
        if answer is not None and answer.refused is not None:
            return Rejected(ErrorClass(answer.refused), _message(self.name, answer), answer.code)
        if answer is not None and answer.fault == "timeout":
            return Unknown(f"no answer within {timeout:g} s")
        if request.key not in self._done:
            effect = await self._store.effect(request.key)
            inputs = wire.loads(effect.input) if effect is not None else {}
            self._done[request.key] = self._result(request.operation, inputs, body, stated)
        match answer.fault if answer is not None else None:
            case "lost":
                return Unknown("the answer was lost")
            case "accepted":
                return Accepted("job")
        return Confirmed(self._done[request.key])

    async def find(self, request: Request, timeout: float) -> Finding:
        if self.is_down:
            return Unknown(f"{self.name} cannot be reached")
        return Confirmed(self._done[request.key]) if request.key in self._done else Absent()

    async def read(self, operation: str, arguments: Mapping[str, Any], timeout: float) -> Any:
        if self.is_down:
            raise TryAgain(f"{self.name} cannot be reached", after=30.0)
        stated = self._take(operation, arguments)
        answer = stated.answer if stated is not None else None
        if answer is not None and answer.refused is not None:
            raise Refused(_message(self.name, answer), ErrorClass(answer.refused), answer.code)
        if answer is not None and answer.fault is not None:
            raise TryAgain(f"no answer within {timeout:g} s")
        ids = [str(value) for value in arguments.values() if isinstance(value, str | int)]
        record = next((self._records[id_] for id_ in ids if id_ in self._records), None)
        if record is not None:
            return record if stated is None else _over(record, stated.result)
        if stated is None and not self._model.operations[operation].output:
            missing = f"{self.name} has sent no record {' '.join(ids)}; state it: answer: {operation}"
            raise Refused(missing, ErrorClass.NOT_FOUND)
        return self._result(operation, dict(arguments), arguments, stated)

    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Page:
        """Show nothing: a test gives the deliveries of a feed as receipts."""
        return Page((), cursor or "")

    async def check(self, timeout: float) -> None:
        """Do nothing: a played system is there."""

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""

    # ------------------------------------------------------------------ answers

    def _take(self, operation: str, body: Any) -> _Stated | None:
        """Return the newest stated answer to a request; one for a number of calls comes before a lasting one."""
        fitting = [s for s in self._stated if s.answer.answer == operation and _has(body, s.answer.request)]
        passing = [s for s in fitting if s.left]
        if passing:
            assert passing[0].left is not None
            passing[0].left -= 1
            return passing[0]
        return next((s for s in reversed(fitting) if s.left is None), None)

    def _result(self, operation: str, inputs: Any, body: Any, stated: _Stated | None) -> Any:
        if stated is not None and stated.result is not None and not isinstance(stated.result, dict):
            return stated.result
        self._created += 1
        answer = default_answer(self._model, operation, inputs, body, self._clock(), self._created)
        return answer if stated is None else _over(answer, stated.result)

    def _remember(self, value: Any) -> None:
        pending = [value]
        for part in pending:  # it grows meanwhile
            if isinstance(part, dict):
                if isinstance(part.get("id"), str | int):
                    self._records[str(part["id"])] = part
                pending += [inner for inner in part.values() if isinstance(inner, dict | list)]
            elif isinstance(part, list):
                pending += part


def _over(below: Any, above: Any) -> Any:
    """Return a mapping with the values of another over its own, at any depth."""
    if above is None:
        return below
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{key: _over(below.get(key), part) for key, part in above.items()}}


def _has(body: Any, part: Mapping[str, Any]) -> bool:
    """Return True if a request has these values."""
    if not isinstance(body, Mapping):
        return not part
    return all(
        _has(body.get(key), value) if isinstance(value, dict) else body.get(key) == value
        for key, value in part.items()
    )


def _message(system: str, answer: kinds.GivenAnswer) -> str:
    return answer.message or f"{system} refuses: {answer.refused}"
