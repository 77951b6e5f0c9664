"""What a Run is pinned to: its workflow and all that the workflow reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from counterfoil.model import kinds
from counterfoil.model.compile import workflow as compiling
from counterfoil.model.document import Data
from counterfoil.model.walk import BlockPlace, steps, steps_of

if TYPE_CHECKING:
    from counterfoil.model.model import Model


class Closure:
    """Gathers what a workflow reaches."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.found: dict[tuple[str, str], Data] = {}

    def of(self, workflow: str) -> list[Data]:
        kind = self.model.workflows[workflow]
        self.add("workflow", workflow)
        self.policy(kind.failure)
        if kind.start.due:
            self.add("object", kind.start.due.object)
        if kind.start.operation:
            self.add("operation", kind.start.operation)  # its schemas; it is begun by it and does not call it
        generation = kind.start.generation
        self.event(kind.start.event)
        self.event(generation.event if isinstance(generation, kinds.GenerationEvent) else None)
        for fact in kind.facts.values():
            if fact.head:
                self.add("object", fact.head)
            if fact.read:
                self.operation(fact.read)
            if fact.limit:
                self.policy(fact.limit)
        for signal in kind.signals:
            self.event(signal.event)
        for place in steps(kind):
            self.step(place.step)
        for event in compiling.waited_for(self.model, kind):
            self.casts(event)
        return [self.found[key] for key in sorted(self.found)]

    def add(self, kind: str, name: str) -> bool:
        """Whether it is new and there."""
        document = self.model.document(kind, name)
        if document is None or (kind, name) in self.found:
            return False
        self.found[kind, name] = document.data
        return True

    def event(self, name: str | None) -> None:
        if name and self.add("event", name):
            found = self.model.events[name].object
            if found:
                self.add("object", found)

    def casts(self, event: str) -> None:
        """What leads to it from its other versions, and those versions."""
        versions = self.model.versions
        for other in versions.others(event):
            for step in versions.path(other, event) or ():
                self.add("mapping", step.name)
                self.add("event", step.source)
                self.add("event", step.target)

    def policy(self, name: str) -> None:
        if not self.add("policy", name):
            return
        # Matrices and sums are bound late: an approval is asked under the one in force.
        data = self.found["policy", name]
        for part, late in (("approval", "matrix"), ("limit", "at_most")):
            if part in data:
                data = data | {part: {k: v for k, v in data[part].items() if k != late}}
        self.found["policy", name] = data
        failure = self.model.policies[name].failure
        if failure is not None:
            for reaction in (getattr(failure, n) for n in compiling.FAILURE_OUTCOMES):
                self.reaction(reaction)
            if failure.queue.wake:
                self.event(failure.queue.wake)

    def reaction(self, reaction: Any) -> None:
        if isinstance(reaction, list):
            for place in steps_of(BlockPlace(reaction, (), "x", "x")):
                self.step(place.step)

    def operation(self, name: str) -> None:
        if not self.add("operation", name):
            return
        for choice in self.model.operations[name].undo or []:
            self.operation(choice.call)
        for mapping in self.model.mappings.values():
            if mapping.to and mapping.to.operation == name:
                self.add("mapping", mapping.name)
        self.foils(name)
        for other in self.model.versions.others(name):
            path = self.model.versions.path(name, other)
            if path is not None and self.foils(other):
                for step in path:
                    self.add("mapping", step.name)
                    self.add("operation", step.target)

    def foils(self, operation: str) -> bool:
        """The rules by which an operation writes foils; whether there are any."""
        found = [r for r in self.model.reconciliations.values() if r.foil.operation == operation]
        for rule in found:
            if self.add("reconciliation", rule.name):
                self.event(rule.observe.event)
                self.add("object", rule.object)
        return bool(found)

    def step(self, step: Any) -> None:
        if isinstance(step, kinds.Call):
            self.operation(step.call)
            for choice in step.undo or []:
                self.operation(choice.call)
            posting = step.dates.posting if step.dates else None
            if isinstance(posting, str):
                self.policy(posting)
        elif isinstance(step, kinds.Approve):
            self.policy(step.approve)
            if step.reserve:
                self.policy(step.reserve)
        elif isinstance(step, kinds.Wait):
            self.event(step.wait.event)
        elif isinstance(step, kinds.Emit):
            self.event(step.emit)
