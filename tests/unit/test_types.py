"""Strict types: mypy over the package with the settings of pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.source import ROOT

pytestmark = pytest.mark.timeout(900)
"""A first run without a cache reads every module and library; later runs take seconds."""


def type_errors(*arguments: str) -> str:
    """Return mypy's findings; empty if there are none."""
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--no-color-output", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr + done.stdout
    assert bool(done.stdout.strip()) == bool(done.returncode)
    return done.stdout


def test_the_package_has_no_type_error() -> None:
    assert type_errors() == ""


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('def count() -> int:\n    return "two"\n', "[return-value]"),
        ("def echo(value):\n    return value\n", "[no-untyped-def]"),
        ("value = 1  # type: ignore[misc]\n", "[unused-ignore]"),
    ],
)
def test_a_planted_type_error_is_found(tmp_path: Path, text: str, code: str) -> None:
    """The last two are errors in strict mode only, so the project's settings are in use."""
    planted = tmp_path / "planted.py"
    planted.write_text(text)
    assert code in type_errors("--cache-dir", str(tmp_path / "cache"), str(planted))
