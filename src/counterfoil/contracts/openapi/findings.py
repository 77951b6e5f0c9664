"""The findings of one comparison: one for each place and kind, whichever way the place was reached."""

from __future__ import annotations

from typing import Any

import msgspec

from counterfoil.contracts.openapi.rules import RULES, Side, counts
from counterfoil.contracts.report import Change, Profile

_SAME = {
    "optional-property-removed": "property-removed",
    "property-not-described": "property-removed",
    "form-field-removed": "property-removed",
    "required-property-added": "property-added",
    "required-property-with-default-added": "property-added",
    "required-property-undescribed": "property-added",
    "property-added-to-closed": "property-added",
    "property-with-default-became-required": "property-became-required",
    "extensible-enum-value-added": "enum-value-added",
}
"""Kinds that are one change, seen from the two sides."""


def subject(where: str) -> str:
    """The name of what stands at a place, as people write it: `customer.address.city`, `lines[].price`."""
    parts = where.split("/")
    if where.startswith("/components/schemas/"):
        named, rest = [parts[3]], parts[4:]
    else:
        at = max(
            (i for i, part in enumerate(parts) if part in ("schema", "payload", "headers")),
            default=len(parts),
        )
        named, rest = [], parts[at + 1 :]
    while rest:
        word = rest.pop(0)
        if word == "properties" and rest:
            named.append(rest.pop(0))
        elif word == "items" and named:
            named[-1] += "[]"
        elif word in ("oneOf", "anyOf", "prefixItems") and rest:
            rest.pop(0)
    return ".".join(named).replace("~1", "/").replace("~0", "~")


class Findings:
    """Collects changes. A component that clients both send and get has one finding for a kind of change: that of
    the side on which it breaks."""

    def __init__(self, profile: Profile, *, declared: bool = False) -> None:
        self._profile = profile
        self._declared = declared
        self._by_place: dict[tuple[str, str, str], Change] = {}
        self.excused = ""
        """Why what is found now breaks nobody, such as an operation that promises no stability yet."""

    def add(
        self, rule: str, where: str, message: str, example: Any = msgspec.UNSET, *, detail: str = ""
    ) -> None:
        """`detail` tells apart several findings of one rule at one place, such as the values of an enum."""
        counted = counts(rule, self._profile, declared=self._declared)
        breaking = counted and not self.excused
        if counted and self.excused:
            message = f"{message}; {self.excused}"
        change = Change(
            rule=rule,
            where=where,
            breaking=breaking,
            message=message,
            example=example if breaking else msgspec.UNSET,
            decided=RULES[rule].verdict != "undecided",
        )
        kind = rule.removeprefix("request-").removeprefix("response-")
        key = (where, _SAME.get(kind, kind), detail)
        known = self._by_place.get(key)
        if known is None or (breaking and not known.breaking):
            self._by_place[key] = change

    def schema(
        self,
        side: Side,
        kind: str,
        where: str,
        message: str,
        example: Any = msgspec.UNSET,
        *,
        detail: str = "",
    ) -> None:
        name = subject(where)
        told = f"{name}: {message}" if name else message
        self.add(f"{side}-{kind}", where, told, example, detail=detail)

    def beside(self, *, plain: bool = False) -> Findings:
        """An empty collection under the same profile, for findings that may be thrown away; `plain` forgets the
        excuse, so that a question is answered by the schemas alone."""
        beside = Findings("standard" if plain else self._profile, declared=self._declared)
        beside.excused = "" if plain else self.excused
        return beside

    def take(self, other: Findings) -> None:
        """Let the findings of another collection count."""
        for key, change in other._by_place.items():
            known = self._by_place.get(key)
            if known is None or (change.breaking and not known.breaking):
                self._by_place[key] = change

    def show(self, changes: list[Change], example: Any) -> None:
        """Let an instance be the example of breaking changes that are told already."""
        for key, change in self._by_place.items():
            if change in changes and change.breaking:
                self._by_place[key] = msgspec.structs.replace(change, example=example)

    @property
    def breaking(self) -> bool:
        return any(change.breaking for change in self._by_place.values())

    @property
    def harmless(self) -> bool | None:
        """Whether nothing breaks; None when nothing breaks as far as it could be decided."""
        if self.breaking:
            return False
        return True if all(change.decided for change in self._by_place.values()) else None

    def changes(self) -> list[Change]:
        return sorted(self._by_place.values(), key=lambda change: (change.where, change.rule))
