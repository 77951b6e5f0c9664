"""One event that shows several documents by `each`: splits over entities, and remittances over invoices."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

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
{kind: system, name: bank, role: erp, connector: external, owner: finance}
---
{kind: object, name: invoice, system: bills, fields: {id: id, total: money}}
---
{kind: object, name: wire, system: bank, fields: {id: id, amount: money}}
---
kind: event
name: invoice.sent.v1
object: invoice
produced: http
data: {id: id, total: money, fee: money}
---
kind: event
name: wire.received.v1
object: wire
produced: http
data:
  id: id
  payer: string
  amount: money
  lines: {type: list, items: {fields: {invoice: string, paid: money, fee: money}}}
---
# One document for each line of the remittance, and one for the rest: together they are the wire.
kind: reconciliation
name: invoice-paid
owner: finance
object: invoice
left: bills
right: bank
shape: 1:n
legs:
  gross: {total: true}
  fee: {tolerance: 500, absorbed_by: finance}
assert:
  - event: invoice.sent.v1
    key: event.data.id
    document: event.data.id
    legs: {gross: event.data.total, fee: event.data.fee}
observe:
  - event: wire.received.v1
    each: event.data.lines
    key: item.invoice
    document: event.data.id + '/' + item.invoice
    legs: {gross: item.paid + item.fee, fee: item.fee}
  - event: wire.received.v1
    key: "'on account ' + event.data.payer"
    document: event.data.id + '/rest'
    when: event.data.amount != sum(event.data.lines.map(l, l.paid))
    legs:
      gross: event.data.amount - sum(event.data.lines.map(l, l.paid))
      fee: minor(0, 'USD')
""",
)
MODEL = model_of(COMPANY)


def usd(minor: int) -> dict[str, Any]:
    return {"minor": minor, "currency": "USD"}


async def send(play: Play, kind: str, name: str, number: int, **data: Any) -> None:
    system = "bills" if kind == "invoice.sent.v1" else "bank"
    event = Event(
        id=f"{name}-{number}", source=f"/{system}", type=kind, time=MONDAY + timedelta(hours=number), subject=name,
        data={"id": name, **data},
    )  # fmt: skip
    await receive_events(play.store, play.model, [event], play.now)
    await play.settle()


async def invoices(play: Play, **totals: int) -> None:
    for name, total in totals.items():
        await send(play, "invoice.sent.v1", name.replace("_", "-"), 0, total=usd(total), fee=usd(0))


async def wire(play: Play, amount: int, lines: Mapping[str, int], number: int = 1, fee: int = 0) -> None:
    listed = [{"invoice": name, "paid": usd(paid), "fee": usd(fee)} for name, paid in lines.items()]
    await send(play, "wire.received.v1", "W-7", number, payer="initech", amount=usd(amount), lines=listed)


async def foils(play: Play) -> dict[str, tuple[str, int]]:
    """Return state and residual of each invoice."""
    rows = (await play.store.dump()).foils
    return {f.document: (str(f.state), f.residual.get("gross", 0)) for f in rows}


async def items(play: Play) -> dict[str, tuple[str, int]]:
    """Return state and amount of what the bank shows; what is gone is left out."""
    rows = [o for o in (await play.store.dump()).observations if o.stands]
    return {o.document: (o.state, sum(m.minor for m in o.money)) for o in rows}


async def paid_in(play: Play) -> int:
    """Return what the bank's documents add up to, without fees: it is what its own book has."""
    return sum(amount for _, amount in (await items(play)).values())


def test_a_wire_over_two_invoices_with_a_rest_on_account() -> None:
    async def play() -> None:
        play = Play(MODEL)
        await invoices(play, INV_1=10000, INV_2=18000)
        await wire(play, 30000, {"INV-1": 10000, "INV-2": 18000})
        assert await foils(play) == {"INV-1": ("matched", 0), "INV-2": ("matched", 0)}
        assert await items(play) == {
            "W-7/INV-1": ("paired", 10000),
            "W-7/INV-2": ("paired", 18000),
            "W-7/rest": ("unmatched", 2000),
        }
        assert await paid_in(play) == 30000

    asyncio.run(play())


def test_short_pay_stays_a_residual_of_its_invoice() -> None:
    async def play() -> None:
        play = Play(MODEL)
        await invoices(play, INV_1=10000, INV_2=18000)
        await wire(play, 27000, {"INV-1": 10000, "INV-2": 17000})
        assert await foils(play) == {"INV-1": ("matched", 0), "INV-2": ("partly", 1000)}
        assert "W-7/rest" not in await items(play)

    asyncio.run(play())


