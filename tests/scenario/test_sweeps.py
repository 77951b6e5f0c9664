"""Sweeps on real systems: what webhooks and feeds lost is found in the books of billing and of the ERP."""

from __future__ import annotations

from collections.abc import Sequence

from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.matching import FoilState
from counterfoil.core.sweep import Sweep, SweepState
from tests.companies.acme import RARELY, Company
from tests.served import INVOICE, Served, served, until

RULE = "invoice-in-erp"


async def swept(s: Served, of: str = RULE) -> Sequence[Sweep]:
    """Read the books of both systems to their ends. A scheduled sweep that is under way has begun too early to count."""
    model, scope = s.app.model, EntityScope()
    rule = model.reconciliations[of]

    async def idle() -> bool:
        return all(one.state is not SweepState.READING for one in await s.app.store.latest_sweeps())

    await until("no sweep under way", idle)
    asked = {sweep.id for sweep in await s.app.sweeps.request(model, rule, scope, "admin")}

    async def ended() -> list[Sweep] | None:
        sweeps = [one for one in await s.app.sweeps.latest(model, rule, scope) if one.id in asked]
        return sweeps if all(one.state is not SweepState.READING for one in sweeps) else None

    sweeps: list[Sweep] = await until("the ends of the sweeps", ended)
    assert [(one.system, one.error) for one in sweeps if one.state is not SweepState.DONE] == []
    return sweeps


async def test_what_webhooks_and_feeds_lost_is_found_in_the_books(systems: Company) -> None:
    for type_ in ("invoice.finalized", "invoice.updated", "invoice.paid"):
        systems.twin.fault("lose_webhook", match={"type": type_}, times=100)
    async with served(systems, systems.governance(RARELY)) as s:
        await until("the first poll", lambda: s.app.store.cursor("billing", "events"))
        for _ in range(2):
            await systems.billed()
        await s.quiet()
        assert await s.runs(INVOICE) == []
        first = {(one.system, one.book): one for one in await swept(s)}
        assert {system for system, _ in first} >= {"billing", "erp"}
        assert first["billing", "invoices"].fresh >= 2
        await until("both postings", lambda: _posted(s))
        await swept(s)
        await s.run_at(INVOICE, "done", count=2)
        assert {foil.state for foil in (await s.dump()).foils} == {FoilState.MATCHED}
        events = len((await s.dump()).events)
        third = await swept(s)
        assert {one.missing for one in third} == {0}
        assert len((await s.dump()).events) == events, "a book that shows nothing new brings no event"
        await _signed_at_zero(s)
        await s.sound()


async def _signed_at_zero(s: Served) -> None:
    """Prepare and sign the checkpoint: both ways of counting agree with the real books, and nothing is left."""
    rule, today = s.app.model.reconciliations[RULE], (await s.app.now()).date()
    (prepared,) = await s.app.checkpoints.prepare(rule, today, None, EntityScope(), "fay")
    (line,) = prepared.body.lines
    assert (line.left_total, line.right_total) == (line.left_book, line.right_book)
    assert (line.closing, line.asserted > 0, prepared.body.obstacles) == (0, True, ())
    assert {(series.side, series.numbers.is_complete) for series in prepared.body.series} == {
        ("left", True),
        ("right", True),
    }
    assert all(part.asserted == part.observed for part in prepared.body.parts)
    assert [(c.account, c.difference, c.balance > 0) for c in prepared.body.controls] == [
        ("receivables", 0, True)
    ]
    signed = await s.app.checkpoints.sign(prepared.id, "cory", "")
    assert await s.app.checkpoints.changes(signed) == []


async def _posted(s: Served) -> bool:
    return [e.state for e in (await s.dump()).effects if e.operation == "erp.invoice.post"] == [
        "confirmed"
    ] * 2
