"""Producers and consumers of an event or operation, as the governance files declare them."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.model import Model, kinds
from counterfoil.model.compile.workflow import awaited_events
from counterfoil.model.walk import steps


def producers(model: Model, event: str) -> list[str]:
    """Return `mapping:NAME` and `workflow:NAME` that emit the event, and `http` or `counterfoil` if so declared."""
    names = {f"mapping:{mapping.name}" for mapping in model.producers(event)}
    for name, workflow in model.workflows.items():
        if any(isinstance(place.step, kinds.Emit) and place.step.emit == event for place in steps(workflow)):
            names.add(f"workflow:{name}")
    declared = model.events[event].produced
    return sorted(names) + ([declared] if declared in ("http", "counterfoil") else [])


def consumers(model: Model, event: str) -> list[str]:
    """Return `workflow:NAME` and `reconciliation:NAME` that name the event: to start, wait, wake, or write and match foils."""
    names = set()
    for name, workflow in model.workflows.items():
        start = workflow.start
        later = start.generation.event if isinstance(start.generation, kinds.GenerationEvent) else None
        if event in (start.event, later) or event in awaited_events(model, workflow):
            names.add(f"workflow:{name}")
    for name, rule in model.reconciliations.items():
        if any(event == entry.event for _, entry in rule.entries):
            names.add(f"reconciliation:{name}")
    return sorted(names)


def implementers(model: Model, operation: str) -> list[str]:
    """Return the mapping to its system, the workflow that a call of it starts, and the system itself."""
    names = {f"mapping:{m.name}" for m in model.mappings.values() if m.to and m.to.operation == operation}
    kind = model.operations[operation]
    if isinstance(kind.exposes, dict):
        names.add(f"workflow:{kind.exposes['starts']}")
    return [*sorted(names), f"system:{kind.system}"]


def callers(model: Model, operation: str) -> list[str]:
    """Return the users of an operation: workflows (call, read, undo), mappings (fetch) and reconciliations (foils)."""
    workflows = model.workflows.items()
    names = {f"workflow:{name}" for name, kind in workflows if operation in _calls(model, kind)}
    for name, mapping in model.mappings.items():
        if mapping.fetch is not None and mapping.fetch.call == operation:
            names.add(f"mapping:{name}")
    for name, rule in model.reconciliations.items():
        if any(entry.operation == operation for _, entry in rule.assertions):
            names.add(f"reconciliation:{name}")
    return sorted(names)


def _calls(model: Model, workflow: kinds.Workflow) -> Iterator[str]:
    yield from (fact.read for fact in workflow.facts.values() if fact.read)
    for place in steps(workflow):
        if not isinstance(place.step, kinds.Call):
            continue
        yield place.step.call
        called = model.operations.get(place.step.call)
        undo = place.step.undo if place.step.undo is not None else called.undo if called is not None else None
        yield from (choice.call for choice in undo or ())
