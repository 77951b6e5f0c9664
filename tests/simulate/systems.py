"""The outside systems of the simulated company, one for each way to be protected against repeats, and their truth.

What a system did is kept by key, whatever its answers said: answers are lost, late, wrong or replayed as the plan has
it. A worker that dies does not stop a request whose bytes have left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
from tests.simulate.plan import FIRST, SECOND, STAND_INS, AtCall, AtLook, Down, Echo, Plan, Stray
from tests.simulate.world import World

REPEATS = {"desk": "none", "bills": "key", "ledger": "unique", "stock": "find", "mail": "blind"}
OBSERVED = ("ledger.document.post", "ledger.job.post")
JOBS = ("ledger.job.post",)
"""Operations that the system takes for later: the answer says no more than that."""
FAMILIES = {own: system for system, own in STAND_INS.items()}
"""The system whose part a system of the second entity plays."""
RATES = {"ledger": 7, "ledger-de": 9}

STORED = 60.0
"""Seconds for which a key system gives a stored error again."""


@dataclass
class Fact:
    """Something that a system shows from a moment on."""

    ext_id: str
    type: str
    body: bytes


@dataclass
class System:
    """One outside system. `horizon` is the longest a request may be under way before it takes effect."""

    name: str
    world: World
    plan: Plan
    horizon: float
    deliver: Callable[[System, Fact], Any]
    done: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """What was done, by key: the truth. More than one entry is a thing done twice."""
    pending: dict[str, int] = field(default_factory=dict)
    """Requests under way that will still take effect."""
    stored: dict[str, Outcome] = field(default_factory=dict)
    """Answers that a key system gives again, errors too."""
    facts: list[Fact] = field(default_factory=list)
    entities: dict[str, str] = field(default_factory=dict)
    """The legal entity of each fact, by its external id."""
    calls: int = 0
    looks: int = 0
    documents: int = 0
    numbers: dict[str, int] = field(default_factory=dict)
    """Number of each document that it shows, by the id that we gave it. Each ledger counts from one: numbers repeat."""
    counterpart: System | None = None
    """The system that plays the same part in the other entity."""

    def __post_init__(self) -> None:
        self.repeat = REPEATS[FAMILIES.get(self.name, self.name)]
        mine = [i for _, i in self.plan.items if getattr(i, "system", None) == self.name]
        self._calls = {i.nth: i for i in mine if isinstance(i, AtCall)}
        self._looks = {i.nth: i for i in mine if isinstance(i, AtLook)}
        self._downs = [i for i in mine if isinstance(i, Down)]
        self._echoes = {i.nth: i for _, i in self.plan.items if isinstance(i, Echo)}
        self._strays = {i.nth: i for _, i in self.plan.items if isinstance(i, Stray)}

    @property
    def down(self) -> bool:
        moment = self.world.loop.moment
        return any(d.at <= moment < d.at + d.seconds for d in self._downs)

    # ------------------------------------------------------------------ facts

    def tell(self, type_: str, body: Mapping[str, Any], arrives: Sequence[float]) -> None:
        """Add a fact: polls show it, and it is delivered after each delay in `arrives`."""
        name = f"{type_}:{body['id']}:{body['version']}"
        fact = Fact(
            name,
            type_,
            wire.write_json(
                {"type": type_} | {k: list(v) if isinstance(v, tuple) else v for k, v in body.items()}
            ),
        )
        self.entities[name] = SECOND if self.name in FAMILIES else str(body.get("entity", FIRST))
        self.facts.append(fact)
        for delay in arrives:
            self.world.after(delay, lambda: self.deliver(self, fact))

    # ------------------------------------------------------------------ being called

    async def call(self, request: Request, timeout: float) -> Outcome:
        """Handle one request. It takes effect even if its caller is dead by then."""
        self.calls += 1
        fault = self._calls.get(self.calls, AtCall(self.name, self.calls, "ok", 0.0))
        trip = 0.01 + 0.25 * self.world.chance("trip", self.name, self.calls)
        if self.down:
            await self.world.sleep(0.05)
            refused = self.world.chance("down", self.name, self.calls) < 0.5
            return Rejected(ErrorClass.TRANSIENT, "connection refused") if refused else Unknown("reset")
        answer, wait = self._answer(request, fault, trip, timeout)
        await self.world.sleep(min(wait, timeout))
        if wait >= timeout:
            return Unknown(f"no answer within {timeout:g} s")
        return answer()

    def _answer(
        self, request: Request, fault: AtCall, trip: float, timeout: float
    ) -> tuple[Callable[[], Outcome], float]:
        """Return a function for the answer, and the seconds until it arrives."""
        never = timeout * 2
        kind, _, detail = fault.kind.partition(" ")
        box: list[Outcome] = []

        def commit_in(seconds: float) -> None:
            self.pending[request.key] = self.pending.get(request.key, 0) + 1
            self.world.after(seconds, lambda: box.append(self._commit(request)))

        match kind:
            case "drop":
                commit_in(trip)
                return (lambda: box[0]), never
            case "lost":
                return (lambda: Unknown("lost")), never
            case "late":
                commit_in(trip + (self.horizon - trip - 1) * fault.share)
                return (lambda: box[0]), never
            case "error" | "bad" if detail in ("done", "body"):
                commit_in(trip)
                return (lambda: Unknown("200 with an error in its body")), trip * 2
            case "error":
                return (lambda: Unknown("500")), trip * 2
            case "stored":
                if self.repeat == "key" and request.key not in self.done:
                    again: Outcome = (
                        Unknown("500, stored")
                        if fault.share < 0.5
                        else Rejected(ErrorClass.CONFLICT, "stored")
                    )
                    self.stored.setdefault(request.key, again)
                    self.world.after(STORED, lambda: self._forget(request.key))
                return (lambda: self.stored.get(request.key, Unknown("500"))), trip * 2
            case "slow":
                commit_in(trip if detail else timeout * 0.8)
                return (lambda: box[0]), timeout * (0.9 + 0.2 * fault.share)
            case "throttled":
                return (lambda: Rejected(ErrorClass.THROTTLED, "too many", "429", 1 + 9 * fault.share)), trip
            case "refused" if not self._settled(request.key):
                error_class = ErrorClass(detail) if detail != ErrorClass.ALREADY_DONE else ErrorClass.CONFLICT
                return (lambda: Rejected(error_class, f"{self.name} says {detail}")), trip
            case _:
                commit_in(trip)
                return (lambda: box[0]), trip * 2

    def _forget(self, key: str) -> None:
        if key not in self.done:
            self.stored.pop(key, None)

    def _settled(self, key: str) -> bool:
        """Return True if a request of this key was done or will be. It is not refused for its content then."""
        return self.repeat in ("key", "unique") and (key in self.done or self.pending.get(key, 0) > 0)

    def _commit(self, request: Request) -> Outcome:
        """Let the request take effect, within the system's protection against repeats."""
        self.pending[request.key] -= 1
        self.world.changed()
        if self.repeat == "key" and request.key in self.stored:
            return self.stored[request.key]
        if self.repeat in ("key", "unique") and request.key in self.done:
            first = self.done[request.key][0]
            loud = self.repeat == "unique" and self.world.chance("loud", request.key) < 0.3
            return Rejected(ErrorClass.ALREADY_DONE, "it is there already") if loud else Confirmed(first)
        number = sum(map(len, self.done.values())) + 1
        result = {"number": f"{self.name}-{number}"}
        self.done.setdefault(request.key, []).append(result)
        self.world.note(self.name, f"did {request.operation} {request.key[-6:]}: {result['number']}")
        outcome: Outcome = Accepted("job") if request.operation in JOBS else Confirmed(result)
        if self.repeat == "key":
            self.stored[request.key] = outcome
        if request.operation in OBSERVED:
            self._show(wire.read_json(request.body))
        return outcome

    def _show(self, body: Mapping[str, Any]) -> None:
        """Show the document, and deliver the event about it; a stray is shown by the other entity's ledger."""
        self.documents += 1
        echo = self._echoes.get(self.documents)
        cents = body["amount"]["minor"] - (echo.short if echo is not None else 0)
        currency = body["amount"]["currency"]
        stray = self._strays.get(self.documents)
        if stray is not None and self.counterpart is not None:
            self.counterpart.show(body["id"], cents, currency, stray.arrives)
        if stray is None or not stray.instead:
            self.show(body["id"], cents, currency, echo.arrives if echo is not None else (0.2,))

    def show(self, id_: str, cents: int, currency: str, arrives: Sequence[float]) -> None:
        """Add the fact about a document under this ledger's own number, in its next version."""
        number = self.numbers.setdefault(id_, len(self.numbers) + 1)
        version = 1 + sum(f.type == "document.posted" and f":{id_}:" in f.ext_id for f in self.facts)
        content = {"id": id_, "version": version, "cents": cents, "currency": currency}
        self.tell("document.posted", {**content, "number": f"INV-{number}"}, arrives)

    async def find(self, request: Request) -> Finding:
        self.looks += 1
        fault = self._looks.get(self.looks)
        await self.world.sleep(0.01 + 0.1 * self.world.chance("look", self.name, self.looks))
        if self.repeat == "blind":
            return Unknown("it shows nothing of what was sent")
        if self.down or (fault is not None and fault.kind == "dark"):
            return Unknown("the look-up failed")
        if request.key in self.done:
            return Confirmed(self.done[request.key][0])
        if fault is not None and self.repeat in ("key", "unique"):
            return Rejected(ErrorClass.TRANSIENT, "begun, not finished")
        return Absent()

    async def read(self) -> Any:
        self.looks += 1
        fault = self._looks.get(self.looks)
        await self.world.sleep(0.05)
        if self.down or (fault is not None and fault.kind == "dark"):
            raise TryAgain("no answer")
        if fault is not None:
            raise Refused("not to be read", ErrorClass.NOT_FOUND)
        return {"rate": RATES[self.name]}

    async def poll(self, cursor: str | None, limit: int) -> Page:
        await self.world.sleep(0.02)
        if self.down:
            raise TryAgain(f"{self.name} cannot be reached")
        begin = int(cursor or 0)
        page = self.facts[begin : begin + limit]
        deliveries = [delivery(f.body) for f in page]
        return Page(deliveries, str(begin + len(page)), begin + len(page) < len(self.facts))


