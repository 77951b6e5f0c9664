"""One comparison of two OpenAPI descriptions: what its parts share, and the components, each told once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from counterfoil.contracts.openapi import bodies, parameters, paths, security
from counterfoil.contracts.openapi.document import Document, Unresolved, Uses, escape
from counterfoil.contracts.openapi.findings import Findings
from counterfoil.contracts.openapi.lifecycle import Lifecycle
from counterfoil.contracts.openapi.reads import EVERYTHING, Fields, Use
from counterfoil.contracts.openapi.rules import Side
from counterfoil.contracts.openapi.schema import Place, Schemas
from counterfoil.contracts.report import Profile

_NAMED = re.compile(r"#/components/\w+/[^/]+$")
SIDES: tuple[Side, ...] = ("response", "request")
SECTIONS = ("schemas", "parameters", "headers", "requestBodies", "responses", "callbacks")


class Comparison:
    """What the parts of a comparison share. With uses declared, only these operations and fields are looked at, and
    components are compared along the way from them."""

    def __init__(
        self,
        old: dict[str, Any],
        new: dict[str, Any],
        profile: Profile,
        today: date,
        declared: Mapping[str, Use] | None = None,
    ) -> None:
        self.old = Document(old)
        self.new = Document(new)
        self.findings = Findings(profile, declared=declared is not None)
        self.lifecycle = Lifecycle(today=today)
        self.declared = declared
        self.thorough = declared is not None
        self.schemas = Schemas(self.old, self.new, self.findings, self.lifecycle, thorough=self.thorough)
        self.fields_read: Fields = EVERYTHING
        self.fields_sent: Fields = EVERYTHING

    def using(self, use: Use) -> None:
        self.fields_read, self.fields_sent = use.reads, use.sends

    def use(self, method: str, path: str) -> Use | None:
        """What is used of an operation; None when it is not used."""
        if self.declared is None:
            return Use()
        return self.declared.get(f"{method.upper()} {path}")

    def told(self, old: Any, new: Any) -> bool:
        """Whether both are one component, which is told at its own place."""
        if self.thorough or not isinstance(old, dict) or not isinstance(new, dict):
            return False
        return "$ref" in old and old.get("$ref") == new.get("$ref")

    def mapping(self, node: Any, where: str) -> dict[str, Any]:
        """An object of the description; anything else is told and read as empty."""
        if node is None:
            return {}
        if isinstance(node, dict):
            return node
        self.findings.add(
            "description-unreadable", where, f"an object was expected, not {type(node).__name__}"
        )
        return {}

    def media_types(self, old: Any, new: Any, where: str, side: Side) -> None:
        bodies.media_types(self, old, new, where, side)

    def run(self) -> None:
        paths.paths(self)
        if self.declared is None:
            paths.webhooks(self)
            security.schemes(self.findings, self.old, self.new)
            security.requirements(
                self.findings, self.old.root.get("security"), self.new.root.get("security"), "/security"
            )
            self._servers()
            self._components()

    def _servers(self) -> None:
        old, new = _urls(self.old.root), _urls(self.new.root)
        for url in sorted(old - new):
            self.findings.add("server-removed", "/servers", f"{url} is gone", detail=url)
        for url in sorted(new - old):
            self.findings.add("server-added", "/servers", f"{url} is new", detail=url)

    def _components(self) -> None:
        """Tell of each component that changed once, from the sides on which it is used."""
        old, new = self.old.section("components"), self.new.section("components")
        changed = [
            (section, str(name))
            for section in SECTIONS
            for name, node in _entries(old, section).items()
            if node != _entries(new, section).get(name)
        ]
        known = _entries(old, "schemas")
        for name in map(str, _entries(new, "schemas")):
            if name not in known:
                where = f"/components/schemas/{escape(name)}"
                self.findings.add("schema-added", where, f"schema {name} is new")
        elsewhere = [reference for reference in self.old.counted() if not _NAMED.match(reference)]
        if not changed and not elsewhere:
            return
        before, after = Uses(self.old), Uses(self.new)
        for section, name in changed:
            reference = f"#/components/{section}/{escape(name)}"
            sides = [side for side in SIDES if reference in before.by_side[side]]
            if name not in _entries(new, section):
                if section == "schemas":
                    self._removed(name, old["schemas"][name], sides)
                continue
            for side in sides:
                if reference in after.by_side[side]:
                    self._component(section, old[section][name], new[section][name], reference[1:], side)
        for reference in elsewhere:
            for side in SIDES:
                if reference in before.by_side[side] and reference in after.by_side[side]:
                    self._elsewhere(reference, side)

    def _elsewhere(self, reference: str, side: Side) -> None:
        """What is referred to and stands elsewhere, such as in a file beside the description."""
        try:
            one, other = self.old.step(reference), self.new.step(reference)
        except Unresolved:
            return  # told where it is referred to
        if one == other or self.told(one, other) or not isinstance(one, dict):
            return
        section = "schemas"
        if "in" in one and "name" in one:
            section = "parameters"
        elif "content" in one:
            section = "responses" if "description" in one and side == "response" else "requestBodies"
        self._component(section, one, other, reference.removeprefix("#"), side)

    def _component(self, section: str, old: Any, new: Any, where: str, side: Side) -> None:
        if section == "schemas":
            self.schemas.compare(old, new, Place(where=where, side=side))
            return
        one, other = self.old.follow(old), self.new.follow(new)
        if section == "parameters":
            parameters.single(self, one, other, where, flipped=side == "response")
        elif section == "headers":
            parameters.header(self, one, other, where)
        elif section == "callbacks":
            paths.callback(self, one, other, where, flipped=True)
        elif section == "requestBodies":
            bodies.body(self, one, other, where, side)
        else:
            bodies.response(self, one, other, where, side)

    def _removed(self, name: str, schema: Any, sides: list[Side]) -> None:
        """A named schema is only a name, unless it is a kind of thing that readers tell apart by its tag."""
        where = f"/components/schemas/{escape(name)}"
        tag = _tag(self.schemas, schema, fresh=False)
        others = _entries(self.new.section("components"), "schemas")
        known = _entries(self.old.section("components"), "schemas")
        renamed = tag and any(
            _tag(self.schemas, other, fresh=True) == tag
            for named, other in others.items()
            if named not in known or _tag(self.schemas, known[named], fresh=False) == tag
        )
        if tag and not renamed and "response" in sides:
            self.findings.add(
                "resource-removed", where, f"schema {name}, told apart by its {tag[0]}, is delivered no more"
            )
        else:
            self.findings.add("schema-removed", where, f"schema {name} is gone")


def _tag(schemas: Schemas, schema: Any, *, fresh: bool) -> tuple[str, str] | None:
    """The needed property that has one word as its value, and the word."""
    view = schemas.view(schema, fresh=fresh)
    for name in sorted(view.required):
        if name in view.properties:
            inner = schemas.view(view.properties[name], fresh=fresh)
            if inner.enum is not None and len(inner.enum) == 1 and isinstance(inner.enum[0], str):
                return name, inner.enum[0]
    return None


def _entries(components: dict[str, Any], section: str) -> dict[str, Any]:
    entries = components.get(section)
    return entries if isinstance(entries, dict) else {}


def _urls(root: dict[str, Any]) -> set[str]:
    servers = root.get("servers")
    if not isinstance(servers, list):
        return set()
    return {str(server["url"]) for server in servers if isinstance(server, dict) and "url" in server}
