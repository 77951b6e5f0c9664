"""outcomes: what became of a call. A Run is watched until it ends; a system is asked at its gate.

A writing operation is never called from here: its Run's workflow alone does that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from counterfoil.connectors.sdk import Confirmed, Connector, Rejected
from counterfoil.connectors.sdk import Outcome as Answer
from counterfoil.core import ids, wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.cases import open_case
from counterfoil.core.effect import UNFINISHED
from counterfoil.core.errors import ErrorClass, Misconfigured, TryAgain
from counterfoil.core.run import TERMINAL, Run, RunStatus
from counterfoil.expr import BudgetExceeded, EvaluationError
from counterfoil.flow.context.lookups import Lookups
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.dispatch import read
from counterfoil.flow.dispatch.limiter import ConcurrencyLimiter, Lane
from counterfoil.flow.gateway.calls import (
    Outcome,
    Pending,
    PendingAnswer,
    RunEnded,
    SystemAnswer,
    Unanswerable,
)
from counterfoil.model import Model, kinds
from counterfoil.model.definition import Block, Definition, Reaction, Verb
from counterfoil.rules import mapping
from counterfoil.rules.contract import violations
from counterfoil.rules.lookup import lookup_in
from counterfoil.rules.mapping import MappedAnswer, MappingFailed, UnresolvedLink
from counterfoil.rules.templates import UnusableValue, fill
from counterfoil.rules.values import plain, typed
from counterfoil.rules.versions import CastFailed, downcast_output, serve, upcast_input
from counterfoil.rules.workflow.context import blocks_of
from counterfoil.rules.workflow.state import load
from counterfoil.store.port.store import LoadedRun, Store

FIRST_LOOK, LAST_LOOK = 0.01, 0.5
"""Seconds between two looks at a Run that is waited for: they double."""
WATCHING = 200
"""Runs that one process watches at once; who comes then is told where to look."""
GRACE = 1.0
"""Seconds that a connector has to notice its own time-out."""
FAILURES = (EvaluationError, BudgetExceeded, UnusableValue, CastFailed, ValueError, TypeError, KeyError)
_PASSING = (ErrorClass.TRANSIENT, ErrorClass.THROTTLED, ErrorClass.CONFLICT)


class BadOutput(Exception):
    """What was to be answered does not keep its contract."""


class ResultReader:
    """Finds out what became of calls. `stopping` says that this process is about to end."""

    def __init__(
        self,
        store: Store,
        releases: Releases,
        connectors: Mapping[str, Connector],
        gate: ConcurrencyLimiter,
        stopping: Callable[[], bool],
    ) -> None:
        self._store = store
        self._releases = releases
        self._connectors = connectors
        self._gate = gate
        self._stopping = stopping
        self._watching = 0

    # ------------------------------------------------------------------ Runs

    async def of_run(self, run: str, answering: PendingAnswer, seconds: float, patient: bool) -> Outcome:
        """What became of a Run within `seconds`. Who is not patient hears at once that a person must decide."""
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + (seconds if self._watching < WATCHING else 0.0), FIRST_LOOK
        self._watching += 1
        try:
            while True:
                held = await self._store.load(run)
                if held is None:
                    raise Misconfigured(f"{run} is not in this store")
                if held.run.status in TERMINAL:
                    return await self.ended(held.run, answering)
                pending = _pending(held)
                left = until - loop.time()
                asked = pending.waiting_for == "approval" and not patient
                if left <= 0 or asked or self._stopping():
                    return pending
                await asyncio.sleep(min(pause, left))
                pause = min(LAST_LOOK, pause * 2)
        finally:
            self._watching -= 1

    async def ended(self, run: Run, answering: PendingAnswer) -> Outcome:
        """The end of a Run, with the output of the operation that began it in the version asked for."""
        model = await self._releases.model(run.pin)
        definition = model.workflow(run.workflow)
        end = RunEnded(run=run.id, status=str(run.status), state=run.state)
        if run.status is not RunStatus.DONE or run.state in stops(definition):
            return end
        try:
            output = await self._returned(model, definition, run)
            output = _kept(model, definition.start.operation or answering.served.by, output)
            output = _cast(model, answering, output)
        except BadOutput as error:
            return _unanswerable(model, answering, f"{run.id} has ended; {error}", run.id)
        return RunEnded(run=run.id, status=str(run.status), state=run.state, output=output)

    async def _returned(self, model: Model, definition: Definition, run: Run) -> Any:
        about = {
            "id": run.id,
            "key": run.bkey,
            "generation": run.generation,
            "state": run.state,
            "workflow": run.workflow,
            "direction": str(run.direction),
            "started": run.created_at,
        }
        names = {**load(run.ctx).names, "run": about}
        lookups = Lookups(self._store, model, await self._store.now())
        answer = lookup_in(lookups.answers)
        try:
            filled = await lookups.complete(partial(fill, definition.returns, names, answer))
        except FAILURES as error:
            raise BadOutput(f"`returns` of {definition.name} gives no value: {error}") from error
        return {name: value for name, value in filled.items() if value is not None}

    # ------------------------------------------------------------------ reads

    async def of_read(self, answering: PendingAnswer) -> Outcome:
        """A system's answer to a read. Raises TryAgain when none can be had now: nothing was done by then."""
        model, served = answering.model, answering.served
        operation = model.operations[served.by]
        if operation.exposes != "read" or operation.repeat != "read":
            raise Misconfigured(f"{operation.name} is not exposed to be read")
        try:
            value = upcast_input(served, answering.given)
            rendered = await self._rendered(model, operation.name, value, answering)
        except (CastFailed, BadOutput) as error:
            return _unanswerable(model, answering, str(error))
        if isinstance(rendered, UnresolvedLink):
            detail = f"{rendered.object} {rendered.id} has no id in {rendered.system}"
            return Unanswerable(kind="absent", detail=detail)
        answer = await self._ask(operation, rendered)
        if isinstance(answer, Rejected):
            return _refused(operation, answer)
        assert isinstance(answer, Confirmed)
        try:
            output = await self._canonical(model, operation.name, value, dict(answer.result), answering.at)
            output = _cast(model, answering, _kept(model, operation.name, output))
        except BadOutput as error:
            return _unanswerable(model, answering, str(error))
        return SystemAnswer(output=output)

    async def _rendered(
        self, model: Model, operation: str, value: Any, answering: PendingAnswer
    ) -> bytes | UnresolvedLink:
        outbound = model.outbound(operation)
        if outbound is None:
            return wire.write_json(plain(value))
        lookups = Lookups(self._store, model, answering.at)
        result = await lookups.complete(partial(mapping.render, outbound, value, {}, {}, "", lookups.answers))
        match result:
            case MappingFailed(message):
                raise BadOutput(message)
            case UnresolvedLink():
                return result
            case _:
                return result.body

    async def _ask(self, operation: kinds.Operation, request: bytes) -> Answer:
        """One call in a slot of its system. The time to wait for a slot is part of the operation's time-out."""
        connector = self._connectors.get(operation.system)
        seconds = kinds.seconds(operation.timeout)
        if connector is None:
            raise TryAgain(f"{operation.system} cannot be reached from here", after=60.0)
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        try:
            async with asyncio.timeout_at(until):
                ticket = await self._gate.enter(operation.system, Lane.LIVE)
        except TimeoutError:
            raise TryAgain(f"{operation.system} has no slot free, or does not answer", after=5.0) from None
        answer: Answer | None = None
        try:
            async with asyncio.timeout_at(until + GRACE):
                left = max(0.1, until - loop.time())
                answer = await read.read(connector, operation.name, request, left)
        except TimeoutError:
            answer = Rejected(ErrorClass.TRANSIENT, f"no answer within {seconds:g} s")
        finally:
            self._gate.leave(ticket, answer)
        return answer

    async def _canonical(
        self, model: Model, operation: str, value: Any, result: dict[str, Any], at: datetime
    ) -> Any:
        lookups = Lookups(self._store, model, at)
        outbound = model.outbound(operation)
        returned = await lookups.complete(
            partial(mapping.take_result, outbound, value, result, lookups.answers)
        )
        match returned:
            case MappingFailed(message):
                raise BadOutput(message)
            case MappedAnswer(differs=differs) if differs:
                raise BadOutput("; ".join(differs))
            case _:
                return {k: v for k, v in returned.result.items() if v is not None}


