"""gateway: a consumer's call of an exposed Operation, from its key to its answer.

What may be read is asked of its system at the gate; what writes is reached by its workflow alone, as a Run. The key is
claimed with everything that the call begins in one transaction, and the answer is kept in another: whoever asks again
in between, or after this process died, is given the same call, never a second one.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec

from counterfoil.connectors.sdk import Connector
from counterfoil.contracts import versions
from counterfoil.core import ids, wire
from counterfoil.core.call import DOOR, Call, Rate
from counterfoil.core.canonical import CanonicalEvent, Receipt
from counterfoil.core.clock import micros
from counterfoil.core.errors import TryAgain
from counterfoil.expr import BudgetExceeded, EvaluationError
from counterfoil.flow.context.lookups import Lookups
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.dispatch.limiter import ConcurrencyLimiter
from counterfoil.flow.gateway.calls import (
    Answered,
    CallRefused,
    Grants,
    OperationRequest,
    Outcome,
    PendingAnswer,
    Render,
    Reply,
)
from counterfoil.flow.gateway.results import GRACE, ResultReader
from counterfoil.flow.intake.load_shedding import Intake
from counterfoil.flow.runs.run_start import run_start
from counterfoil.model import Model, kinds
from counterfoil.rules import routing
from counterfoil.rules.contract import faults
from counterfoil.rules.lookup import lookup_in
from counterfoil.rules.ownership import REQUESTED_BY, trespasses_of_call
from counterfoil.rules.routing import RoutedStart
from counterfoil.rules.templates import UnusableValue
from counterfoil.rules.values import typed
from counterfoil.rules.versions import CastFailed, ServedVersion, operation_version, serve, upcast_input
from counterfoil.store.port.calls import standing
from counterfoil.store.port.store import Store
from counterfoil.store.port.transitions import (
    AnswerCall,
    CallPlaced,
    OpenCases,
    PlaceCall,
)

HERE = "counterfoil"
"""Whose word a call's event is: a consumer asserts nothing by it."""
MAX_BUSINESS_KEY_CHARS = 500
"""A key stands in indexes and on pages."""
SPARE = 10.0
"""Seconds beyond its work that a holder has to keep its answer."""
UNKNOWN = (
    "There is no operation of this name that you may call; /v1/operations/openapi.json lists what is offered."
)


