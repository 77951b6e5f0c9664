"""Plays a month of Acme: billing by both legal entities, lost webhooks, and the work of persons in the ERP.

No feed brings news, so what a webhook lost, and everything that the ERP books, is left to the sweeps. Documents of a week
have one date: the ERP numbers the documents of a series in the order of their dates.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import httpx2

from counterfoil.core.effect import EffectState
from counterfoil.core.sweep import SweepState
from counterfoil.demo.erp.client import ErpClient, local_day
from tests.companies.acme import GERMAN_KEY, Company, Edits
from tests.contract.stripe_twin_process import KEY
from tests.patience import PATIENCE_SECONDS
from tests.served import Served, until

SEED = 13
LOST_SHARE = 0.02
WEEKS = 4
NO_FEEDS: Edits = {
    "systems/billing.yaml": [(
        "feeds:\n  events: {every: 15s}        # polling behind the webhooks finds lost deliveries\n", ""
    )],
    "systems/billing-de.yaml": [("feeds:\n  events: {every: 15s}\n", "")],
    "systems/erp.yaml": [("  invoices: {every: 1s}\n", "")],
    "systems/erp-de.yaml": [("  invoices: {every: 1s}\n", "")],
    "systems/support.yaml": [("every: 15s", "every: 1h")],
}  # fmt: skip
"""Edits after which no feed brings a document, also when the server starts again."""
US, DE = "acme-us", "acme-de"
KEYS = {US: KEY, DE: GERMAN_KEY}
CUSTOMERS = {
    US: {"usd": 8, "eur": 2},
    DE: {"eur": 5, "usd": 2},
}
"""Customers of a legal entity by currency."""
PAST_THE_WORKFLOW = "CR-PAST-THE-WORKFLOW"
"""Id of the credit memo that billing issued, and nobody asked for at the help desk."""
RATES = {US: ("US-TX", "8.25"), DE: ("DE", "19")}


@dataclass(frozen=True)
class Size:
    """Size of the month: invoices of a week by legal entity and currency, and credits of the month."""

    invoices: Mapping[str, Mapping[str, int]]
    credits: int


FULL = Size({US: {"usd": 8, "eur": 2}, DE: {"eur": 4, "usd": 1}}, 20)
SMALL = Size({US: {"usd": 2, "eur": 1}, DE: {"eur": 2}}, 6)
"""A month that `make test` has the time for."""


@dataclass
class Billed:
    """An invoice of billing. `lost`: no webhook says that it was finalized."""

    entity: str
    currency: str
    customer: str
    id: str
    number: str
    key: str
    """Its canonical id, which is its reference in the ERP."""
    total: Decimal
    lost: bool
    waits: bool
    """No webhook told of its customer, so that its posting waits until a sweep does."""


@dataclass
class Month:
    """Documents of the month, and how many webhooks about them were lost."""

    invoices: list[Billed] = field(default_factory=list)
    credits: list[str] = field(default_factory=list)
    webhooks: int = 0
    lost: int = 0
    by_hand: dict[str, str] = field(default_factory=dict)
    """Number in the ERP of what a person entered there, by kind of work."""
    about: dict[str, Billed] = field(default_factory=dict)
    """The invoice that a kind of work is about."""


def days_of_month() -> list[date]:
    """Return a day of each week, the last one today. New York's today is over nowhere else before it begins there."""
    today = datetime.now(ZoneInfo("America/New_York")).date()
    return [today - timedelta(weeks=week) for week in reversed(range(WEEKS))]


