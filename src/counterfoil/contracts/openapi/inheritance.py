"""Components that are made of other components (`allOf`), where a fact may move between the two.

A component and its parts are compared at their own places, each as if the other had not changed. A property that moves
from one to the other would then be removed at one place. Here both are compared as a whole: what the whole keeps is not
lost, and what the whole loses is reported with the verdict that it has there.
"""

from __future__ import annotations

from collections.abc import Iterable

from counterfoil.contracts.json_parts import escape
from counterfoil.contracts.openapi.context import ComparisonContext
from counterfoil.contracts.openapi.findings import Findings
from counterfoil.contracts.openapi.rules import Side
from counterfoil.contracts.openapi.schema import SchemaPlace, parts, parts_of

_PREFIX = "#/components/schemas/"


class Inheritance:
    """Comparison of the schemas of `components/schemas` of one side, with the schemas that they are made of."""

    def __init__(self, context: ComparisonContext, side: Side, used: Iterable[str]) -> None:
        self.context, self.side = context, side
        self._old = context.old.section("components", "schemas")
        self._new = context.new.section("components", "schemas")
        self._findings: dict[str, Findings] = {}
        self._whole: dict[str, Findings] = {}
        common = (f"{_PREFIX}{escape(str(name))}" for name in self._old if name in self._new)
        self._used = [reference for reference in common if reference in set(used)]
        """References to the schemas that both documents use on this side."""
        self._children: dict[str, list[str]] = {}
        self._only_part: dict[str, bool] = {}

    def run(self) -> None:
        """Compare each schema that changed, or whose parts changed; add the findings to those of the context."""
        nodes = {reference: self._nodes(reference) for reference in self._used}
        for reference, (old, new) in nodes.items():
            if old != new:
                self._findings[reference] = self.context.schemas.separately(old, new, self._place(reference))
            if self.context.schemas.has_changed_parts(old, new):
                self._whole[reference] = self.context.schemas.whole(old, new, self._place(reference))
                for part in parts(old) & parts(new):
                    self._children.setdefault(part, []).append(reference)
        for reference, findings in self._findings.items():
            if self._is_only_part(reference):
                findings.keep(lambda where, at=reference: self._some_child_has(at, where))  # type: ignore[misc]  # a default binds it
        for reference, whole in self._whole.items():
            self._report_stronger(reference, whole)
        for findings in self._findings.values():
            self.context.findings.merge(findings)

    def _nodes(self, reference: str) -> tuple[object, object]:
        return self.context.old.step(reference), self.context.new.step(reference)

    def _place(self, reference: str) -> SchemaPlace:
        return SchemaPlace(where=reference[1:], side=self.side)

    def _is_only_part(self, reference: str) -> bool:
        """Return true if every reference to a schema makes it a part of a component that both documents use."""
        for document in (self.context.old, self.context.new):
            as_part = sum(parts_of(document.step(child)).count(reference) for child in self._used)
            if as_part != document.reference_counts()[reference]:
                return False
        return bool(self._children.get(reference))

    def _some_child_has(self, reference: str, where: str) -> bool:
        rest = where.removeprefix(reference[1:])
        return any(self._whole[child].is_serious(child[1:] + rest) for child in self._children[reference])

    def _report_stronger(self, reference: str, whole: Findings) -> None:
        """Report what breaks the whole, where neither the schema nor a part has a finding of that strength."""
        own = self._findings.setdefault(reference, self.context.findings.empty_copy())
        bases = [(part, self._findings[part]) for part in self._parts(reference) if part in self._findings]
        for key, change in whole.items():
            strength, rest = whole.strength(key), key[0].removeprefix(reference[1:])
            similar = [
                own.strength(key),
                *(base.strength((part[1:] + rest, *key[1:])) for part, base in bases),
            ]
            elsewhere = own.is_serious(key[0]) or any(
                base.is_serious(part[1:] + rest) for part, base in bases
            )
            if max(similar) < strength and (max(similar) or not elsewhere):
                own.put(key, change)

    def _parts(self, reference: str) -> set[str]:
        """Return the schemas that a schema is made of, with their parts."""
        pending, components = [reference], set[str]()
        while pending:
            old, new = self._nodes(pending.pop())
            fresh = {part for part in parts(old) & parts(new) if part in self._used} - components
            components |= fresh
            pending.extend(fresh)
        return components
