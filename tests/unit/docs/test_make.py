"""What people type is there, and `make help` tells of it."""

from __future__ import annotations

import os
import re
import subprocess

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


def step(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a step of the installation, with its progress."""
    recipe = f"step: ; @echo Working; $(TICK) {command}; $(DONE)"
    make = ["make", "--no-print-directory", "-f", str(ROOT / "Makefile"), "--eval", recipe, "step"]
    return subprocess.run(make, capture_output=True, text=True, timeout=60)


def test_every_slow_step_of_the_installation_shows_progress() -> None:
    text = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    slow = [
        line for line in text.splitlines() if re.search(r"^\t.*(PIP_HASHED|pip .*install| -m venv)", line)
    ]
    assert len(slow) == 4
    assert [line for line in slow if not re.search(r"echo \".*\$\(TICK\).*\$\(DONE\)", line)] == []


def test_a_silent_step_says_its_seconds_until_it_ends() -> None:
    ended = step("sleep 4.5")
    assert ended.returncode == 0, ended.stderr
    first, *ticks, last = ended.stdout.splitlines()
    assert (first, [re.sub(r"\d+", "N", tick) for tick in set(ticks)]) == ("Working", ["  ... N s"])
    assert re.fullmatch(r"  done in \d+ s", last)


def test_a_failed_step_fails_the_installation() -> None:
    ended = step("false")
    assert ended.returncode != 0
    assert "done" not in ended.stdout
