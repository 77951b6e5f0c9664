"""The campaign of seeds: any number of them on all cores; what fails is named, the first of it shrunk and reported."""

from __future__ import annotations

import multiprocessing
import time

from tests.simulate.plan import planned
from tests.simulate.play import play
from tests.simulate.shrink import report, shrunk

MAX_REPORTED = 3
"""Failing seeds that are shrunk and reported; the others are named."""
SHARE = 20
"""Seeds that a process plays at once."""


def campaign(first: int, count: int, processes: int) -> list[int]:
    """Play `count` seeds. Return those that violate an invariant."""
    began, failing = time.monotonic(), []
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        answers = pool.imap_unordered(_failing, range(first, first + count), chunksize=SHARE)
        for done, failed in enumerate(answers, start=1):
            if failed is not None:
                failing.append(failed)
            if done % 1000 == 0 or done == count:
                rate = done / (time.monotonic() - began)
                print(f"{done:6} seeds, {rate:.1f} a second, {len(failing)} failing", flush=True)
    for seed in sorted(failing)[:MAX_REPORTED]:
        print("\n" + report(shrunk(play(planned(seed)))), flush=True)
    if failing:
        print(f"\nfailing seeds: {sorted(failing)}")
    return failing


def _failing(seed: int) -> int | None:
    return seed if play(planned(seed)).violations else None
