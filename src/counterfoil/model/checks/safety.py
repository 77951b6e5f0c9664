"""Irreversible steps, and reactions to failures after them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from counterfoil.core.finding import Finding
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.checks.steps import OUTCOMES, ending
from counterfoil.model.document import Document
from counterfoil.model.model import Model
from counterfoil.model.source import Path
from counterfoil.model.walk import STEPS, BlockPlace, StepKind, inner_blocks, kind_of, steps


@rule("no-undo")
def no_undo(model: Model) -> Iterator[Finding]:
    """Every call that writes has an `undo`, or `irreversible:` with a reason, on the step or on its operation. An operation
    that only reads has neither."""
    for document, workflow in model.documents_of(kinds.Workflow):
        for place in steps(workflow):
            step = place.step
            operation = model.operation_of(step)
            if operation is None or operation.repeat == "read":
                continue
            assert isinstance(step, kinds.Call)
            if not (step.undo or step.irreversible or operation.undo or operation.irreversible):
                message = f"`{operation.name}` writes, but it has no `undo`"
                fix = "add `undo:` with a call, or `irreversible:` with the reason, to the step or the operation"
                yield document.finding("no-undo", message, (*place.path, "call"), fix=fix)
            if step.irreversible is not None and len(step.irreversible.split()) < 2:
                message = "`irreversible` needs a reason"
                yield document.finding("no-undo", message, (*place.path, "irreversible"))
    for document, operation in model.documents_of(kinds.Operation):
        if operation.irreversible is not None and len(operation.irreversible.split()) < 2:
            yield document.finding("no-undo", "`irreversible` needs a reason", ("irreversible",))
        if operation.repeat == "read" and (operation.undo or operation.irreversible):
            path: Path = ("undo",) if operation.undo else ("irreversible",)
            message = "an operation that reads has nothing to undo"
            yield document.finding("no-undo", message, path, at_key=True)


def is_irreversible(model: Model, step: StepKind) -> bool:
    """Return True if a confirmed step cannot be undone."""
    operation = model.operation_of(step)
    if operation is None or operation.repeat == "read" or not isinstance(step, kinds.Call):
        return False
    return bool(step.irreversible or (not step.undo and not operation.undo and operation.irreversible))


@rule("undo-after-irreversible")
def undo_after_irreversible(model: Model) -> Iterator[Finding]:
    """After an irreversible step, every later step has a reaction other than `undo` for each of its outcomes, its own or that
    of the failure policy."""
    for document, workflow in model.documents_of(kinds.Workflow):
        failure = model.failure_of(workflow)
        if failure is not None:
            scan = _IrreversibleScan(model, document, failure)
            scan.block(BlockPlace(workflow.steps, ("steps",), "", "steps"), "")
            yield from scan.findings


class _IrreversibleScan:
    """Scans the steps in order, with the irreversible call before each."""

    def __init__(self, model: Model, document: Document, failure: kinds.Failure) -> None:
        self.model = model
        self.document = document
        self.failure = failure
        self.findings: list[Finding] = []

    def block(self, block: BlockPlace, before: str) -> str:
        for position, entry in enumerate(block.entries):
            path = (*block.path, position)
            if not isinstance(entry, STEPS):
                if before and self._undoes(entry):
                    self._report(path, f"`undo` cannot reverse `{before}`, which is irreversible")
                continue
            if before:
                self._step(entry, path, before)
            after = before
            for inner in inner_blocks(entry, "", path):
                irreversible = self.block(inner, before)
                if not _leaves(inner):
                    after = after or irreversible
            if isinstance(entry, kinds.Call) and is_irreversible(self.model, entry):
                after = after or entry.call
            before = after
        return before

    def _step(self, step: StepKind, path: Path, before: str) -> None:
        undone = []
        for outcome in sorted(OUTCOMES[kind_of(step)]):
            own = step.outcomes.get(outcome)
            reaction = own if own is not None else getattr(self.failure, outcome)
            if self._undoes(ending(reaction)) and not isinstance(reaction, list):
                undone.append(outcome)
        if undone:
            message = f"`{before}` is irreversible, but {', '.join(undone)} of this later step would undo"
            self._report(path, message)

    def _undoes(self, verb: Any) -> bool:
        if isinstance(verb, kinds.RetryVerb):
            return verb.retry.then == "undo"
        if isinstance(verb, kinds.QueueVerb):
            return verb.queue.then == "undo"
        if verb == "retry":
            return self.failure.retry.then == "undo"
        if verb == "queue":
            return self.failure.queue.then == "undo"
        return bool(verb == "undo")

    def _report(self, path: Path, message: str) -> None:
        fix = (
            "add `outcomes` that park, queue, continue or stop, or move the step before the irreversible one"
        )
        self.findings.append(self.document.finding("undo-after-irreversible", message, path, fix=fix))


def _leaves(block: BlockPlace) -> bool:
    """Return True if a block ends in `stop` or `undo`, so that no step after it runs."""
    last = block.entries[-1] if block.entries else None
    return isinstance(last, kinds.StopVerb) or last == "undo"
