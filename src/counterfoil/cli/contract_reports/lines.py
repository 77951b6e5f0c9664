"""Lines of changes in the revision's text, for annotations."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from counterfoil.cli.contract_reports.changes import JudgedChange
from counterfoil.cli.contract_reports.groups import place_of
from counterfoil.contracts.json_parts import unescape

_SWAGGER = {"schemas": "definitions", "securitySchemes": "securityDefinitions"}


class RevisionLines:
    """Finder of the line of a change; of the nearest part around it if the revision has no such part."""

    def __init__(self, data: bytes, prefix: str = "") -> None:
        self._data = data
        self._prefix = prefix
        """Prefix of the paths that the comparison does not see."""

    def __call__(self, item: JudgedChange) -> int:
        """Return the line, from 1."""
        from counterfoil.contracts.lint.places import place

        if self._root is None:
            return 1
        return max(place(self._root, path)[0] for path in self._paths(item))

    @cached_property
    def _root(self) -> Any:
        from counterfoil.contracts.lint.places import compose

        return compose(self._data.decode("utf-8-sig", "replace"))

    def _paths(self, item: JudgedChange) -> list[tuple[str | int, ...]]:
        """Return the paths at which the text may have the part; a 2.0 description has its components elsewhere."""
        change = item.change
        if change.where.startswith("/") and not change.rule.startswith("path-"):
            steps = _steps(change.where)
            if steps[:1] == ["components"] and len(steps) > 1:
                return [tuple(steps), (_SWAGGER.get(str(steps[1]), steps[1]), *steps[2:])]
            return [tuple(steps)]
        place = place_of(item)
        if place.kind == "path":
            return [("paths", f"{self._prefix}{place.name}")]
        method, _, path = place.name.partition(" ")
        inside = _steps(place.inside)
        if path.startswith("webhook "):
            return [("webhooks", path.removeprefix("webhook "), method.lower(), *inside)]
        return [("paths", f"{self._prefix}{path}", method.lower(), *inside)]


def _steps(pointer: str) -> list[str | int]:
    return [int(step) if step.isdigit() else unescape(step) for step in pointer.split("/")[1:]]
