"""Regular expressions in RE2 syntax, matched in linear time: no pattern and no text can cause backtracking.

Python's `re` backtracks, and no check of a pattern limits it well (`.*.*.*=` looks harmless and takes cubic time). RE2 does
not. A pattern is only asked where it occurs; groups do not capture.
"""

from __future__ import annotations

import re
from functools import lru_cache

import re2  # type: ignore[import-untyped]

from counterfoil.expr.errors import Fault

MAX_PATTERN_CHARACTERS = 1_000
MAX_PROGRAM_INSTRUCTIONS = 20_000
_MAX_MEMORY_BYTES = 8 << 20
_SINGLE_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\C")
"""The one escape of RE2 that can split a character; CEL has none."""


class CompiledPattern:
    """One pattern. Raises Fault for an invalid pattern."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_PATTERN_CHARACTERS:
            raise Fault(f"bad pattern: longer than {MAX_PATTERN_CHARACTERS} characters")
        if _SINGLE_BYTE.search(text):
            raise Fault(r"bad pattern: \C is not supported")
        options = re2.Options()
        options.log_errors = False
        options.never_capture = True
        options.max_mem = _MAX_MEMORY_BYTES
        try:
            self._regexp = re2.compile(text, options)
        except re2.error as error:
            raise Fault(f"bad pattern: {_message(error)}") from error
        except UnicodeEncodeError as error:
            raise Fault("bad pattern: it holds half of a surrogate pair") from error
        self.size: int = self._regexp.programsize
        """Instructions of the compiled program."""
        if self.size > MAX_PROGRAM_INSTRUCTIONS:
            raise Fault(f"bad pattern: more than {MAX_PROGRAM_INSTRUCTIONS} instructions")

    def search(self, text: str) -> bool:
        """Return true if the pattern occurs anywhere in `text`. Raises Fault for text that is no Unicode."""
        try:
            return self._regexp.search(text) is not None
        except UnicodeEncodeError as error:
            raise Fault("the text holds half of a surrogate pair") from error

    def find(self, text: str, start: int) -> tuple[int, int] | None:
        """Return begin and end of the first occurrence from `start` on, in code points; None if there is none."""
        try:
            match = self._regexp.search(text, start)
        except UnicodeEncodeError as error:
            raise Fault("the text holds half of a surrogate pair") from error
        return None if match is None else match.span()


@lru_cache(maxsize=256)
def compile_pattern(text: str) -> CompiledPattern:
    """Return the compiled pattern. Raises Fault for an invalid pattern."""
    return CompiledPattern(text)


def _message(error: re2.error) -> str:
    reason = error.args[0] if error.args else "RE2 refuses it"
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