class Gateway:
    """Answers calls for one process; any number of processes may, on one store."""

    def __init__(
        self,
        store: Store,
        releases: Releases,
        connectors: Mapping[str, Connector],
        gate: ConcurrencyLimiter,
        intake: Intake,
        stopping: Callable[[], bool] = lambda: False,
        noted: Callable[[str, str, str, datetime], Any] = lambda *_: None,
    ) -> None:
        """`noted` is told of every new call: operation, `calls`, who, when; it keeps count of versions on their way
        out."""
        self._store = store
        self._releases = releases
        self._intake = intake
        self._noted = noted
        self._outcomes = ResultReader(store, releases, connectors, gate, stopping)
        self.counts: Counter[tuple[str, str]] = Counter()
        """Calls answered here, by operation and what became of them."""

    # ------------------------------------------------------------------ calls

    async def call(self, asked: OperationRequest, render: Render) -> Answered:
        """The answer to a call: the first one, where its key was used before. Raises CallRefused, TryAgain (then
        the key is free), Misconfigured."""
        try:
            answered, word = await self._call(asked, render)
        except CallRefused as refused:
            self._count(asked.operation, refused.kind)
            raise
        except TryAgain:
            self._count(asked.operation, "unavailable")
            raise
        self._count(asked.operation, word)
        return answered

    def _count(self, operation: str, word: str) -> None:
        known = operation if operation in self._releases.present.operations else "other"
        self.counts[known, word] += 1

    async def _call(self, asked: OperationRequest, render: Render) -> tuple[Answered, str]:
        now = await self._store.now()
        digest = wire.digest([asked.operation, asked.input])
        held = await self._store.call(asked.consumer, asked.family, asked.key)
        if held is not None and held.digest == digest and held.status is not None:
            return _again(held), "repeated"
        model, rate = self._releases.present, None  # one release, whatever comes into force meanwhile
        if held is None:
            served = _served(model, asked.operation)
            place, rate = await self._place(model, served, asked, digest, now)
        else:
            place = self._claim(asked, digest, now, _longest(model, asked))
            stands = standing(held, place)
            if stands in ("changed", "busy"):
                raise _refused(CallPlaced(verdict=stands, call=held), asked, rate, now)
        placed = await self._store.apply(place)
        if placed.verdict == "answered":
            assert placed.call is not None
            return _again(placed.call), "repeated"
        if placed.verdict == "outdated":
            raise TryAgain(f"release {model.digest[:12]} is not in force any more", after=1.0)
        if placed.verdict not in ("new", "taken"):
            raise _refused(placed, asked, rate, now)
        assert placed.call is not None
        if held is None and placed.verdict == "new":
            self._noted(served.asked, "calls", f"person:{asked.consumer}", now)
        reply, word = await self._answer(model, asked, placed.call, render, now)
        return Answered(reply=reply, rate=rate, left=placed.left), word

    async def _answer(
        self, model: Model, asked: OperationRequest, call: Call, render: Render, now: datetime
    ) -> tuple[Reply, str]:
        """Answer a call that is this process's to answer, and keep it."""
        try:
            outcome = await self._outcome(model, asked, call, now)
        except Exception:
            # Nothing was done that is not in the store: whoever asks again takes the call up where it is.
            await self._keep(call, None, ())
            raise
        reply = render(outcome)
        kept = await self._keep(call, reply, getattr(outcome, "cases", ()))
        if not kept:
            held = await self._store.call(call.consumer, call.operation, call.key)
            if held is None or held.status is None:
                raise CallRefused("busy", "Another process answers this call now; ask again.", after=1.0)
            return _again(held).reply, "repeated"
        return reply, _word(outcome)

    async def _outcome(self, model: Model, asked: OperationRequest, call: Call, now: datetime) -> Outcome:
        if call.run is not None:
            held = await self._store.load(call.run)
            model = await self._releases.model(held.run.pin) if held is not None else model
        answering = self._answering(model, asked.operation, asked.input, call.receipt, now)
        if call.run is None:
            return await self._outcomes.of_read(answering)
        return await self._outcomes.of_run(call.run, answering, asked.seconds, asked.wait is not None)

    def _answering(self, model: Model, name: str, given: Any, receipt: int, now: datetime) -> PendingAnswer:
        served = _served(model, name)
        value = typed(given, model.schema_of_operation(served.asked, "input"))
        return PendingAnswer(model=model, served=served, given=value, receipt=receipt, at=now)

    async def _keep(self, call: Call, reply: Reply | None, cases: Any) -> bool:
        return await self._store.apply(
            AnswerCall(
                consumer=call.consumer,
                operation=call.operation,
                key=call.key,
                holder=call.holder,
                status=None if reply is None else reply.status,
                headers={} if reply is None else reply.headers,
                body=b"" if reply is None else reply.body,
                cases=cases,
                at=await self._store.now(),
                actor="gateway",
            )
        )

    # ------------------------------------------------------------------ how a Run goes on

    async def of_run(self, asked: OperationRequest, run: str) -> Outcome:
        """What became of a Run that a call of this consumer began. Raises CallRefused `unknown` for any other."""
        call = await self._store.call_of_run(run)
        if call is None or (call.consumer, call.operation) != (asked.consumer, asked.family):
            raise CallRefused("unknown", "No call of yours began such a Run.")
        receipt, held = await self._store.receipt(call.receipt), await self._store.load(run)
        assert receipt is not None
        assert held is not None
        now = await self._store.now()
        model = await self._releases.model(held.run.pin)
        name = versions.operation(call.operation, call.version)
        answering = self._answering(model, name, wire.read_json(receipt.body), call.receipt, now)
        outcome = await self._outcomes.of_run(run, answering, asked.wait or 0.0, patient=True)
        cases = getattr(outcome, "cases", ())
        if cases:
            await self._store.apply(OpenCases(cases=cases, at=now, actor="gateway"))
        return outcome

    # ------------------------------------------------------------------ a new call

    async def _place(
        self, model: Model, served: ServedVersion, asked: OperationRequest, digest: str, now: datetime
    ) -> tuple[PlaceCall, Rate]:
        """The claim of a new call, once all that can be refused beforehand has been."""
        grants = Grants.of(model, asked.roles)
        if not grants.reach(served):
            raise CallRefused("unknown", UNKNOWN)
        value = _checked(model, served, grants, asked)
        exposed = model.operations[served.by].exposes
        rate = _rate(model, served)
        if not isinstance(exposed, dict):
            seconds = kinds.seconds(model.operations[served.by].timeout)
            claim = self._claim(asked, digest, now, seconds)
            return msgspec.structs.replace(claim, rate=rate, release=model.digest), rate
        over = await self._intake.over()
        if over:
            self._intake.refuse(over)
        claim = self._claim(asked, digest, now, asked.seconds)
        event = _event(asked, served, value, now)
        start = await self._start(model, exposed["starts"], value, event, now)
        event = msgspec.structs.replace(event, key=start.key)
        names = {"input": value, "event": start.names["event"] | {"key": start.key, "subject": start.key}}
        start = msgspec.structs.replace(start, names=names)
        call = msgspec.structs.replace(claim.call, run=start.run)
        return msgspec.structs.replace(
            claim,
            call=call,
            event=event,
            start=run_start(model, start, event.id, only_birth=True),
            rate=rate,
            release=model.digest,
        ), rate

    def _claim(self, asked: OperationRequest, digest: str, now: datetime, seconds: float) -> PlaceCall:
        """The claim of a key for as long as the answer may take."""
        call = Call(
            consumer=asked.consumer,
            operation=asked.family,
            version=versions.number(asked.operation),
            key=asked.key,
            digest=digest,
            correlation=asked.correlation,
            holder=secrets.token_hex(12),
            until=now + timedelta(seconds=seconds + GRACE + SPARE),
            at=now,
        )
        receipt = Receipt(
            system=HERE,
            ext_id=ids.derive("call", asked.consumer, asked.family, asked.key),
            type=asked.operation,
            identity=digest,
            sha256=hashlib.sha256(asked.body).hexdigest(),
            door=DOOR,
            headers=asked.headers,
            body=asked.body,
            received_at=now,
        )
        return PlaceCall(call=call, receipt=receipt, at=now, actor=f"person:{asked.consumer}")

    async def _start(
        self, model: Model, workflow: str, value: dict[str, Any], event: CanonicalEvent, now: datetime
    ) -> RoutedStart:
        definition, lookups = model.workflow(workflow), Lookups(self._store, model, now)
        answer = lookup_in(lookups.answers)
        try:
            start = await lookups.complete(partial(routing.called, definition, value, event, answer))
        except (EvaluationError, BudgetExceeded, UnusableValue) as error:
            raise CallRefused("not-taken", f"{workflow} cannot start with this input: {error}") from error
        if start is None:
            raise CallRefused(
                "not-taken", f"{workflow} does not accept this input: its `start.when` is false."
            )
        if len(start.key) > MAX_BUSINESS_KEY_CHARS or not start.key.isprintable():
            raise CallRefused(
                "not-taken", f"A business key is 1 to {MAX_BUSINESS_KEY_CHARS} printable characters."
            )
        return start


