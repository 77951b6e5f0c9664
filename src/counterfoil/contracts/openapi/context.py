"""State that the parts of one OpenAPI comparison share: both documents, the findings and the declared uses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from counterfoil.contracts.openapi.document import ApiDescription
from counterfoil.contracts.openapi.findings import Findings
from counterfoil.contracts.openapi.lifecycle import Lifecycle
from counterfoil.contracts.openapi.reads import EVERYTHING, DeclaredUse, FieldSelection
from counterfoil.contracts.openapi.schema import SchemaComparer
from counterfoil.contracts.report import Profile


class ComparisonContext:
    """Documents, findings and declared uses of one comparison.

    `thorough`: a consumer declared its uses. Only these operations and fields are compared then, and components are
    compared where the operations refer to them.
    """

    def __init__(
        self,
        old: dict[str, Any],
        new: dict[str, Any],
        profile: Profile,
        today: date,
        declared: Mapping[str, DeclaredUse] | None = None,
    ) -> None:
        self.old = ApiDescription(old)
        self.new = ApiDescription(new)
        self.findings = Findings(profile, declared=declared is not None)
        self.add = self.findings.add
        self.lifecycle = Lifecycle(today=today)
        self.declared = declared
        self.thorough = declared is not None
        self.schemas = SchemaComparer(
            self.old, self.new, self.findings, self.lifecycle, thorough=self.thorough
        )
        self.fields_read: FieldSelection = EVERYTHING
        self.fields_sent: FieldSelection = EVERYTHING

    def select_fields(self, use: DeclaredUse) -> None:
        """Limit the following comparisons to the fields of one declared use."""
        self.fields_read, self.fields_sent = use.reads, use.sends

    def use(self, method: str, path: str) -> DeclaredUse | None:
        """Return the declared use of an operation; None if the consumer does not use it."""
        if self.declared is None:
            return DeclaredUse()
        return self.declared.get(f"{method.upper()} {path}")

    def same_component(self, old: Any, new: Any) -> bool:
        """Return true if both refer to one component, which is compared at its own place."""
        if self.thorough or not isinstance(old, dict) or not isinstance(new, dict):
            return False
        return "$ref" in old and old.get("$ref") == new.get("$ref")

    def mapping(self, node: Any, where: str) -> dict[str, Any]:
        """Return the node if it is an object; otherwise report it and return an empty one."""
        if node is None:
            return {}
        if isinstance(node, dict):
            return node
        self.findings.add("description-unreadable", where, f"expected an object, found {type(node).__name__}")
        return {}
