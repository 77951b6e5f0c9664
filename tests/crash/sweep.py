"""Every point of a credit on one store, one kill a round, by several companies side by side.

The points are those that rounds without kills pass. A second sweep takes those that only recoveries pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests import postgres
from tests.crash.crew import Crew, Plan, Played, crew
from tests.crash.forked import Nursery
from tests.crash.house import WRITES, house
from tests.crash.points import missing, places, sure

DRY = 2
"""Rounds without kills from which the points are taken."""
TRIES = 3
"""Rounds in which a kill is tried at a point. On a busy machine a round may pass others in its place."""


@asynccontextmanager
async def crews(
    nursery: Nursery, cluster: postgres.Cluster | None, count: int, workers: int = 0
) -> AsyncIterator[list[Crew]]:
    """So many companies with their processes: on databases of their own of a cluster, or on SQLite without one."""
    async with contextlib.AsyncExitStack() as ends:
        made = []
        for _ in range(count):
            systems = ends.enter_context(house())
            address = "sqlite"
            if cluster is not None:
                name = await cluster.create()
                ends.push_async_callback(cluster.drop, name)
                address = cluster.dsn(name)
            made.append(await ends.enter_async_context(crew(systems, nursery, address, workers)))
        yield made


@dataclass
class Swept:
    """What a sweep came to. `violated` has a line for every violation; `unreached` the points that chance kept."""

    points: list[str] = field(default_factory=list)
    reached: list[str] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    violated: list[str] = field(default_factory=list)
    recovery: dict[str, str] = field(default_factory=dict)
    """Points that no dry round passed, each with the kill whose recovery passed it first."""


async def sweep(side_by_side: Sequence[Crew], tell: Callable[[str, Played], None] | None = None) -> Swept:
    """A kill at each point; whoever is free takes the next."""
    swept = Swept()
    dry = []
    for _ in range(DRY):
        dry.append(await side_by_side[0].round(side_by_side[0].credits()))
        swept.violated += [f"without kills: {violation}" for violation in dry[-1].violations]
    if swept.violated:
        return swept
    passed = [[point for points in played.points for point in points] for played in dry]
    swept.violated += [f"without kills: {what}" for what in missing(passed[0], WRITES)]
    swept.points = sure(passed)
    known = {point for points in passed for point in points}
    waiting = [(place, TRIES) for place in reversed(places(swept.points))]

    async def play(one: Crew) -> None:
        while waiting:
            place, tries = waiting.pop()
            point = place[0]
            played = await one.round(one.credits(), Plan({0: [place]}))
            if tell is not None:
                tell(point, played)
            swept.reached += played.killed
            if not any(each in place for each in played.killed):
                if tries > 1:
                    waiting.insert(0, (place, tries - 1))
                else:
                    swept.unreached.append(point)
            if not played.killed and any(each in place for points in played.points for each in points):
                swept.violated.append(f"{point} was passed and nobody was killed")
            swept.violated += [f"killed at {point}: {violation}" for violation in played.violations]
            swept.violated += [f"killed at {point}: a write is there twice"] * played.doubled
            for later in (p for points in played.points for p in points if p not in known):
                swept.recovery.setdefault(later, point)
            if played.violations:
                return  # what went wrong would be seen again in each later round of this company

    await asyncio.gather(*(play(one) for one in side_by_side))
    return swept


async def sweep_recoveries(
    side_by_side: Sequence[Crew],
    swept: Swept,
    count: int,
    seed: int,
    tell: Callable[[str, Played], None] | None = None,
) -> None:
    """A kill at a point, and one in its recovery, at so many of the points that only recoveries pass."""
    order = random.Random(seed).sample(sorted(swept.recovery), len(swept.recovery))
    waiting = order[:count]

    async def play(one: Crew) -> None:
        while waiting:
            point = waiting.pop()
            first = swept.recovery[point]
            played = await one.round(one.credits(), Plan({0: [[first], [point]]}))
            if tell is not None:
                tell(f"{first}, then {point}", played)
            (swept.reached if point in played.killed else swept.unreached).append(point)
            swept.violated += [f"killed at {first}, then {point}: {v}" for v in played.violations]
            if played.violations:
                return

    await asyncio.gather(*(play(one) for one in side_by_side))
