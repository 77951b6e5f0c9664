"""Solver for arrays: an array that meets a set of statements (`formula`), or that none exists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from counterfoil.contracts.jsonschema import values as v
from counterfoil.contracts.jsonschema.formula import Formula, Literal

if TYPE_CHECKING:
    from counterfoil.contracts.jsonschema.search import Search

MAX_LENGTH = 60
"""Limit of the length where items differ or need a position; longer arrays stay undecided."""
MAX_UNIFORM_LENGTH = 5000
"""Limit of the length where all items are equal."""
MAX_PLACEMENTS = 400


def solve_array(search: Search, atoms: Iterable[Formula]) -> v.SearchResult:
    """Return an array that meets the statements, or that none exists."""
    return _Arrays(search, v.group_by_name(atoms)).answer()


class _Arrays:
    def __init__(self, search: Search, statements: dict[str, list[Any]]) -> None:
        self.search = search
        self.min_items = max(statements.get("minitems", []), default=0)
        self.max_items = min(statements.get("maxitems", []), default=None)
        self.items: dict[int, set[Literal]] = {}
        for index, literal in statements.get("item", []):
            self.items.setdefault(index, set()).add(literal)
        self.rests: list[tuple[int, Literal]] = statements.get("rest", [])
        self.somewhere: list[tuple[int, Literal]] = statements.get("somerest", [])
        self.contained: list[tuple[Literal, int, int | None]] = statements.get("contains", [])
        self.unique = "unique" in statements
        self.repeats = "repeats" in statements
        self.opaque = "opaque" in statements or "noopaque" in statements
        starts = [start for start, _ in [*self.rests, *self.somewhere]]
        self.head = max([0, *starts, *(index + 1 for index in self.items)])
        """From this position on, all items have the same statements."""

    def answer(self) -> v.SearchResult:
        if self.unique and self.repeats:
            return v.IMPOSSIBLE
        slots = sum(low for _, low, _ in self.contained) + len(self.somewhere) + 2 * self.repeats
        longest = max(self.min_items, self.head + slots)
        if self.max_items is not None:
            longest = min(longest, self.max_items)
        if longest < self.min_items:
            return v.IMPOSSIBLE
        if self.max_items is not None and any(low > self.max_items for _, low, _ in self.contained):
            return v.IMPOSSIBLE
        uniform = not (slots or self.unique or self.contained)
        if self.min_items > (MAX_UNIFORM_LENGTH if uniform else MAX_LENGTH) or slots > 2 * MAX_LENGTH:
            return v.UNDECIDED
        bound = max(MAX_LENGTH, self.min_items)
        best = v.IMPOSSIBLE if longest <= bound else v.UNDECIDED
        for size in range(self.min_items, min(longest, bound) + 1):
            answer = self.solve_size(size)
            if answer.existence is v.Existence.ONE:
                return v.perhaps(answer.instance) if self.opaque else answer
            best = v.better(best, answer)
        return best

    def goal(self, index: int) -> frozenset[Literal]:
        rests = {literal for start, literal in self.rests if start <= index}
        return frozenset(self.items.get(index, set()) | rests)

    def solve_size(self, size: int) -> v.SearchResult:
        best = v.IMPOSSIBLE
        for count, goals in enumerate(self.placements(size)):
            if count >= MAX_PLACEMENTS:
                return best if best.existence is v.Existence.PERHAPS else v.UNDECIDED
            answer = self.fill(goals)
            if answer.existence is v.Existence.ONE:
                return answer
            best = v.better(best, answer)
        return best

    def placements(self, size: int) -> Iterator[list[frozenset[Literal]]]:
        """Yield all assignments of the required items to positions."""
        unplaced = [(start, literal, False) for start, literal in self.somewhere]
        unplaced += [(0, literal, True) for literal, low, _ in self.contained for _ in range(low)]
        start = [self.goal(index) for index in range(size)]
        positions = range(min(size, self.head + len(unplaced) + 2))
        if not self.repeats:
            yield from self._place(unplaced, start, positions, ())
            return
        for first in positions:
            for second in range(first + 1, min(size, self.head + len(unplaced) + 2)):
                same = start[first] | start[second]
                goals = [same if index in {first, second} else goal for index, goal in enumerate(start)]
                yield from self._place(unplaced, goals, positions, (first, second))

    def _place(
        self,
        unplaced: list[tuple[int, Literal, bool]],
        goals: list[frozenset[Literal]],
        positions: range,
        same: tuple[int, ...],
    ) -> Iterator[list[frozenset[Literal]]]:
        self.search.step()
        if not unplaced:
            yield goals
            return
        (start, literal, distinct), *others = unplaced
        for index in positions:
            if index < start or (distinct and literal in goals[index]):
                continue
            goal = goals[index] | {literal}
            if self.search.instance(goal).existence is v.Existence.NONE:
                continue
            affected = same if index in same else (index,)
            following = [goal if position in affected else old for position, old in enumerate(goals)]
            yield from self._place(others, following, positions, same)

    def fill(self, goals: list[frozenset[Literal]]) -> v.SearchResult:
        limited = [(literal, high) for literal, _, high in self.contained if high is not None]
        certain = True
        for literal, high in limited:
            forced = 0
            for index, goal in enumerate(goals):
                if literal in goal:
                    forced += 1
                    continue
                without = goal | {(not literal[0], literal[1])}
                existence = self.search.instance(without).existence
                if existence is v.Existence.NONE:
                    forced += 1
                else:
                    certain &= existence is v.Existence.ONE
                    goals = [*goals[:index], without, *goals[index + 1 :]]
            if forced > high:
                return v.IMPOSSIBLE if len(limited) == 1 else v.UNDECIDED
        items: list[Any] = []
        answers: dict[frozenset[Literal], v.SearchResult] = {}
        for goal in goals:
            if self.unique:
                others = [(False, self.search.nodes.own_key({"const": value})) for value in items]
                answer = self.search.instance(goal | set(others))
            else:
                answer = answers.get(goal) or self.search.instance(goal)
                answers[goal] = answer
            if answer.existence is v.Existence.NONE:
                uniform = len(set(goals)) == 1 or not self.unique or not items
                return v.IMPOSSIBLE if uniform and certain else v.UNDECIDED
            certain &= answer.existence is v.Existence.ONE
            if not answer.has_instance:
                return v.TOO_LARGE if certain and not self.unique else v.UNDECIDED
            items.append(answer.instance)
        return v.instance(items) if certain else v.perhaps(items)
