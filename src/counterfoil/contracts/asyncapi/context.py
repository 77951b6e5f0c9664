"""State that the parts of one AsyncAPI comparison share: both documents, the findings and the declared uses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from counterfoil.contracts.asyncapi.reading import target
from counterfoil.contracts.json_parts import Node, escape
from counterfoil.contracts.openapi.document import ApiDescription
from counterfoil.contracts.openapi.findings import Findings
from counterfoil.contracts.openapi.lifecycle import Lifecycle
from counterfoil.contracts.openapi.reads import DeclaredUse
from counterfoil.contracts.openapi.schema import SchemaComparer
from counterfoil.contracts.report import Profile

_TEXT_KEYS = (
    "title", "summary", "description", "tags", "externalDocs", "termsOfService", "contact", "license",
)  # fmt: skip


class AsyncApiContext:
    """Documents, findings and declared uses of one comparison.

    Schemas are followed through references: a component is compared on the side on which its messages travel, and
    reported once, at its own place.
    """

    def __init__(
        self,
        old: Node,
        new: Node,
        profile: Profile,
        today: date,
        declared: Mapping[str, DeclaredUse] | None = None,
    ) -> None:
        self.declared = declared
        self.old = ApiDescription(old)
        self.new = ApiDescription(new)
        self.findings = Findings(profile, declared=declared is not None)
        self.add = self.findings.add
        self.lifecycle = Lifecycle(today=today)
        self.schemas = SchemaComparer(self.old, self.new, self.findings, self.lifecycle, thorough=True)

    def texts(self, old: Node, new: Node, where: str) -> None:
        """Report changed texts for people, each at its place. They never matter to a program."""
        for key in _TEXT_KEYS:
            before, after = old.get(key), new.get(key)
            if before == after:
                continue
            if isinstance(before, dict) and isinstance(after, dict):
                for part in sorted({*map(str, before), *map(str, after)}):
                    if before.get(part) != after.get(part):
                        self.add("text-changed", f"{where}/{key}/{escape(part)}", "the text changed")
            else:
                self.add("text-changed", f"{where}/{key}", "the text changed")

    def bindings(self, old: Node, new: Node, where: str, noun: str) -> None:
        """Report changed protocol bindings as undecided: only the protocol defines their effect."""
        before, _ = target(self.old, old.get("bindings"), where)
        after, _ = target(self.new, new.get("bindings"), where)
        for protocol in sorted({*map(str, before), *map(str, after)}):
            if before.get(protocol) != after.get(protocol):
                message = f"the {protocol} binding changed; its effect is not decided"
                self.add(f"{noun}-binding-changed", f"{where}/bindings/{escape(protocol)}", message)
