"""Processor time of processes, from Linux's /proc: what a side of a row costs, also where its work is in other processes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def family(process: int) -> set[int]:
    """Return a process and its present children, grandchildren and so on. Empty where there is no /proc."""
    found: set[int] = set()
    unseen = [process]
    while unseen:
        each = unseen.pop()
        threads = PROC / str(each) / "task"
        if each in found or not threads.is_dir():
            continue
        found.add(each)
        for thread in threads.iterdir():
            unseen += map(int, _read(thread / "children").split())
    return found


def seconds(processes: Iterable[int]) -> float:
    """Return the processor seconds of processes, with those of their children that have ended."""
    # After the name, which may hold spaces: utime, stime, cutime and cstime are fields 14 to 17 of proc(5).
    fields = [_read(PROC / str(each) / "stat").rpartition(")")[2].split()[11:15] for each in processes]
    return sum(sum(map(int, each)) for each in fields) / TICKS_PER_SECOND


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:  # the process has ended
        return ""
