"""Many kill rounds on the fast company: both stores, one to three workers, what each round suffers chosen by seed.

The first rounds of a kind take every point once; then points, second points during the recovery, moments and pauses are
drawn. A round is repeated by its seed, kind and number.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from tests import postgres
from tests.crash.crew import Crew, Plan, Played
from tests.crash.forked import Nursery
from tests.crash.house import AUTOMATIC, VOTED, WRITES, Credit
from tests.crash.points import missing, paused_at, sure
from tests.crash.sweep import crews

ROUNDS_PER_COMPANY = 50
AGAIN, AT_A_MOMENT, PAUSED = 0.35, 0.25, 0.2
"""Shares of rounds in which a recovery is killed too, a kill comes at any moment, a worker is paused."""
LONGEST = 2.5
"""Seconds from the request within which a kill at a moment falls."""
PAUSE = (4.0, 7.0)
CREDITS, CUSTOMERS = 12, 4
"""Of a round with several workers."""


@dataclass(frozen=True)
class Kind:
    """What the rounds of one company run on; without workers the server turns the Runs itself."""

    store: str
    workers: int

    def __str__(self) -> str:
        return f"{self.store}, {max(1, self.workers)} worker{'s' if self.workers > 1 else ''}"


KINDS = (Kind("sqlite", 0), Kind("postgresql", 0), Kind("postgresql", 2), Kind("postgresql", 3))


@dataclass
class Tally:
    """What the rounds of a kind came to."""

    rounds: int = 0
    kills: int = 0
    pauses: int = 0
    runs: int = 0
    cases: int = 0
    unreached: int = 0
    doubled: int = 0
    seconds: list[float] = field(default_factory=list)
    violated: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        middle = statistics.median(self.seconds) if self.seconds else 0.0
        return (
            f"{self.rounds} rounds of {self.runs} Runs, {self.kills} kills, {self.pauses} pauses, "
            f"{self.unreached} rounds met none of theirs, {self.cases} letters asked about, "
            f"{self.doubled} doubles owned by a Case, median {middle:.1f} s, {len(self.violated)} violated"
        )


def planned(seed: int, kind: Kind, number: int, points: Sequence[str]) -> Plan:
    """What the round of that number suffers: each point once, in an order of the seed's, then what chance gives."""
    chance = random.Random(f"{seed}/{kind}/{number}")
    if kind.workers:
        return _among(kind.workers, chance, points)
    order = random.Random(f"{seed}/{kind}").sample(points, len(points))
    finds = [f"find:{when}:{operation}:1" for operation in WRITES for when in ("before", "after")]
    second = [[chance.choice([*points, *finds])]] if chance.random() < AGAIN else []
    if number < len(order):
        return Plan({0: [[order[number]], *second]})
    if chance.random() < AT_A_MOMENT:
        return Plan({0: [[], *second]}, moments={0: chance.uniform(0, LONGEST)})
    return Plan({0: [[chance.choice(points)], *second]})


def _among(workers: int, chance: random.Random, points: Sequence[str]) -> Plan:
    """Several workers: one of them may be paused; or each may be killed, now and during its next life."""
    if chance.random() < PAUSED:
        writes = [o for o in WRITES if any(p.startswith(f"send:before:{o}:") for p in points)]
        return Plan(stops=chance.choice(paused_at(points, writes)), paused=chance.uniform(*PAUSE))

    def any_point() -> list[str]:
        name = chance.choice([p for p in points if "/desk" not in p and "Decide" not in p]).rsplit(":", 1)[0]
        return [f"{name}:{chance.randint(1, CREDITS // workers)}"]

    struck = [n for n in range(workers) if chance.random() < 0.6] or [0]
    lives = {n: [any_point()] + ([any_point()] if chance.random() < AGAIN else []) for n in struck}
    moments = {n: chance.uniform(0, LONGEST) for n in range(workers) if chance.random() < AT_A_MOMENT}
    return Plan(lives, moments)


