"""What people type is there, and `make help` tells of it."""

from __future__ import annotations

import os
import re

import pytest

from tests.source import ROOT

TARGETS = ["run", "test", "check", "bench", "campaign", "docs", "lock", "help"]


def documented() -> dict[str, str]:
    """Target -> the line that `make help` shows for it."""
    text = (ROOT / "Makefile").read_text("utf-8")
    return dict(re.findall(r"^([a-z]+):.*## (.+)$", text, re.M))


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_there_and_explains_itself(target: str) -> None:
    assert documented()[target]


def test_no_target_is_missing_from_the_promise() -> None:
    assert set(documented()) == set(TARGETS)


def test_everything_but_help_waits_for_the_environment() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    ready = set(re.findall(r"^([a-z]+): \$\(READY\)", text, re.M))
    assert ready == set(TARGETS) - {"help"}


def test_the_run_of_everything_can_be_started() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
