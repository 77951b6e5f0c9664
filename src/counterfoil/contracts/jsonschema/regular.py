"""Sets of strings described by regular expressions: find a string in all of some sets and in none of others.

Terms are plain tuples. A string is followed through them by derivatives (Brzozowski), one character class at a time.
Lengths are counted next to the term, so that `maxLength: 5000` costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

CODE_POINT_MAX = 0x10FFFF
MAX_DERIVATIVES = 4000
"""Limit of derivatives for one question."""
MAX_STRING_LENGTH = 100_000
"""Limit of the length of a built string."""

Term: TypeAlias = tuple[Any, ...]
Ranges: TypeAlias = tuple[tuple[int, int], ...]

NOTHING: Term = ("set", ())
EMPTY: Term = ("eps",)
ANY: Term = ("set", ((0, 0xD7FF), (0xE000, CODE_POINT_MAX)))
ALL: Term = ("rep", ANY, 0, None)

# Preferred characters of examples, the simplest first.
READABLE = [
    ord(char) for char in "aAbB0 1-_.xyzXYZcdefghijklmnopqrstuvwCDEFGHIJKLMNOPQRSTUVW23456789@/:,+#$%&*()é中"
]


class BoundExceeded(Exception):
    """The question exceeds its limit."""


def ranges(pairs: Iterable[tuple[int, int]]) -> Ranges:
    """Return the ranges sorted and merged."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(pairs):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)


def outside(pairs: Ranges) -> Ranges:
    """Return all characters that are in none of the ranges; surrogates are not characters."""
    gaps: list[tuple[int, int]] = []
    start = 0
    for low, high in ranges([*pairs, (0xD800, 0xDFFF)]):
        if start < low:
            gaps.append((start, low - 1))
        start = high + 1
    if start <= CODE_POINT_MAX:
        gaps.append((start, CODE_POINT_MAX))
    return tuple(gaps)


def cat(left: Term, right: Term) -> Term:
    """Return the concatenation, simplified."""
    if NOTHING in (left, right):
        return NOTHING
    if left == EMPTY:
        return right
    if right == EMPTY:
        return left
    if left == right == ALL:
        return ALL
    if left[0] == "cat":
        return cat(left[1], cat(left[2], right))
    return ("cat", left, right)


def either(terms: Iterable[Term]) -> Term:
    """Return the union, simplified."""
    flat: set[Term] = set()
    for term in terms:
        flat |= term[1] if term[0] == "alt" else {term}
    flat.discard(NOTHING)
    if ALL in flat:
        return ALL
    if len(flat) <= 1:
        return next(iter(flat), NOTHING)
    return ("alt", frozenset(flat))


def both(terms: Iterable[Term]) -> Term:
    """Return the intersection, simplified."""
    flat: set[Term] = set()
    for term in terms:
        flat |= term[1] if term[0] == "and" else {term}
    flat.discard(ALL)
    if NOTHING in flat or any(complement(term) in flat for term in flat):
        return NOTHING
    if len(flat) <= 1:
        return next(iter(flat), ALL)
    return ("and", frozenset(flat))


def complement(term: Term) -> Term:
    """Return the complement."""
    if term == ALL:
        return NOTHING
    if term == NOTHING:
        return ALL
    return term[1] if term[0] == "not" else ("not", term)


def repeat(term: Term, low: int, high: int | None) -> Term:
    """Return the repetition, simplified."""
    if high == 0 or term == EMPTY:
        return EMPTY
    if term == NOTHING:
        return EMPTY if low == 0 else NOTHING
    if (low, high) == (1, 1):
        return term
    if term[0] == "rep" and term[2:] == (0, None):
        return term
    return ("rep", term, low, high)


def literal(text: str) -> Term:
    """Return the term for one text."""
    term = EMPTY
    for char in reversed(text):
        term = cat(("set", ((ord(char), ord(char)),)), term)
    return term