# ------------------------------------------------------------------ what is refused before anything is kept


def _served(model: Model, name: str) -> ServedVersion:
    """Which exposed operation answers to a name. One that is not there and one that is not exposed look alike."""
    declared = operation_version(model, name, None)
    served = serve(model, declared) if declared is not None else None
    if served is None:
        raise CallRefused("unknown", UNKNOWN)
    return served


def _checked(model: Model, served: ServedVersion, grants: Grants, asked: OperationRequest) -> dict[str, Any]:
    """The input in the version of the operation that answers. Raises CallRefused."""
    schema = model.schema_of_operation(served.asked, "input")
    given = typed(asked.input, schema)
    wrong = faults(given, schema)
    if wrong:
        raise CallRefused(
            "contract", f"The input does not keep the contract of {served.asked}.", faults=wrong
        )
    foreign = trespasses_of_call(model, served.asked, grants.speaks, set(given))
    if given.get(REQUESTED_BY, asked.consumer) != asked.consumer:
        foreign.append(f"{REQUESTED_BY} is you, {asked.consumer}, and nobody else")
    if foreign:
        raise CallRefused("ownership", f"You may not assert this by {served.asked}: {'; '.join(foreign)}.")
    try:
        return upcast_input(served, given)
    except CastFailed as error:
        raise CallRefused("not-taken", f"{served.asked} cannot be told as {served.by}: {error}") from error


