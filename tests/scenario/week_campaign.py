"""Weeks of a larger size, each with a seed of its own: the long form of tests/scenario/test_week.py."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.source import ROOT


def campaign(seed: int, weeks: int, size: str) -> int:
    """Play so many weeks of a size of tests/scenario/week_plan.py. Return the number of those with a failure; pytest prints it."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "tests/scenario/test_week.py"]
    wrong = 0
    for number in range(seed, seed + weeks):
        environment = os.environ | {"WEEK_SIZE": size, "WEEK_SEED": str(number)}
        print(f"week {number}", flush=True)
        wrong += subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0
    return wrong