def delivery(body: bytes) -> Delivery:
    content = wire.read_json(body)
    ext_id = f"{content['type']}:{content['id']}:{content['version']}"
    return Delivery(ext_id=ext_id, type=content["type"], identity=body, body=content)


class Line:
    """The connector of one worker to one system: only bytes that may leave do, and what goes wrong goes wrong here."""

    operations: Mapping[str, OperationSpec] = {}
    feeds: Sequence[str] = ("all",)

    def __init__(self, system: System, worker: Any) -> None:
        self._system = system
        self._worker = worker

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        return delivery(body)

    async def send(self, request: Request, timeout: float) -> Outcome:
        await self._worker.before_bytes(self._system, request)
        outcome = await self._system.call(request, timeout)
        await self._worker.after_answer(self._system, request, outcome)
        return outcome

    async def find(self, request: Request, timeout: float) -> Finding:
        self._worker.before_look(self._system, request)
        finding = await self._system.find(request)
        self._worker.note(f"looks for {request.operation} {request.key[-6:]}: {type(finding).__name__}")
        await self._worker.gate()
        return finding

    async def read(self, operation: str, arguments: Mapping[str, Any], timeout: float) -> Any:
        self._worker.before_read(self._system, operation, arguments)
        self._worker.note(f"reads {operation} of {self._system.name}")
        answer = await self._system.read()
        await self._worker.gate()
        return answer

    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Page:
        page = await self._system.poll(cursor, limit)
        await self._worker.gate()
        return page

    async def check(self, timeout: float) -> None:
        """Always there."""

    async def close(self) -> None:
        """Nothing to let go of."""
