"""Documents that a Run is pinned to: its workflow and all that the workflow uses."""

from __future__ import annotations

from typing import Any

from counterfoil.model import kinds
from counterfoil.model.compile.workflow import awaited_events
from counterfoil.model.document import Data
from counterfoil.model.documents import Documents
from counterfoil.model.entity_names import reads_entity, reads_region
from counterfoil.model.versions import ContractVersions
from counterfoil.model.walk import failure_steps, steps


class Closure:
    """Collects the documents that a workflow uses, directly and through other documents."""

    def __init__(self, documents: Documents, versions: ContractVersions) -> None:
        self.documents = documents
        self.versions = versions
        self.collected: dict[tuple[str, str], Data] = {}

    def of(self, workflow: str) -> list[Data]:
        definition = self.documents.workflows[workflow]
        self.add("workflow", workflow)
        self.policy(definition.failure)
        if definition.start.due:
            self.add("object", definition.start.due.object)
        if definition.start.operation:
            # For its schemas: the operation starts the workflow, which does not call it.
            self.add("operation", definition.start.operation)
        self.event(definition.start.event)
        self.event(definition.start.successor_event)
        for fact in definition.facts.values():
            if fact.head:
                self.add("object", fact.head)
            if fact.read:
                self.operation(fact.read)
            if fact.limit:
                self.policy(fact.limit)
        for signal in definition.signals:
            self.event(signal.event)
        for place in steps(definition):
            self.step(place.step)
        for event in awaited_events(self.documents, definition):
            self.casts(event)
        self.entities()
        return [self.collected[key] for key in sorted(self.collected)]

    def entities(self) -> None:
        """Add the legal entities if a formula reads one, or the region of one."""
        documents = list(self.collected.values())
        if self.documents.legal_entities and (reads_entity(documents) or reads_region(documents)):
            for name in self.documents.legal_entities:
                self.add("legal_entity", name)

    def add(self, kind: str, name: str) -> bool:
        """Add a document; return False if it is missing or was added before."""
        document = self.documents.document(kind, name)
        if document is None or (kind, name) in self.collected:
            return False
        self.collected[kind, name] = document.data
        return True

    def event(self, name: str | None) -> None:
        if name and self.add("event", name):
            subject = self.documents.events[name].object
            if subject:
                self.add("object", subject)

    def casts(self, event: str) -> None:
        """Add the other versions of an event, and the casts that lead from them to it."""
        for other in self.versions.others(event):
            for step in self.versions.path(other, event) or ():
                self.add("mapping", step.name)
                self.add("event", step.source)
                self.add("event", step.target)

    def policy(self, name: str) -> None:
        if not self.add("policy", name):
            return
        # Matrices and sums are bound late: an approval follows the matrix in force when it is requested.
        data = self.collected["policy", name]
        for part, late in (("approval", ("matrix", "negative")), ("limit", ("at_most", "negative"))):
            if part in data:
                data = data | {part: {k: v for k, v in data[part].items() if k not in late}}
        self.collected["policy", name] = data
        failure = self.documents.policies[name].failure
        if failure is not None:
            for place in failure_steps(failure):
                self.step(place.step)
            self.event(failure.queue.wake)

    def operation(self, name: str) -> None:
        if not self.add("operation", name):
            return
        for choice in self.documents.operations[name].undo or []:
            self.operation(choice.call)
        for mapping in self.documents.mappings.values():
            if mapping.to and mapping.to.operation == name:
                self.add("mapping", mapping.name)
        self.foils(name)
        for other in self.versions.others(name):
            path = self.versions.path(name, other)
            if path is not None and self.foils(other):
                for step in path:
                    self.add("mapping", step.name)
                    self.add("operation", step.target)

    def foils(self, operation: str) -> bool:
        """Add the foil rules of an operation; return False if it has none."""
        rules = [
            r
            for r in self.documents.reconciliations.values()
            if any(entry.operation == operation for _, entry in r.assertions)
        ]
        for rule in rules:
            if self.add("reconciliation", rule.name):
                for _, entry in rule.entries:
                    if entry.event is not None:
                        self.event(entry.event)
                self.add("object", rule.object)
        return bool(rules)

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
        elif isinstance(step, kinds.Check):
            if step.reserve:
                self.policy(step.reserve.limit)
        elif isinstance(step, kinds.Wait):
            self.event(step.wait.event)
        elif isinstance(step, kinds.Emit):
            self.event(step.emit)
