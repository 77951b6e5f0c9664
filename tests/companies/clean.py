"""A small company without findings, and a function that plants one mistake in it."""

from __future__ import annotations

from pathlib import Path

from counterfoil.core.finding import Finding
from counterfoil.model import Model, read
from tests.companies.base import documents, failure_policy, text_of, write

COMPANY = documents(failure_policy(period_closed="queue", already_done="continue"), text_of("clean"))

MARK = "#!"


def findings_of(folder: Path, text: str) -> tuple[Model, list[Finding]]:
    return read(write(folder, text))


def plant(old: str, new: str, at: str = MARK) -> tuple[str, int]:
    """Return the company's text with `old` replaced, and the line on which `at` begins. Each occurs once."""
    assert COMPANY.count(old) == 1, f"{old!r} occurs {COMPANY.count(old)} times"
    text = COMPANY.replace(old, new)
    assert text.count(at) == 1, f"{at!r} occurs {text.count(at)} times"
    return text, text[: text.index(at)].count("\n") + 1
