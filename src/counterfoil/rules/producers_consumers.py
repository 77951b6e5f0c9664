"""Who produces and who takes an event or operation, as the files say."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.model import Model, kinds
from counterfoil.model.compile.workflow import awaited_events
from counterfoil.model.walk import steps


def producers(model: Model, event: str) -> list[str]:
    """`mapping:NAME` and `workflow:NAME` that emit it; `http` or `counterfoil` where its declaration says so."""
    found = {f"mapping:{mapping.name}" for mapping in model.producers(event)}
    for name, workflow in model.workflows.items():
        if any(isinstance(place.step, kinds.Emit) and place.step.emit == event for place in steps(workflow)):
            found.add(f"workflow:{name}")
    said = model.events[event].produced
    return sorted(found) + ([said] if said in ("http", "counterfoil") else [])


def consumers(model: Model, event: str) -> list[str]:
    """`workflow:NAME` and `reconciliation:NAME` that name it: to begin, to wait, to be woken, to write or match foils."""
    found = set()
    for name, workflow in model.workflows.items():
        begins = workflow.start
        later = begins.generation.event if isinstance(begins.generation, kinds.GenerationEvent) else None
        if event in (begins.event, later) or event in awaited_events(model, workflow):
            found.add(f"workflow:{name}")
    for name, rule in model.reconciliations.items():
        if event in (rule.foil.event, rule.observe.event):
            found.add(f"reconciliation:{name}")
    return sorted(found)


def implementers(model: Model, operation: str) -> list[str]:
    """The mapping to its system, the workflow that a call of it starts, and the system itself."""
    found = {f"mapping:{m.name}" for m in model.mappings.values() if m.to and m.to.operation == operation}
    kind = model.operations[operation]
    if isinstance(kind.exposes, dict):
        found.add(f"workflow:{kind.exposes['starts']}")
    return [*sorted(found), f"system:{kind.system}"]


def callers(model: Model, operation: str) -> list[str]:
    """`workflow:NAME` that call, read or undo by it, `mapping:NAME` that fetch by it, `reconciliation:NAME` of its foils."""
    found = {
        f"workflow:{name}"
        for name, workflow in model.workflows.items()
        if operation in _calls(model, workflow)
    }
    for name, mapping in model.mappings.items():
        if mapping.fetch is not None and mapping.fetch.call == operation:
            found.add(f"mapping:{name}")
    for name, rule in model.reconciliations.items():
        if rule.foil.operation == operation:
            found.add(f"reconciliation:{name}")
    return sorted(found)


def _calls(model: Model, workflow: kinds.Workflow) -> Iterator[str]:
    yield from (fact.read for fact in workflow.facts.values() if fact.read)
    for place in steps(workflow):
        if not isinstance(place.step, kinds.Call):
            continue
        yield place.step.call
        called = model.operations.get(place.step.call)
        undo = place.step.undo if place.step.undo is not None else called.undo if called is not None else None
        yield from (choice.call for choice in undo or ())
