"""Command `counterfoil demo`: starts the company, plays or resumes the story, and says what the reader can do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape

from counterfoil.core.errors import CounterfoilError
from counterfoil.demo import report
from counterfoil.demo.children import ChildFailed
from counterfoil.demo.company import CannotStart, Company, find_governance, run_company
from counterfoil.demo.erp.client import ErpError
from counterfoil.demo.operators import Declined
from counterfoil.demo.ports import free_port
from counterfoil.demo.progress import Progress
from counterfoil.demo.stage import ActFailed, Journal, Stage, play
from counterfoil.demo.story import ACTS

T = TypeVar("T")
PORT = 8080
LOG_COLUMNS = 180
"""Width of the tables, if the output is no terminal."""


def main(work: Path | None = None, port: int = PORT, once: bool | None = None) -> int:
    """Start the company, play or resume the story, and keep it running until Ctrl-C. Return the exit code.

    `work` is the folder for its files; default: the current one. Port 0 selects a free port. With `once`, or
    COUNTERFOIL_DEMO_ONCE in the environment, end after the story, with 1 if a step failed.
    """
    if once is None:
        once = os.environ.get("COUNTERFOIL_DEMO_ONCE", "") not in ("", "0")
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=LOG_COLUMNS)
    try:
        return asyncio.run(_run_until_signal(work or Path.cwd(), port, once, console))
    except CannotStart as error:
        console.print(f"[bold red]Cannot start:[/] {escape(str(error))}", soft_wrap=True)
        return 2


async def _run_until_signal(work: Path, port: int, once: bool, console: Console) -> int:
    """Run the company as a task. The first Ctrl-C or SIGTERM cancels it, so that its children end in order."""
    task = asyncio.ensure_future(_company(work, port, once, console))
    loop = asyncio.get_running_loop()

    def end() -> None:
        if not task.cancelling():
            console.print("\nStopping the server, then the systems.")
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        return await task
    except asyncio.CancelledError:
        console.print("Stopped. The next start continues from here.")
        return 0


async def _company(work: Path, port: int, once: bool, console: Console) -> int:
    progress = Progress(console)
    company = Company(find_governance(work), port or free_port(), work, progress)
    progress.line(f"[bold]The demonstration company[/], governed by {escape(str(company.folder))}")
    try:
        async with progress, run_company(company):
            progress.note(f"all systems are up: {company.url}")
            code = await _run_watched(company, _play(company))
            if not once:
                console.print("\nPress Ctrl-C to end. All data is stored for the next start.")
                await _run_watched(company, asyncio.Event().wait())
            return code
    except ChildFailed as error:
        console.print(f"[bold red]Failed:[/] {escape(str(error))}", soft_wrap=True)
        return 1


async def _run_watched(company: Company, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` as long as every child runs. Raises ChildFailed if a child ends by itself."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=0.5)
            company.check()
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def _open_stage(company: Company) -> AsyncIterator[Stage]:
    """Open clients of the company's systems for the people of the story."""
    journal = Journal(company.home / "journal.json")
    async with (
        company.billing() as billing,
        company.desk() as desk,
        company.erp() as erp,
        company.billing("acme-de") as german_billing,
        company.erp("acme-de") as german_erp,
        company.operator() as admin,
    ):
        yield Stage(
            billing,
            desk,
            erp,
            german_billing,
            german_erp,
            company.bank(),
            admin,
            company.operator,
            company.proxy,
            journal,
            company.home,
        )


async def _play(company: Company) -> int:
    """Play the story, then print the closing tables and the guide. Return 0 if every step succeeded, otherwise 1."""
    progress = company.progress

    def show(kind: str, text: str, seconds: float) -> None:
        line = escape(text)
        match kind:
            case "begin":
                progress.begin(text)
            case "act":
                progress.line(f"\n[bold]{line}[/]")
            case "before":
                progress.line(f"[green]✓[/] [bold]{line}[/] [dim](played before)[/]")
            case "changed":
                progress.line(f"[yellow]~[/] [bold]{line}[/]: played before, changed since")
            case _:
                progress.line(f"  [green]✓[/] {line} [dim]{seconds:.1f} s[/]")

    async with _open_stage(company) as stage:
        code = 0
        try:
            await play(ACTS, stage, show)
        except (ActFailed, CounterfoilError, Declined, ErpError) as error:
            progress.line(f"  [bold red]✗ {escape(str(error))}[/]")
            code = 1
        progress.begin("reading what every system shows")
        progress.line()
        for table in await report.tables(stage):
            progress.console.print(table)
        for line in await report.guide(stage, company.addresses()):
            progress.line(escape(line))
        progress.end()
        progress.console.print(report.entrance(company.persons.values()))
    return code
