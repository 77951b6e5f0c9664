"""What the real systems show, held against what a store says was done there: invariant 3 of the core protocol.

Seen through the systems' own interfaces, not through the connectors under test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from counterfoil.core import wire
from counterfoil.core.effect import Effect, EffectState
from counterfoil.store.dump import Dump
from tests.companies.acme import Company

NOTHING_THERE = (EffectState.PLANNED, EffectState.REFUSED, EffectState.ABSENT, EffectState.DROPPED)
SHOWN = frozenset({
    "billing.credit_memo.issue", "erp.invoice.post", "erp.credit_memo.post", "erp.credit.apply",
    "erp.party.upsert", "support.ticket.reply",
})  # fmt: skip
"""Operations whose objects are counted here."""


async def outside_truth(company: Company, dump: Dump) -> list[str]:
    """Violations: effects of which the systems show more or fewer objects than the store says; books that do
    not sum to zero; documents of ours that no effect asked for."""
    seen = await look(company, dump)
    found = []
    confirmed: dict[tuple[str, str], int] = {}
    counted: dict[tuple[str, str], int] = {}
    for effect in dump.effects:
        if effect.operation not in SHOWN:
            continue
        what = (effect.operation, _subject(effect))
        counted[what] = seen.get(what, 0)
        confirmed[what] = confirmed.get(what, 0) + (effect.state is EffectState.CONFIRMED)
    moving = {
        (e.operation, _subject(e))
        for e in dump.effects
        if e.operation in SHOWN and e.state in (EffectState.SENDING, EffectState.UNKNOWN)
    }
    for what, count in counted.items():
        if count != confirmed[what] and not (what in moving and count <= confirmed[what] + 1):
            found.append(f"3: {what[0]} of {what[1]}: {count} outside, {confirmed[what]} confirmed")
    for what, count in seen.items():
        if what not in counted:
            found.append(f"3: {count} times {what[0]} of {what[1]} outside, asked for by no effect")
    async with company.of_erp() as erp:
        books = await erp.trial_balance()
    if sum(books.values(), Decimal(0)):
        found.append(f"the trial balance does not sum to zero: {books}")
    return found


def _subject(effect: Effect) -> str:
    """What an object outside is known by: our reference, our key, or the ticket."""
    value: Mapping[str, Any] = wire.loads(effect.input)
    match effect.operation:
        case "erp.invoice.post":
            return str(value["invoice_id"])
        case "erp.party.upsert":
            return str(value["customer_id"])
        case "support.ticket.reply":
            return str(value["ticket"])
        case _:
            return str(value["credit_id"])


async def look(company: Company, dump: Dump) -> dict[tuple[str, str], int]:
    """How many objects the systems show, by operation and subject."""
    seen: dict[tuple[str, str], int] = {}

    def count(operation: str, subject: str, number: int = 1) -> None:
        seen[operation, subject] = seen.get((operation, subject), 0) + number

    async with company.of_erp() as erp:
        credits = {}
        for document in await erp.invoices():
            if document["state"] not in ("posted", "paid"):
                continue
            reference = document["reference"] or ""
            if document["total_amount"] < 0:
                credits[document["number"]] = reference
                count("erp.credit_memo.post", reference)
            elif not reference.endswith("/undo"):
                count("erp.invoice.post", reference)
        for move in await erp.search(
            "account.move", [["description", "ilike", "% applied to %"]], ["description"]
        ):
            count("erp.credit.apply", credits[move["description"].split(" applied to ")[0]])
        ours = {_subject(e) for e in dump.effects if e.operation == "erp.party.upsert"}
        # A second sending of a party changes the first one, so there is one however often it was confirmed.
        parties = [party["code"] for party in await erp.parties() if party["code"] in ours]
        for effect in dump.effects:
            if effect.operation == "erp.party.upsert" and effect.state is EffectState.CONFIRMED:
                count("erp.party.upsert", _subject(effect), parties.count(_subject(effect)))
    for note in await asyncio.to_thread(_notes, company):
        if note.status == "issued":
            count("billing.credit_memo.issue", (note.metadata or {})["credit_id"])
    for ticket in {_subject(e) for e in dump.effects if e.operation == "support.ticket.reply"}:
        messages = (await company.ticket(ticket))["messages"]
        if messages:
            count("support.ticket.reply", ticket, len(messages))
    return seen


def _notes(company: Company) -> list[Any]:
    return list(company.stripe.credit_notes.list({"limit": 100}).auto_paging_iter())
