"""Sets of strings that regular expressions describe: is there a string in all of these and in none of those.

Terms are plain tuples; a string is followed through them by derivatives (Brzozowski), one class of characters at a
time. Lengths are counted beside the term, so that `maxLength: 5000` costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

MAX_CODE_POINT = 0x10FFFF
MAX_DERIVATIVES = 4000
"""How many derivatives one question may cost."""
MAX_STRING_LENGTH = 100_000
"""Strings are built up to this length."""

Term: TypeAlias = tuple[Any, ...]
Ranges: TypeAlias = tuple[tuple[int, int], ...]

NOTHING: Term = ("set", ())
EMPTY: Term = ("eps",)
ANY: Term = ("set", ((0, 0xD7FF), (0xE000, MAX_CODE_POINT)))
ALL: Term = ("rep", ANY, 0, None)

# Characters shown in an example, the plainest first.
READABLE = [
    ord(char) for char in "aAbB0 1-_.xyzXYZcdefghijklmnopqrstuvwCDEFGHIJKLMNOPQRSTUVW23456789@/:,+#$%&*()é中"
]


class BoundExceeded(Exception):
    """The question is larger than its bound."""


def ranges(pairs: Iterable[tuple[int, int]]) -> Ranges:
    """Sorted and joined."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(pairs):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)


def outside(pairs: Ranges) -> Ranges:
    """Every character that is in none of the ranges; no half of a surrogate pair is a character."""
    gaps: list[tuple[int, int]] = []
    start = 0
    for low, high in ranges([*pairs, (0xD800, 0xDFFF)]):
        if start < low:
            gaps.append((start, low - 1))
        start = high + 1
    if start <= MAX_CODE_POINT:
        gaps.append((start, MAX_CODE_POINT))
    return tuple(gaps)


def cat(left: Term, right: Term) -> Term:
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
    if term == ALL:
        return NOTHING
    if term == NOTHING:
        return ALL
    return term[1] if term[0] == "not" else ("not", term)


def repeat(term: Term, low: int, high: int | None) -> Term:
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
    term = EMPTY
    for char in reversed(text):
        term = cat(("set", ((ord(char), ord(char)),)), term)
    return term


def nullable(term: Term) -> bool:
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
    """What may follow once `char` was read."""
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
    for char in text:
        term = after(term, ord(char))
        if term == NOTHING:
            return False
    return nullable(term)


def _sets(term: Term, found: set[Ranges]) -> None:
    if term[0] == "set":
        found.add(term[1])
    elif term[0] in {"alt", "and"}:
        for part in term[1]:
            _sets(part, found)
    else:
        for part in term[1:]:
            if isinstance(part, tuple):
                _sets(part, found)


def letters(term: Term) -> list[int]:
    """One character for each class that the term tells apart, the readable one where there is a choice."""
    found: set[Ranges] = set()
    _sets(term, found)
    edges = sorted({0, 0xE000} | {edge for pairs in found for low, high in pairs for edge in (low, high + 1)})
    order = sorted(found)
    classes: dict[tuple[bool, ...], int] = {}
    for char in READABLE + [
        edge for edge in edges if edge <= MAX_CODE_POINT and not 0xD800 <= edge <= 0xDFFF
    ]:
        signature = tuple(any(low <= char <= high for low, high in pairs) for pairs in order)
        classes.setdefault(signature, char)
    if len(classes) > 120:
        raise BoundExceeded("the expressions tell too many classes of characters apart")
    return list(classes.values())


def find(term: Term, shortest: int = 0, longest: int | None = None) -> str | None:
    """The first shortest string of the term that has a length in the bounds; None when there is none."""
    if longest is not None and longest < shortest:
        return None
    if shortest > MAX_STRING_LENGTH:
        raise BoundExceeded("the string would be too long")
    if term == ALL:
        return "a" * shortest
    alphabet = letters(term)
    layer: dict[Term, tuple[Term, int] | None] = {term: None}
    layers = [layer]
    seen: set[frozenset[Term]] = set()
    memo: dict[tuple[Term, int], Term] = {}
    steps = 0
    length = 0
    while layer:
        if length >= shortest:
            for state in layer:
                if nullable(state):
                    return _read_back(layers, state)
            states = frozenset(layer)
            if states in seen:
                return None
            seen.add(states)
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
