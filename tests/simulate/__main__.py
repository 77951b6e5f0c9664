"""Play seeds: `python -m tests.simulate --seed 17`, or `--first 0 --seeds 100`. A failing one is shrunk and told."""

from __future__ import annotations

import argparse
import sys

from tests.simulate.plan import planned
from tests.simulate.play import play
from tests.simulate.shrink import shrunk, told


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="this seed alone, told in full")
    parser.add_argument(
        "--keep", default="", help="with --seed: numbers of the plan's items to keep, nothing else"
    )
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--as-it-is", action="store_true", help="do not shrink what fails")
    asked = parser.parse_args()
    if asked.seed is None:
        failing = [n for n in range(asked.first, asked.first + asked.seeds) if play(planned(n)).violations]
        print(f"{asked.seeds} seeds from {asked.first}; failing: {failing}")
        return 1 if failing else 0
    plan = planned(asked.seed)
    if asked.keep:
        plan = plan.keeping([int(n) for n in asked.keep.split(",")])
    played = play(plan)
    if played.violations and not asked.keep and not asked.as_it_is:
        played = shrunk(played)
    print(told(played))
    return 1 if played.violations else 0


if __name__ == "__main__":
    sys.exit(main())