def nullable(term: Term) -> bool:
    """Return true if the term contains the empty text."""
    kind = term[0]
    if kind == "eps":
        return True
    if kind == "set":
        return False
    if kind == "cat":
        return nullable(term[1]) and nullable(term[2])
    if kind == "alt":
        return any(nullable(part) for part in term[1])
    if kind == "and":
        return all(nullable(part) for part in term[1])
    if kind == "not":
        return not nullable(term[1])
    return term[2] == 0 or nullable(term[1])


def after(term: Term, char: int) -> Term:
    """Return the term for what may follow after `char`."""
    kind = term[0]
    if kind == "eps":
        return NOTHING
    if kind == "set":
        return EMPTY if any(low <= char <= high for low, high in term[1]) else NOTHING
    if kind == "cat":
        first = cat(after(term[1], char), term[2])
        return either([first, after(term[2], char)]) if nullable(term[1]) else first
    if kind == "alt":
        return either(after(part, char) for part in term[1])
    if kind == "and":
        return both(after(part, char) for part in term[1])
    if kind == "not":
        return complement(after(term[1], char))
    _, part, low, high = term
    return cat(after(part, char), repeat(part, max(low - 1, 0), None if high is None else high - 1))


def matches(term: Term, text: str) -> bool:
    """Return true if the term contains the text."""
    for char in text:
        term = after(term, ord(char))
        if term == NOTHING:
            return False
    return nullable(term)


def _collect_sets(term: Term, sets: set[Ranges]) -> None:
    if term[0] == "set":
        sets.add(term[1])
    elif term[0] in {"alt", "and"}:
        for part in term[1]:
            _collect_sets(part, sets)
    else:
        for part in term[1:]:
            if isinstance(part, tuple):
                _collect_sets(part, sets)


def letters(term: Term) -> list[int]:
    """Return one character for each class that the term distinguishes, a readable one if possible."""
    sets: set[Ranges] = set()
    _collect_sets(term, sets)
    edges = sorted({0, 0xE000} | {edge for pairs in sets for low, high in pairs for edge in (low, high + 1)})
    order = sorted(sets)
    classes: dict[tuple[bool, ...], int] = {}
    for char in READABLE + [
        edge for edge in edges if edge <= CODE_POINT_MAX and not 0xD800 <= edge <= 0xDFFF
    ]:
        signature = tuple(any(low <= char <= high for low, high in pairs) for pairs in order)
        classes.setdefault(signature, char)
    if len(classes) > 120:
        raise BoundExceeded("the expressions distinguish too many character classes")
    return list(classes.values())


def find(term: Term, shortest: int = 0, longest: int | None = None) -> str | None:
    """Return the first shortest string of the term with a length in the bounds; None if there is none."""
    if longest is not None and longest < shortest:
        return None
    if shortest > MAX_STRING_LENGTH:
        raise BoundExceeded("the string would be too long")
    if term == ALL:
        return "a" * shortest
    alphabet = letters(term)
    layer: dict[Term, tuple[Term, int] | None] = {term: None}
    layers = [layer]
    visited: set[frozenset[Term]] = set()
    memo: dict[tuple[Term, int], Term] = {}
    steps = 0
    length = 0
    while layer:
        if length >= shortest:
            for state in layer:
                if nullable(state):
                    return _read_back(layers, state)
            states = frozenset(layer)
            if states in visited:
                return None
            visited.add(states)
        if longest is not None and length >= longest:
            return None
        following: dict[Term, tuple[Term, int] | None] = {}
        for state in layer:
            for char in alphabet:
                if (state, char) in memo:
                    target = memo[state, char]
                else:
                    steps += 1
                    if steps > MAX_DERIVATIVES:
                        raise BoundExceeded("the expressions have too many states")
                    target = memo[state, char] = after(state, char)
                if target != NOTHING:
                    following.setdefault(target, (state, char))
        layers.append(following)
        layer = following
        length += 1
        if length > MAX_STRING_LENGTH:
            raise BoundExceeded("the string would be too long")
    return None


def _read_back(layers: list[dict[Term, tuple[Term, int] | None]], state: Term) -> str:
    text: list[str] = []
    for layer in reversed(layers):
        before = layer[state]
        if before is None:
            break
        state, char = before
        text.append(chr(char))
    return "".join(reversed(text))
