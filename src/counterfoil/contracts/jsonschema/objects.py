"""Objects that meet a set of statements (`formula`): which names are present, and with what values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from counterfoil.contracts.jsonschema.formula import Formula, Literal
from counterfoil.contracts.jsonschema.values import (
    IMPOSSIBLE,
    TOO_LARGE,
    UNDECIDED,
    Existence,
    SearchResult,
    grouped,
    instance,
    pattern_matches,
    perhaps,
)

if TYPE_CHECKING:
    from counterfoil.contracts.jsonschema.search import Search

MAX_PATTERNS = 4
MAX_PROPERTIES = 1000
"""Objects are built up to this size; a schema that asks for larger ones stays undecided."""


class NameRule(NamedTuple):
    """What holds for the values of all names outside of a set that match some expressions and not others."""

    excluded: frozenset[str]
    must: tuple[str, ...]
    must_not: tuple[str, ...]
    literal: Literal

    def applies(self, name: str) -> bool:
        return (
            name not in self.excluded
            and all(pattern_matches(pattern, name) is True for pattern in self.must)
            and not any(pattern_matches(pattern, name) is not False for pattern in self.must_not)
        )


class UnnamedProperty(NamedTuple):
    """A property whose name no statement mentions."""

    must: frozenset[str] = frozenset()
    must_not: frozenset[str] = frozenset()
    name: frozenset[Literal] = frozenset()
    value: frozenset[Literal] = frozenset()


def is_an_object(search: Search, atoms: Iterable[Formula]) -> SearchResult:
    return _Objects(search, grouped(atoms)).answer()


class _Objects:
    def __init__(self, search: Search, said: dict[str, list[Any]]) -> None:
        self.search = search
        self.required = set(said.get("required", []))
        self.absent = set(said.get("absent", []))
        self.least = max(said.get("minprops", []), default=0)
        self.most = min(said.get("maxprops", []), default=None)
        self.props: dict[str, set[Literal]] = {}
        for name, literal in said.get("prop", []):
            self.props.setdefault(name, set()).add(literal)
        self.rules = [NameRule(*rule) for rule in said.get("every", [])]
        self.some = [NameRule(*rule) for rule in said.get("some", [])]
        self.names = frozenset(said.get("names", []))
        self.some_names: list[Literal] = said.get("somename", [])
        self.opaque = "opaque" in said or "noopaque" in said
        self.known = self.required | self.absent | set(self.props)
        for rule in [*self.rules, *self.some]:
            self.known |= rule.excluded
        self.patterns = sorted({pattern for rule in self.rules for pattern in rule.must + rule.must_not})
        self.unread = any(pattern_matches(pattern, "") is None for pattern in self.patterns)

    def answer(self) -> SearchResult:
        if self.required & self.absent or (
            self.most is not None and self.most < max(self.least, len(self.required))
        ):
            return IMPOSSIBLE
        if self.least > MAX_PROPERTIES:
            return UNDECIDED
        # The properties that are needed anyway come first: without them nothing else matters.
        for name in sorted(self.required):
            if self.value(name).found is Existence.NONE or not self.named(name):
                return IMPOSSIBLE
        best = IMPOSSIBLE
        for slots, fresh in self.placed():
            answer = self.filled(slots, fresh)
            if answer.found is Existence.ONE:
                break
            if answer.found is Existence.PERHAPS and (best.found is Existence.NONE or not best.has_instance):
                best = answer
        else:
            answer = best
        if answer.found is Existence.ONE and (self.opaque or self.unread):
            return perhaps(answer.instance)
        return UNDECIDED if answer.found is Existence.NONE and self.unread else answer

    def goal(self, name: str, more: frozenset[Literal] = frozenset()) -> frozenset[Literal]:
        rules = {rule.literal for rule in self.rules if rule.applies(name)}
        return frozenset(self.props.get(name, set()) | rules | more)

    def value(self, name: str, more: frozenset[Literal] = frozenset()) -> SearchResult:
        return self.search.instance(self.goal(name, more))

    def named(self, name: str, more: frozenset[Literal] = frozenset()) -> bool:
        """Whether the name itself is allowed."""
        literals = self.names | more
        if not literals:
            return True
        itself = (True, self.search.nodes.made({"const": name}))
        return self.search.instance(frozenset([*literals, itself]), ("string",)).found is not Existence.NONE

    def placed(self) -> Iterator[tuple[dict[str, frozenset[Literal]], list[UnnamedProperty]]]:
        """Every way to choose the properties that the statements ask for without naming them."""
        wanted: list[tuple[NameRule, frozenset[Literal]]] = [(rule, frozenset()) for rule in self.some]
        anywhere = NameRule(frozenset(), (), (), (True, self.search.nodes.made(True)))
        wanted += [(anywhere, frozenset([literal])) for literal in self.some_names]
        start: dict[str, frozenset[Literal]] = {name: frozenset() for name in sorted(self.required)}
        yield from self._place(wanted, start, [])

    def _place(
        self,
        wanted: list[tuple[NameRule, frozenset[Literal]]],
        slots: dict[str, frozenset[Literal]],
        fresh: list[UnnamedProperty],
    ) -> Iterator[tuple[dict[str, frozenset[Literal]], list[UnnamedProperty]]]:
        self.search.step()
        if not wanted:
            yield slots, fresh
            return
        (rule, name), *others = wanted
        for known in sorted(self.known - self.absent):
            if rule.applies(known) and self.named(known, name):
                more = slots.get(known, frozenset()) | {rule.literal}
                if self.value(known, more).found is not Existence.NONE:
                    yield from self._place(others, {**slots, known: more}, fresh)
        for at in range(len(fresh) + 1):
            old = fresh[at] if at < len(fresh) else UnnamedProperty()
            new = UnnamedProperty(
                old.must | set(rule.must),
                old.must_not | set(rule.must_not),
                old.name | name,
                old.value | {rule.literal},
            )
            yield from self._place(others, slots, [*fresh[:at], new, *fresh[at + 1 :]])

    def filled(self, slots: dict[str, frozenset[Literal]], fresh: list[UnnamedProperty]) -> SearchResult:
        size = len(slots) + len(fresh)
        if self.most is not None and size > self.most:
            return IMPOSSIBLE
        made: dict[str, Any] = {}
        certain = shown = True
        for name, more in slots.items():
            answer = self.value(name, more)
            if answer.found is Existence.NONE:
                return IMPOSSIBLE
            certain &= answer.found is Existence.ONE
            shown &= answer.has_instance
            made[name] = answer.instance
        for wish in fresh:
            name_, answer = self.invented(wish, set(made))
            if answer.found is Existence.NONE:
                return IMPOSSIBLE
            certain &= answer.found is Existence.ONE
            shown &= answer.has_instance
            if name_ is None:
                return UNDECIDED
            made[name_] = answer.instance
        if len(made) < self.least:
            short = self.padded(made)
            if short.found is not Existence.ONE:
                return short if certain else UNDECIDED
        if certain and not shown:
            return TOO_LARGE
        return instance(made) if certain else perhaps(made)

    def padded(self, made: dict[str, Any]) -> SearchResult:
        """Further properties until there are enough; ONE when there are."""
        certain = True
        for name in sorted(self.known - self.absent - set(made)):
            if len(made) >= self.least:
                return instance(None)
            answer = self.value(name)
            if answer.found is Existence.ONE and self.named(name):
                made[name] = answer.instance
            certain &= answer.found is not Existence.PERHAPS
        while len(made) < self.least:
            self.search.step()
            if len(made) > (40 if self.patterns or self.names else MAX_PROPERTIES):
                return UNDECIDED
            invented, answer = self.invented(UnnamedProperty(), set(made))
            if answer.found is not Existence.ONE or invented is None:
                return IMPOSSIBLE if certain and answer.found is Existence.NONE else UNDECIDED
            made[invented] = answer.instance
        return instance(None)

    def invented(self, wish: UnnamedProperty, taken: set[str]) -> tuple[str | None, SearchResult]:
        """A name that no statement mentions, and a value for it."""
        free = [pattern for pattern in self.patterns if pattern not in wish.must | wish.must_not]
        if wish.must & wish.must_not:
            return None, IMPOSSIBLE
        few = free[:MAX_PATTERNS]
        undecided = len(free) > MAX_PATTERNS
        hint: SearchResult = IMPOSSIBLE
        for signs in sorted(product([False, True], repeat=len(few)), key=sum):
            must = wish.must | {pattern for pattern, sign in zip(few, signs, strict=True) if sign}
            must_not = wish.must_not | {pattern for pattern, sign in zip(few, signs, strict=True) if not sign}
            must_not |= set(free[MAX_PATTERNS:])
            value = self.search.instance(
                frozenset(
                    {
                        rule.literal
                        for rule in self.rules
                        if set(rule.must) <= must and set(rule.must_not) <= must_not
                    }
                    | wish.value
                )
            )
            if value.found is Existence.NONE:
                continue
            name = self.name(must, must_not, wish.name, self.known | taken)
            if name.found is Existence.ONE and value.found is Existence.ONE:
                return name.instance, value
            if name.found is not Existence.NONE:
                undecided = True
                if name.has_instance:
                    hint = SearchResult(Existence.PERHAPS, value.instance, value.has_instance)
                    return name.instance, hint
        return None, UNDECIDED if undecided else IMPOSSIBLE

    def name(
        self, must: Iterable[str], must_not: Iterable[str], more: frozenset[Literal], taken: set[str]
    ) -> SearchResult:
        literals = self.names | more
        if not literals and not list(must) and not list(must_not):
            return instance(next(name for name in _plain_names() if name not in taken))
        shape: list[Any] = [{"type": "string"}, {"not": {"enum": sorted(taken)}}]
        shape += [{"pattern": pattern} for pattern in sorted(must)]
        shape += [{"not": {"pattern": pattern}} for pattern in sorted(must_not)]
        answer = IMPOSSIBLE
        for shortest in (1, 0):
            made = (True, self.search.nodes.made({"allOf": [*shape, {"minLength": shortest}]}))
            answer = self.search.instance(frozenset([*literals, made]), ("string",))
            if answer.found is Existence.ONE:
                break
        return answer


def _plain_names() -> Iterator[str]:
    yield from "abcde"
    yield from (f"p{at}" for at in range(1, 10 * MAX_PROPERTIES))
