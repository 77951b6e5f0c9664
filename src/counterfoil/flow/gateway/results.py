"""Results of Runs that consumers' calls started: wait for the end, read the output, and check it by its contract."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from counterfoil.core import ids
from counterfoil.core.approval import ApprovalState
from counterfoil.core.cases import open_case
from counterfoil.core.effect import UNFINISHED
from counterfoil.core.errors import Misconfigured
from counterfoil.core.run import TERMINAL, Run, RunStatus
from counterfoil.flow.context.lookups import Lookups
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.gateway import calls
from counterfoil.model import Model
from counterfoil.model.blocks import blocks_of
from counterfoil.model.definition import Block, Definition, Reaction
from counterfoil.rules.contract import violations
from counterfoil.rules.json_values import run_names, typed
from counterfoil.rules.lookup import lookup_in
from counterfoil.rules.templates import FAULTS, fill
from counterfoil.rules.versions import CastFailed, downcast_output, serve
from counterfoil.rules.workflow.state import load
from counterfoil.store.port.store import LoadedRun, Store

FIRST_POLL_SECONDS, MAX_POLL_SECONDS = 0.05, 0.5
"""Doubling interval between reads of a Run: the notification of another process's commit may be lost."""
MAX_WATCHES = 200
"""Runs that one process watches at once. Further callers get the present state without a wait."""
FAILURES = (*FAULTS, CastFailed, ValueError, TypeError, KeyError)


class BadOutput(Exception):
    """An output that breaks its contract or cannot be computed."""


class RunResults:
    """Waits for Runs. `stopping` returns True when this process is about to end."""

    def __init__(self, store: Store, releases: Releases, stopping: Callable[[], bool]) -> None:
        self._store = store
        self._releases = releases
        self._stopping = stopping
        self._watches = 0

    async def wait(
        self, run: str, context: calls.CallInProgress, seconds: float, patient: bool
    ) -> calls.Outcome:
        """Return the outcome of a Run, at the latest after `seconds`.

        If `patient` is false, return as soon as the Run waits for an approval.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + (seconds if self._watches < MAX_WATCHES else 0.0)
        poll = FIRST_POLL_SECONDS
        self._watches += 1
        try:
            with self._store.watch_run(run) as watch:
                while True:
                    loaded = await self._store.load(run)
                    if loaded is None:
                        raise Misconfigured(f"{run} is not in this store")
                    if loaded.run.status in TERMINAL:
                        return await self.outcome_of(loaded.run, context)
                    pending = _pending(loaded)
                    left = until - loop.time()
                    needs_person = pending.waiting_for == "approval" and not patient
                    if left <= 0 or needs_person or self._stopping():
                        return pending
                    await watch.wait(min(poll, left))
                    poll = min(MAX_POLL_SECONDS, poll * 2)
        finally:
            self._watches -= 1

    async def outcome_of(self, run: Run, context: calls.CallInProgress) -> calls.Outcome:
        """Return the end of a Run, with its output in the version that the caller requested."""
        model = await self._releases.model(run.pin)
        definition = model.workflow(run.workflow)
        if run.status is not RunStatus.DONE or run.state in stop_states(definition):
            return calls.RunEnded(run=run.id, status=str(run.status), state=run.state)
        try:
            output = await self._output(model, definition, run)
            output = conform(model, definition.start.operation or context.served.by, output)
            output = downcast(model, context, output)
        except BadOutput as error:
            return bad_output(model, context, f"{run.id} has ended; {error}", run.id)
        return calls.RunEnded(run=run.id, status=str(run.status), state=run.state, output=output)

    async def _output(self, model: Model, definition: Definition, run: Run) -> Any:
        names = {**load(run.ctx).names, "run": run_names(run, run.state, run.direction)}
        lookups = Lookups(self._store, model, await self._store.now())
        lookup = lookup_in(lookups.answers)
        try:
            output = await lookups.complete(partial(fill, definition.returns, names, lookup))
        except FAILURES as error:
            raise BadOutput(f"`returns` of {definition.name} gives no value: {error}") from error
        return {name: value for name, value in output.items() if value is not None}


def _pending(loaded: LoadedRun) -> calls.Pending:
    run = loaded.run
    if any(approval.state is ApprovalState.OPEN for approval in loaded.approvals):
        waiting_for: calls.WaitingFor = "approval"
    elif any(effect.state in UNFINISHED for effect in loaded.effects):
        waiting_for = "system"
    else:
        waiting_for = "event" if run.status is RunStatus.WAITING else "work"
    return calls.Pending(run=run.id, status=str(run.status), state=run.state, waiting_for=waiting_for)


def stop_states(definition: Definition) -> frozenset[str]:
    """Return the business states in which a Run has stopped before its last step, and so has no output."""
    blocks = blocks_of(definition)
    # The verb at the end of the steps themselves, at the address "", is the normal end.
    reactions: list[Reaction] = [block for address, block in blocks.items() if address]
    reactions += [r for block in blocks.values() for step in block.steps for r in step.outcomes.values()]
    reactions += definition.failure.reactions.values()
    verbs = [reaction.verb if isinstance(reaction, Block) else reaction for reaction in reactions]
    return frozenset(v.state for v in verbs if v is not None and v.name == "stop" and v.state is not None)


# ------------------------------------------------------------------ contract of the output


def conform(model: Model, operation: str, output: Any) -> Any:
    """Return the output typed by its contract. Raises BadOutput."""
    if operation not in model.operations:
        raise BadOutput(f"{operation} is not in that release")
    schema = model.schema_of_operation(operation, "output")
    value = typed(output, schema)
    faults = violations(value, schema)
    if faults:
        raise BadOutput(f"the output of {operation} breaks its contract: {'; '.join(faults)}")
    return value


def downcast(model: Model, context: calls.CallInProgress, output: Any) -> Any:
    """Return the output in the version that the caller requested. Raises BadOutput."""
    served = serve(model, context.served.requested) or context.served
    if not served.path:
        return output
    try:
        return conform(model, served.requested, downcast_output(served, context.input, output))
    except CastFailed as error:
        raise BadOutput(str(error)) from error


def bad_output(model: Model, context: calls.CallInProgress, detail: str, run: str = "") -> calls.Unanswerable:
    """Return the outcome for an output that is withheld, with a Case for the operation's owner."""
    operation = model.operations.get(context.served.by)
    case = open_case(
        "output_contract",
        id=ids.derive("case", "output_contract", context.receipt),
        message=f"{context.served.requested}, receipt {context.receipt}: {detail}",
        owners=model.owners_of(operation) if operation is not None else [],
        at=context.at,
        receipt=context.receipt,
    )
    public = "The answer breaks the operation's contract and is withheld. The operation's owner has a Case."
    return calls.Unanswerable(kind="bad-output", detail=public, run=run, cases=(case,))
