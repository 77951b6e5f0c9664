"""Order of an OpenAPI comparison: what is compared, and at which places components are compared once."""

from __future__ import annotations

import re
from typing import Any

from counterfoil.contracts.json_parts import Node, as_list, as_map, escape
from counterfoil.contracts.openapi import bodies, overlaps, parameters, paths, security
from counterfoil.contracts.openapi.context import ComparisonContext
from counterfoil.contracts.openapi.document import UnresolvedReference
from counterfoil.contracts.openapi.inheritance import Inheritance
from counterfoil.contracts.openapi.rules import Side
from counterfoil.contracts.openapi.schema import SchemaComparer, SchemaPlace

_COMPONENT_REFERENCE = re.compile(r"#/components/\w+/[^/]+$")
SIDES: tuple[Side, ...] = ("response", "request")
SECTIONS = ("schemas", "parameters", "headers", "requestBodies", "responses", "callbacks")


class OpenApiComparison:
    """Comparison of two OpenAPI descriptions: paths, webhooks, security, servers, and each changed component once."""

    def __init__(self, context: ComparisonContext) -> None:
        self.context = context
        self.old, self.new = context.old, context.new
        self.findings, self.schemas = context.findings, context.schemas

    def run(self) -> None:
        """Compare everything, or only what the consumer declared; fills the findings of the context."""
        paths.paths(self.context)
        if self.context.declared is None:
            paths.webhooks(self.context)
            security.schemes(self.findings, self.old, self.new)
            before, after = self.old.root.get("security"), self.new.root.get("security")
            security.requirements(self.findings, (self.old, self.new), before, after, "/security")
            self._servers()
            self._components()

    def _servers(self) -> None:
        old, new = _urls(self.old.root), _urls(self.new.root)
        for url in sorted(old - new):
            self.context.add("server-removed", "/servers", f"server {url} was removed", detail=url)
        for url in sorted(new - old):
            self.context.add("server-added", "/servers", f"server {url} was added", detail=url)

    def _components(self) -> None:
        """Compare each changed component once, for each side on which operations use it."""
        old, new = self.old.section("components"), self.new.section("components")
        changed = [
            (section, str(name))
            for section in SECTIONS
            for name, node in as_map(old.get(section)).items()
            if node != as_map(new.get(section)).get(name)
        ]
        old_schemas = as_map(old.get("schemas"))
        for name in map(str, as_map(new.get("schemas"))):
            if name not in old_schemas:
                where = f"/components/schemas/{escape(name)}"
                self.context.add("schema-added", where, f"schema {name} was added")
        outside = [name for name in self.old.reference_counts() if not _COMPONENT_REFERENCE.match(name)]
        if not changed and not outside:
            return
        before, after = self.context.component_usages()
        for section, name in changed:
            reference = f"#/components/{section}/{escape(name)}"
            sides = [side for side in SIDES if reference in before.by_side[side]]
            if name not in as_map(new.get(section)):
                if section == "schemas":
                    self._report_removed_schema(name, old["schemas"][name], sides)
                continue
            for side in sides if section != "schemas" else ():
                if reference in after.by_side[side]:
                    self._component(section, old[section][name], new[section][name], reference[1:], side)
        for side in SIDES:
            Inheritance(self.context, side, before.by_side[side] & after.by_side[side]).run()
        overlaps.compare(self.context)
        for reference in outside:
            for side in SIDES:
                if reference in before.by_side[side] and reference in after.by_side[side]:
                    self._outside_component(reference, side)

    def _outside_component(self, reference: str, side: Side) -> None:
        """Compare a node that is referred to outside of the components, such as in a bundled file."""
        try:
            old, new = self.old.step(reference), self.new.step(reference)
        except UnresolvedReference as error:
            if not self.findings.has_detail(str(error)):  # else reported at the place of the reference
                self.context.add(f"{side}-reference-unresolved", reference, str(error), detail=str(error))
            return
        if old == new or self.context.same_component(old, new) or not isinstance(old, dict):
            return
        section = "schemas"
        if "in" in old and "name" in old:
            section = "parameters"
        elif "content" in old:
            section = "responses" if "description" in old and side == "response" else "requestBodies"
        self._component(section, old, new, reference.removeprefix("#"), side)

    def _component(self, section: str, old: Any, new: Any, where: str, side: Side) -> None:
        if section == "schemas":
            self.schemas.compare(old, new, SchemaPlace(where=where, side=side))
            return
        old_node, new_node = self.old.follow(old), self.new.follow(new)
        if section == "parameters":
            parameters.single(self.context, old_node, new_node, where, flipped=side == "response")
        elif section == "headers":
            bodies.header(self.context, old_node, new_node, where)
        elif section == "callbacks":
            paths.callback(self.context, old_node, new_node, where, flipped=True)
        elif section == "requestBodies":
            bodies.body(self.context, old_node, new_node, where, side)
        else:
            bodies.response(self.context, old_node, new_node, where, side)

    def _report_removed_schema(self, name: str, schema: Any, sides: list[Side]) -> None:
        """Report a removed schema; as `resource-removed` if clients recognise its values by a tag property."""
        where = f"/components/schemas/{escape(name)}"
        tag = _tag(self.schemas, schema, fresh=False)
        others = self.new.section("components", "schemas")
        old_schemas = self.old.section("components", "schemas")
        renamed = tag and any(
            _tag(self.schemas, other, fresh=True) == tag
            for other_name, other in others.items()
            if other_name not in old_schemas
            or _tag(self.schemas, old_schemas[other_name], fresh=False) == tag
        )
        if tag and not renamed and "response" in sides:
            message = f"schema {name}, identified by its {tag[0]}, is not delivered any more"
            self.context.add("resource-removed", where, message)
        else:
            self.context.add("schema-removed", where, f"schema {name} was removed")


def _tag(schemas: SchemaComparer, schema: Any, *, fresh: bool) -> tuple[str, str] | None:
    """Return the required property that has one allowed text, and the text."""
    view = schemas.view(schema, fresh=fresh)
    for name in sorted(view.required):
        if name in view.properties:
            inner = schemas.view(view.properties[name], fresh=fresh)
            if inner.enum is not None and len(inner.enum) == 1 and isinstance(inner.enum[0], str):
                return name, inner.enum[0]
    return None


def _urls(root: Node) -> set[str]:
    servers = as_list(root.get("servers"))
    return {str(server["url"]) for server in servers if isinstance(server, dict) and "url" in server}
