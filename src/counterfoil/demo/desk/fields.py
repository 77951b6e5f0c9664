"""Extensions of Roundup's issues for the demonstration: fields of a credit request, statuses and permissions."""

from __future__ import annotations

from typing import Any

CREDIT_FIELDS = (
    "case_kind", "account_ref", "credit_amount", "credit_currency", "credit_reason", "incident_ref",
    "incident_on", "invoice_ref", "external_ref", "erp_document", "credit_state",
)  # fmt: skip
"""Text fields of an issue. `credit_amount` is decimal text, because Roundup's Number is a float. `incident_on` is an ISO
date, because Roundup's Date is a moment in the reader's time zone."""

CREDIT_STATUSES = ("credit-requested", "credit-approved", "credit-rejected", "credit-posted")

ROLES = {"agent": "User", "agent2": "User", "lead": "User,Approver", "orchestrator": "Integration"}
"""User names and their roles; `orchestrator` is the account that programs use."""


def extend(db: Any, string: Any, integer: Any) -> None:
    """Add fields, roles and permissions to a tracker's schema. Its schema.py calls this with Roundup's types.

    `revision` counts the committed changes of an issue, because two changes can have the same `activity` second.
    """
    issue = db.getclass("issue")
    issue.addprop(revision=integer(), **{name: string() for name in CREDIT_FIELDS})
    security = db.security
    for role, description in (("Approver", "May decide credits"), ("Integration", "Programs")):
        security.addRole(name=role, description=description)
        for access in ("Web Access", "Rest Access"):
            security.addPermissionToRole(role, access)
    for name in ("issue", "status", "priority", "msg", "file", "keyword"):
        security.addPermissionToRole("Integration", "View", name)
    for name in ("issue", "msg"):
        security.addPermissionToRole("Integration", "Create", name)
        security.addPermissionToRole("Integration", "Edit", name)
    view_user = security.addPermission(
        name="View", klass="user", properties=("id", "username", "realname", "organisation")
    )
    security.addPermissionToRole("Integration", view_user)
