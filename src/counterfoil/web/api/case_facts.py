"""Facts beside a Case that its decision depends on: an open request, the calls that undo takes back, and its Release."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from counterfoil.application import Application
from counterfoil.core import wire
from counterfoil.core.case import CaseState, Choice
from counterfoil.core.cases import largest_amounts
from counterfoil.core.effect import Effect
from counterfoil.store.port.views import CaseRow, ListFilter
from counterfoil.web.api.match_requests import with_requests
from counterfoil.web.api.match_words import amount_text
from counterfoil.web.api.shapes import CaseShape

_MAX_CALLS = 200


async def with_facts(
    app: Application, rows: Sequence[CaseRow], named: Sequence[CaseShape]
) -> list[CaseShape]:
    """Return the shapes of Cases with what persons need to know before they choose; only open ones have choices."""
    shapes = await with_requests(app, [row.case for row in rows], named)
    confirmed: dict[str, list[str]] = {}
    releases: dict[str, str] = {}
    for row in rows:
        run = row.case.run
        if row.case.state is not CaseState.OPEN or run is None:
            continue
        if Choice.UNDO in row.case.choices and run not in confirmed:
            confirmed[run] = await _confirmed_calls(app, run)
        if Choice.RETRY in row.case.choices and row.pin is not None and row.pin not in releases:
            releases[row.pin] = await _release_note(app, row.pin)
    return [
        replace(
            shape,
            confirmed=confirmed.get(row.case.run or "", []),
            release_note=_of_run(releases.get(row.pin or "", ""), row)
            if row.case.state is CaseState.OPEN and Choice.RETRY in row.case.choices
            else "",
        )
        for row, shape in zip(rows, shapes, strict=True)
    ]


async def _confirmed_calls(app: Application, run: str) -> list[str]:
    """Return the calls that undo would take back, each with its amount: `billing.credit.issue 120.00 USD`."""
    calls, _ = await app.views.effects(ListFilter(run=run, state="confirmed", limit=_MAX_CALLS))
    undone = {call.undoes for call in calls}
    writes = [
        call for call in calls if call.repeat != "read" and call.undoes is None and call.id not in undone
    ]
    return [_call_text(call) for call in sorted(writes, key=lambda call: (call.created_at, call.id))]


def _call_text(call: Effect) -> str:
    money = largest_amounts(wire.loads(call.input))
    return " ".join([call.operation, ", ".join(map(amount_text, money))]).strip()


async def _release_note(app: Application, pin: str) -> str:
    """Return which Release decides, if another one is active; else an empty text."""
    active = await app.store.active_release()
    if active is None or active == pin:
        return ""
    numbers = [step.no if step else None for step in [await app.store.release_step(d) for d in (pin, active)]]
    if None in numbers:
        return ""
    return f"The Run uses Release {numbers[0]}, and Release {numbers[1]} is active: retry decides by Release {numbers[0]}."


def _of_run(note: str, row: CaseRow) -> str:
    return note and f"{note} `counterfoil migrate --run {row.case.run} --apply` moves the Run first"
