"""Likely causes of YAML that does not parse. A parser names the place where it stopped, often below the slip."""

from __future__ import annotations

import re
from typing import NamedTuple

_KEY = re.compile(r"^\s*(?:- +)*(?P<key>[^\s'\"\[{#][^:]*): +(?=\S)")
_ENDS_KEY = re.compile(r":(?:\s|$)")
KEY = "a key ends with a colon and a space. Is the indent right?"
INDENT = "is the indent right? Quote a text that contains `: `"
_FIXES = (
    ("could not find expected ':'", KEY),
    ("expected '-' indicator", "is the indent right? Every item of a list begins with `- ` in the same column"),
    ("did not find expected key", "is the indent right? A list item begins with `- `, and nothing follows a quoted text"),
    ("did not find expected ',' or", "close the bracket, or put a comma between entries; quote a text that contains `, `"),
    ("found unexpected end of stream", "end the quoted text with the same quote"),
    ("found unexpected document", "end the quoted text with the same quote"),
    ("cannot start any token", "quote the text: this character has a meaning in YAML"),
    ("block sequence entries are not allowed", "is the indent right? A list begins on the line below its key"),
    ("unknown escape character", "write the text in single quotes: in double quotes a backslash begins an escape"),
)  # fmt: skip
"""Fix by a part of the problem that libyaml reports."""
_AT_BEGIN = ("could not find expected ':'", "did not find expected ',' or", "found unexpected end of stream")
"""Problems whose cause is where the construct begins, not where the parser stopped."""


class YamlCause(NamedTuple):
    """Line of a slip, counted from 0, and what the author can do."""

    line: int
    fix: str


def likely_cause(text: str, problem: str, line: int, column: int, begin_line: int | None) -> YamlCause:
    """Return the likely cause of a problem at a place, which counts from 0.

    `begin_line` is the line in which the construct begins that the parser could not finish.
    """
    if "mapping values are not allowed" in problem:
        return _second_colon(_lines(text), line, column)
    if "did not find expected key" in problem and (cause := _key_above(_lines(text), line)):
        return cause
    fix = next((fix for part, fix in _FIXES if part in problem), INDENT)
    begins = begin_line is not None and any(part in problem for part in _AT_BEGIN)
    return YamlCause(begin_line if begins and begin_line is not None else line, fix)


def _second_colon(lines: list[str], line: int, column: int) -> YamlCause:
    """Return why a colon stands where no key can be: a text with a colon, a key without one, or a wrong indent."""
    current = lines[line] if line < len(lines) else ""
    if key := _KEY.match(current[:column]):
        return YamlCause(line, f"quote the text of `{key['key']}`: it contains `: `. Or is the indent right?")
    return _key_above(lines, line) or YamlCause(line, INDENT)


def _key_above(lines: list[str], line: int) -> YamlCause | None:
    """Return the cause of a line whose predecessor is a key without its colon; None for another one."""
    above = next((at for at in range(line - 1, -1, -1) if lines[at].split("#")[0].strip()), None)
    if above is None or _ENDS_KEY.search(lines[above]) or lines[above].lstrip().startswith("- "):
        return None
    return YamlCause(above, KEY)


def _lines(text: str) -> list[str]:
    return re.split(r"\r\n|\r|\n", text)
