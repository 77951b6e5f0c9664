"""Counterexamples for people: the events, in order, until an invariant breaks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any


@dataclass(frozen=True)
class TimelineEntry:
    """One event. `after`: time since the Run started. `fault` is empty if nothing goes wrong."""

    after: timedelta
    who: str
    what: str
    fault: str = ""

    def data(self) -> dict[str, Any]:
        return {
            "after": int(self.after.total_seconds()), "who": self.who, "what": self.what, "fault": self.fault or None,
        }  # fmt: skip


@dataclass(frozen=True)
class Counterexample:
    """The path with the fewest faults, then the fewest moves, that breaks an invariant at a step."""

    invariant: str
    step: str
    words: str
    meaning: str
    fix: str
    faults: int
    timeline: tuple[TimelineEntry, ...]

    def text(self) -> str:
        """Return a text for people: the invariant, numbered lines, and the fix."""
        lines = [f"{self.invariant}" + (f" at {self.step}" if self.step else "") + f": {self.meaning}"]
        width = max((len(_elapsed_text(line.after)) for line in self.timeline), default=0)
        who = max((len(line.who) for line in self.timeline), default=0)
        for n, line in enumerate(self.timeline, start=1):
            mark = f"  [{line.fault}]" if line.fault else ""
            lines.append(
                f"  {n:2}. {_elapsed_text(line.after):>{width}}  {line.who:<{who}}  {line.what}{mark}"
            )
        lines += [f"      broken: {self.words}", f"      do:     {self.fix}"]
        return "\n".join(lines)

    def data(self) -> dict[str, Any]:
        return {
            "invariant": self.invariant, "step": self.step or None, "message": self.words, "meaning": self.meaning,
            "fix": self.fix, "faults": self.faults, "timeline": [line.data() for line in self.timeline],
        }  # fmt: skip


def _elapsed_text(after: timedelta) -> str:
    seconds = int(after.total_seconds())
    if seconds >= 86_400:
        return f"+{seconds // 86_400}d{seconds % 86_400 // 3600:02}h"
    if seconds >= 3600:
        return f"+{seconds // 3600}h{seconds % 3600 // 60:02}m"
    if seconds >= 60:
        return f"+{seconds // 60}m{seconds % 60:02}s"
    return f"+{seconds}s"
