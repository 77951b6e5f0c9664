"""Findings: problems in files that a person should correct, with their place.

Findings are values: a check collects and returns all of them. It raises no exception for a problem in a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem and its place. `line` and `column` count from 1; 0 means the whole file.

    `rule` is a stable lower-case name such as `duplicate-key`; `fix` says what the reader can do.
    """

    rule: str
    message: str
    file: str
    line: int = 0
    column: int = 0
    severity: Severity = "error"
    fix: str = ""

    @property
    def place(self) -> tuple[str, int, int, str, str]:
        return (self.file, self.line, self.column, self.rule, self.message)

    def __lt__(self, other: Finding) -> bool:
        return self.place < other.place

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.message}"


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that stop the caller. The others are warnings."""
    return [finding for finding in findings if finding.severity == "error"]


def did_you_mean(word: str, names: Iterable[str], otherwise: str = "", cutoff: float = 0.6) -> str:
    """Return a fix that names the closest of `names`, never the word itself; `otherwise` if none is close."""
    near = get_close_matches(word, [name for name in names if name != word], 1, cutoff)
    return f"did you mean `{near[0]}`?" if near else otherwise
