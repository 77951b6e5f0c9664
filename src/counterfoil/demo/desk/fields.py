"""What the demonstration's issues have beyond Roundup's own: fields of a credit request, statuses and rights."""

from __future__ import annotations

from typing import Any

CREDIT_FIELDS = (
    "case_kind",
    "account_ref",
    "credit_amount",
    "credit_currency",
    "credit_reason",
    "incident_ref",
    "incident_on",
    "invoice_ref",
    "external_ref",
    "erp_document",
    "credit_state",
)
"""All text. `credit_amount` is decimal text, because Roundup's Number is a float; `incident_on` is an ISO date,
because Roundup's Date is a moment in the reader's time zone."""

CREDIT_STATUSES = ("credit-requested", "credit-approved", "credit-rejected", "credit-posted")

ROLES = {
    "agent": "User",
    "agent2": "User",
    "lead": "User,Approver",
    "orchestrator": "Integration",
}
"""User names and their roles; `orchestrator` is the account that programs use."""


def extend(db: Any, string: Any, integer: Any) -> None:
    """Add fields, roles and rights to a tracker's schema; called from its schema.py with Roundup's own types.

    `revision` counts the committed changes of an issue: Roundup's `activity` shows seconds, which two changes
    can share.
    """
    issue = db.getclass("issue")
    issue.addprop(revision=integer(), **{name: string() for name in CREDIT_FIELDS})
    rights = db.security
    for role, description in (("Approver", "May decide credits"), ("Integration", "Programs")):
        rights.addRole(name=role, description=description)
        for access in ("Web Access", "Rest Access"):
            rights.addPermissionToRole(role, access)
    for name in ("issue", "status", "priority", "msg", "file", "keyword"):
        rights.addPermissionToRole("Integration", "View", name)
    for name in ("issue", "msg"):
        rights.addPermissionToRole("Integration", "Create", name)
        rights.addPermissionToRole("Integration", "Edit", name)
    seen = rights.addPermission(
        name="View", klass="user", properties=("id", "username", "realname", "organisation")
    )
    rights.addPermissionToRole("Integration", seen)