class Player:
    """A month in one company."""

    def __init__(self, systems: Company, s: Served, size: Size = SMALL, seed: int = SEED) -> None:
        self.systems, self.s, self.size = systems, s, size
        self.chance = Random(seed)
        self.days = days_of_month()
        self.month = Month()
        self.customers: dict[tuple[str, str], list[str]] = {}
        self._unknown: set[str] = set()
        """Customers whose webhook was lost."""
        self._rates: dict[str, str] = {}

    async def play(self) -> Month:
        await until("the first sweeps, of empty books", self._swept)
        await asyncio.to_thread(self._customers)
        for week, day in enumerate(self.days):
            await asyncio.to_thread(self._bill, week, day)
            arrived = [invoice for invoice in self.month.invoices if not (invoice.lost or invoice.waits)]
            await self._confirmed("erp.invoice.post", len(arrived))
        await self._credit()
        await self._work_by_hand()
        await self.s.quiet()
        return self.month

    async def _swept(self) -> bool:
        sweeps = await self.s.app.store.latest_sweeps()
        books = sum(len(system.sweeps) for system in self.s.app.model.systems.values())
        return len(sweeps) == books and all(sweep.state is SweepState.DONE for sweep in sweeps)

    async def _confirmed(self, operation: str, count: int) -> None:
        """Wait until so many calls of an operation are confirmed."""

        async def look() -> bool:
            effects = [e for e in (await self.s.dump()).effects if e.operation == operation]
            return sum(e.state is EffectState.CONFIRMED for e in effects) >= count

        await until(f"{count} times {operation}", look, 2 * PATIENCE_SECONDS, self.s.report)

    # ------------------------------------------------------------------ billing

    def _account(self, entity: str) -> Any:
        return self.systems.stripe if entity == US else self.systems.german_stripe

    def _lose(self, entity: str, type_: str, always: bool = False) -> bool:
        """Decide whether the next webhook of a type is lost, and count it."""
        self.month.webhooks += 1
        if not always and self.chance.random() >= LOST_SHARE:
            return False
        self.month.lost += 1
        fault = json.dumps({"kind": "lose_webhook", "match": {"type": type_}})
        headers = {"authorization": f"Bearer {KEYS[entity]}"}
        status, _, answer = self.systems.twin.call("POST", "/_twin/faults", fault, headers)
        assert status == 200, answer
        return True

    def _customers(self) -> None:
        for entity, currencies in CUSTOMERS.items():
            jurisdiction, percentage = RATES[entity]
            rate = {
                "display_name": "Tax",
                "inclusive": False,
                "percentage": percentage,
                "jurisdiction": jurisdiction,
            }
            self._rates[entity] = self._account(entity).tax_rates.create(rate).id
            for currency, count in currencies.items():
                for number in range(count):
                    values = {
                        "name": f"{entity} {currency} {number}",
                        "address": {"country": entity[-2:].upper(), "city": "Springfield", "line1": "1 Main St",
                                    "postal_code": "12345"},
                    }  # fmt: skip
                    lost = self._lose(entity, "customer.created")
                    customer = self._account(entity).customers.create(values).id
                    self.customers.setdefault((entity, currency), []).append(customer)
                    self._unknown |= {customer} if lost else set()

    def _bill(self, week: int, day: date) -> None:
        """Finalize the invoices of a week. Of each entity one is lost in the second and in the last week in any case."""
        for entity, currencies in self.size.invoices.items():
            for currency, count in currencies.items():
                for number in range(count):
                    always = (
                        week in (1, WEEKS - 1)
                        and number == 0
                        and currency in ("usd" if entity == US else "eur")
                    )
                    self.month.invoices.append(self._invoice(entity, currency, number + week, day, always))

    def _invoice(self, entity: str, currency: str, number: int, day: date, always: bool) -> Billed:
        account, customers = self._account(entity), self.customers[entity, currency]
        customer = customers[number % len(customers)]
        noon = int(datetime.combine(day, time(17), UTC).timestamp())
        draft = account.invoices.create({
            "customer": customer, "currency": currency, "collection_method": "send_invoice", "days_until_due": 30,
            "auto_advance": False, "pending_invoice_items_behavior": "exclude", "effective_at": noon,
        })  # fmt: skip
        account.invoice_items.create({
            "customer": customer, "invoice": draft.id, "currency": currency, "description": "Seats",
            "amount": self.chance.randrange(10_000, 900_000), "tax_rates": [self._rates[entity]],
        })  # fmt: skip
        lost = self._lose(entity, "invoice.finalized", always)
        invoice = account.invoices.finalize_invoice(draft.id, {"auto_advance": False})
        total = Decimal(invoice.total).scaleb(-2)
        return Billed(
            entity, currency, customer, invoice.id, invoice.number, "", total, lost, customer in self._unknown
        )

    async def _keys(self) -> None:
        """Read the canonical ids of the invoices that arrived: they are their references in the ERP."""
        events = [e.data for e in (await self.s.dump()).events if e.type == "invoice.finalized.v1"]
        keys = {str(data["number"]): str(data["invoice_id"]) for data in events}
        for invoice in self.month.invoices:
            invoice.key = keys.get(invoice.number, "")

    async def _credit(self) -> None:
        """Grant service credits that need no approval, and one credit note past the workflow whose webhook is lost."""
        await self._keys()
        billed = [invoice for invoice in self.month.invoices if invoice.key and not invoice.waits]
        for number, invoice in enumerate(self.chance.sample(billed, self.size.credits)):
            self._lose(invoice.entity, "credit_note.created")
            amount = f"{Decimal(self.chance.randrange(1_000, 3_000)).scaleb(-2)}"
            ticket = await self.systems.ask_credit(
                invoice.customer, invoice.id, amount, f"inc-{number}", currency=invoice.currency.upper()
            )
            self.month.credits.append(ticket)
        await self._confirmed("support.ticket.reply", self.size.credits)
        self._lose(US, "credit_note.created", always=True)
        past = self.month.about["past the workflow"] = next(
            i for i in billed if (i.entity, i.currency) == (US, "usd")
        )
        note = {"invoice": past.id, "amount": 4_200, "metadata": {"credit_id": PAST_THE_WORKFLOW}}
        await asyncio.to_thread(self.systems.stripe.credit_notes.create, note)

    # ------------------------------------------------------------------ persons in the ERP

    async def _work_by_hand(self) -> None:
        """Do by hand what the books of both entities then differ in, and void an invoice whose webhook is lost."""
        free = [
            i
            for i in self.month.invoices
            if i.key and not i.waits and i is not self.month.about["past the workflow"]
        ]
        for entity, currency in ((US, "usd"), (DE, "eur")):
            day = local_day(entity)
            mine = [i for i in free if (i.entity, i.currency) == (entity, currency)]
            about = dict(zip(("cancelled", "typed otherwise", "twice", "void"), mine, strict=False))
            self.month.about |= {f"{kind} {entity}": invoice for kind, invoice in about.items()}
            async with self.systems.of_erp(company=entity) as erp:
                (document,) = await erp.invoices(about["twice"].key)
                party = document["party"]["code"]
                work = {
                    "unknown": await erp.enter(Decimal("1234.56"), party, on=day),
                    "twice": await erp.enter(about["twice"].total, party, about["twice"].key, on=day),
                }
                await self._cancel(erp, entity, about["cancelled"].key)
                await self._cancel(erp, entity, about["typed otherwise"].key)
                typed = about["typed otherwise"]
                (document,) = await erp.invoices(typed.key)
                party = document["party"]["code"]
                work["typed otherwise"] = await erp.enter(
                    typed.total + Decimal("10.00"), party, typed.key, on=day
                )
                await self._delete_draft(entity, document["id"])
            self.month.by_hand |= {f"{kind} {entity}": number for kind, number in work.items()}
            self._lose(entity, "invoice.voided", always=True)
            await asyncio.to_thread(self._account(entity).invoices.void_invoice, about["void"].id)

    async def _cancel(self, erp: ErpClient, entity: str, reference: str) -> None:
        """Cancel a posted invoice by a credit note, with the ERP's own wizard."""
        (document,) = await erp.invoices(reference)
        wizard = "wizard.account.invoice.credit"
        session, _, _ = await self._rpc(entity, f"{wizard}.create")
        day = local_day(entity)
        start = {
            "invoice_date": {"__class__": "date", "year": day.year, "month": day.month, "day": day.day},
            "with_refund": True, "with_refund_allowed": True,
        }  # fmt: skip
        about = {
            "active_model": "account.invoice",
            "active_id": document["id"],
            "active_ids": [document["id"]],
        }
        await self._rpc(entity, f"{wizard}.execute", session, {"start": start}, "credit", **about)
        await self._rpc(entity, f"{wizard}.delete", session)

    async def _delete_draft(self, entity: str, document: int) -> None:
        """Copy a document as a draft, and delete it again."""
        (copy,) = await self._rpc(entity, "model.account.invoice.copy", [document], {})
        await self._rpc(entity, "model.account.invoice.delete", [copy])

    async def _rpc(self, entity: str, method: str, *params: Any, **context: Any) -> Any:
        """Call the ERP as its own client does: only there are wizards."""
        company = self.systems.erp_seed["companies"][entity]
        user = company["users"]["controller"]
        basic = base64.b64encode(f"{user['login']}:{user['password']}".encode()).decode()
        about = {"company": company["company"], "language": "en", **context}
        call = {"id": 1, "method": method, "params": [*params, about]}
        async with httpx2.AsyncClient(base_url=self.systems.erp_url, trust_env=False, timeout=60) as http:
            answer = await http.post("/erp/rpc/", json=call, headers={"authorization": f"Basic {basic}"})
        reply = json.loads(answer.content)
        assert "error" not in reply, reply
        return reply.get("result")
