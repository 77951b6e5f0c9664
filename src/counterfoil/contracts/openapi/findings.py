"""Findings of one comparison: one for each place and kind, on whichever path the place was reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from counterfoil.contracts.json_parts import unescape
from counterfoil.contracts.openapi.rules import RULES, Side, Verdict, counts
from counterfoil.contracts.report import Change, Profile

_SAME_KIND = {
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
"""Kinds that are one change: name on one side to common name."""


_AROUND = frozenset(
    ("property-removed", "property-added", "property-became-required", "property-became-optional")
)
"""Kinds whose example is the object around the property."""
Key: TypeAlias = tuple[str, str, str]
"""Place, common kind and detail of a change."""
STRENGTHS: tuple[Verdict, ...] = ("never", "strict", "undecided", "relied", "breaks")


def subject(where: str) -> str:
    """Return the readable name of a place: `customer.address.city`, `lines[].price`."""
    parts = where.split("/")
    if where.startswith("/components/schemas/"):
        names, rest = [parts[3]], parts[4:]
    else:
        start = max(
            (i for i, part in enumerate(parts) if part in ("schema", "payload", "headers")),
            default=len(parts),
        )
        names, rest = [], parts[start + 1 :]
    while rest:
        word = rest.pop(0)
        if word == "properties" and rest:
            names.append(rest.pop(0))
        elif word == "items" and names:
            names[-1] += "[]"
        elif word in ("oneOf", "anyOf", "prefixItems") and rest:
            rest.pop(0)
    return unescape(".".join(names))


class Findings:
    """Collection of changes. A component that clients both send and get has one finding for each kind of change:
    that of the side on which it breaks."""

    def __init__(self, profile: Profile, *, declared: bool = False) -> None:
        self._profile = profile
        self._declared = declared
        self._by_place: dict[Key, Change] = {}
        self._checked: set[Key] = set()
        self.excused = ""
        """Reason why the current findings do not break, such as an operation without a promise of stability."""

    def add(
        self, rule: str, where: str, message: str, example: Any = msgspec.UNSET, *, detail: str = ""
    ) -> None:
        """Add a change. `detail` separates several findings of one rule at one place, such as values of an enum."""
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
        key = (where, _SAME_KIND.get(kind, kind), detail)
        existing = self._by_place.get(key)
        if existing is None or (breaking and not existing.breaking):
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
        """Add a change of a schema; `kind` is the name of the rule without its side."""
        name = subject(where)
        text = f"{name}: {message}" if name else message
        self.add(f"{side}-{kind}", where, text, example, detail=detail)

    def empty_copy(self, *, plain: bool = False) -> Findings:
        """Return an empty collection with the same profile, for findings that may be discarded.

        `plain` uses the standard profile without an excuse, so that only the schemas matter.
        """
        copy = Findings("standard" if plain else self._profile, declared=self._declared)
        copy.excused = "" if plain else self.excused
        return copy

    def items(self) -> list[tuple[Key, Change]]:
        """Return the changes with their keys."""
        return list(self._by_place.items())

    def put(self, key: Key, change: Change) -> None:
        """Add a change of another collection."""
        self._by_place[key] = change

    def strength(self, key: Key) -> int:
        """Return how certainly the change of a key breaks; 0 if there is none."""
        change = self._by_place.get(key)
        return 0 if change is None else STRENGTHS.index(RULES[change.rule].verdict) + 1

    def breaks_at(self, where: str) -> bool:
        """Return true if a change of the value at a place breaks."""
        return any(key[0] == where and change.breaking for key, change in self._by_place.items())

    def is_serious(self, where: str) -> bool:
        """Return true if a change at a place, or inside it, may break some client."""
        return any(
            (key[0] == where or key[0].startswith(f"{where}/")) and RULES[change.rule].verdict != "never"
            for key, change in self._by_place.items()
        )

    def keep(self, is_real: Callable[[str], bool]) -> None:
        """Remove the changes that may break a client, but are not real at their places."""
        self._by_place = {
            key: change
            for key, change in self._by_place.items()
            if RULES[change.rule].verdict == "never" or is_real(key[0])
        }

    def has_detail(self, detail: str) -> bool:
        """Return true if a finding with this detail was added."""
        return any(key[2] == detail for key in self._by_place)

    def merge(self, other: Findings) -> None:
        """Add the findings of another collection."""
        self._checked |= other._checked
        for key, change in other._by_place.items():
            existing = self._by_place.get(key)
            if existing is None or (change.breaking and not existing.breaking):
                self._by_place[key] = change

    def check_examples(self, where: str, shows: Callable[[Any], bool]) -> None:
        """Remove the examples of the value at a place that do not show the change."""
        for key, change in list(self._by_place.items()):
            if change.example is msgspec.UNSET or key in self._checked:
                continue
            parent, _, _ = key[0].rpartition("/properties/")
            if (key[0] == where and key[1] not in _AROUND) or (parent == where and key[1] in _AROUND):
                self._checked.add(key)
                if not shows(change.example):
                    self._by_place[key] = msgspec.structs.replace(change, example=msgspec.UNSET)

    def set_example(self, changes: list[Change], example: Any) -> None:
        """Set the example of breaking changes that were added before."""
        for key, change in self._by_place.items():
            if change in changes and change.breaking:
                self._by_place[key] = msgspec.structs.replace(change, example=example)
                self._checked.add(key)

    @property
    def breaking(self) -> bool:
        return any(change.breaking for change in self._by_place.values())

    @property
    def harmless(self) -> bool | None:
        """True if nothing breaks; None if nothing breaks but some change is undecided."""
        if self.breaking:
            return False
        return True if all(change.decided for change in self._by_place.values()) else None

    def changes(self) -> list[Change]:
        """Return the changes in the order of their places."""
        return sorted(self._by_place.values(), key=lambda change: (change.where, change.rule))
