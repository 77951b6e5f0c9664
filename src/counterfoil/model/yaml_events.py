"""Parser events of YAML text, from PyYAML's parser in C, restricted to YAML 1.2.

libyaml follows YAML 1.1: to it U+0085, U+2028 and U+2029 are line breaks, and a tab may separate a key from its value.
Both differences are closed here. Aliases, tags and directives are events, so that the caller can refuse them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml  # type: ignore[import-untyped]

from counterfoil.core.yaml_cause import likely_cause

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BREAKS_OF_1_1 = "\x85\u2028\u2029\ufeff"
"""Characters with a meaning in YAML 1.1 that are ordinary text in YAML 1.2."""
_BREAK_OF_1_1 = re.compile(f"[{_BREAKS_OF_1_1}]")
_PRIVATE_USE = range(0xE000, 0xF900)
_TAB_OR_COMMENT = re.compile(r"#[^\r\n]*|\t")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")


class YamlSyntaxError(ValueError):
    """Text that is not YAML; `line` and `column` count from 0. `fix` says the likely cause."""

    def __init__(self, problem: str, line: int, column: int, fix: str = "") -> None:
        super().__init__(problem)
        self.line = line
        self.column = column
        self.fix = fix


class _End:
    """Mark at the end of the text. libyaml counts a line break there even if the text has none."""

    def __init__(self, text: str) -> None:
        self.index = len(text)
        self.line, self.column = _place(text, len(text))


def parse_events(text: str) -> Iterator[Any]:
    """Yield the events of a text while it is parsed. Raises YamlSyntaxError where it is not YAML."""
    text = text.removeprefix("\ufeff")
    unprintable = _UNPRINTABLE.search(text)
    if unprintable:
        raise YamlSyntaxError("a control character is not allowed", *_place(text, unprintable.start()))
    substitutes = _substitutes(text) if _BREAK_OF_1_1.search(text) else {}
    originals = {substitute: original for original, substitute in substitutes.items()}
    tabs = _TabCheck(text) if "\t" in text else None
    size = len(text)
    try:
        for event in yaml.parse(text.translate(substitutes) if substitutes else text, Loader=_LOADER):
            if tabs is not None:
                tabs.check(event)
            if originals and isinstance(event, yaml.ScalarEvent):
                event.value = event.value.translate(originals)
            if event.start_mark.index >= size:
                event.start_mark = event.end_mark = _End(text)
            yield event
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if mark.index >= size:
            mark = _End(text)
        if tabs is not None:
            tabs.check_gap(mark.index + 1)
        problem = " ".join(part for part in (error.context, error.problem) if part)
        begin = None if error.context_mark is None else error.context_mark.line
        cause = likely_cause(text, problem, mark.line, mark.column, begin)
        column = mark.column if cause.line == mark.line else 0
        raise YamlSyntaxError(problem, cause.line, column, cause.fix) from None


class _TabCheck:
    """Refuses tabs in plain scalars and, outside flow collections, between events; comments may contain them."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._end = 0
        self._flow_depth = 0

    def check(self, event: Any) -> None:
        start, end = event.start_mark.index, event.end_mark.index
        if not self._flow_depth:
            self.check_gap(start)
        if isinstance(event, yaml.ScalarEvent) and not event.style:
            self._refuse(start, end)
        self._end = max(self._end, end)
        if isinstance(event, yaml.CollectionStartEvent):
            self._flow_depth += bool(self._flow_depth or event.flow_style)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._flow_depth -= bool(self._flow_depth)

    def check_gap(self, end: int) -> None:
        """Check the text between the last event and a position."""
        self._refuse(self._end, end)

    def _refuse(self, start: int, end: int) -> None:
        for match in _TAB_OR_COMMENT.finditer(self._text, start, max(start, end)):
            if match[0] == "\t":
                problem = "a tab is not allowed here; use spaces"
                raise YamlSyntaxError(problem, *_place(self._text, match.start()))


def _substitutes(text: str) -> dict[int, int]:
    """Map each special character to a character of private use that the text does not contain."""
    unused = (code for code in _PRIVATE_USE if chr(code) not in text)
    return {ord(character): next(unused, 0xFFFD) for character in _BREAKS_OF_1_1}


def _place(text: str, index: int) -> tuple[int, int]:
    """Return line and column of a position, counted from 0."""
    lines = _LINE_BREAK.split(text[:index])
    return len(lines) - 1, len(lines[-1])