def _asked(crew: Crew, kind: Kind, chance: random.Random) -> list[Credit]:
    if kind.workers:
        return crew.credits(CREDITS, CUSTOMERS, AUTOMATIC, letter=False)
    return crew.credits(cents=chance.choice((AUTOMATIC, VOTED)), letter=chance.random() < 0.7)


async def campaign(
    seed: int, first: int, rounds: int, side_by_side: int, tell: Callable[[str, Played], None]
) -> dict[Kind, Tally]:
    """So many rounds, shared among the kinds, by so many companies side by side."""
    tallies = {kind: Tally() for kind in KINDS}
    with contextlib.ExitStack() as ends:
        nursery = Nursery()
        ends.callback(nursery.close)
        cluster = ends.enter_context(postgres.running())
        shares = {kind: rounds // len(KINDS) + (n < rounds % len(KINDS)) for n, kind in enumerate(KINDS)}
        numbers = {kind: iter(range(first, first + share)) for kind, share in shares.items()}
        waiting = list(KINDS)

        async def work() -> None:
            while waiting:
                kind = waiting.pop(0)
                if await _company(seed, kind, numbers[kind], nursery, cluster, tallies[kind], tell):
                    waiting.append(kind)

        workers = asyncio.gather(*(work() for _ in range(side_by_side)))
        # Ended early, a campaign still ends its companies and says what it has seen.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, workers.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await workers
    return tallies


async def _company(
    seed: int, kind: Kind, numbers: Iterator[int], nursery: Nursery, cluster: postgres.Cluster,
    tally: Tally, tell: Callable[[str, Played], None],
) -> bool:  # fmt: skip
    """One company's share of the rounds; whether there may be more."""
    async with AsyncExitStack() as ends:
        on = cluster if kind.store == "postgresql" else None
        crew = (await ends.enter_async_context(crews(nursery, on, 1, kind.workers)))[0]
        dry = [await crew.round(crew.credits(letter=not kind.workers)) for _ in range(2)]
        passed = [[p for points in played.points for p in points] for played in dry]
        wrong = [v for played in dry for v in played.violations]
        writes = [o for o in WRITES if not kind.workers or o != "erp.letter.send"]
        wrong += missing(passed[0], writes)
        if wrong:
            tally.violated += [f"{kind}, without kills: {what}" for what in wrong]
            return False
        # Several workers share the points of a round; those of the first are names to choose from.
        points = list(dict.fromkeys(sure(passed[:1] if kind.workers else passed)))
        for _ in range(ROUNDS_PER_COMPANY):
            number = next(numbers, None)
            if number is None:
                return False
            plan = planned(seed, kind, number, points)
            credits = _asked(crew, kind, random.Random(f"{seed}/{kind}/{number}/asked"))
            played = await crew.round(credits, plan)
            tell(f"{kind}, {number}: {plan}", played)
            tally.rounds += 1
            tally.runs += len(credits)
            tally.kills += len(played.killed)
            tally.pauses += len(played.stopped)
            tally.cases += played.cases
            tally.unreached += not (played.killed or played.stopped)
            tally.doubled += played.doubled
            tally.seconds.append(played.seconds)
            if played.doubled:
                return True  # its Case stays open
            if played.violations:
                tally.violated.append(f"{kind}, {number}: {plan}")
                return True  # what went wrong would be seen again in each later round of this company
        return True


def report(tallies: dict[Kind, Tally]) -> int:
    """Print what they came to; how many rounds violated an invariant."""
    for kind, tally in tallies.items():
        print(f"{kind}: {tally}")
    total = sum(tally.kills for tally in tallies.values())
    pauses = sum(tally.pauses for tally in tallies.values())
    violated = [round_ for tally in tallies.values() for round_ in tally.violated]
    print(f"fast company: {total} kills and {pauses} pauses, {len(violated)} rounds violated an invariant")
    for round_ in violated:
        print(f"violated in {round_}")
    return len(violated)
