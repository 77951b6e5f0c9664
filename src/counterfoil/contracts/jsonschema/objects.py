"""Solver for objects: an object that meets a set of statements (`formula`), or that none exists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from counterfoil.contracts.jsonschema import values as v
from counterfoil.contracts.jsonschema.formula import Formula, Literal

if TYPE_CHECKING:
    from counterfoil.contracts.jsonschema.search import Search

MAX_PATTERNS = 4
MAX_PROPERTIES = 1000
"""Limit of the number of properties; a schema that requires more stays undecided."""


class NameRule(NamedTuple):
    """Schema of the values of all names outside a set that match some patterns and not others."""

    excluded: frozenset[str]
    must: tuple[str, ...]
    must_not: tuple[str, ...]
    literal: Literal

    def applies(self, name: str) -> bool:
        return (
            name not in self.excluded
            and all(v.pattern_matches(pattern, name) is True for pattern in self.must)
            and not any(v.pattern_matches(pattern, name) is not False for pattern in self.must_not)
        )


class UnnamedProperty(NamedTuple):
    """Property whose name no statement mentions."""

    must: frozenset[str] = frozenset()
    must_not: frozenset[str] = frozenset()
    name: frozenset[Literal] = frozenset()
    value: frozenset[Literal] = frozenset()


def solve_object(search: Search, atoms: Iterable[Formula]) -> v.SearchResult:
    """Return an object that meets the statements, or that none exists."""
    return _Objects(search, v.group_by_name(atoms)).answer()


class _Objects:
    def __init__(self, search: Search, statements: dict[str, list[Any]]) -> None:
        self.search = search
        self.required = set(statements.get("required", []))
        self.absent = set(statements.get("absent", []))
        self.min_properties = max(statements.get("minprops", []), default=0)
        self.max_properties = min(statements.get("maxprops", []), default=None)
        self.props: dict[str, set[Literal]] = {}
        for name, literal in statements.get("prop", []):
            self.props.setdefault(name, set()).add(literal)
        self.rules = [NameRule(*rule) for rule in statements.get("every", [])]
        self.some = [NameRule(*rule) for rule in statements.get("some", [])]
        self.names = frozenset(statements.get("names", []))
        self.some_names: list[Literal] = statements.get("somename", [])
        self.opaque = "opaque" in statements or "noopaque" in statements
        self.mentioned = self.required | self.absent | set(self.props)
        for rule in [*self.rules, *self.some]:
            self.mentioned |= rule.excluded
        self.patterns = sorted({pattern for rule in self.rules for pattern in rule.must + rule.must_not})
        self.has_unreadable_pattern = any(v.pattern_matches(pattern, "") is None for pattern in self.patterns)

    def answer(self) -> v.SearchResult:
        if self.required & self.absent or (
            self.max_properties is not None
            and self.max_properties < max(self.min_properties, len(self.required))
        ):
            return v.IMPOSSIBLE
        if self.min_properties > MAX_PROPERTIES:
            return v.UNDECIDED
        # Required properties first: without them nothing else matters.
        for name in sorted(self.required):
            if self.value(name).existence is v.Existence.NONE or not self.allows_name(name):
                return v.IMPOSSIBLE
        best = v.IMPOSSIBLE
        for slots, unnamed in self.placements():
            answer = self.fill(slots, unnamed)
            if answer.existence is v.Existence.ONE:
                break
            best = v.better(best, answer)
        else:
            answer = best
        if answer.existence is v.Existence.ONE and (self.opaque or self.has_unreadable_pattern):
            return v.perhaps(answer.instance)
        return v.UNDECIDED if answer.existence is v.Existence.NONE and self.has_unreadable_pattern else answer

    def goal(self, name: str, more: frozenset[Literal] = frozenset()) -> frozenset[Literal]:
        rules = {rule.literal for rule in self.rules if rule.applies(name)}
        return frozenset(self.props.get(name, set()) | rules | more)

    def value(self, name: str, more: frozenset[Literal] = frozenset()) -> v.SearchResult:
        return self.search.instance(self.goal(name, more))

    def allows_name(self, name: str, more: frozenset[Literal] = frozenset()) -> bool:
        """Return true if the name itself is allowed."""
        literals = self.names | more
        if not literals:
            return True
        this_name = (True, self.search.nodes.own_key({"const": name}))
        answer = self.search.instance(frozenset([*literals, this_name]), ("string",))
        return answer.existence is not v.Existence.NONE

    def placements(self) -> Iterator[tuple[dict[str, frozenset[Literal]], list[UnnamedProperty]]]:
        """Yield all choices of the properties that statements require without naming them."""
        unplaced: list[tuple[NameRule, frozenset[Literal]]] = [(rule, frozenset()) for rule in self.some]
        anywhere = NameRule(frozenset(), (), (), (True, self.search.nodes.own_key(True)))
        unplaced += [(anywhere, frozenset([literal])) for literal in self.some_names]
        start: dict[str, frozenset[Literal]] = {name: frozenset() for name in sorted(self.required)}
        yield from self._place(unplaced, start, [])

    def _place(
        self,
        unplaced: list[tuple[NameRule, frozenset[Literal]]],
        slots: dict[str, frozenset[Literal]],
        unnamed: list[UnnamedProperty],
    ) -> Iterator[tuple[dict[str, frozenset[Literal]], list[UnnamedProperty]]]:
        self.search.step()
        if not unplaced:
            yield slots, unnamed
            return
        (rule, name), *others = unplaced
        for candidate in sorted(self.mentioned - self.absent):
            if rule.applies(candidate) and self.allows_name(candidate, name):
                more = slots.get(candidate, frozenset()) | {rule.literal}
                if self.value(candidate, more).existence is not v.Existence.NONE:
                    yield from self._place(others, {**slots, candidate: more}, unnamed)
        for index in range(len(unnamed) + 1):
            old = unnamed[index] if index < len(unnamed) else UnnamedProperty()
            must, must_not = old.must | set(rule.must), old.must_not | set(rule.must_not)
            new = UnnamedProperty(must, must_not, old.name | name, old.value | {rule.literal})
            yield from self._place(others, slots, [*unnamed[:index], new, *unnamed[index + 1 :]])

    def fill(self, slots: dict[str, frozenset[Literal]], unnamed: list[UnnamedProperty]) -> v.SearchResult:
        size = len(slots) + len(unnamed)
        if self.max_properties is not None and size > self.max_properties:
            return v.IMPOSSIBLE
        properties: dict[str, Any] = {}
        certain = complete = True
        for name, more in slots.items():
            answer = self.value(name, more)
            if answer.existence is v.Existence.NONE:
                return v.IMPOSSIBLE
            certain &= answer.existence is v.Existence.ONE
            complete &= answer.has_instance
            properties[name] = answer.instance
        for property_ in unnamed:
            name_, answer = self.invent_property(property_, set(properties))
            if answer.existence is v.Existence.NONE:
                return v.IMPOSSIBLE
            certain &= answer.existence is v.Existence.ONE
            complete &= answer.has_instance
            if name_ is None:
                return v.UNDECIDED
            properties[name_] = answer.instance
        if len(properties) < self.min_properties:
            padding = self.add_properties(properties)
            if padding.existence is not v.Existence.ONE:
                return padding if certain else v.UNDECIDED
        if certain and not complete:
            return v.TOO_LARGE
        return v.instance(properties) if certain else v.perhaps(properties)

    def add_properties(self, properties: dict[str, Any]) -> v.SearchResult:
        """Add properties until there are enough; ONE if there are."""
        certain = True
        for name in sorted(self.mentioned - self.absent - set(properties)):
            if len(properties) >= self.min_properties:
                return v.instance(None)
            answer = self.value(name)
            if answer.existence is v.Existence.ONE and self.allows_name(name):
                properties[name] = answer.instance
            certain &= answer.existence is not v.Existence.PERHAPS
        while len(properties) < self.min_properties:
            self.search.step()
            if len(properties) > (40 if self.patterns or self.names else MAX_PROPERTIES):
                return v.UNDECIDED
            name_, answer = self.invent_property(UnnamedProperty(), set(properties))
            if answer.existence is not v.Existence.ONE or name_ is None:
                return v.IMPOSSIBLE if certain and answer.existence is v.Existence.NONE else v.UNDECIDED
            properties[name_] = answer.instance
        return v.instance(None)

    def invent_property(self, unnamed: UnnamedProperty, used: set[str]) -> tuple[str | None, v.SearchResult]:
        """Return a name that no statement mentions, and a value for it."""
        free = [pattern for pattern in self.patterns if pattern not in unnamed.must | unnamed.must_not]
        if unnamed.must & unnamed.must_not:
            return None, v.IMPOSSIBLE
        few = free[:MAX_PATTERNS]
        undecided = len(free) > MAX_PATTERNS
        hint: v.SearchResult = v.IMPOSSIBLE
        for signs in sorted(product([False, True], repeat=len(few)), key=sum):
            positive = {pattern for pattern, sign in zip(few, signs, strict=True) if sign}
            must, must_not = unnamed.must | positive, unnamed.must_not | (set(free) - positive)
            rules = [r for r in self.rules if set(r.must) <= must and set(r.must_not) <= must_not]
            value = self.search.instance(frozenset(rule.literal for rule in rules) | unnamed.value)
            if value.existence is v.Existence.NONE:
                continue
            name = self.name(must, must_not, unnamed.name, self.mentioned | used)
            if name.existence is v.Existence.ONE and value.existence is v.Existence.ONE:
                return name.instance, value
            if name.existence is not v.Existence.NONE:
                undecided = True
                if name.has_instance:
                    hint = v.SearchResult(v.Existence.PERHAPS, value.instance, value.has_instance)
                    return name.instance, hint
        return None, v.UNDECIDED if undecided else v.IMPOSSIBLE

    def name(
        self, must: Iterable[str], must_not: Iterable[str], more: frozenset[Literal], used_names: set[str]
    ) -> v.SearchResult:
        literals = self.names | more
        if not literals and not list(must) and not list(must_not):
            return v.instance(next(name for name in _plain_names() if name not in used_names))
        shape: list[Any] = [{"type": "string"}, {"not": {"enum": sorted(used_names)}}]
        shape += [{"pattern": pattern} for pattern in sorted(must)]
        shape += [{"not": {"pattern": pattern}} for pattern in sorted(must_not)]
        answer = v.IMPOSSIBLE
        for shortest in (1, 0):
            candidate = (True, self.search.nodes.own_key({"allOf": [*shape, {"minLength": shortest}]}))
            answer = self.search.instance(frozenset([*literals, candidate]), ("string",))
            if answer.existence is v.Existence.ONE:
                break
        return answer


def _plain_names() -> Iterator[str]:
    yield from "abcde"
    yield from (f"p{at}" for at in range(1, 10 * MAX_PROPERTIES))
