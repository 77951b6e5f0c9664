"""Regular expressions of schemas (ECMA 262) as terms of `regular`.

Raises UnsupportedPattern for expressions outside the regular languages and for those that engines interpret differently:
look-around, back references, word boundaries, Unicode property classes, anchors in the middle. The comparison then only
distinguishes equal from different expressions.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

from counterfoil.contracts.jsonschema import regular
from counterfoil.contracts.jsonschema.regular import Ranges, Term, outside, ranges

DIGIT: Ranges = ((48, 57),)
WORD: Ranges = ranges([(48, 57), (65, 90), (95, 95), (97, 122)])
SPACE: Ranges = ranges(
    [(9, 13), (32, 32), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F),
     (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)]
)  # fmt: skip
LINE_ENDS: Ranges = ranges([(10, 10), (13, 13), (0x2028, 0x2029)])
CLASSES = {"d": DIGIT, "w": WORD, "s": SPACE}
CONTROLS = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11, "0": 0}

START = "^"
END = "$"
Item: TypeAlias = "Term | str | list[list[Item]]"
"""A term, an anchor, or the alternatives of a group that contains an anchor."""


class UnsupportedPattern(Exception):
    """The expression uses a feature that is not read here."""


@lru_cache(maxsize=2048)
def language(text: str) -> Term:
    """Return the term for all strings in which the expression occurs, not only at the start."""
    reader = _PatternReader(text)
    alternatives = reader.alternatives()
    if reader.at < len(text):
        raise UnsupportedPattern("unbalanced bracket")
    try:
        return _search_term(alternatives)
    except RecursionError:
        raise UnsupportedPattern("nested too deeply") from None


def _search_term(alternatives: list[list[Item]], depth: int = 0) -> Term:
    if depth > 8:
        raise UnsupportedPattern("anchors nested too deeply")
    terms = []
    for sequence in alternatives:
        items = list(sequence)
        left = right = True
        while items and items[0] == START:
            left = False
            items.pop(0)
        while items and items[-1] == END:
            right = False
            items.pop()
        groups = [index for index, item in enumerate(items) if isinstance(item, list)]
        if any(isinstance(item, str) for item in items) or any(
            index not in {0, len(items) - 1} for index in groups
        ):
            raise UnsupportedPattern("an anchor in the middle")
        if groups:
            index = groups[0]
            group = items[index]
            assert isinstance(group, list)
            start: list[Item] = [] if left else [START]
            end: list[Item] = [] if right else [END]
            terms.append(
                _search_term(
                    [[*start, *items[:index], *inner, *items[index + 1 :], *end] for inner in group],
                    depth + 1,
                )
            )
            continue
        term = regular.EMPTY if not right else regular.ALL
        for item in reversed(items):
            assert isinstance(item, tuple)
            term = regular.cat(item, term)
        terms.append(regular.cat(regular.ALL, term) if left else term)
    return regular.either(terms)


class _PatternReader:
    """Recursive-descent reader of one expression."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self, count: int = 1) -> str:
        return self.text[self.at : self.at + count]

    def take(self) -> str:
        if self.at >= len(self.text):
            raise UnsupportedPattern("the expression ends too early")
        self.at += 1
        return self.text[self.at - 1]

    def alternatives(self) -> list[list[Item]]:
        branches: list[list[Item]] = [[]]
        while self.at < len(self.text) and self.peek() != ")":
            if self.peek() == "|":
                self.at += 1
                branches.append([])
            else:
                branches[-1].append(self.quantified(self.item()))
        return branches

    def item(self) -> Item:
        char = self.take()
        if char in "^$":
            return char
        if char == "(":
            return self.group()
        if char == "[":
            return ("set", self.bracket())
        if char == ".":
            return ("set", outside(LINE_ENDS))
        if char == "\\":
            return ("set", self.escape())
        if char in "*+?{":
            raise UnsupportedPattern(f"{char} repeats nothing")
        return ("set", ((ord(char), ord(char)),))

    def group(self) -> Item:
        if self.peek() == "?":
            if self.peek(2) == "?:":
                self.at += 2
            elif self.peek(2) == "?<" and self.peek(3) not in {"?<=", "?<!"}:
                self.at = self.text.index(">", self.at) + 1
            else:
                raise UnsupportedPattern("look-around")
        inner = self.alternatives()
        if self.at >= len(self.text) or self.take() != ")":
            raise UnsupportedPattern("a group is not closed")
        if any(not isinstance(item, tuple) for sequence in inner for item in sequence):
            return inner
        terms = []
        for sequence in inner:
            term = regular.EMPTY
            for item in reversed(sequence):
                assert isinstance(item, tuple)
                term = regular.cat(item, term)
            terms.append(term)
        return regular.either(terms)

    def quantified(self, item: Item) -> Item:
        char = self.peek()
        if not char or char not in "*+?{":
            return item
        low: int
        high: int | None
        if char == "{":
            close = self.text.find("}", self.at)
            bounds = self.text[self.at + 1 : close].split(",") if close > 0 else []
            if not 1 <= len(bounds) <= 2 or not all(bound == "" or bound.isdigit() for bound in bounds):
                raise UnsupportedPattern("a brace that is not a repetition")
            if bounds[0] == "":
                raise UnsupportedPattern("a brace that is not a repetition")
            low = int(bounds[0])
            high = low if len(bounds) == 1 else int(bounds[1]) if bounds[1] else None
            self.at = close + 1
        else:
            low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
            self.at += 1
        if self.peek() == "?":
            self.at += 1
        elif self.peek() == "+":
            raise UnsupportedPattern("a possessive repetition")
        if not isinstance(item, tuple):
            raise UnsupportedPattern("a repeated anchor")
        if high is not None and high < low:
            raise UnsupportedPattern("a repetition with crossed bounds")
        return regular.repeat(item, low, high)

    def escape(self, inside: bool = False) -> Ranges:
        char = self.take()
        if char.lower() in CLASSES:
            return CLASSES[char] if char.islower() else outside(CLASSES[char.lower()])
        if char in CONTROLS:
            if char == "0" and self.peek().isdigit():
                raise UnsupportedPattern("an octal escape")
            return ((CONTROLS[char], CONTROLS[char]),)
        if char == "b" and inside:
            return ((8, 8),)
        if char == "x":
            return self.hexadecimal(2)
        if char == "u":
            if self.peek() == "{":
                close = self.text.find("}", self.at)
                if close < 0:
                    raise UnsupportedPattern("an escape is not closed")
                return self.hexadecimal(close - self.at - 1, skip=1)
            return self.hexadecimal(4)
        if char.isalnum():
            raise UnsupportedPattern(f"\\{char}")
        return ((ord(char), ord(char)),)

    def hexadecimal(self, count: int, skip: int = 0) -> Ranges:
        digits = self.text[self.at + skip : self.at + skip + count]
        try:
            code = int(digits, 16)
        except ValueError:
            raise UnsupportedPattern("an escape without digits") from None
        self.at += count + 2 * skip
        return ((code, code),)

    def bracket(self) -> Ranges:
        negated = self.peek() == "^"
        if negated:
            self.at += 1
        pairs: list[tuple[int, int]] = []
        if self.peek() == "]":
            raise UnsupportedPattern("an empty class")
        while (char := self.take()) != "]":
            if char == "[" or (char in "&-~" and self.peek() == char):
                raise UnsupportedPattern("a class that engines read in several ways")
            part = self.escape(inside=True) if char == "\\" else ((ord(char), ord(char)),)
            if self.peek() == "-" and self.peek(2) != "-]" and len(part) == 1 and part[0][0] == part[0][1]:
                self.at += 1
                char = self.take()
                end = self.escape(inside=True) if char == "\\" else ((ord(char), ord(char)),)
                if len(end) != 1 or end[0][0] != end[0][1] or end[0][0] < part[0][0]:
                    raise UnsupportedPattern("a range without an end")
                part = ((part[0][0], end[0][0]),)
            pairs.extend(part)
        return outside(ranges(pairs)) if negated else ranges(pairs)
