"""State that the parts of one OpenAPI comparison share: both documents, the findings and the declared uses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from counterfoil.contracts.json_parts import Node, as_map
from counterfoil.contracts.openapi.document import ApiDescription, ComponentUsage
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
        old: Node,
        new: Node,
        profile: Profile,
        today: date,
        declared: Mapping[str, DeclaredUse] | None = None,
    ) -> None:
        self.old = ApiDescription(old)
        self.new = ApiDescription(new)
        self.usages: tuple[ComponentUsage, ComponentUsage] | None = None
        """Use of the components by the operations of each document, once it was needed."""
        self.findings = Findings(profile, declared=declared is not None)
        self.add = self.findings.add
        self.lifecycle = Lifecycle(today=today)
        self.declared = declared
        self.thorough = declared is not None
        self.same_components = self.old.section("components") == self.new.section("components")
        """True if nothing behind a reference can have changed."""
        documents = self.old, self.new
        self.schemas = SchemaComparer(*documents, self.findings, self.lifecycle, thorough=self.thorough)
        self.fields_read: FieldSelection = EVERYTHING
        self.fields_sent: FieldSelection = EVERYTHING

    def component_usages(self) -> tuple[ComponentUsage, ComponentUsage]:
        """Return the use of the components by the operations of each document."""
        if self.usages is None:
            self.usages = ComponentUsage(self.old), ComponentUsage(self.new)
        return self.usages

    def select_fields(self, use: DeclaredUse) -> None:
        """Limit the following comparisons to the fields of one declared use."""
        self.fields_read, self.fields_sent = use.reads, use.sends

    def use(self, method: str, path: str) -> DeclaredUse | None:
        """Return the declared use of an operation; None if the consumer does not use it."""
        return DeclaredUse() if self.declared is None else self.declared.get(f"{method.upper()} {path}")

    def same_component(self, old: Any, new: Any) -> bool:
        """Return true if both refer to one component, which is compared at its own place."""
        return not self.thorough and "$ref" in as_map(old) and old["$ref"] == as_map(new).get("$ref")

    def mapping(self, node: Any, where: str) -> Node:
        """Return the node if it is an object; otherwise report it and return an empty one."""
        if node is not None and not isinstance(node, dict):
            self.add("description-unreadable", where, f"expected an object, found {type(node).__name__}")
        return as_map(node)
