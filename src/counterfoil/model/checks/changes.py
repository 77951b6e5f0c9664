"""Approval of changes of the governance itself, and renamed steps."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.core.finding import Finding
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.checks.steps import workflows
from counterfoil.model.model import Model
from counterfoil.model.walk import steps


@rule("change-policy")
def change_policy(model: Model) -> Iterator[Finding]:
    """One policy names the approvers of changes, and only roles that may decide approvals."""
    policies = [
        d for d in model.documents if isinstance(d.value, kinds.Policy) and d.value.change is not None
    ]
    for document in policies[1:]:
        yield document.finding(
            "change-policy",
            f"`{policies[0].name}` already names the approvers of changes",
            ("change",),
            at_key=True,
            fix="put all rules into one policy",
        )
    for document in policies:
        assert isinstance(document.value, kinds.Policy)
        assert document.value.change is not None
        for position, change_rule in enumerate(document.value.change.approve):
            for at, name in enumerate(change_rule.roles):
                role = model.roles.get(name)
                if role is not None and "approvals:own:decide" not in role.may:
                    yield document.finding(
                        "change-policy",
                        f"`{name}` may not decide approvals",
                        ("change", "approve", position, "roles", at),
                        fix=f"give `{name}` the permission approvals:own:decide, or name another role",
                    )


@rule("moved-step")
def moved_step(model: Model) -> Iterator[Finding]:
    """`moved` maps the former name of a step to its present name. No step may still have the former name."""
    for document, workflow in workflows(model):
        names = {place.name for place in steps(workflow)}
        for old, new in workflow.moved.items():
            if new not in names:
                yield document.finding("moved-step", f"there is no step `{new}`", ("moved", old))
            if old in names:
                message = f"`{old}` is still the name of a step: a moved step must leave its former name"
                yield document.finding("moved-step", message, ("moved", old), at_key=True)