def _refused(operation: kinds.Operation, answer: Rejected) -> Outcome:
    if answer.error_class in _PASSING:
        raise TryAgain(f"{operation.system}: {answer.message}", after=answer.retry_after)
    if answer.error_class is ErrorClass.NOT_FOUND:
        return Unanswerable(kind="absent", detail=f"{operation.system}: {answer.message}")
    return Unanswerable(kind="system-refused", detail=f"{operation.system} refused it: {answer.error_class}")


def _pending(held: LoadedRun) -> Pending:
    run = held.run
    if any(a.state is ApprovalState.OPEN for a in held.approvals):
        waiting_for = "approval"
    elif any(effect.state in UNFINISHED for effect in held.effects):
        waiting_for = "system"
    else:
        waiting_for = "event" if run.status is RunStatus.WAITING else "work"
    return Pending(run=run.id, status=str(run.status), state=run.state, waiting_for=waiting_for)


# ------------------------------------------------------------------ contracts of answers


def _kept(model: Model, operation: str, output: Any) -> Any:
    """The output as its contract types it. Raises BadOutput."""
    if operation not in model.operations:
        raise BadOutput(f"{operation} is not in that release")
    schema = model.schema_of_operation(operation, "output")
    value = typed(output, schema)
    wrong = violations(value, schema)
    if wrong:
        raise BadOutput(f"the output of {operation} does not keep its contract: {'; '.join(wrong)}")
    return value


