"""Counterfoils and time: each can be observed, and no deadline ends before the retries that it holds."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.core.finding import Finding
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.checks.steps import workflows
from counterfoil.model.kinds import seconds
from counterfoil.model.model import Model
from counterfoil.model.source import Path
from counterfoil.model.walk import steps


@rule("foil-unobserved")
def foil_unobserved(model: Model) -> Iterator[Finding]:
    """Every foil can be observed: a mapping of its right system emits the event that matches it, or the event comes over
    `http` or from `counterfoil` itself. An event that a workflow emits says nothing about another system."""
    broken = any(kind == "mapping" for kind, _ in model.broken)
    for document in model.documents:
        found = document.value
        if not isinstance(found, kinds.Reconciliation):
            continue
        event = model.events.get(found.observe.event)
        if event is None or event.produced in ("http", "counterfoil") or broken:
            continue
        systems = {m.from_.system for m in model.producers(event.name) if m.from_}
        if found.right not in systems:
            who = f"only {', '.join(sorted(systems))} does" if systems else "nothing does"
            message = f"no mapping of {found.right} emits `{event.name}`: {who}"
            fix = f"write a mapping from {found.right} that emits it"
            yield document.finding("foil-unobserved", message, ("observe", "event"), fix=fix)


@rule("foil-form")
def foil_form(model: Model) -> Iterator[Finding]:
    """A foil is written by exactly one of an event and an operation, lies between two different systems, an operation's
    foil belongs to one that writes to either of them, and both sides have the same legs."""
    for document in model.documents:
        found = document.value
        if not isinstance(found, kinds.Reconciliation):
            continue
        if (found.foil.event is None) == (found.foil.operation is None):
            yield document.finding(
                "foil-form", "a foil has either `event` or `operation`", ("foil",), at_key=True
            )
        if found.left == found.right:
            yield document.finding("foil-form", "both sides are the same system", ("right",))
        if not found.foil.legs:
            yield document.finding("foil-form", "a foil has at least one leg", ("foil", "legs"))
        operation = model.operations.get(found.foil.operation or "")
        if operation is not None:
            path: Path = ("foil", "operation")
            if operation.repeat == "read":
                yield document.finding("foil-form", f"`{operation.name}` only reads", path)
            if operation.system not in (found.left, found.right):
                message = f"`{operation.name}` writes to {operation.system}, on neither side"
                yield document.finding("foil-form", message, path)
        for leg in found.foil.legs.keys() ^ found.observe.legs.keys():
            side = "foil" if leg in found.foil.legs else "observe"
            message = f"the leg `{leg}` stands on one side only"
            yield document.finding("foil-form", message, (side, "legs", leg), at_key=True)


def retry_span(retry: kinds.Retry, timeout: float) -> float:
    """Seconds from the first attempt to the end of the last, the longest that retrying can take."""
    first, cap = seconds(retry.first), seconds(retry.cap)
    waits = sum(min(cap, first * float(2**n)) for n in range(min(retry.attempts - 1, 64)))
    waits += cap * max(0, retry.attempts - 65)
    return waits + retry.attempts * timeout


@rule("deadline-too-short")
def deadline_too_short(model: Model) -> Iterator[Finding]:
    """Deadlines contain the retries: a workflow's `deadline` and the `due` of a foil that its call writes are not over
    while the failure policy still retries or queues the call, and a vendor remembers an idempotency key (`retention`)
    until the last retry."""
    for document, workflow in workflows(model):
        policy = model.policies.get(workflow.failure)
        if policy is None or policy.failure is None:
            continue
        queued = seconds(policy.failure.queue.until) if _queues(policy.failure, workflow) else 0.0
        if workflow.deadline is not None and queued > seconds(workflow.deadline):
            message = f"the deadline ends before the queue of `{workflow.failure}` does ({policy.failure.queue.until})"
            yield document.finding(
                "deadline-too-short", message, ("deadline",), fix="lengthen it, or shorten the queue"
            )
        for place in steps(workflow):
            operation = model.operations.get(place.step.call) if isinstance(place.step, kinds.Call) else None
            if operation is None or operation.repeat == "read":
                continue
            span = retry_span(policy.failure.retry, seconds(operation.timeout))
            shown = f"retries of `{operation.name}` may take {round(span)} s"
            if workflow.deadline is not None and span > seconds(workflow.deadline):
                yield document.finding(
                    "deadline-too-short", f"{shown}, longer than the deadline", ("deadline",)
                )
            if operation.retention is not None and span > seconds(operation.retention):
                message = f"{shown}; its system forgets the key after {operation.retention}"
                yield document.finding(
                    "deadline-too-short", message, (*place.path, "call"), fix="retry less, or `repeat: find`"
                )
            for rule_ in model.reconciliations.values():
                if rule_.foil.operation == operation.name and span > seconds(rule_.foil.due):
                    message = f"{shown}; the foil `{rule_.name}` is due after {rule_.foil.due}"
                    yield document.finding(
                        "deadline-too-short", message, (*place.path, "call"), fix="lengthen `due`"
                    )


def _queues(failure: kinds.Failure, workflow: kinds.Workflow) -> bool:
    used = {getattr(failure, name) == "queue" for name in kinds.Failure.model_fields if name != "queue"}
    own = (reaction == "queue" for place in steps(workflow) for reaction in place.step.outcomes.values())
    return True in used or any(own)
