"""A document that a newer event withdraws is withdrawn in every order of arrival, and only by its own entry."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import permutations

import pytest

from counterfoil.core.clock import micros
from counterfoil.core.event import Event
from counterfoil.core.matching import FoilState
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.receive import receive_events
from counterfoil.flow.worker.rebuild import rebuild_documents
from tests.companies.base import COMPLETE_POLICY, documents
from tests.unit.rules.driver import MONDAY, Play, model_of

COMPANY = documents(
    COMPLETE_POLICY,
    """\
{kind: role, name: finance}
---
{kind: system, name: bills, role: billing, connector: external, owner: finance}
---
{kind: system, name: ledger, role: erp, connector: external, owner: finance}
---
{kind: object, name: invoice, system: bills, fields: {status: string, total: money}}
---
{kind: object, name: entry, system: ledger, fields: {status: string, total: money}}
---
{kind: event, name: invoice.seen.v1, object: invoice, produced: http, data: {id: id, status: string, total: money}}
---
{kind: event, name: entry.seen.v1, object: entry, produced: http, data: {id: id, status: string, total: money}}
---
kind: reconciliation
name: invoice-in-ledger
doc: What billing has open is in the ledger.
owner: finance
object: invoice
left: bills
right: ledger
key: event.data.id
legs: {gross: {total: true}}
assert:
  - event: invoice.seen.v1
    document: event.data.id
    when: event.data.status == 'open'
    legs: {gross: event.data.total}
    due: +2d
observe:
  - event: entry.seen.v1
    document: event.data.id
    when: event.data.status == 'posted'
    legs: {gross: event.data.total}
""",
)
KINDS = ["invoice.seen.v1", "entry.seen.v1"]
MODEL = model_of(COMPANY)
BEFORE = model_of(COMPANY.replace("== 'open'", "== 'first'").replace("== 'posted'", "== 'first'"))
"""It read one other document only."""


async def _ends(kind: str, order: tuple[int, ...], states: tuple[str, ...]) -> tuple[object, ...]:
    play = Play(MODEL)
    for number in order:
        await _receive(play, kind, number, states[number])
    return await _documents(play)


async def _rebuilt(kind: str, states: tuple[str, ...], name: str) -> tuple[object, ...]:
    play = Play(BEFORE)
    await _receive(play, kind, 9, "first", "i0")
    for number, state in enumerate(states):
        await _receive(play, kind, number, state, name)
    assert await rebuild_documents(play.store, Releases(play.store, MODEL)) == 1
    return await _documents(play, name)


async def _receive(play: Play, kind: str, number: int, state: str, name: str = "i1") -> None:
    system = "bills" if kind == "invoice.seen.v1" else "ledger"
    event = Event(
        id=f"{name}-{number}", source=f"/{system}", type=kind, time=MONDAY + timedelta(hours=number), subject=name,
        data={"id": name, "status": state, "total": {"minor": 100 + number, "currency": "USD"}},
    )  # fmt: skip
    await receive_events(play.store, play.model, [event], play.now)
    await play.settle()


async def _documents(play: Play, name: str = "i1") -> tuple[object, ...]:
    dump = await play.store.dump()
    assert dump.todos == []
    rows = [*dump.foils, *dump.observations]
    return tuple((row.version, row.state, row.stands) for row in rows if row.key == name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("last", ["gone", "standing"])
def test_every_order_ends_alike(kind: str, last: str) -> None:
    stands = "open" if kind == "invoice.seen.v1" else "posted"
    states = (stands, stands, "other") if last == "gone" else (stands, "other", stands)
    ends = {asyncio.run(_ends(kind, order, states)) for order in permutations(range(3))}
    assert len(ends) == 1
    ((_, state, standing),) = ends.pop()
    assert standing is (last == "standing")
    assert state in ((FoilState.OPEN, "unmatched") if standing else (FoilState.REVERSED, "gone"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_rebuild_withdraws_whatever_the_order_of_the_ids(kind: str) -> None:
    stands = "open" if kind == "invoice.seen.v1" else "posted"
    for name in ("i1", "i2", "i3", "i4"):  # ids are derived, so their order differs
        ((version, state, standing),) = asyncio.run(_rebuilt(kind, (stands, "other"), name))
        assert (state, standing) in ((FoilState.REVERSED, False), ("gone", False))
        assert version == micros(MONDAY + timedelta(hours=1))


ENTRY = """\
  - event: invoice.seen.v1
    document: event.data.id
    when: event.data.status == 'open'
    legs: {gross: event.data.total}
    due: +2d
"""


@pytest.mark.parametrize(
    ("more", "second", "state"),
    [
        pytest.param(
            "stands: false, when: event.data.status == 'void'", "paid", FoilState.REVERSED, id="of-its-own"
        ),
        pytest.param(
            "stands: false, when: event.data.status == 'void'", "open", FoilState.OPEN, id="without-legs"
        ),
        pytest.param(
            "stands: false, when: event.data.status == 'void'", "void", FoilState.REVERSED, id="void"
        ),
        pytest.param(
            "when: event.data.status == 'paid', legs: {gross: event.data.total}",
            "paid",
            FoilState.OPEN,
            id="beside",
        ),
        pytest.param(
            "when: event.data.status == 'paid', legs: {gross: event.data.total}",
            "other",
            FoilState.REVERSED,
            id="none",
        ),
    ],
)
async def test_only_an_entry_that_shows_documents_withdraws_and_none_that_another_shows(
    more: str, second: str, state: FoilState
) -> None:
    entry = f"  - {{event: invoice.seen.v1, document: event.data.id, {more}}}\n"
    for entries in (ENTRY + entry, entry + ENTRY):
        play = Play(model_of(COMPANY.replace(ENTRY, entries)))
        await _receive(play, "invoice.seen.v1", 0, "open")
        await _receive(play, "invoice.seen.v1", 1, second)
        ((version, after, _),) = await _documents(play)
        assert (version, after) == (micros(MONDAY + timedelta(hours=1)), state)
