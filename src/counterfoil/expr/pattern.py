"""Regular expressions in RE2 syntax, matched in linear time: no pattern and no text can cause backtracking.

Python's `re` backtracks, and no check of a pattern limits it well (`.*.*.*=` looks harmless and takes cubic time). This is a
Thompson automaton with a cache of state sets. It only answers whether the pattern occurs; groups do not capture.
Back-references and look-around are not supported, as in RE2.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, NoReturn

from counterfoil.expr.errors import Fault

MAX_PATTERN_CHARACTERS = 1_000
MAX_PROGRAM_STATES = 1_500
_MAX_NESTING_DEPTH = 30
_MAX_CACHED_SETS = 5_000

Ranges = tuple[tuple[int, int], ...]

_ANY: Ranges = ((0, 0x10FFFF),)
_NOT_NEWLINE: Ranges = ((0, 9), (11, 0x10FFFF))
_DIGIT: Ranges = ((48, 57),)
_WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE: Ranges = ((9, 10), (12, 13), (32, 32))
_POSIX: dict[str, Ranges] = {
    "alnum": ((48, 57), (65, 90), (97, 122)),
    "alpha": ((65, 90), (97, 122)),
    "digit": _DIGIT,
    "lower": ((97, 122),),
    "punct": ((33, 47), (58, 64), (91, 96), (123, 126)),
    "space": ((9, 13), (32, 32)),
    "upper": ((65, 90),),
    "word": _WORD,
    "xdigit": ((48, 57), (65, 70), (97, 102)),
}
_CONTROL = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
# Flags of a boundary between two characters, computed from the characters on both sides.
_BEGIN, _END, _LINE_BEGIN, _LINE_END, _WORD_EDGE, _NO_WORD_EDGE = 1, 2, 4, 8, 16, 32


class _Set(NamedTuple):
    ranges: Ranges
    fold: bool = False

    def takes(self, character: str) -> bool:
        """Return true if the character is in the set."""
        if self._has(ord(character)):
            return True
        if not self.fold:
            return False
        lower, upper = character.lower(), character.upper()
        return (len(lower) == 1 and self._has(ord(lower))) or (len(upper) == 1 and self._has(ord(upper)))

    def _has(self, code: int) -> bool:
        return any(low <= code <= high for low, high in self.ranges)


class _Split(NamedTuple):
    first: int
    second: int


class _Assert(NamedTuple):
    flag: int


class _Jump(NamedTuple):
    to: int


_Instruction = _Set | _Split | _Assert | _Jump
_Tree = tuple[str, tuple[object, ...]]


def _negate(ranges: Ranges) -> Ranges:
    gaps: list[tuple[int, int]] = []
    start = 0
    for low, high in sorted(ranges):
        if low > start:
            gaps.append((start, low - 1))
        start = max(start, high + 1)
    if start <= 0x10FFFF:
        gaps.append((start, 0x10FFFF))
    return tuple(gaps)


def _is_word(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character == "_")


class _PatternParser:
    """Parser from text to a tree of ('set' | 'assert' | 'cat' | 'alt' | 'repeat', parts)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.nesting = 0
        self.flags = frozenset[str]()

    def fail(self, message: str) -> NoReturn:
        raise Fault(f"bad pattern at character {self.at + 1}: {message}")

    def peek(self, text: str) -> bool:
        return self.text.startswith(text, self.at)

    def take(self) -> str:
        if self.at >= len(self.text):
            self.fail("the pattern ends too early")
        self.at += 1
        return self.text[self.at - 1]

    def alternatives(self) -> _Tree:
        branches = [self.sequence()]
        while self.peek("|"):
            self.at += 1
            branches.append(self.sequence())
        return branches[0] if len(branches) == 1 else ("alt", tuple(branches))

    def sequence(self) -> _Tree:
        parts: list[_Tree] = []
        while self.at < len(self.text) and not self.peek("|") and not self.peek(")"):
            part = self.atom()
            if part is not None:
                parts.append(self.repeats(part))
        return ("cat", tuple(parts))

    def repeats(self, part: _Tree) -> _Tree:
        if self.peek("*"):
            low, high = 0, -1
        elif self.peek("+"):
            low, high = 1, -1
        elif self.peek("?"):
            low, high = 0, 1
        elif self.peek("{") and (counts := self.counts()) is not None:
            low, high = counts
        else:
            return part
        self.at += 1
        if self.peek("?"):  # a lazy quantifier has the same occurrences
            self.at += 1
        if self.peek("*") or self.peek("+") or self.peek("?"):
            self.fail("a quantifier follows a quantifier; use a group")
        return ("repeat", (part, low, high))

    def counts(self) -> tuple[int, int] | None:
        """Return the bounds of {n}, {n,} or {n,m}; None for a literal brace. Leaves `at` on the closing brace."""
        close = self.text.find("}", self.at)
        low, comma, high = self.text[self.at + 1 : max(close, 0)].partition(",")
        if close < 0 or not (low.isascii() and low.isdigit()) or not (high == "" or high.isdigit()):
            return None
        if len(low) > 4 or len(high) > 4:
            self.fail("a repetition is limited to 1000")
        least = int(low)
        most = least if not comma else int(high) if high else -1
        if max(least, most) > 1000 or (most != -1 and most < least):
            self.fail("a repetition is {n}, {n,} or {n,m} with n <= m <= 1000")
        self.at = close
        return least, most

    def atom(self) -> _Tree | None:
        character = self.take()
        if character == "(":
            return self.group()
        if character == "[":
            return self.set_of(self.character_class())
        if character == ".":
            return self.set_of(_ANY if "s" in self.flags else _NOT_NEWLINE)
        if character == "^":
            return ("assert", (_LINE_BEGIN if "m" in self.flags else _BEGIN,))
        if character == "$":
            return ("assert", (_LINE_END if "m" in self.flags else _END,))
        if character in "*+?":
            self.at -= 1
            self.fail(f"{character!r} has nothing to repeat")
        if character == "\\":
            return self.escape()
        return self.set_of(((ord(character), ord(character)),))

    def set_of(self, ranges: Ranges) -> _Tree:
        return ("set", (_Set(ranges, "i" in self.flags),))

    def group(self) -> _Tree | None:
        self.nesting += 1
        if self.nesting > _MAX_NESTING_DEPTH:
            self.fail(f"groups are nested more than {_MAX_NESTING_DEPTH} deep")
        outer = self.flags
        if self.peek("?"):
            self.at += 1
            if self.peek("P<") or (self.peek("<") and not self.peek("<=") and not self.peek("<!")):
                close = self.text.find(">", self.at)
                if close < 0:
                    self.fail("the name of the group is not closed")
                self.at = close + 1
            elif self.set_flags():
                self.nesting -= 1
                return None
        inner = self.alternatives()
        if not self.peek(")"):
            self.fail("a group is not closed")
        self.at += 1
        self.nesting -= 1
        self.flags = outer
        return inner

    def set_flags(self) -> bool:
        """Read flags: (?i) for the rest of the group returns True, (?i: for this group returns False."""
        on, off, target = set[str](), set[str](), True
        while True:
            character = self.take()
            if character in "imsU":
                (on if target else off).add(character)
            elif character == "-" and target:
                target = False
            elif character in ":)":
                self.flags = frozenset((self.flags | on) - off)
                return character == ")"
            else:
                self.at -= 1
                self.fail("look-around and other (?...) forms are not supported")

    def escape(self) -> _Tree:
        if self.text[self.at : self.at + 1] in ("b", "B", "A", "z"):
            flag = {"b": _WORD_EDGE, "B": _NO_WORD_EDGE, "A": _BEGIN, "z": _END}[self.take()]
            return ("assert", (flag,))
        return self.set_of(self.escape_ranges())

    def escape_ranges(self) -> Ranges:
        character = self.take()
        classes = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
        if character.lower() in classes:
            ranges = classes[character.lower()]
            return ranges if character.islower() else _negate(ranges)
        if character in _CONTROL:
            code = _CONTROL[character]
        elif character == "x":
            digits = self.text[self.at : self.at + 2]
            if self.peek("{"):
                digits = self.text[self.at + 1 : max(self.text.find("}", self.at), 0)]
                self.at += 2
            if not 1 <= len(digits) <= 6 or any(d not in "0123456789abcdefABCDEF" for d in digits):
                self.fail("\\x takes two hexadecimal digits or {...}")
            self.at += len(digits)
            code = int(digits, 16)
            if code > 0x10FFFF:
                self.fail("the character code is too large")
        elif character.isdigit():
            self.fail("back-references are not supported")
        elif character.isalpha():
            self.fail(f"\\{character} is not supported")
        else:
            code = ord(character)
        return ((code, code),)

    def character_class(self) -> Ranges:
        inverted = self.peek("^")
        self.at += inverted
        ranges: list[tuple[int, int]] = []
        first = True
        while first or not self.peek("]"):
            first = False
            if self.peek("[:") and (end := self.text.find(":]", self.at)) > 0:
                name = self.text[self.at + 2 : end]
                positive = _POSIX.get(name.lstrip("^"))
                if positive is None:
                    self.fail(f"the class [:{name[:20]}:] does not exist")
                ranges += _negate(positive) if name.startswith("^") else positive
                self.at = end + 2
                continue
            low = self.class_character()
            single = len(low) == 1 and low[0][0] == low[0][1]
            if single and self.peek("-") and not self.peek("-]"):
                self.at += 1
                high = self.class_character()
                if len(high) != 1 or high[0][0] != high[0][1] or high[0][0] < low[0][0]:
                    self.fail("a range in [...] must go from a lower to a higher character")
                low = ((low[0][0], high[0][0]),)
            ranges += low
        self.at += 1
        return _negate(tuple(ranges)) if inverted else tuple(ranges)

    def class_character(self) -> Ranges:
        character = self.take()
        return self.escape_ranges() if character == "\\" else ((ord(character), ord(character)),)


