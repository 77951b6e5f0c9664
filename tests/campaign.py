"""The long campaigns: `python -m tests.campaign --seeds N --kills N --pairs N --months N --weeks N --size SIZE --cash N --changes`.

`--seeds` runs the simulator on all cores (tests/simulate/campaign.py). A failing seed is shrunk and printed.

`--kills` runs rounds of a credit in which the process is killed. The first rounds kill it at each point that a round without
kills passes. Later rounds draw points, second points during the recovery, and moments from the seed. Most rounds use the
fast company, on both stores with one to three workers (tests/crash/campaign.py); every twentieth uses the real systems.

`--pairs` compares random pairs of JSON Schemas and judges the verdicts by brute force (tests/schemas).

`--months` plays months of Acme and kills the sweep of their books at each tenth (tests/scenario/month_campaign.py).

`--weeks` plays weeks of Acme under faults (tests/scenario/week_campaign.py), twice as large as that of the suite. With
`--size month` each has more than 1,000 events.

`--cash` plays rounds of money that moves while the server is killed, on the real systems (tests/scenario/test_cash_kills.py).

`--changes` changes and removes each document of Acme and replays recorded traffic (tests/unit/replay/test_every_change.py).

The exit code is 1 if an invariant was violated or a verdict was wrong. `--seed` and `--first` repeat a round.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

from tests.companies.acme import company
from tests.crash import campaign as crash_campaign
from tests.crash import crew
from tests.crash.points import sure
from tests.crash.rounds import NOT_OF_A_CREDIT, Life, Played
from tests.scenario import month_campaign, week_campaign
from tests.schemas import campaign as pairs
from tests.simulate import campaign as seeds
from tests.source import ROOT

ROUNDS_PER_COMPANY = 100
SECOND_KILL_SHARE = 0.35
"""Share of rounds in which the recovery is killed as well."""
ANY_MOMENT_SHARE = 0.2
"""Share of later rounds in which the kill comes at a moment instead of a point."""
MAX_SECONDS_TO_KILL = 6.0


@dataclass
class Summary:
    rounds: int = 0
    kills: int = 0
    unreached: list[str] = field(default_factory=list)
    violated: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """The kills of one round."""

    number: int
    lives: list[list[str]]
    after: float | None

    def __str__(self) -> str:
        named = ", then ".join(" or ".join(life) for life in self.lives)
        return named if self.after is None else f"{self.after:.2f} s after the request {named}".strip()


def planned(seed: int, number: int, points: list[str]) -> Plan:
    """Plan the round with this number: each point once, in an order drawn from the seed, then random kills."""
    chance = random.Random(f"{seed}/{number}")
    order = random.Random(seed).sample(points, len(points))
    finds = sorted({p.replace("send:", "find:") for p in points if p.startswith("send:")})
    second = [[chance.choice([*points, *finds])]] if chance.random() < SECOND_KILL_SHARE else []
    if number < len(order):
        return Plan(number, [[order[number]], *second], None)
    if chance.random() < ANY_MOMENT_SHARE:
        return Plan(number, [[], *second], chance.uniform(0, MAX_SECONDS_TO_KILL))
    return Plan(number, [[chance.choice(points)], *second], None)


REAL_EVERY_ROUNDS = 20
"""One of so many rounds uses the real systems, where a round takes ten times as long."""


async def kill_campaign(seed: int, first: int, count: int, companies: int) -> Summary:
    """Run the rounds `first` to `first + count - 1`, shared among companies that run in parallel."""
    summary = Summary()
    numbers = list(reversed(range(first, first + count)))
    rounds = asyncio.gather(*(_rounds(seed, numbers, summary) for _ in range(companies)))
    # A campaign that is stopped early still stops its companies and reports its results.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, rounds.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await rounds
    return summary


def whole(test: str, **sizes: int) -> bool:
    """Run a test of the suite in another size. Return true if a check failed; pytest prints it."""
    command = [sys.executable, "-m", "pytest", "-n", "0", f"tests/{test}.py"]
    environment = os.environ | {name: str(size) for name, size in sizes.items()}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0


async def _rounds(seed: int, numbers: list[int], summary: Summary) -> None:
    points: list[str] = []
    while numbers:
        with contextlib.ExitStack() as systems:
            life = Life(await asyncio.to_thread(systems.enter_context, company()))
            dry = await life.round()
            _report("without kills", dry)
            if dry.violations:
                summary.violated.append("without kills")
                return
            points = points or sorted(set(sure([dry.points], NOT_OF_A_CREDIT)))
            for _ in range(ROUNDS_PER_COMPANY):
                if not numbers:
                    return
                plan = planned(seed, numbers.pop(), points)
                played = await life.round(plan.lives, plan.after)
                _report(f"{plan.number}: {plan}", played)
                summary.rounds += 1
                summary.kills += len(played.killed) + (plan.after is not None)
                summary.unreached += [p for life_ in plan.lives for p in life_ if p not in played.killed]
                if played.violations:
                    summary.violated.append(f"{plan.number}: {plan}")
                    break  # each later round of this company would report the same violation


def _report(what: str, played: Played | crew.Played) -> None:
    verdict = "VIOLATED" if played.violations else "ok"
    print(f"{verdict:8} {played.seconds:5.1f} s  {what}", flush=True)
    for violation in played.violations:
        print(f"         {violation}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--seeds", type=int, default=0, help="runs of the simulator")
    parser.add_argument("--kills", type=int, default=100, help="rounds of the kill campaign")
    parser.add_argument("--pairs", type=int, default=0, help="random pairs of JSON Schemas")
    parser.add_argument("--months", type=int, default=0, help="months whose sweeps are killed at each tenth")
    parser.add_argument("--weeks", type=int, default=0, help="weeks under faults")
    parser.add_argument("--size", choices=("full", "month"), default="full", help="size of these weeks")
    parser.add_argument("--cash", type=int, default=0, help="rounds of money that moves, with a kill in each")
    parser.add_argument("--changes", action="store_true", help="every change of Acme, against traffic")
    parser.add_argument(
        "--real", type=int, help="number of these rounds on the real systems; default: one in 20"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the choices of the rounds")
    parser.add_argument("--first", type=int, default=0, help="the number of the first round")
    parser.add_argument("--companies", type=int, default=2, help="companies that run in parallel")
    options = parser.parse_args()
    failing = seeds.campaign(options.first, options.seeds, os.cpu_count() or 1) if options.seeds else []
    wrong = pairs.campaign(options.first, options.pairs) if options.pairs else []
    violated = kills(options) if options.kills else 0
    other = month_campaign.campaign(options.seed, options.months)
    weeks = week_campaign.campaign(options.seed, options.weeks, options.size)
    cash = options.cash and whole(
        "scenario/test_cash_kills", CASH_ROUNDS=options.cash, CASH_SEED=options.seed
    )
    changes = options.changes and whole("unit/replay/test_every_change", CHANGED_DOCUMENTS=0)
    return 1 if failing or wrong or violated or other or weeks or cash or changes else 0


def kills(options: argparse.Namespace) -> int:
    """Run the kill campaigns and print their summaries. Return the number of rounds with a violation."""
    began = time.monotonic()
    real = options.kills // REAL_EVERY_ROUNDS if options.real is None else min(options.real, options.kills)
    fast = options.kills - real
    violated = 0
    if fast:
        tallies = asyncio.run(
            crash_campaign.campaign(options.seed, options.first, fast, options.companies, _report)
        )
        violated = crash_campaign.report(tallies)
        print(f"fast company: {time.monotonic() - began:.0f} s", flush=True)
    if not real:
        return violated
    began = time.monotonic()
    summary = asyncio.run(kill_campaign(options.seed, options.first, real, options.companies))
    print(
        f"\n{summary.rounds} rounds with {summary.kills} kills in {time.monotonic() - began:.0f} s (seed {options.seed}); "
        f"{len(summary.unreached)} points were planned and not reached; {len(summary.violated)} rounds violated an invariant"
    )
    for round_ in summary.violated:
        print(f"violated in {round_}")
    return violated + len(summary.violated)


if __name__ == "__main__":
    sys.exit(main())
