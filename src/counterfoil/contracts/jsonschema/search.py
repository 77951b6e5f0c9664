"""Search for an instance that is in some schemas and outside others, with a limit of steps.

Schemas are read as formulas (`reading`), one type of instance at a time. Undecided parts of a formula are tried, and
questions about the parts of the instance are asked in turn. A question that recurs while it is being answered has no
smaller instance than itself, so it counts as having none: recursive schemas terminate.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from counterfoil.contracts.jsonschema import arrays, objects
from counterfoil.contracts.jsonschema import values as v
from counterfoil.contracts.jsonschema.formula import TYPES, Formula, Literal, all_of, any_of, negate
from counterfoil.contracts.jsonschema.nodes import Nodes
from counterfoil.contracts.jsonschema.reading import FormulaReader

Goal: TypeAlias = frozenset[Literal]
MAX_STEPS = 60_000
"""Limit of steps of one question: a few seconds at most, usually a few milliseconds."""
MIN_STEPS = 1_000
"""Each question that exceeds its limit halves the limit of the following ones, down to this. It bounds their sum."""
STEP_ALTERNATIVES = 4
"""Number of alternatives that are looked at for the price of one step."""
MAX_OPEN_QUESTIONS = 45
"""Limit of nested questions in one descent; each takes several stack frames."""
NO_DEPTH = 1 << 30


class StepsExceeded(Exception):
    """The search exceeded its limit of steps."""


class TooDeep(Exception):
    """A question must be answered on its own before the search continues."""

    def __init__(self, question: tuple[Goal, str]) -> None:
        self.question = question


class Search:
    """Answers questions about the schemas of one pair of documents. Caches the answers."""

    def __init__(self, nodes: Nodes, *, assert_formats: bool, steps: int = MAX_STEPS) -> None:
        self.nodes = nodes
        self.reader = FormulaReader(nodes, assert_formats=assert_formats)
        self.steps = steps
        self.left = steps
        self._memo: dict[tuple[Goal, str], v.SearchResult] = {}
        self._waiting: dict[tuple[Goal, str], tuple[v.SearchResult, int]] = {}
        self._open: dict[tuple[Goal, str], tuple[int, int]] = {}
        """Open questions: number of questions opened before, and nesting level of the instance."""
        self._level = 0
        self._tags: dict[int, frozenset[str] | None] = {}
        self._lowest = NO_DEPTH

    def ask(self, goal: Goal) -> v.SearchResult:
        """Search an instance of the goal with a new allowance of steps.

        A question nested too deep for one descent is asked on its own first; its answer is then cached.
        """
        self.left = self.steps
        deferred: list[tuple[Goal, str]] = []
        while True:
            self._open.clear()
            self._waiting.clear()
            self._level = 0
            self._lowest = NO_DEPTH
            try:
                if not deferred:
                    return self.instance(goal)
                self._of_type(*deferred[-1])
                deferred.pop()
            except TooDeep as stop:
                if stop.question in deferred:
                    return v.UNDECIDED
                deferred.append(stop.question)
            except StepsExceeded:
                self.steps = max(self.steps // 2, MIN_STEPS)
                return v.UNDECIDED
            except RecursionError:
                return v.UNDECIDED

    def instance(self, goal: Goal, types: tuple[str, ...] = TYPES) -> v.SearchResult:
        """Search an instance of the goal, of one of the types."""
        if any((not positive, key) in goal for positive, key in goal if positive):
            return v.IMPOSSIBLE
        best = v.IMPOSSIBLE
        self._level += 1
        for type_ in types:
            answer = self._of_type(goal, type_)
            if answer.existence is v.Existence.ONE:
                best = answer
                break
            best = v.better(best, answer)
        self._level -= 1
        return best

    def _of_type(self, goal: Goal, type_: str) -> v.SearchResult:
        question = (goal, type_)
        cached = self._memo.get(question)
        if cached is not None:
            return cached
        if question in self._waiting:
            answer, lowest = self._waiting[question]
            self._lowest = min(self._lowest, lowest)
            return answer
        if question in self._open:
            self._lowest = min(self._lowest, self._open[question][0])
            return v.IMPOSSIBLE
        depth = len(self._open)
        if depth >= MAX_OPEN_QUESTIONS:
            raise TooDeep(question)
        outer, self._lowest = self._lowest, NO_DEPTH
        self._open[question] = (depth, self._level)
        try:
            answer = self._branch([("lit", *literal) for literal in sorted(goal)], set(), [], {}, type_)
        finally:
            self._open.pop(question, None)
        lowest = self._lowest
        self._lowest = min(outer, lowest if lowest < depth else outer)
        if answer.existence is v.Existence.NONE and lowest < depth:
            self._waiting[question] = (answer, lowest)
            return answer
        independent = [other for other, (_, level) in self._waiting.items() if level >= depth]
        for other in independent:
            waiting, _ = self._waiting.pop(other)
            if answer.existence is v.Existence.NONE:
                self._memo[other] = waiting
        if answer.existence is not v.Existence.PERHAPS or lowest >= depth:
            self._memo[question] = answer
        return answer

    def step(self, count: int = 1) -> None:
        """Count steps. Raises StepsExceeded."""
        self.left -= count
        if self.left < 0:
            raise StepsExceeded

    def _impossible(self, goal: Goal, type_: str) -> bool:
        """Return true if a part of the goal already excludes every instance.

        A question about this very instance is not asked again; a question about an instance that contains it may be.
        """
        if (goal, type_) in self._open and self._open[goal, type_][1] == self._level:
            return False
        return self._of_type(goal, type_).existence is v.Existence.NONE

    def _branch(
        self,
        agenda: list[Formula],
        atoms: set[Formula],
        choices: list[tuple[tuple[Formula, ...], int | None]],
        decided: dict[int, bool],
        type_: str,
    ) -> v.SearchResult:
        self.step()
        while True:
            while agenda:
                formula = agenda.pop()
                if formula is True:
                    continue
                if formula is False:
                    return v.IMPOSSIBLE
                kind = formula[0]
                if kind == "and":
                    agenda.extend(formula[1])
                elif kind == "or":
                    choices.append((formula[1], None))
                elif kind in {"one", "notone"}:
                    agenda.append(self._one(formula[1], type_, exactly=kind == "one"))
                elif kind == "lit":
                    _, positive, key = formula
                    if key in decided:
                        if decided[key] is not positive:
                            return v.IMPOSSIBLE
                        continue
                    decided[key] = positive
                    inner = self.reader.formula(key, type_)
                    inner = inner if positive else negate(inner)
                    if not positive and not isinstance(inner, bool) and inner[0] == "or":
                        choices.append((inner[1], key))
                    else:
                        agenda.append(inner)
                else:
                    if negate(formula) in atoms or _contradicts(formula, atoms):
                        return v.IMPOSSIBLE
                    atoms.add(formula)
            self.step(sum(len(alternatives) for alternatives, _ in choices) // STEP_ALTERNATIVES)
            remaining = []
            tags = self._tag_values(atoms) if choices and type_ == "object" else {}
            for alternatives, source in choices:
                left = tuple(
                    part for part in alternatives if not self._is_excluded(part, atoms, decided, tags)
                )
                if not left:
                    return v.IMPOSSIBLE
                if any(self._holds(part, atoms, decided, tags) for part in left):
                    continue
                if len(left) == 1:
                    agenda.append(left[0])
                else:
                    remaining.append((left, source))
            choices = remaining
            if not agenda:
                break
        if not choices:
            return self._parts(atoms, type_)
        return self._try(atoms, choices, decided, type_)

    def _try(
        self, atoms: set[Formula], choices: list[Any], decided: dict[int, bool], type_: str
    ) -> v.SearchResult:
        property_literals = _property_literals(atoms)
        for name, literals in property_literals.items():
            if ("required", name) in atoms and self.instance(
                frozenset(literals)
            ).existence is v.Existence.NONE:
                return v.IMPOSSIBLE
        sources = {source for _, source in choices if source is not None}
        if len(choices) > 1 and sources:
            certain = [(True, key) for key, positive in decided.items() if positive]
            for source in sorted(sources):
                if self._impossible(frozenset([*certain, (False, source)]), type_):
                    return v.IMPOSSIBLE
            narrowed = [(self._possible(parts, property_literals), source) for parts, source in choices]
            if any(len(parts) <= 1 for parts, _ in narrowed):
                if not all(parts for parts, _ in narrowed):
                    return v.IMPOSSIBLE
                agenda = [parts[0] for parts, _ in narrowed if len(parts) == 1]
                others = [choice for choice in narrowed if len(choice[0]) > 1]
                return self._branch(agenda, atoms, others, decided, type_)
            choices = narrowed
        # Positive choices before negative ones: a tag then decides most of the rest.
        order = [(source is not None, len(parts), at) for at, (parts, source) in enumerate(choices)]
        chosen = min(order)[2]
        others = [choice for index, choice in enumerate(choices) if index != chosen]
        best = v.IMPOSSIBLE
        for part in sorted(choices[chosen][0], key=lambda part: part[0] in {"lit", "and"}):
            answer = self._branch([part], set(atoms), list(others), dict(decided), type_)
            if answer.existence is v.Existence.ONE:
                return answer
            best = v.better(best, answer)
        return best

    def _possible(
        self, parts: tuple[Formula, ...], property_literals: dict[str, set[Literal]]
    ) -> tuple[Formula, ...]:
        """Return the alternatives without those that require an impossible value of one property."""
        possible = []
        for part in parts:
            required = [inner for inner in part[1] if inner[0] == "prop"] if part[0] == "and" else []
            if len(required) == 1 and ("required", required[0][1]) in part[1]:
                goal = frozenset(property_literals.get(required[0][1], set()) | {required[0][2]})
                if self.instance(goal).existence is v.Existence.NONE:
                    continue
            possible.append(part)
        return tuple(possible)

    def _one(self, parts: tuple[Formula, ...], type_: str, *, exactly: bool) -> Formula:
        """Return the formula for exactly one of the parts, or its negation, without pairs that exclude each other."""
        pairs = [(first, second) for first in range(len(parts)) for second in range(first)]
        disjoint = {(a, b) for a, b in pairs if self._disjoint(parts[a], parts[b], type_)}
        disjoint |= {(second, first) for first, second in disjoint}
        if exactly:
            return any_of(
                all_of([part, *(negate(other) for index, other in enumerate(parts)
                              if index != position and (position, index) not in disjoint)])
                for position, part in enumerate(parts)
            )  # fmt: skip
        several = [
            all_of([parts[first], parts[second]])
            for first, second in pairs
            if (first, second) not in disjoint
        ]
        return any_of([all_of([negate(part) for part in parts]), *several])

    def _disjoint(self, first: Formula, second: Formula, type_: str) -> bool:
        if first[0] != "lit" or second[0] != "lit":
            return bool(negate(first) == second)
        return self._impossible(frozenset([first[1:], second[1:]]), type_)

    def _tag_values(self, atoms: set[Formula]) -> dict[str, frozenset[str]]:
        """Return the few values that tag properties such as `type: {const: card}` may have."""
        tags: dict[str, frozenset[str]] = {}
        for atom in atoms:
            if atom[0] == "prop" and atom[2][0]:
                values = self._tag(atom[2][1])
                if values is not None:
                    tags[atom[1]] = tags.get(atom[1], values) & values
        return tags

    def _tag(self, key: int) -> frozenset[str] | None:
        """Return the strings that a schema allows, if it allows only a few strings."""
        if key not in self._tags:
            self._tags[key] = None
            if all(self.reader.formula(key, type_) is False for type_ in TYPES if type_ != "string"):
                formula = self.reader.formula(key, "string")
                if not isinstance(formula, bool) and formula[0] == "oneof":
                    self._tags[key] = formula[1]
                elif not isinstance(formula, bool) and formula[0] == "lit" and formula[1]:
                    self._tags[key] = self._tag(formula[2])
        return self._tags[key]

    def _tag_decides(self, part: Formula, tags: dict[str, frozenset[str]]) -> bool | None:
        """Return whether a statement about a present tag property holds; None if the tag does not decide it."""
        values = tags.get(part[1])
        if values is None:
            return None
        positive, key = part[2]
        formula = self.reader.formula(key, "string")
        if isinstance(formula, bool):
            return formula is positive
        if formula[0] != "oneof":
            return None
        if values <= formula[1]:
            return bool(positive)
        return None if values & formula[1] else not positive

    def _is_excluded(
        self,
        part: Formula,
        atoms: set[Formula],
        decided: dict[int, bool],
        tags: dict[str, frozenset[str]],
        present: frozenset[str] = frozenset(),
    ) -> bool:
        if isinstance(part, bool):
            return not part
        kind = part[0]
        if kind == "lit":
            return decided.get(part[2], part[1]) is not part[1]
        if kind == "and":
            present = frozenset(inner[1] for inner in part[1] if inner[0] == "required")
            return any(self._is_excluded(inner, atoms, decided, tags, present) for inner in part[1])
        if kind in {"or", "one", "notone"}:
            return False
        if kind == "prop":
            _, name, (positive, key) = part
            if name not in present and ("required", name) not in atoms:
                return False
            return ("prop", name, (not positive, key)) in atoms or self._tag_decides(part, tags) is False
        if kind == "required":
            return ("absent", part[1]) in atoms
        return negate(part) in atoms or _contradicts(part, atoms)

    def _holds(
        self, part: Formula, atoms: set[Formula], decided: dict[int, bool], tags: dict[str, frozenset[str]]
    ) -> bool:
        if isinstance(part, bool):
            return part
        if part[0] == "lit":
            return decided.get(part[2]) is part[1]
        if part[0] == "and":
            return all(self._holds(inner, atoms, decided, tags) for inner in part[1])
        return part in atoms or (part[0] == "prop" and self._tag_decides(part, tags) is True)

    def _parts(self, atoms: set[Formula], type_: str) -> v.SearchResult:
        match type_:
            case "number":
                return v.solve_number(atoms)
            case "string":
                return v.solve_string(atoms)
            case "object":
                return objects.solve_object(self, atoms)
            case "array":
                return arrays.solve_array(self, atoms)
        return _solve_plain(atoms, [None] if type_ == "null" else [True, False])


def _property_literals(atoms: set[Formula]) -> dict[str, set[Literal]]:
    literals: dict[str, set[Literal]] = {}
    for atom in atoms:
        if atom[0] == "prop":
            literals.setdefault(atom[1], set()).add(atom[2])
    return literals


def _solve_plain(atoms: set[Formula], values: list[Any]) -> v.SearchResult:
    for value in values:
        if all(
            value in atom[1] if atom[0] == "oneof" else value not in atom[1] if atom[0] == "noneof" else True
            for atom in atoms
        ):
            undecided = any(atom[0] in {"opaque", "noopaque"} for atom in atoms)
            return v.perhaps(value) if undecided else v.instance(value)
    return v.IMPOSSIBLE


def _contradicts(atom: Formula, atoms: set[Formula]) -> bool:
    """Return true if the statement contradicts another: finite sets of values that do not intersect."""
    if atom[0] == "oneof":
        allowed = atom[1]
        for other in atoms:
            if other[0] == "oneof":
                allowed = allowed & other[1]
            elif other[0] == "noneof":
                allowed = allowed - other[1]
        return not allowed
    if atom[0] == "noneof":
        return any(other[0] == "oneof" and other[1] <= atom[1] for other in atoms)
    return False