def test_an_overstated_remittance_is_a_negative_item_and_a_surplus() -> None:
    """The lines say 320.00 and the wire is 300.00: the 20.00 that nobody paid are listed, and owned."""

    async def play() -> None:
        play = Play(MODEL)
        await invoices(play, INV_1=10000, INV_2=18000)
        await wire(play, 30000, {"INV-1": 14000, "INV-2": 18000})
        assert await foils(play) == {"INV-1": ("over", -4000), "INV-2": ("matched", 0)}
        assert (await items(play))["W-7/rest"] == ("unmatched", -2000)
        assert await paid_in(play) == 30000

    asyncio.run(play())


def test_a_bank_fee_is_a_leg_of_its_own_with_its_owner() -> None:
    async def play() -> None:
        play = Play(MODEL)
        await invoices(play, INV_1=10000)
        await wire(play, 9700, {"INV-1": 9700}, fee=300)
        (foil,) = (await play.store.dump()).foils
        assert (foil.state, foil.residual) == (FoilState.MATCHED, {"gross": 0, "fee": -300})
        assert [(a.leg, a.units, a.owner) for a in foil.absorbed] == [("fee", -300, "finance")]

    asyncio.run(play())


VERSIONS: Sequence[Mapping[str, int]] = (
    {"INV-1": 10000, "INV-2": 18000},
    {"INV-1": 10000},
    {"INV-2": 18000, "INV-3": 1000},
)


async def ends(order: Sequence[int], versions: Sequence[Mapping[str, int]]) -> tuple[Any, ...]:
    play = Play(MODEL)
    await invoices(play, INV_1=10000, INV_2=18000, INV_3=1000)
    for number in order:
        await wire(play, sum(versions[number].values()), versions[number], number + 1)
    dump = await play.store.dump()
    assert dump.todos == []
    return tuple(sorted((await foils(play)).items())), tuple(sorted((await items(play)).items()))


@pytest.mark.parametrize("last", range(3))
def test_what_a_newer_version_no_longer_lists_is_withdrawn_in_every_order(last: int) -> None:
    versions = [*VERSIONS[:last], *VERSIONS[last + 1 :], VERSIONS[last]]
    states = {asyncio.run(ends(order, versions)) for order in permutations(range(3))}
    assert len(states) == 1
    foils_, items_ = states.pop()
    paid = VERSIONS[last]
    assert {name: state for name, (state, _) in foils_} == {
        name: "matched" if name in paid else "open" for name in ("INV-1", "INV-2", "INV-3")
    }
    assert {name for name, _ in items_} == {f"W-7/{name}" for name in paid}


def test_an_empty_list_withdraws_all() -> None:
    versions = [VERSIONS[0], {}]
    states = {asyncio.run(ends(order, versions)) for order in permutations(range(2))}
    ((_, items_),) = states
    assert items_ == ()


def test_a_rebuild_reads_each_entry_and_withdraws_what_is_gone() -> None:
    async def play() -> tuple[Any, ...]:
        play = Play(
            model_of(COMPANY.replace("each: event.data.lines\n", "each: event.data.lines.filter(l, false)\n"))
        )
        await invoices(play, INV_1=10000, INV_2=18000)
        await wire(play, 28000, {"INV-1": 10000, "INV-2": 18000}, 1)
        await wire(play, 10000, {"INV-1": 10000}, 2)
        assert await items(play) == {}
        assert await rebuild_documents(play.store, Releases(play.store, MODEL)) == 1
        return await foils(play), await items(play)

    foils_, items_ = asyncio.run(play())
    assert foils_ == {"INV-1": ("matched", 0), "INV-2": ("open", 18000)}
    assert items_ == {"W-7/INV-1": ("paired", 10000)}


def test_two_entries_of_one_document_hold_the_delivery() -> None:
    async def play() -> list[str]:
        play = Play(MODEL)
        listed = [{"invoice": "INV-1", "paid": usd(1), "fee": usd(0)}] * 2
        await send(play, "wire.received.v1", "W-7", 1, payer="initech", amount=usd(2), lines=listed)
        return [case.message for case in (await play.store.dump()).cases]

    (message,) = asyncio.run(play())
    assert "two entries of `each` of invoice-paid show one document, W-7/INV-1" in message
