"""Shrinks a failing seed: items of its plan are removed as long as the same invariant is violated."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.simulate.plan import Plan
from tests.simulate.play import Played, play

TRIES = 400
"""Plays that shrinking may take."""


def kind(played: Played) -> str:
    """Return the number of the violated invariant; empty if none."""
    return played.violations[0].split(":")[0] if played.violations else ""


def shrunk(played: Played, again: Callable[[Plan], Played] = play, tries: int = TRIES) -> Played:
    """Return the play of a smallest plan that violates the same invariant, or the smallest after `tries` plays."""
    violated = kind(played)
    numbers = [n for n, _ in played.plan.items]
    left = tries
    size = max(1, len(numbers) // 2)
    while True:
        removed = False
        at = 0
        while at < len(numbers) and left:
            fewer = numbers[:at] + numbers[at + size :]
            left -= 1
            smaller = again(played.plan.keeping(fewer))
            if kind(smaller) == violated:
                numbers, played, removed = fewer, smaller, True
            else:
                at += size
        if left == 0 or (size == 1 and not removed):
            return played
        size = max(1, size // 2)


def report(played: Played) -> str:
    """Return a play as text: its plan, its timeline, its violations, and the command that repeats it."""
    plan = played.plan
    flags = [f"{plan.workers} workers"]
    flags += [f"w{n} only polls" for n, deaf in enumerate(plan.deaf) if deaf]
    flags += [f"w{n} keeps its name" for n, named in enumerate(plan.named) if named]
    lines = [f"seed {plan.seed}: {', '.join(flags)}", "", "what was planned:"]
    lines += [f"  {n:3} {item}" for n, item in plan.items]
    lines += ["", "what happened:", *_happened(played.timeline), "", "what is wrong:"]
    lines += [f"  {violation}" for violation in played.violations]
    keep = ",".join(str(n) for n, _ in plan.items)
    lines += ["", f"again: python -m tests.simulate --seed {plan.seed} --keep {keep}"]
    return "\n".join(lines)


def _happened(timeline: Sequence[tuple[float, str, str]]) -> list[str]:
    return [f"  {moment:12.3f} s  {who:10} {what}" for moment, who, what in timeline]
