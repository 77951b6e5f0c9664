"""Counterfoils and time: every foil can be observed, and deadlines are longer than the retries within them."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.core.finding import Finding
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.kinds import seconds
from counterfoil.model.model import Model
from counterfoil.model.source import Path
from counterfoil.model.walk import steps


@rule("foil-unobserved")
def foil_unobserved(model: Model) -> Iterator[Finding]:
    """Every foil can be observed: a mapping of its right system emits the matching event, or the event comes over `http` or
    from `counterfoil` itself. An event that a workflow emits is no evidence about another system."""
    broken = model.has_broken("mapping")
    for document, reconciliation in model.documents_of(kinds.Reconciliation):
        event = model.events.get(reconciliation.observe.event)
        if event is None or event.produced in ("http", "counterfoil") or broken:
            continue
        systems = {m.from_.system for m in model.producers(event.name) if m.from_}
        if reconciliation.right not in systems:
            producers = f"only {', '.join(sorted(systems))} does" if systems else "no mapping does"
            message = f"no mapping of {reconciliation.right} emits `{event.name}`: {producers}"
            fix = f"add a mapping from {reconciliation.right} that emits it"
            yield document.finding("foil-unobserved", message, ("observe", "event"), fix=fix)


@rule("foil-form")
def foil_form(model: Model) -> Iterator[Finding]:
    """A foil is written by exactly one of an event and an operation, and its two systems differ. The operation writes to
    one of them. Both sides have the same legs."""
    for document, reconciliation in model.documents_of(kinds.Reconciliation):
        if (reconciliation.foil.event is None) == (reconciliation.foil.operation is None):
            message = "a foil needs either `event` or `operation`"
            yield document.finding("foil-form", message, ("foil",), at_key=True)
        if reconciliation.left == reconciliation.right:
            yield document.finding("foil-form", "both sides are the same system", ("right",))
        if not reconciliation.foil.legs:
            yield document.finding("foil-form", "a foil needs at least one leg", ("foil", "legs"))
        operation = model.operations.get(reconciliation.foil.operation or "")
        if operation is not None:
            path: Path = ("foil", "operation")
            if operation.repeat == "read":
                message = f"`{operation.name}` only reads, so it writes no foil"
                yield document.finding("foil-form", message, path)
            if operation.system not in (reconciliation.left, reconciliation.right):
                message = f"`{operation.name}` writes to {operation.system}, which is on neither side"
                yield document.finding("foil-form", message, path)
        for leg in reconciliation.foil.legs.keys() ^ reconciliation.observe.legs.keys():
            side = "foil" if leg in reconciliation.foil.legs else "observe"
            message = f"the leg `{leg}` exists on one side only"
            yield document.finding("foil-form", message, (side, "legs", leg), at_key=True)


def retry_span(retry: kinds.Retry, timeout: float) -> float:
    """Return the maximum seconds from the first attempt to the end of the last retry."""
    first, cap = seconds(retry.first), seconds(retry.cap)
    waits = sum(min(cap, first * float(2**n)) for n in range(min(retry.attempts - 1, 64)))
    waits += cap * max(0, retry.attempts - 65)
    return waits + retry.attempts * timeout


@rule("deadline-too-short")
def deadline_too_short(model: Model) -> Iterator[Finding]:
    """Deadlines are longer than the retries: the `deadline` of a workflow and the `due` of a foil that its call writes do
    not end while the failure policy still retries or queues the call. The vendor remembers an idempotency key
    (`retention`) until the last retry."""
    for document, workflow in model.documents_of(kinds.Workflow):
        failure = model.failure_of(workflow)
        if failure is None:
            continue
        queued = seconds(failure.queue.until) if _queues(failure, workflow) else 0.0
        if workflow.deadline is not None and queued > seconds(workflow.deadline):
            until = failure.queue.until
            message = f"the deadline ends before the queue of `{workflow.failure}` ({until})"
            fix = "lengthen it, or shorten the queue"
            yield document.finding("deadline-too-short", message, ("deadline",), fix=fix)
        for place in steps(workflow):
            operation = model.operation_of(place.step)
            if operation is None or operation.repeat == "read":
                continue
            span = retry_span(failure.retry, seconds(operation.timeout))
            retries = f"retries of `{operation.name}` may take {round(span)} s"
            if workflow.deadline is not None and span > seconds(workflow.deadline):
                message = f"{retries}, longer than the deadline"
                yield document.finding("deadline-too-short", message, ("deadline",))
            if operation.retention is not None and span > seconds(operation.retention):
                message = f"{retries}; its system forgets the key after {operation.retention}"
                fix = "retry less, or `repeat: find`"
                yield document.finding("deadline-too-short", message, (*place.path, "call"), fix=fix)
            for rule_ in model.reconciliations.values():
                if rule_.foil.operation == operation.name and span > seconds(rule_.foil.due):
                    message = f"{retries}; the foil `{rule_.name}` is due after {rule_.foil.due}"
                    fix = "lengthen `due`"
                    yield document.finding("deadline-too-short", message, (*place.path, "call"), fix=fix)


def _queues(failure: kinds.Failure, workflow: kinds.Workflow) -> bool:
    used = {getattr(failure, name) == "queue" for name in kinds.Failure.model_fields if name != "queue"}
    own = (reaction == "queue" for place in steps(workflow) for reaction in place.step.outcomes.values())
    return True in used or any(own)
