"""Progress of the demonstration: finished steps as lines, and the current step with its duration.

A terminal shows the current step in a live line. Any other output gets a plain line every few seconds, so that a log is
never silent for long.
"""

from __future__ import annotations

import asyncio
import time

from rich.console import Console
from rich.markup import escape

QUIET_SECONDS = 4.0
"""Longest time without a line, if the output is no terminal."""


class Progress:
    """Prints lines and the current step. Use it as an asynchronous context manager."""

    def __init__(self, console: Console, quiet_seconds: float = QUIET_SECONDS) -> None:
        self.console = console
        self._quiet_seconds = quiet_seconds
        self._status = console.status("")
        self._step = ""
        self._created = self._began = self._last = time.monotonic()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Progress:
        self._task = asyncio.create_task(self._tell())
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.end()

    def begin(self, step: str) -> None:
        """Name the current step, until the next call or `end`."""
        now = time.monotonic()
        if not self._step:
            self._last = now
        self._step, self._began = escape(step), now
        self._status.update(self._step)
        self._status.start()

    def end(self) -> None:
        """End the current step. There is silence until the next one begins."""
        self._step = ""
        self._status.stop()

    def line(self, markup: str = "") -> None:
        """Print one line. Escape text that is no markup."""
        self.console.print(markup, soft_wrap=True)
        self._last = time.monotonic()

    def note(self, text: str) -> None:
        """Print plain text after the seconds since the start."""
        self.line(f"  [dim]{time.monotonic() - self._created:6.1f} s[/]  {escape(text)}")

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(self._quiet_seconds / 8)
            now = time.monotonic()
            text = f"{self._step} [dim]{now - self._began:.0f} s[/]"
            if not self._step:
                continue
            if self.console.is_terminal:
                self._status.update(text)
            elif now - self._last >= self._quiet_seconds:
                self.line(f"    ... {text}")
