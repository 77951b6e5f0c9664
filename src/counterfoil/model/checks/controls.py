"""Controls: their enforcement, and documents without a control."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from counterfoil.core.finding import Finding
from counterfoil.model import kinds
from counterfoil.model.checks.references import references
from counterfoil.model.checks.registry import RULES, rule
from counterfoil.model.model import Model
from counterfoil.model.source import Path
from counterfoil.model.walk import steps

Used: TypeAlias = set[tuple[str, str]]
"""Kinds and names of documents that workflows use."""


@dataclass(frozen=True, slots=True)
class Enforcement:
    """One entry of `enforced_by`; `fault` says why it enforces nothing, empty if it does."""

    kind: str
    name: str
    step: str
    fault: str
    path: Path


@dataclass(frozen=True, slots=True, order=True)
class Uncontrolled:
    """A document that moves money or decides about it, and that no control names."""

    kind: str
    name: str
    why: str


def enforcements(model: Model) -> dict[str, list[Enforcement]]:
    """Return the enforcement of each control, in the order of the file."""
    used = _used(model)
    return {
        name: [_enforcement(model, used, *part) for part in enumerate(control.enforced_by)]
        for name, control in model.of_kind(kinds.Control).items()
    }


def _enforcement(model: Model, used: Used, position: int, enforced: kinds.Enforced) -> Enforcement:
    for kind in ("workflow", "policy", "reconciliation", "operation", "check"):
        name = getattr(enforced, kind)
        if name is not None:
            fault = _fault(model, used, kind, name, enforced.step)
            key = "step" if enforced.step is not None and model.has("workflow", name) else kind
            return Enforcement(kind, name, enforced.step or "", fault, ("enforced_by", position, key))
    raise AssertionError("the form allows no other kind")


def _fault(model: Model, used: Used, kind: str, name: str, step: str | None) -> str:
    if kind == "check":
        return "" if name in RULES else f"`check` has no rule `{name}`"
    if not model.has(kind, name):
        return f"there is no {kind} `{name}`"
    if kind == "workflow" and step is not None and name in model.workflows:
        places = list(steps(model.workflows[name]))
        if step not in {place.name for place in places} | {place.step.id for place in places}:
            return f"the workflow `{name}` has no step `{step}`"
    if kind in ("policy", "operation") and (kind, name) not in used:
        return f"no workflow uses the {kind} `{name}`"
    return ""


def _used(model: Model) -> Used:
    """Return the policies and operations that workflows name, the operations that undo those, and reconciliations' policies."""
    documents = [document for document, _ in model.documents_of(kinds.Workflow)]
    used = {(kind, name) for document in documents for kind, name, _ in references(document)}
    for rule_ in model.reconciliations.values():
        used |= {("policy", name) for name in (rule_.waive, rule_.pair) if name is not None}
    for kind, name in tuple(used):
        operation = model.operations.get(name) if kind == "operation" else None
        used |= {("operation", choice.call) for choice in (operation.undo or [] if operation else [])}
    return used


def uncontrolled(model: Model) -> list[Uncontrolled]:
    """Return the approvals, limits, reconciliations and writing workflows that no control names, sorted."""
    named = {(entry.kind, entry.name) for entries in enforcements(model).values() for entry in entries}
    missing = []
    for policy in model.policies.values():
        if (policy.approval or policy.limit) and ("policy", policy.name) not in named:
            missing.append(Uncontrolled("policy", policy.name, "decides about money"))
    for name in model.reconciliations:
        if ("reconciliation", name) not in named:
            missing.append(Uncontrolled("reconciliation", name, "defines what another system must show"))
    for workflow in model.workflows.values():
        writes = sorted(_writes(model, workflow))
        reached = {("workflow", workflow.name), *(("operation", name) for name in writes)}
        if writes and not reached & named:
            missing.append(Uncontrolled("workflow", workflow.name, f"writes with {', '.join(writes)}"))
    return sorted(missing)


def _writes(model: Model, workflow: kinds.Workflow) -> set[str]:
    calls = {place.step.call for place in steps(workflow) if isinstance(place.step, kinds.Call)}
    return {name for name in calls if name in model.operations and model.operations[name].repeat != "read"}


@rule("control-enforced")
def control_enforced(model: Model) -> Iterator[Finding]:
    """Every control is enforced by a step of a workflow, a policy or an operation that a workflow uses, a reconciliation,
    or a rule of `check`; and everything that it names exists."""
    for name, entries in enforcements(model).items():
        document = model.document("control", name)
        assert document is not None
        for entry in entries:
            if entry.fault:
                yield document.finding("control-enforced", entry.fault, entry.path)
        if not entries:
            fix = "add `enforced_by:` with a workflow, policy, reconciliation, operation or check"
            message = f"nothing enforces the control `{name}`"
            yield document.finding("control-enforced", message, ("name",), fix=fix)


@rule("no-control")
def no_control(model: Model) -> Iterator[Finding]:
    """A folder with controls has them for everything that moves money: a control names every approval, limit and
    reconciliation, and every workflow that writes. A warning."""
    enforced = enforcements(model).values()
    wrong = model.has_broken("control") or any(entry.fault for entries in enforced for entry in entries)
    if not all(enforced) or not enforced or wrong:
        return  # a faulty control may mean to name any document
    for gap in uncontrolled(model):
        document = model.document(gap.kind, gap.name)
        if document is not None:
            message = f"no control names the {gap.kind} `{gap.name}`, which {gap.why}"
            fix = "name it in `enforced_by` of the control that it enforces, or add a control for its risk"
            yield document.finding("no-control", message, ("name",), severity="warning", fix=fix)
