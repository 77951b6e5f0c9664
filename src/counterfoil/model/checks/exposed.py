"""Operations that the gateway exposes; a consumer can never bypass a workflow or an approval."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.core.finding import Finding
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.document import Document
from counterfoil.model.fields import each_field
from counterfoil.model.model import Model
from counterfoil.model.template import text_of
from counterfoil.model.typing import paths_of
from counterfoil.model.walk import steps

CALLER = "event.data.requested_by"
"""The caller, in a workflow that an operation starts; no input can set it to another person."""
MAY_CALL = "operations:own:call"


@rule("exposed-operation")
def exposed_operation(model: Model) -> Iterator[Finding]:
    """The gateway never bypasses an approval: only an operation that reads may have `exposes: read`. An operation that
    starts a workflow and that workflow name each other. An operation exposed for reading is executed by a connector
    and has an `output`, or a workflow that an event starts answers it on paper. `rate` names a policy of sort rate. `returns` is only for a workflow that an operation starts."""
    for document in model.documents:
        value = document.value
        if isinstance(value, kinds.Operation):
            yield from _operation(model, document, value)
        elif isinstance(value, kinds.Workflow):
            if value.start.operation in model.operations:
                yield from _starts(document, value, model.operations[value.start.operation or ""])
            if value.returns and value.start.operation is None:
                message = "no operation starts this workflow, so no caller receives what it returns"
                yield document.finding("exposed-operation", message, ("returns",))
        elif isinstance(value, kinds.Mapping) and value.to is not None and value.to.previews:
            workflow = model.workflows.get(value.to.previews)
            if workflow is not None and workflow.start.event is None:
                message = f"no event starts `{workflow.name}`, so it cannot be previewed"
                yield document.finding("exposed-operation", message, ("to", "previews"))


def _operation(model: Model, document: Document, value: kinds.Operation) -> Iterator[Finding]:
    if value.exposes == "read":
        if value.repeat != "read":
            fix = "use `exposes: {starts: WORKFLOW}`"
            yield document.finding("exposed-operation", f"`{value.name}` writes", ("exposes",), fix=fix)
        elif value.executor == "external":
            message = f"another integration executes `{value.name}`, so no connector can read it"
            yield document.finding("exposed-operation", message, ("exposes",))
        elif not value.output:
            message = f"`{value.name}` has no output"
            yield document.finding("exposed-operation", message, ("exposes",), fix="add `output:`")
    elif model.is_previewed(value.name):
        message = f"a workflow answers `{value.name}` on paper, and only a read is answered so"
        fix = "add `repeat: read` and `exposes: read`"
        yield document.finding("exposed-operation", message, ("exposes",), fix=fix)
    if isinstance(value.exposes, dict):
        workflow = model.workflows.get(value.exposes["starts"])
        if workflow is not None and workflow.start.operation != value.name:
            message = f"`{workflow.name}` is not started by `{value.name}`"
            yield document.finding("exposed-operation", message, ("exposes", "starts"))
    policy = model.policies.get(value.rate or "")
    if policy is not None and policy.rate is None:
        message = f"`{policy.name}` is not a policy of sort rate"
        yield document.finding("exposed-operation", message, ("rate",))


def _starts(document: Document, workflow: kinds.Workflow, operation: kinds.Operation) -> Iterator[Finding]:
    if not isinstance(operation.exposes, dict):
        message = f"`{operation.name}` does not declare that it starts this workflow"
        fix = f"add `exposes: {{starts: {workflow.name}}}` to the operation"
        yield document.finding("exposed-operation", message, ("start", "operation"), fix=fix)
    elif operation.exposes["starts"] != workflow.name:
        message = f"`{operation.name}` starts another workflow, `{operation.exposes['starts']}`"
        yield document.finding("exposed-operation", message, ("start", "operation"))


@rule("caller")
def caller(model: Model) -> Iterator[Finding]:
    """In a workflow that an operation starts, the caller is the requester: approvals use `event.data.requested_by`, which
    no input can set. A role that calls the operation never decides its approvals."""
    for document, workflow in model.documents_of(kinds.Workflow):
        if workflow.start.operation is None:
            continue
        calling = {r.name for r in model.roles.values() if workflow.start.operation in r.calls}
        for place in steps(workflow):
            step = place.step
            if not isinstance(step, kinds.Approve):
                continue
            policy = model.policies.get(step.approve)
            approval = policy.approval if policy else None
            requester = step.requester or (approval.requester if approval is not None else CALLER)
            if set(paths_of(text_of(requester)) or ()) != {CALLER}:
                message = f"the requester is `{text_of(requester)}`, which may differ from the caller"
                where = "requester" if step.requester else "approve"
                fix = f"use `requester: {CALLER}`"
                yield document.finding("caller", message, (*place.path, where), fix=fix)
            deciding = {role for tier in (approval.matrix if approval else []) for role in tier.roles}
            for role in sorted(calling & deciding):
                message = f"`{role}` calls {workflow.start.operation} and also decides in `{step.approve}`"
                fix = "give one of them another role"
                yield document.finding("caller", message, (*place.path, "approve"), fix=fix)


@rule("role-calls")
def role_calls(model: Model) -> Iterator[Finding]:
    """A role `calls` only exposed operations and has the permission `operations:own:call`. It `speaks` for the systems of
    record of all fields that the inputs must assert."""
    for document, role in model.documents_of(kinds.Role):
        if role.calls and MAY_CALL not in role.may:
            message = f"`{role.name}` lists operations in `calls` but has no permission to call"
            yield document.finding("role-calls", message, ("calls",), fix=f"add `{MAY_CALL}` to `may`")
        for position, name in enumerate(role.calls):
            operation = model.operations.get(name)
            if operation is None:
                continue
            if operation.exposes == "none":
                fix = "add `exposes:` to the operation"
                yield document.finding("role-calls", f"`{name}` is not exposed", ("calls", position), fix=fix)
            optional = {field for field, may_lack, _ in each_field(operation.input) if may_lack}
            for field, system in model.asserted_by_call(name).items():
                if field not in optional and system not in role.speaks:
                    owner = f"`{field}` of {name} belongs to {system}"
                    message = f"{owner}, for which `{role.name}` does not speak"
                    fix = f"add `speaks: [{system}]`, or make the field optional"
                    yield document.finding("role-calls", message, ("calls", position), fix=fix)
