"""A small company for workflows under test: every way in which a write may be repeated, each with its undo."""

from __future__ import annotations

from datetime import date
from typing import Any

from counterfoil.core.money import Money
from tests.companies.base import documents, failure_policy, text_of
from tests.unit.rules.driver import Play, model_of

FAILURE = {
    "period_closed": "queue",
    "already_done": "continue",
    "retry": "{first: 10s, cap: 1m, attempts: 4}",
    "queue": "{every: 1h, wake: opened.v1, until: 10h}",
}


def base(**failure: str) -> str:
    """Return the company without a workflow under test; `failure` replaces rows of its failure policy."""
    return documents(text_of("base"), failure_policy(**(FAILURE | failure)), text_of("repeats"))


BASE = base()


def usd(major: int) -> Money:
    return Money.from_major(major, "USD")


def company(body: str, *more: str, head: str = "start: {event: asked.v1, key: event.data.id}") -> Play:
    """Return the base with one more workflow, `flow`, which has these lines."""
    flow = f"kind: workflow\nname: flow\nowner: finance\nfailure: careful\n{head}\n{body}\n"
    return Play(model_of(BASE, flow, *more))


async def ask(play: Play, id_: str = "a1", **data: Any) -> None:
    values: dict[str, Any] = {"amount": usd(50), "by": "ann", "invoice_id": "i1", "incident": "x1"}
    await play.event("asked.v1", id=id_, **(values | data))


async def period(play: Play, name: str, start: str, end: str, state: str) -> None:
    await play.head("period", name, start=date.fromisoformat(start), end=date.fromisoformat(end), state=state)
