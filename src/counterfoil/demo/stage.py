"""Stage of the story: the company's systems, reads of their data, the player, and a journal of the played steps.

The journal stores the ids that the story created, so that a second start plays no step twice.
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
from counterfoil.core.private_file import write_private
from counterfoil.demo.bank import DemoBank
from counterfoil.demo.billing import BillingClient
from counterfoil.demo.desk.client import DeskClient
from counterfoil.demo.erp.client import ErpClient, ErpError
from counterfoil.demo.operators import Declined, Operator

POLL_INTERVAL_SECONDS = 0.3
"""Interval between two polls of an awaited state."""
RECHECK_SECONDS = 10.0
"""Time in which a later start must find the outcome of an earlier act."""
CREDIT_WORKFLOW = "support-credit-to-erp"


class ActFailed(Exception):
    """Error of a step without its expected outcome; the message has the expected and the actual state."""


class Journal:
    """File of the played steps and the ids they created, written after each step."""

    def __init__(self, path: Path) -> None:
        self._path = path
        content = json.loads(path.read_bytes()) if path.exists() else {}
        self.played: list[str] = content.get("played", [])
        self.notes: dict[str, str] = content.get("notes", {})

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
    """Clients of the systems for the people of the story."""

    billing: BillingClient
    desk: DeskClient
    erp: ErpClient
    german_billing: BillingClient
    german_erp: ErpClient
    bank: DemoBank
    admin: Operator
    as_person: Callable[[str], Operator]
    proxy: Callable[[str], Awaitable[dict[str, int]]]
    journal: Journal
    files: Path
    """Folder in which sales and monitoring have theirs."""

    def id(self, name: str) -> str:
        """Return an id that an earlier step noted."""
        return self.journal.notes[name]

    async def once(self, name: str, make: Callable[[], Awaitable[str]]) -> str:
        """Return the id under this name; if there is none yet, create and note it."""
        if name not in self.journal.notes:
            self.journal.note(name, await make())
        return self.journal.notes[name]

    async def event(self, type_: str, field: str, value: str) -> dict[str, Any] | None:
        """Return the data of the newest event of this type with this field value; None if there is none."""
        events = await self.admin.all("events", type=type_)
        return next((event["data"] for event in events if event["data"][field] == value), None)

    async def credit_run(self, name: str) -> dict[str, Any] | None:
        """Return the Run of the credit with the ticket noted as `name`; its `key` is the credit's canonical id."""
        request = await self.event("support.credit_requested.v1", "ticket", self.id(name))
        if request is None:
            return None
        runs = await self.admin.all("runs", workflow=CREDIT_WORKFLOW, key=request["credit_id"])
        return runs[0] if runs else None

    async def foil(self, rule: str, key: str) -> dict[str, Any] | None:
        foils = [foil for foil in await self.admin.all("foils", key=key) if foil["rule"] == rule]
        return foils[0] if foils else None

    async def credit_notes(self, credit: str) -> list[dict[str, Any]]:
        """Return billing's credit notes with this canonical credit id."""
        notes = await self.billing.all("credit_notes")
        return [note for note in notes if note["metadata"].get("credit_id") == credit]


Action = Callable[[Stage], Awaitable[str]]
Observation = Callable[[Stage], Awaitable[str | None]]


@dataclass(frozen=True)
class Do:
    """Action of a person or a system; it returns its result as text. Played once, harmless if repeated."""

    text: str
    action: Action


@dataclass(frozen=True)
class Await:
    """State that must become visible within `seconds`. `observe` returns its text; None if it is not visible yet."""

    text: str
    observe: Observation
    seconds: float = 60.0


@dataclass(frozen=True)
class Act:
    """One scene. The last step is an `Await` of a lasting state, which every later start checks again."""

    name: str
    title: str
    steps: Sequence[Do | Await]

    def step_name(self, number: int) -> str:
        return f"{self.name}/{number}"


async def play(acts: Sequence[Act], stage: Stage, say: Callable[[str, str, float], None]) -> None:
    """Play the steps that were not played yet, and check the outcomes of earlier acts. Raises ActFailed.

    `say(kind, text, seconds)` reports progress. `act` starts an act; `begin` and `step` start and end a step. `before` is
    an act of an earlier start; `changed` is one whose outcome is gone, probably changed by a person.
    """
    for act in acts:
        names = [act.step_name(number) for number in range(len(act.steps))]
        if all(name in stage.journal.played for name in names):
            await _recheck(act, stage, say)
            continue
        say("act", act.title, 0.0)
        for name, step in zip(names, act.steps, strict=True):
            if name in stage.journal.played:
                continue
            say("begin", step.text, 0.0)
            began = time.monotonic()
            if isinstance(step, Do):
                try:
                    result = await step.action(stage)
                except (CounterfoilError, Declined, ErpError) as error:
                    raise ActFailed(f"{act.title}: {step.text}: {error}") from error
            else:
                result = await _wait(act, step, stage, step.seconds)
            stage.journal.mark(name)
            say("step", f"{step.text}: {result}", time.monotonic() - began)


async def _recheck(act: Act, stage: Stage, say: Callable[[str, str, float], None]) -> None:
    last = act.steps[-1]
    assert isinstance(last, Await), f"the last step of {act.name} must await a lasting state"
    began = time.monotonic()
    try:
        state = await _wait(act, last, stage, RECHECK_SECONDS)
    except ActFailed:
        say("changed", act.title, time.monotonic() - began)
    else:
        say("before", f"{act.title}: {state}", time.monotonic() - began)


async def _wait(act: Act, step: Await, stage: Stage, seconds: float) -> str:
    deadline = time.monotonic() + seconds
    trouble = ""
    while time.monotonic() < deadline:
        with contextlib.suppress(TryAgain):
            try:
                state = await step.observe(stage)
            except Declined as error:
                trouble = f"; the server answered {error}"
            else:
                if state is not None:
                    return state
        await asyncio.sleep(POLL_INTERVAL_SECONDS)
    raise ActFailed(f"{act.title}: not seen within {seconds:.0f} s: {step.text}{trouble}")


def was_unknown(trace: Mapping[str, Any], effect: str) -> bool:
    """Return whether the effect's outcome was unknown for a time, so that a look-up was needed."""
    return any(moment["ref"] == effect and moment["state"] == "unknown" for moment in trace["timeline"])


def money(minor: int) -> Decimal:
    """Convert minor units of a currency with two digits to exact major units."""
    return Decimal(minor).scaleb(-2)