class CompiledPattern:
    """Compiled pattern; `search` returns true if it occurs in a text."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_PATTERN_CHARACTERS:
            raise Fault(f"a pattern is limited to {MAX_PATTERN_CHARACTERS:,} characters")
        reader = _PatternParser(text)
        tree = reader.alternatives()
        if reader.at < len(text):
            reader.fail("this bracket has no opening bracket")
        self._program: list[_Instruction] = []
        self._emit(tree)
        self._asserts = any(isinstance(i, _Assert) for i in self._program)
        self._clear_cache()

    @property
    def size(self) -> int:
        """Number of states: a bound on the work per character."""
        return len(self._program)

    def _clear_cache(self) -> None:
        self._closures: dict[tuple[frozenset[int], int], tuple[bool, frozenset[int]]] = {}
        self._steps: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def _add(self, instruction: _Instruction) -> int:
        if len(self._program) >= MAX_PROGRAM_STATES:
            raise Fault(f"the pattern has more than {MAX_PROGRAM_STATES:,} states; shorten its repetitions")
        self._program.append(instruction)
        return len(self._program) - 1

    def _emit(self, tree: _Tree) -> None:
        name, parts = tree
        program = self._program
        if name in ("set", "assert"):
            self._add(parts[0] if isinstance(parts[0], _Set) else _Assert(int(str(parts[0]))))
        elif name == "cat":
            for part in parts:
                self._emit(part)  # type: ignore[arg-type]
        elif name == "alt":
            ends: list[int] = []
            for part in parts[:-1]:
                split = self._add(_Jump(0))
                self._emit(part)  # type: ignore[arg-type]
                ends.append(self._add(_Jump(0)))
                program[split] = _Split(split + 1, len(program))
            self._emit(parts[-1])  # type: ignore[arg-type]
            for end in ends:
                program[end] = _Jump(len(program))
        else:
            self._repeat(*parts)  # type: ignore[arg-type]

    def _repeat(self, part: _Tree, low: int, high: int) -> None:
        for _ in range(low):
            self._emit(part)
        if high == -1:
            split = self._add(_Jump(0))
            self._emit(part)
            self._add(_Jump(split))
            self._program[split] = _Split(split + 1, len(self._program))
            return
        splits: list[int] = []
        for _ in range(high - low):
            splits.append(self._add(_Jump(0)))
            self._emit(part)
        for split in splits:
            self._program[split] = _Split(split + 1, len(self._program))

    def search(self, text: str) -> bool:
        """Return true if the pattern occurs anywhere in `text`."""
        states = frozenset({0})
        closures, steps = self._closures, self._steps
        for at in range(len(text) + 1):
            flags = self._flags(text, at) if self._asserts else 0
            closure = closures.get((states, flags))
            if closure is None:
                closure = closures[states, flags] = self._close(states, flags)
            if closure[0]:
                return True
            if at == len(text):
                return False
            key = (closure[1], text[at])
            following = steps.get(key)
            if following is None:
                if len(steps) + len(closures) > _MAX_CACHED_SETS:
                    self._clear_cache()
                    closures, steps = self._closures, self._steps
                following = steps[key] = self._step(*key)
            states = following
        return False

    def _flags(self, text: str, at: int) -> int:
        before = text[at - 1] if at else ""
        after = text[at] if at < len(text) else ""
        flags = (0 if before else _BEGIN) | (0 if after else _END)
        if before in ("", "\n"):
            flags |= _LINE_BEGIN
        if after in ("", "\n"):
            flags |= _LINE_END
        edge = _is_word(before) != _is_word(after)
        return flags | (_WORD_EDGE if edge else _NO_WORD_EDGE)

    def _close(self, states: frozenset[int], flags: int) -> tuple[bool, frozenset[int]]:
        """Return true if the pattern is complete at this boundary, and the instructions that wait for a character."""
        visited: set[int] = set()
        waiting: set[int] = set()
        stack = list(states)
        end = len(self._program)
        while stack:
            at = stack.pop()
            if at in visited:
                continue
            visited.add(at)
            if at == end:
                return True, frozenset()
            instruction = self._program[at]
            if isinstance(instruction, _Set):
                waiting.add(at)
            elif isinstance(instruction, _Split):
                stack += instruction
            elif isinstance(instruction, _Jump):
                stack.append(instruction.to)
            elif instruction.flag & flags:
                stack.append(at + 1)
        return False, frozenset(waiting)

    def _step(self, waiting: frozenset[int], character: str) -> frozenset[int]:
        program = self._program
        following = {
            at + 1 for at in waiting if isinstance(item := program[at], _Set) and item.takes(character)
        }
        following.add(0)  # an occurrence may start at every position
        return frozenset(following)


@lru_cache(maxsize=256)
def compile_pattern(text: str) -> CompiledPattern:
    """Return the compiled pattern. Raises Fault for an invalid pattern."""
    return CompiledPattern(text)