def _event(
    asked: OperationRequest, served: ServedVersion, value: dict[str, Any], now: datetime
) -> CanonicalEvent:
    """The call as the fact that began the Run."""
    return CanonicalEvent(
        id=ids.derive("evt", DOOR, asked.consumer, asked.family, asked.key),
        type=f"{served.by}.called",
        system=HERE,
        object="",
        key=asked.key,
        version=micros(now),
        data={**value, REQUESTED_BY: asked.consumer},
        occurred_at=now,
        effective_at=now,
        received_at=now,
        correlation=asked.correlation,
    )


def _rate(model: Model, served: ServedVersion) -> Rate:
    """The rate of the operation that answers; where it names none, that of a policy which says nothing."""
    policy = model.policies.get(model.operations[served.by].rate or "")
    found = policy.rate if policy is not None and policy.rate is not None else kinds.Rate()
    return Rate(
        at_most=found.at_most,
        every=kinds.seconds(found.every),
        burst=found.burst if found.burst is not None else found.at_most,
    )


def _longest(model: Model, asked: OperationRequest) -> float:
    """How long a call that is taken over may take."""
    operation = model.operations.get(asked.operation)
    return max(asked.seconds, kinds.seconds(operation.timeout) if operation is not None else 0.0)


def _refused(placed: CallPlaced, asked: OperationRequest, rate: Rate | None, now: datetime) -> CallRefused:
    call = placed.call
    match placed.verdict:
        case "changed":
            return CallRefused(
                "changed",
                f"The key {asked.key} was used for another call of {asked.operation}; take a new one.",
            )
        case "busy":
            after = max(1.0, (call.until - now).total_seconds()) if call is not None else 1.0
            return CallRefused(
                "busy", "The first call under this key is not answered yet.", after=min(after, 2.0)
            )
        case "limited":
            return CallRefused(
                "limited",
                f"You have made more calls of {asked.operation} than its rate lets you.",
                after=placed.left.wait if placed.left is not None else 1.0,
                rate=rate,
                left=placed.left,
            )
    return CallRefused(
        "exists", "What this asks for was begun before, by another call; a new key does not begin it again."
    )


def _again(call: Call) -> Answered:
    assert call.status is not None
    return Answered(reply=Reply(status=call.status, headers=call.headers, body=call.body), repeated=True)


def _word(outcome: Outcome) -> str:
    kind: str = getattr(outcome, "kind", "")
    return kind or {"RunEnded": "ended", "Pending": "pending", "SystemAnswer": "told"}[type(outcome).__name__]
