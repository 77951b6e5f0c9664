"""Progress of the demonstration in a log: the current step is repeated with its duration, so no long silence."""

from __future__ import annotations

import asyncio
import io
import re

from rich.console import Console

from counterfoil.demo.progress import Progress

ENOUGH_SECONDS = 30.0


async def until(log: io.StringIO, pattern: str) -> None:
    async with asyncio.timeout(ENOUGH_SECONDS):
        while not re.search(pattern, log.getvalue()):
            await asyncio.sleep(0.01)


async def test_a_long_step_is_repeated_with_its_seconds_until_the_next_one() -> None:
    log = io.StringIO()
    async with Progress(Console(file=log, width=80), quiet_seconds=0.05) as progress:
        progress.line("first line")
        progress.begin("preparing [the books]")
        await until(log, r"(    \.\.\. preparing \[the books\] \d+ s\n){2}")
        progress.begin("starting the server")
        progress.note("the ERP is up")
        await until(log, r"\.\.\. starting the server \d+ s\n")
    first, *lines = log.getvalue().splitlines()
    assert first == "first line"
    up = next(number for number, line in enumerate(lines) if line.endswith(" s  the ERP is up"))
    assert all("preparing" in line for line in lines[:up])
    assert all("starting" in line for line in lines[up + 1 :])


async def test_no_step_is_repeated_after_its_end() -> None:
    log = io.StringIO()
    async with Progress(Console(file=log, width=80), quiet_seconds=0.05) as progress:
        progress.begin("preparing")
        await until(log, "preparing")
        progress.end()
        before = log.getvalue()
        await asyncio.sleep(0.3)
    assert log.getvalue() == before


async def test_a_terminal_gets_one_live_line_instead() -> None:
    log = io.StringIO()
    terminal = Console(file=log, width=80, force_terminal=True, _environ={"TERM": "xterm"})
    async with Progress(terminal, quiet_seconds=0.05) as progress:
        progress.begin("preparing")
        await until(log, r"preparing .*\d+ s")
        progress.end()
        progress.begin("starting")
        await until(log, r"starting .*\d+ s")
    assert "\n    ... " not in log.getvalue()
