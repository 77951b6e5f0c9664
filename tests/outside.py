"""Comparison of the real systems with the effects in the store: invariant 3 of the core protocol.

It reads the systems through their own interfaces, not through the connectors under test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from counterfoil.connectors.stripe.documents import KEY
from counterfoil.core import wire
from counterfoil.core.effect import Effect, EffectState
from counterfoil.demo.erp.charts import PLANS
from counterfoil.demo.erp.client import ErpClient
from counterfoil.store.dump import Dump
from tests.companies.acme import Company

NOTHING_THERE = (EffectState.PLANNED, EffectState.REFUSED, EffectState.ABSENT, EffectState.DROPPED)
SHOWN = frozenset({
    "billing.credit_memo.issue", "erp.invoice.post", "erp.credit_memo.post", "erp.credit.apply", "erp.cancellation.post",
    "erp.party.upsert", "support.ticket.reply",
})  # fmt: skip
"""Operations with objects that are counted here."""


async def outside_truth(company: Company, dump: Dump) -> list[str]:
    """Return the violations of invariant 3.

    They are effects with more or fewer objects outside than the store says, documents of ours that belong to no effect,
    and books that do not sum to zero.
    """
    counts = await look(company, dump)
    violations = []
    confirmed: dict[tuple[str, str], int] = {}
    counted: dict[tuple[str, str], int] = {}
    for effect in dump.effects:
        if effect.operation not in SHOWN:
            continue
        what = (effect.operation, _subject(effect))
        counted[what] = counts.get(what, 0)
        confirmed[what] = confirmed.get(what, 0) + (effect.state is EffectState.CONFIRMED)
    moving = {
        (e.operation, _subject(e))
        for e in dump.effects
        if e.operation in SHOWN and e.state in (EffectState.SENDING, EffectState.UNKNOWN)
    }
    for what, count in counted.items():
        if count != confirmed[what] and not (what in moving and count <= confirmed[what] + 1):
            violations.append(f"3: {what[0]} of {what[1]}: {count} outside, {confirmed[what]} confirmed")
    for what, count in counts.items():
        if what not in counted:
            violations.append(f"3: {count} times {what[0]} of {what[1]} outside, asked for by no effect")
    for plan in PLANS:
        async with company.of_erp(company=plan.key) as erp:
            books = await erp.trial_balance()
        if sum(books.values(), Decimal(0)):
            violations.append(f"the trial balance of {plan.name} does not sum to zero: {books}")
    return violations


def _subject(effect: Effect) -> str:
    """Return the identity of an object in the outside system: our reference, our key or the ticket."""
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
    """Count the objects that the systems show, by operation and subject."""
    counts: dict[tuple[str, str], int] = {}

    def count(operation: str, subject: str, number: int = 1) -> None:
        counts[operation, subject] = counts.get((operation, subject), 0) + number

    for plan in PLANS:
        async with company.of_erp(company=plan.key) as erp:
            await _documents(erp, count)
    async with company.of_erp() as erp:
        ours = {_subject(e) for e in dump.effects if e.operation == "erp.party.upsert"}
        # A repeated upsert changes the same party, so one party exists however often it was confirmed.
        parties = [party["code"] for party in await erp.parties() if party["code"] in ours]
        for effect in dump.effects:
            if effect.operation == "erp.party.upsert" and effect.state is EffectState.CONFIRMED:
                count("erp.party.upsert", _subject(effect), parties.count(_subject(effect)))
    for note in await asyncio.to_thread(_notes, company):
        # A note without the key of a request was made by a person in billing.
        if note.status == "issued" and KEY in (note.metadata or {}):
            count("billing.credit_memo.issue", note.metadata["credit_id"])
    for ticket in {_subject(e) for e in dump.effects if e.operation == "support.ticket.reply"}:
        messages = (await company.ticket(ticket))["messages"]
        if messages:
            count("support.ticket.reply", ticket, len(messages))
    return counts


async def _documents(erp: ErpClient, count: Callable[[str, str], None]) -> None:
    """Count the documents and applications in the books of one company."""
    credits = {}
    for document in await erp.invoices():
        # A posted document keeps its number when it is cancelled.
        if document["state"] not in ("posted", "paid", "cancelled") or not document["number"]:
            continue
        reference = document["reference"] or ""
        if document["total_amount"] < 0:
            credits[document["number"]] = reference
            void = reference.endswith("/void")
            count("erp.cancellation.post" if void else "erp.credit_memo.post", reference)
        elif not reference.endswith("/undo"):
            count("erp.invoice.post", reference)
    applied = [["description", "ilike", "% applied to %"]]
    for move in await erp.search("account.move", applied, ["description"]):
        count("erp.credit.apply", credits[move["description"].split(" applied to ")[0].split()[-1]])


def _notes(company: Company) -> list[Any]:
    """Return the credit notes of both billing accounts."""
    return [
        note
        for client in (company.stripe, company.german_stripe)
        for note in client.credit_notes.list({"limit": 100}).auto_paging_iter()
    ]
