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

    def report(self) -> str:
        """Return the text for a person: place, severity, rule and message, and the fix on a line of its own."""
        fix = f"\n    {self.fix}" if self.fix else ""
        return f"{self.file}:{self.line}: {self.severity}: {self.rule}: {self.message}{fix}"


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that stop the caller. The others are warnings."""
    return [finding for finding in findings if finding.severity == "error"]


def refusal(folder: object, findings: Iterable[Finding]) -> str:
    """Return why a folder is refused: its errors as `check` shows them, and the command that shows all findings."""
    texts = [finding.report() for finding in errors(findings)]
    return "\n".join(
        [f"{folder} does not pass check:", *texts, f"Run `counterfoil check {folder}` for all findings."]
    )


def closest(word: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the closest of `names`, never the word itself; None if none is close."""
    return next(iter(get_close_matches(word, [name for name in names if name != word], 1, cutoff)), None)


def did_you_mean(word: str, names: Iterable[str], otherwise: str = "", cutoff: float = 0.6) -> str:
    """Return a fix that names the closest of `names`, never the word itself; `otherwise` if none is close."""
    near = closest(word, names, cutoff)
    return otherwise if near is None else f"did you mean `{near}`?"
