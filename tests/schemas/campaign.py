"""The campaign of pairs: any number of them in one process; each fault is printed with its seed."""

from __future__ import annotations

import json
import time
from collections import Counter

from tests.schemas.draws import draw_case
from tests.schemas.judge import judge

MAX_PRINTED = 20
"""Faults printed with both schemas; the others are counted."""

PAIRS_BETWEEN_LINES = 5_000


def campaign(first: int, count: int) -> list[int]:
    """Judge `count` pairs and print the figures. Return the seeds with a fault."""
    began, failing = time.monotonic(), []
    figures: Counter[str] = Counter()
    for seed in range(first, first + count):
        if seed > first and (seed - first) % PAIRS_BETWEEN_LINES == 0:
            print(f"{seed - first:6} pairs, {len(failing)} with a fault", flush=True)
        case = draw_case(seed)
        judgement = judge(case, seed=seed)
        if judgement is None:
            figures["invalid schemas"] += 1
            continue
        figures[judgement.verdict] += 1
        figures["with a witness in the bounded set"] += judgement.has_witness
        figures["breaking without a proof"] += judgement.unproven
        if judgement.faults or judgement.unproven:
            failing.append(seed)
            if len(failing) <= MAX_PRINTED:
                print(
                    f"pair {seed} ({case.draft}, {case.direction}): {judgement.faults or 'breaking without a proof'}"
                )
                print(f"    old {json.dumps(case.old)}\n    new {json.dumps(case.new)}", flush=True)
    seconds = time.monotonic() - began
    listed = ", ".join(f"{figures[name]} {name}" for name in sorted(figures))
    print(f"{count} pairs in {seconds:.0f} s: {listed}; {len(failing)} with a fault", flush=True)
    return failing
