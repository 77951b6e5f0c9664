"""The long fault campaigns: `python -m tests.campaign --seeds N --kills N`.

Seeds: runs of the simulator on all cores (tests/simulate/campaign.py); what fails is shrunk and told.

Kills: rounds of a credit, the process killed at every point that a round without kills passes, then at points, second
points during the recovery, and moments chosen by seed. Most are played on the fast company, on both stores with one to
three workers (tests/crash/campaign.py); every twentieth on the real systems. The exit code is 1 when an invariant was
violated. A round is repeated by `--seed` and `--first`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from dataclasses import dataclass, field

from tests.companies.acme import company
from tests.crash import campaign as crash_campaign
from tests.crash import crew
from tests.crash.points import sure
from tests.crash.rounds import NOT_OF_A_CREDIT, Life, Played
from tests.simulate import campaign as seeds

ROUNDS_PER_COMPANY = 100
AGAIN = 0.35
"""Share of rounds in which the recovery is killed too."""
ANY_MOMENT = 0.2
"""Share of rounds, after each point had its turn, in which the kill comes at a moment and not at a point."""
LONGEST = 6.0


@dataclass
class Summary:
    rounds: int = 0
    kills: int = 0
    unreached: list[str] = field(default_factory=list)
    violated: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What one round suffers."""

    number: int
    lives: list[list[str]]
    after: float | None

    def __str__(self) -> str:
        named = ", then ".join(" or ".join(life) for life in self.lives)
        return named if self.after is None else f"{self.after:.2f} s after the request {named}".strip()


def planned(seed: int, number: int, points: list[str]) -> Plan:
    """The round of that number: each point once, in an order of the seed's, then what chance gives."""
    chance = random.Random(f"{seed}/{number}")
    order = random.Random(seed).sample(points, len(points))
    finds = sorted({p.replace("send:", "find:") for p in points if p.startswith("send:")})
    second = [[chance.choice([*points, *finds])]] if chance.random() < AGAIN else []
    if number < len(order):
        return Plan(number, [[order[number]], *second], None)
    if chance.random() < ANY_MOMENT:
        return Plan(number, [[], *second], chance.uniform(0, LONGEST))
    return Plan(number, [[chance.choice(points)], *second], None)


REAL = 20
"""One round in so many is played on the real systems, where it takes ten times as long."""


async def kill_campaign(seed: int, first: int, count: int, companies: int) -> Summary:
    """Rounds `first` to `first + count - 1`, shared among companies that run side by side."""
    summary = Summary()
    numbers = list(reversed(range(first, first + count)))
    rounds = asyncio.gather(*(_rounds(seed, numbers, summary) for _ in range(companies)))
    # Ended early, a campaign still ends its companies and says what it has seen.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, rounds.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await rounds
    return summary


async def _rounds(seed: int, numbers: list[int], summary: Summary) -> None:
    points: list[str] = []
    while numbers:
        with contextlib.ExitStack() as systems:
            life = Life(await asyncio.to_thread(systems.enter_context, company()))
            dry = await life.round()
            _tell("without kills", dry)
            if dry.violations:
                summary.violated.append("without kills")
                return
            points = points or sorted(set(sure([dry.points], NOT_OF_A_CREDIT)))
            for _ in range(ROUNDS_PER_COMPANY):
                if not numbers:
                    return
                plan = planned(seed, numbers.pop(), points)
                played = await life.round(plan.lives, plan.after)
                _tell(f"{plan.number}: {plan}", played)
                summary.rounds += 1
                summary.kills += len(played.killed) + (plan.after is not None)
                summary.unreached += [p for life_ in plan.lives for p in life_ if p not in played.killed]
                if played.violations:
                    summary.violated.append(f"{plan.number}: {plan}")
                    break  # what went wrong would be seen again in each later round of this company


def _tell(what: str, played: Played | crew.Played) -> None:
    verdict = "VIOLATED" if played.violations else "ok"
    print(f"{verdict:8} {played.seconds:5.1f} s  {what}", flush=True)
    for violation in played.violations:
        print(f"         {violation}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--seeds", type=int, default=0, help="runs of the simulator")
    parser.add_argument("--kills", type=int, default=100, help="rounds of the kill campaign")
    parser.add_argument("--real", type=int, help="how many of them on the real systems; default: one in 20")
    parser.add_argument("--seed", type=int, default=1, help="what the choices of the rounds follow from")
    parser.add_argument("--first", type=int, default=0, help="the number of the first round")
    parser.add_argument("--companies", type=int, default=2, help="companies side by side")
    asked = parser.parse_args()
    failing = seeds.campaign(asked.first, asked.seeds, os.cpu_count() or 1) if asked.seeds else []
    violated = kills(asked) if asked.kills else 0
    return 1 if failing or violated else 0


def kills(asked: argparse.Namespace) -> int:
    """The kill campaigns with their summaries; how many rounds violated an invariant."""
    began = time.monotonic()
    real = asked.kills // REAL if asked.real is None else min(asked.real, asked.kills)
    fast = asked.kills - real
    violated = 0
    if fast:
        tallies = asyncio.run(crash_campaign.campaign(asked.seed, asked.first, fast, asked.companies, _tell))
        violated = crash_campaign.report(tallies)
        print(f"fast company: {time.monotonic() - began:.0f} s", flush=True)
    if not real:
        return violated
    began = time.monotonic()
    summary = asyncio.run(kill_campaign(asked.seed, asked.first, real, asked.companies))
    print(
        f"\n{summary.rounds} rounds with {summary.kills} kills in {time.monotonic() - began:.0f} s (seed {asked.seed}); "
        f"{len(summary.unreached)} points were planned and not reached; {len(summary.violated)} rounds violated an invariant"
    )
    for round_ in summary.violated:
        print(f"violated in {round_}")
    return violated + len(summary.violated)


if __name__ == "__main__":
    sys.exit(main())
