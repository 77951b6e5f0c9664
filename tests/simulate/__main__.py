"""Play seeds: `python -m tests.simulate --seed 17`, or `--first 0 --seeds 100`. A failing one is shrunk and reported."""

from __future__ import annotations

import argparse
import sys

from tests.simulate.plan import planned
from tests.simulate.play import play
from tests.simulate.shrink import report, shrunk


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="this seed alone, reported in full")
    parser.add_argument(
        "--keep", default="", help="with --seed: numbers of the plan's items to keep, nothing else"
    )
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--as-it-is", action="store_true", help="do not shrink what fails")
    arguments = parser.parse_args()
    if arguments.seed is None:
        failing = [
            n
            for n in range(arguments.first, arguments.first + arguments.seeds)
            if play(planned(n)).violations
        ]
        print(f"{arguments.seeds} seeds from {arguments.first}; failing: {failing}")
        return 1 if failing else 0
    plan = planned(arguments.seed)
    if arguments.keep:
        plan = plan.keeping([int(n) for n in arguments.keep.split(",")])
    played = play(plan)
    if played.violations and not arguments.keep and not arguments.as_it_is:
        played = shrunk(played)
    print(report(played))
    return 1 if played.violations else 0


if __name__ == "__main__":
    sys.exit(main())
