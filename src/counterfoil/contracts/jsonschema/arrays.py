"""Arrays that meet a set of statements (`formula`): how long, and with what items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from counterfoil.contracts.jsonschema.formula import Formula, Literal
from counterfoil.contracts.jsonschema.values import (
    IMPOSSIBLE,
    TOO_LARGE,
    UNDECIDED,
    Existence,
    SearchResult,
    grouped,
    instance,
    perhaps,
)

if TYPE_CHECKING:
    from counterfoil.contracts.jsonschema.search import Search

MAX_LENGTH = 60
"""Arrays are built up to this length where items differ or have to be placed; longer ones stay undecided."""
MAX_UNIFORM_LENGTH = 5000
"""And up to this one where they are all alike."""
MAX_PLACEMENTS = 400


def is_an_array(search: Search, atoms: Iterable[Formula]) -> SearchResult:
    return _Arrays(search, grouped(atoms)).answer()


class _Arrays:
    def __init__(self, search: Search, said: dict[str, list[Any]]) -> None:
        self.search = search
        self.least = max(said.get("minitems", []), default=0)
        self.most = min(said.get("maxitems", []), default=None)
        self.items: dict[int, set[Literal]] = {}
        for at, literal in said.get("item", []):
            self.items.setdefault(at, set()).add(literal)
        self.rests: list[tuple[int, Literal]] = said.get("rest", [])
        self.somewhere: list[tuple[int, Literal]] = said.get("somerest", [])
        self.contained: list[tuple[Literal, int, int | None]] = said.get("contains", [])
        self.unique = "unique" in said
        self.repeats = "repeats" in said
        self.opaque = "opaque" in said or "noopaque" in said
        starts = [start for start, _ in [*self.rests, *self.somewhere]]
        self.head = max([0, *starts, *(at + 1 for at in self.items)])
        """From here on all items are alike."""

    def answer(self) -> SearchResult:
        if self.unique and self.repeats:
            return IMPOSSIBLE
        slots = sum(low for _, low, _ in self.contained) + len(self.somewhere) + 2 * self.repeats
        longest = max(self.least, self.head + slots)
        if self.most is not None:
            longest = min(longest, self.most)
        if longest < self.least:
            return IMPOSSIBLE
        if self.most is not None and any(low > self.most for _, low, _ in self.contained):
            return IMPOSSIBLE
        alike = not (slots or self.unique or self.contained)
        if self.least > (MAX_UNIFORM_LENGTH if alike else MAX_LENGTH) or slots > 2 * MAX_LENGTH:
            return UNDECIDED
        bound = max(MAX_LENGTH, self.least)
        best = IMPOSSIBLE if longest <= bound else UNDECIDED
        for size in range(self.least, min(longest, bound) + 1):
            answer = self.of_size(size)
            if answer.found is Existence.ONE:
                return perhaps(answer.instance) if self.opaque else answer
            if answer.found is Existence.PERHAPS and (best.found is Existence.NONE or not best.has_instance):
                best = answer
        return best

    def goal(self, at: int) -> frozenset[Literal]:
        return frozenset(
            self.items.get(at, set()) | {literal for start, literal in self.rests if start <= at}
        )

    def of_size(self, size: int) -> SearchResult:
        best = IMPOSSIBLE
        for tried, placed in enumerate(self.placements(size)):
            if tried >= MAX_PLACEMENTS:
                return best if best.found is Existence.PERHAPS else UNDECIDED
            answer = self.filled(placed)
            if answer.found is Existence.ONE:
                return answer
            if answer.found is Existence.PERHAPS and (best.found is Existence.NONE or not best.has_instance):
                best = answer
        return best

    def placements(self, size: int) -> Iterator[list[frozenset[Literal]]]:
        """Every way to give the items that are asked for somewhere their place."""
        wanted: list[tuple[int, Literal, bool]] = [
            (start, literal, False) for start, literal in self.somewhere
        ]
        wanted += [(0, literal, True) for literal, low, _ in self.contained for _ in range(low)]
        start = [self.goal(at) for at in range(size)]
        places = range(min(size, self.head + len(wanted) + 2))
        if not self.repeats:
            yield from self._place(wanted, start, places, ())
            return
        for one in places:
            for other in range(one + 1, min(size, self.head + len(wanted) + 2)):
                same = start[one] | start[other]
                yield from self._place(
                    wanted,
                    [same if at in {one, other} else goal for at, goal in enumerate(start)],
                    places,
                    (one, other),
                )

    def _place(
        self,
        wanted: list[tuple[int, Literal, bool]],
        goals: list[frozenset[Literal]],
        places: range,
        same: tuple[int, ...],
    ) -> Iterator[list[frozenset[Literal]]]:
        self.search.step()
        if not wanted:
            yield goals
            return
        (start, literal, apart), *others = wanted
        for at in places:
            if at < start or (apart and literal in goals[at]):
                continue
            goal = goals[at] | {literal}
            if self.search.instance(goal).found is Existence.NONE:
                continue
            affected = same if at in same else (at,)
            yield from self._place(
                others,
                [goal if place in affected else old for place, old in enumerate(goals)],
                places,
                same,
            )

    def filled(self, goals: list[frozenset[Literal]]) -> SearchResult:
        limited = [(literal, high) for literal, _, high in self.contained if high is not None]
        certain = True
        for literal, high in limited:
            forced = 0
            for at, goal in enumerate(goals):
                if literal in goal:
                    forced += 1
                    continue
                without = goal | {(not literal[0], literal[1])}
                found = self.search.instance(without).found
                if found is Existence.NONE:
                    forced += 1
                else:
                    certain &= found is Existence.ONE
                    goals = [*goals[:at], without, *goals[at + 1 :]]
            if forced > high:
                return IMPOSSIBLE if len(limited) == 1 else UNDECIDED
        made: list[Any] = []
        answers: dict[frozenset[Literal], SearchResult] = {}
        for goal in goals:
            if self.unique:
                others = [(False, self.search.nodes.made({"const": value})) for value in made]
                answer = self.search.instance(goal | set(others))
            else:
                answer = answers.get(goal) or self.search.instance(goal)
                answers[goal] = answer
            if answer.found is Existence.NONE:
                alike = len(set(goals)) == 1 or not self.unique or not made
                return IMPOSSIBLE if alike and certain else UNDECIDED
            certain &= answer.found is Existence.ONE
            if not answer.has_instance:
                return TOO_LARGE if certain and not self.unique else UNDECIDED
            made.append(answer.instance)
        return instance(made) if certain else perhaps(made)