def _cast(model: Model, answering: PendingAnswer, output: Any) -> Any:
    """The output in the version that was asked for. Raises BadOutput."""
    served = serve(model, answering.served.asked) or answering.served
    if not served.path:
        return output
    try:
        return _kept(model, served.asked, downcast_output(served, answering.given, output))
    except CastFailed as error:
        raise BadOutput(str(error)) from error


def _unanswerable(model: Model, answering: PendingAnswer, detail: str, run: str = "") -> Unanswerable:
    """An answer that would break the contract is given to nobody, and the operation's owner has a Case."""
    operation = model.operations.get(answering.served.by)
    owners = model.owners_of(operation) if operation is not None else []
    case = open_case(
        "output_contract",
        id=ids.derive("case", "output_contract", answering.receipt),
        message=f"{answering.served.asked}, receipt {answering.receipt}: {detail}",
        owners=owners,
        at=answering.at,
        receipt=answering.receipt,
    )
    told = "What was to be answered does not keep the contract; the owner of the operation has a Case."
    return Unanswerable(kind="bad-output", detail=told, run=run, cases=(case,))


def stops(definition: Definition) -> frozenset[str]:
    """Business states in which a Run of it is stopped before its last step: there is no output then."""
    found: set[str] = set()

    def look(reaction: Reaction | None) -> None:
        verb = reaction.verb if isinstance(reaction, Block) else reaction
        if isinstance(verb, Verb) and verb.name == "stop" and verb.state is not None:
            found.add(verb.state)

    for address, block in blocks_of(definition).items():
        if address:  # the verb that ends the steps themselves is their end
            look(block)
        for step in block.steps:
            for reaction in step.outcomes.values():
                look(reaction)
    for reaction in definition.failure.reactions.values():
        look(reaction)
    return frozenset(found)
