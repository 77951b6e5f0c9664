"""What the story is played on: the company's systems, a journal of what was played, and ways to look at things.

The journal keeps the ids that the story made, so that a second start plays nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from counterfoil.core.errors import CounterfoilError, TryAgain
from counterfoil.demo.billing import BillingClient
from counterfoil.demo.desk.client import DeskClient
from counterfoil.demo.erp.client import ErpClient, ErpError
from counterfoil.demo.operators import Declined, Operator
from counterfoil.demo.people import write_private

BETWEEN = 0.3
"""Seconds between two looks at something that is waited for."""
AGAIN = 10.0
"""Seconds within which a later start must see what an act has left."""
CREDIT_WORKFLOW = "support-credit-to-erp"


class ActFailed(Exception):
    """The story did not go as told; the message says what was expected and what there was instead."""


class Journal:
    """What was played and the ids it made; a small file, written after each step."""

    def __init__(self, path: Path) -> None:
        self._path = path
        kept = json.loads(path.read_bytes()) if path.exists() else {}
        self.played: list[str] = kept.get("played", [])
        self.notes: dict[str, str] = kept.get("notes", {})

    def note(self, name: str, value: str) -> str:
        self.notes[name] = value
        self._write()
        return value

    def mark(self, step: str) -> None:
        if step not in self.played:
            self.played.append(step)
            self._write()

    def _write(self) -> None:
        write_private(self._path, json.dumps({"played": self.played, "notes": self.notes}, indent=1).encode())


@dataclass
class Stage:
    """The systems as the story's people reach them."""

    billing: BillingClient
    desk: DeskClient
    erp: ErpClient
    admin: Operator
    as_person: Callable[[str], Operator]
    proxy: Callable[[str], Awaitable[dict[str, int]]]
    journal: Journal

    def id(self, name: str) -> str:
        """An id that an earlier step noted."""
        return self.journal.notes[name]

    async def once(self, name: str, make: Callable[[], Awaitable[str]]) -> str:
        """The id under this name; made and noted when there is none yet."""
        if name not in self.journal.notes:
            self.journal.note(name, await make())
        return self.journal.notes[name]

    async def event(self, type_: str, field: str, value: str) -> dict[str, Any] | None:
        """What Counterfoil made of a fact: the data of the newest event of a type with this field; None while
        there is none."""
        events = await self.admin.all("events", type=type_)
        return next((event["data"] for event in events if event["data"][field] == value), None)

    async def credit_run(self, name: str) -> dict[str, Any] | None:
        """The Run of the credit whose ticket was noted as `name`; its `key` is the credit's canonical id."""
        asked = await self.event("support.credit_requested.v1", "ticket", self.id(name))
        if asked is None:
            return None
        runs = await self.admin.all("runs", workflow=CREDIT_WORKFLOW, key=asked["credit_id"])
        return runs[0] if runs else None

    async def foil(self, rule: str, key: str) -> dict[str, Any] | None:
        found = [foil for foil in await self.admin.all("foils", key=key) if foil["rule"] == rule]
        return found[0] if found else None

    async def credit_notes(self, credit: str) -> list[dict[str, Any]]:
        """Billing's credit notes that carry a canonical credit id."""
        notes = await self.billing.all("credit_notes")
        return [note for note in notes if note["metadata"].get("credit_id") == credit]


Does = Callable[[Stage], Awaitable[str]]
Sees = Callable[[Stage], Awaitable[str | None]]


@dataclass(frozen=True)
class Do:
    """Something a person or a system does; it answers what came of it. Played once, harmless when repeated."""

    text: str
    does: Does


@dataclass(frozen=True)
class Await:
    """Something that must become visible within `seconds`; `sees` answers what was seen, None while it is not."""

    text: str
    sees: Sees
    seconds: float = 60.0


@dataclass(frozen=True)
class Act:
    """One scene. The last step is an `Await` of what lasts: it is looked at again by every later start."""

    name: str
    title: str
    steps: Sequence[Do | Await]

    def step_name(self, number: int) -> str:
        return f"{self.name}/{number}"


async def play(acts: Sequence[Act], stage: Stage, say: Callable[[str, str, float], None]) -> None:
    """Play what was not played yet and look again at what was. Raises ActFailed at the first thing that is not so.

    `say(kind, text, seconds)`: `act` begins, `begin` and `step` are a step's two ends; `before` is an act of an
    earlier start, `changed` one whose outcome is not there any more, which a person may well have caused.
    """
    for act in acts:
        names = [act.step_name(number) for number in range(len(act.steps))]
        if all(name in stage.journal.played for name in names):
            await _look_again(act, stage, say)
            continue
        say("act", act.title, 0.0)
        for name, step in zip(names, act.steps, strict=True):
            if name in stage.journal.played:
                continue
            say("begin", step.text, 0.0)
            began = time.monotonic()
            if isinstance(step, Do):
                try:
                    seen = await step.does(stage)
                except (CounterfoilError, Declined, ErpError) as error:
                    raise ActFailed(f"{act.title}: {step.text}: {error}") from error
            else:
                seen = await _wait(act, step, stage, step.seconds)
            stage.journal.mark(name)
            say("step", f"{step.text}: {seen}", time.monotonic() - began)


async def _look_again(act: Act, stage: Stage, say: Callable[[str, str, float], None]) -> None:
    last = act.steps[-1]
    assert isinstance(last, Await), f"the last step of {act.name} looks at what lasts"
    began = time.monotonic()
    try:
        seen = await _wait(act, last, stage, AGAIN)
    except ActFailed:
        say("changed", act.title, time.monotonic() - began)
    else:
        say("before", f"{act.title}: {seen}", time.monotonic() - began)


async def _wait(act: Act, step: Await, stage: Stage, seconds: float) -> str:
    deadline = time.monotonic() + seconds
    trouble = ""
    while time.monotonic() < deadline:
        with contextlib.suppress(TryAgain):
            try:
                seen = await step.sees(stage)
            except Declined as error:
                trouble = f"; the server said {error}"
            else:
                if seen is not None:
                    return seen
        await asyncio.sleep(BETWEEN)
    raise ActFailed(f"{act.title}: not seen within {seconds:.0f} s: {step.text}{trouble}")


def was_unknown(trace: Mapping[str, Any], effect: str) -> bool:
    """Whether an effect's outcome was unknown for a time, so that a look-up had to tell it."""
    return any(moment["ref"] == effect and moment["state"] == "unknown" for moment in trace["timeline"])


def money(minor: int) -> Decimal:
    """Minor units of a currency with two digits, as its major units; exact."""
    return Decimal(minor).scaleb(-2)
