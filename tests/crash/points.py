"""The points at which processes are killed, by name: found by a round without kills, held to a floor, and chosen from.

What a release commits together may change; what must be passed may not: each write is sent, and each is concluded
by some commit.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence

COMMITS = ("Receive", "Admit", "Turn", "Decide")
"""The commits of intake, turn and vote."""
CONCLUDING = ("Conclude", "ConcludeAndTurn")
"""An outcome alone, or with the turn that follows from it."""
BY_THE_CLOCK = ("Receive/nothing", "Admit/nothing", "Receive/office", "Receive/desk:", "LookAgain/", "find:")
"""What comes when a feed is polled or an answer is late, not with a step: how often a round passes it is chance."""


def missing(points: Iterable[str], operations: Collection[str]) -> list[str]:
    """What a whole round should have passed and did not; none is the good answer."""
    names = {point.rsplit(":", 1)[0] for point in points}
    committed = [
        {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
        for prefix in ("apply:before:", "apply:after:")
    ]
    kinds = set.intersection(*({label.split("/")[0] for label in labels} for labels in committed))
    found = [f"no {kind}" for kind in COMMITS if kind not in kinds]
    for operation in operations:
        found += [
            f"{operation} is not sent"
            for when in ("before", "after")
            if f"send:{when}:{operation}" not in names
        ]
        outcome = {f"{kind}/{operation}" for kind in CONCLUDING}
        if not all(outcome & labels for labels in committed):
            found.append(f"{operation} is not concluded")
    called = {name.split(":")[2] for name in names if name.startswith("send:")}
    return found + [f"{operation} is not in the list" for operation in sorted(called - set(operations))]


def sure(rounds: Sequence[Sequence[str]], chance: Sequence[str] = BY_THE_CLOCK) -> list[str]:
    """Points that each of several rounds without kills passed, in the order of the first."""
    common = set[str].intersection(*(set(points) for points in rounds))
    return [point for point in rounds[0] if point in common and not any(c in point for c in chance)]


def places(points: Sequence[str]) -> list[tuple[str, ...]]:
    """Each point with those that a round passes in its place where the outcome of a write and the turn after it come
    apart in one round and together in another; the first of each counts."""
    found: list[tuple[str, ...]] = []
    outcome = ""
    for point in points:
        where, _, rest = point.partition("/")
        when, _, kind = where.rpartition(":")
        if kind in CONCLUDING:
            outcome = rest
        others = (
            CONCLUDING if kind in CONCLUDING else ("ConcludeAndTurn",) if kind == "Turn" and outcome else ()
        )
        found.append((point, *(f"{when}:{other}/{outcome}" for other in others if other != kind)))
    return found


def pick(points: Sequence[str], always: Sequence[str], seed: int, count: int) -> list[str]:
    """Those of `always`, and so many others chosen by the seed."""
    others = [point for point in points if point not in always]
    return [*always, *random.Random(seed).sample(others, min(count, len(others)))]


def paused_at(points: Sequence[str], operations: Collection[str]) -> list[tuple[str, ...]]:
    """Where a pause hurts most: in the middle of a turn, and for each write between the commit that lets it go
    and its sending, after its sending, and before its outcome is recorded. Where a full gate makes commits come
    apart, another point may be passed in the same place: then several are named, and the first counts."""
    turn = next(p for p in points if p.startswith("apply:before:Turn/"))
    found: list[tuple[str, ...]] = [(turn,)]
    decided = [turn.replace("before", "after")]
    for operation in operations:
        sent = points.index(f"send:before:{operation}:1")
        let_go = next(p for p in reversed(points[:sent]) if p.startswith("apply:after:"))
        found.append(tuple(dict.fromkeys([let_go, f"apply:after:Intent/{operation}:1", *decided])))
        found.append((f"send:after:{operation}:1",))
        found.append(tuple(f"apply:before:{kind}/{operation}:1" for kind in CONCLUDING))
        decided = [f"apply:after:{kind}/{operation}:1" for kind in CONCLUDING]
    return found
