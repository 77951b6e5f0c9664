"""Acme with recorded traffic that can be replayed.

The deliveries have the forms of Acme's systems. The real flow admits and executes them; the systems are in the process
and answer at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from counterfoil.connectors import sdk
from counterfoil.core import wire
from counterfoil.core.canonical import Receipt
from counterfoil.core.case import Case
from counterfoil.core.people import Person
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.runs import person_decisions
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model
from counterfoil.store.port.intake import Receive
from counterfoil.store.port.people import PutPerson
from counterfoil.store.port.views import ListFilter
from tests.companies.base import acme_model
from tests.source import ROOT

ACME = ROOT / "examples" / "acme"
REST_TIMEOUT_SECONDS = 120.0
LEAD = "lee"


@cache
def acme() -> Model:
    return acme_model()


def changed(*edits: tuple[str, str, str]) -> Model:
    """Return Acme with texts of documents replaced. An edit is (kind/name, old, new), and each must apply."""
    documents = []
    waiting = list(edits)
    for data in acme().plain():
        text = wire.dumps(data).decode()
        for edit in edits:
            place, old, new = edit
            if place == f"{data['kind']}/{data['name']}":
                assert old in text, f"{place} does not say {old!r}: {text}"
                text = text.replace(old, new)
                waiting.remove(edit)
        documents.append(wire.loads(text.encode()))
    assert not waiting, f"there is no {waiting[0][0]}"
    return Model.from_documents(documents)


# ------------------------------------------------------------------ what the systems send


class Account:
    """One customer in billing, and the deliveries about it."""

    def __init__(self, n: int, now: datetime) -> None:
        self.n = n
        self.now = now
        self.customer = f"cus_{n:06}"
        self.invoice = f"in_{n:06}"
        self.net = 30_000 + 37 * (n % 900) + (20_000_00 if n % 97 == 96 else 0)
        self.tax = (self.net * 825 + 5_000) // 10_000
        self.total = self.net + self.tax

    def event(self, type_: str, of: Mapping[str, Any], nth: int = 0) -> tuple[str, str, dict[str, Any]]:
        """Return (system, type, body) of a webhook."""
        identity = f"{type_}{of['id']}{nth}".encode()
        id_ = f"evt_{hashlib.sha256(identity).hexdigest()[:24]}"
        return (
            "billing",
            type_,
            {
                "id": id_, "object": "event", "api_version": "2023-08-16", "created": self.seconds + nth,
                "livemode": False, "pending_webhooks": 1, "type": type_, "data": {"object": dict(of)},
                "request": {"id": None, "idempotency_key": None},
            },
        )  # fmt: skip

    @property
    def seconds(self) -> int:
        return int(self.now.timestamp())

    def customer_body(self) -> dict[str, Any]:
        return {
            "id": self.customer, "object": "customer", "address": {
                "city": "New York", "country": "US", "line1": f"{self.n} Main St", "line2": None,
                "postal_code": "10001", "state": "NY",
            }, "balance": 0, "created": self.seconds, "currency": "usd", "default_source": None,
            "delinquent": False, "description": None, "discount": None,
            "email": f"ap{self.n}@globex.example", "invoice_prefix": "ABC", "livemode": False,
            "metadata": {}, "name": f"Globex {self.n}", "phone": None, "preferred_locales": [],
            "shipping": None, "tax_exempt": "none", "test_clock": None,
        }  # fmt: skip

    def subscription_body(self) -> dict[str, Any]:
        return {
            "id": f"sub_{self.n:06}", "object": "subscription", "customer": self.customer, "status": "active",
            "created": self.seconds, "currency": "usd", "metadata": {},
        }  # fmt: skip

    def invoice_body(self, status: str = "open", paid: int = 0) -> dict[str, Any]:
        """Return an invoice as the API shows it, with all of its usual fields."""
        first, second = self.net - self.net // 3, self.net // 3
        lines = [self._line(0, first), self._line(1, second)]
        return {
            "id": self.invoice, "object": "invoice", "account_country": "US", "account_name": "Acme Cloud",
            "account_tax_ids": None, "amount_due": self.total, "amount_paid": paid,
            "amount_remaining": self.total - paid, "amount_shipping": 0, "application": None,
            "attempt_count": 0, "attempted": False, "auto_advance": False,
            "automatic_tax": {"enabled": False, "status": None}, "billing_reason": "subscription_cycle",
            "charge": None, "collection_method": "send_invoice", "created": self.seconds, "currency": "usd",
            "custom_fields": None, "customer": self.customer,
            "customer_address": self.customer_body()["address"],
            "customer_email": f"ap{self.n}@globex.example", "customer_name": f"Globex {self.n}",
            "customer_phone": None, "customer_shipping": None, "customer_tax_exempt": "none",
            "customer_tax_ids": [], "default_payment_method": None, "default_source": None,
            "default_tax_rates": [], "description": None, "discount": None, "discounts": [],
            "due_date": self.seconds + 2_592_000, "ending_balance": 0, "footer": None, "from_invoice": None,
            "lines": lines, "livemode": False, "metadata": {}, "number": f"ABC-{self.n:06}",
            "paid": paid > 0, "payment_intent": None, "period_end": self.seconds,
            "period_start": self.seconds - 2_592_000, "post_payment_credit_notes_amount": 0,
            "pre_payment_credit_notes_amount": 0, "quote": None, "receipt_number": None,
            "starting_balance": 0, "statement_descriptor": None, "status": status,
            "status_transitions": {"finalized_at": self.seconds, "marked_uncollectible_at": None,
                                   "paid_at": None, "voided_at": None},
            "subscription": f"sub_{self.n:06}", "subtotal": self.net, "subtotal_excluding_tax": self.net,
            "tax": self.tax, "total": self.total, "total_discount_amounts": [],
            "total_excluding_tax": self.net, "total_tax_amounts": [
                {"amount": self.tax, "inclusive": False, "tax_rate": "txr_tx", "taxable_amount": self.net}
            ], "tax_rates": {"txr_tx": {"id": "txr_tx", "percentage": Decimal("8.25"), "jurisdiction": "US-TX"}}, "transfer_data": None, "webhooks_delivered_at": None,
        }  # fmt: skip

    def _line(self, nth: int, amount: int) -> dict[str, Any]:
        return {
            "id": f"il_{self.n}_{nth}", "object": "line_item", "amount": amount,
            "amount_excluding_tax": amount, "currency": "usd", "description": f"{nth + 1} x Seats",
            "discount_amounts": [], "discountable": True, "discounts": [], "livemode": False, "metadata": {},
            "period": {"end": self.seconds, "start": self.seconds - 2_592_000},
            "price": {"id": f"price_{nth}", "object": "price", "active": True, "billing_scheme": "per_unit",
                      "currency": "usd", "product": "cloud", "lookup_key": ("team", "enterprise")[nth], "type": "recurring", "unit_amount": amount},
            "proration": False, "quantity": 1, "subscription": f"sub_{self.n:06}",
            "tax_amounts": [{"amount": 0, "inclusive": False, "tax_rate": "txr_tx"}], "tax_rates": [],
            "type": "subscription",
        }  # fmt: skip

    def charge_body(self) -> dict[str, Any]:
        """Return the charge of the invoice as the connector reads it, with its balance transaction."""
        fee = self.total * 29 // 1000 + 30
        return {
            "id": f"ch_{self.n:06}", "object": "charge", "amount": self.total, "currency": "usd", "paid": True,
            "customer": self.customer, "invoice": self.invoice, "status": "succeeded", "captured": True,
            "created": self.seconds, "balance_transaction": {"fee": fee, "net": self.total - fee},
            "payment_method_details": {"type": "card"}, "metadata": {},
        }  # fmt: skip

    def paying(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return the other webhooks of an invoice until its payment. Mappings of Acme take that of the charge alone."""
        intent = {
            "id": f"pi_{self.n:06}", "object": "payment_intent", "amount": self.total, "currency": "usd",
            "customer": self.customer, "invoice": self.invoice, "status": "succeeded", "metadata": {},
        }  # fmt: skip
        method = {
            "id": f"pm_{self.n:06}",
            "object": "payment_method",
            "customer": self.customer,
            "type": "card",
        }
        return [
            self.event("invoice.sent", self.invoice_body(), 1),
            self.event("payment_intent.created", {**intent, "status": "requires_payment_method"}),
            self.event("payment_method.attached", method),
            self.event("charge.succeeded", self.charge_body()),
            self.event("payment_intent.succeeded", intent, 1),
            self.event("invoice.payment_succeeded", self.invoice_body("paid", self.total), 2),
        ]

    def note_body(self, id_: str, credit: str, minor: int) -> dict[str, Any]:
        return {
            "id": id_, "object": "credit_note", "amount": minor, "created": self.seconds,
            "currency": "usd", "customer": self.customer, "invoice": self.invoice, "memo": None,
            "metadata": {"credit_id": credit}, "number": f"CN-{self.n}", "status": "issued", "total": minor,
            "tax": 0, "taxes": [], "tax_rates": {}, "issued_on": f"{self.now:%Y-%m-%d}",
        }  # fmt: skip

    def request(
        self, amount: str, revision: int, status: str = "credit-requested"
    ) -> tuple[str, str, dict[str, Any]]:
        """Return the delivery of a ticket that requests a credit."""
        body = {
            "id": str(self.n), "title": f"Outage {self.n}", "status": status, "creator": "agent",
            "account_ref": self.customer, "invoice_ref": self.invoice, "credit_amount": amount,
            "credit_currency": "USD", "credit_reason": "sla", "incident_ref": f"inc-{self.n}",
            "incident_on": f"{self.now:%Y-%m-%d}", "revision": revision, "activity": f"{self.now:%Y-%m-%d}",
            "messages": ["1", "2"], "nosy": ["agent"], "priority": "urgent", "assignedto": "agent",
        }  # fmt: skip
        return "support", "issue.updated" if revision > 1 else "issue.created", body


class System:
    """System inside the process that confirms every write at once and reads from `objects`."""

    feeds: Sequence[str] = ()
    operations: Mapping[str, sdk.OperationSpec] = {}

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.done: list[tuple[str, dict[str, Any], dict[str, Any]]] = []

    async def send(self, request: sdk.Request, timeout: float) -> sdk.Outcome:
        body = wire.read_json(request.body)
        result = self._result(request.operation, body, len(self.done) + 1)
        self.done.append((request.operation, body, result))
        return sdk.Confirmed(result)

    def _result(self, operation: str, body: dict[str, Any], nth: int) -> dict[str, Any]:
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        match operation:
            case "billing.credit_memo.issue":
                return {"id": f"cn_{nth}", "number": f"CN-{nth}", "issued_on": today, "total": body["amount"],
                        "currency": "usd"}  # fmt: skip
            case "erp.party.upsert":
                return {"id": nth}
            case "erp.invoice.post" | "erp.credit_memo.post":
                return {"id": nth, "number": f"D{nth}", "total": body["total"], "currency": body["currency"],
                        "posting_date": body["accounting_date"], "period": today[:7]}  # fmt: skip
            case "erp.receipt.post":
                return {"id": nth, "number": f"J{nth}", "date": body["date"], "period": today[:7]}
            case "erp.credit.apply":
                return {"move": nth, "applied": body["amount"], "currency": "USD", "amount_to_pay_after": 0}
        return {"id": str(nth), "status": "ok"}

    async def find(self, request: sdk.Request, timeout: float) -> sdk.Finding:
        return sdk.Absent()

    async def read(self, operation: str, arguments: Mapping[str, Any], timeout: float) -> Any:
        return self.objects[str(arguments["id"])]

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> sdk.Delivery:
        raise NotImplementedError

    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> sdk.Page:
        return sdk.Page((), "")

    async def check(self, timeout: float) -> None:
        """Report that the system is reachable."""

    async def close(self) -> None:
        """Release nothing, because there is no connection."""


# ------------------------------------------------------------------ the company


class Company:
    """A store and the worker that serves it."""

    def __init__(self, store: Any, model: Model) -> None:
        self.store = store
        self.model = model
        self.releases = Releases(store, model)
        self.systems = {name: System() for name in model.systems}
        self._worker = Worker(store, self.releases, dict(self.systems), "played/1")
        self._n = 0

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[Company]:
        await self.releases.publish(await self.store.now(), "tests")
        now = await self.store.now()
        for id_, role in ((LEAD, "support-lead"), ("agent", "support-agent")):
            person = Person(id=id_, name=id_, email=f"{id_}@example.com", roles=(role,))
            await self.store.apply(PutPerson(person=person, at=now, actor="tests"))
        running = asyncio.create_task(self._worker.run())
        try:
            yield self
        finally:
            self._worker.stop()
            await running

    async def send(self, *deliveries: tuple[str, str, dict[str, Any]]) -> None:
        """Store deliveries like those of a webhook."""
        now = await self.store.now()
        receipts, clashes = [], []
        for system, type_, body in deliveries:
            self._n += 1
            raw = wire.write_json(body)
            digest = hashlib.sha256(raw).hexdigest()
            receipts.append(
                Receipt(
                    system=system,
                    ext_id=f"d{self._n}",
                    type=type_,
                    identity=digest,
                    sha256=digest,
                    door="webhook",
                    headers={"content-type": "application/json"},
                    body=raw,
                    received_at=now,
                )
            )
            clashes.append(
                Case(
                    id=f"case_{self._n}",
                    reason="clash",
                    message="",
                    owner="",
                    deadline=now,
                    next_action="",
                    choices=(),
                    created_at=now,
                )
            )
        await self.store.apply(
            Receive(receipts=tuple(receipts), clashes=tuple(clashes), at=now, actor="tests")
        )

    async def rest(self) -> None:
        """Wait until no work is due. Grant the approvals of the support lead meanwhile."""
        quiet = 0
        for _ in range(int(REST_TIMEOUT_SECONDS / 0.02)):
            approvals, _ = await self.store.approvals(ListFilter(state="open", limit=200))
            for approval in approvals:
                await person_decisions.decide_approval(
                    self.store, self.model, approval.id, approval.subject, LEAD, True, "as seen"
                )
            due = await self.store.next_due()
            now = await self.store.now()
            idle = (await self.store.backlog(1, 0)).waiting == 0 and (due is None or due > now)
            planned = await self.store.effects_planned(1)
            quiet = quiet + 1 if idle and not planned and not approvals else 0
            if quiet >= 3:
                return
            await asyncio.sleep(0.02)
        raise TimeoutError("the company does not come to rest")

    async def business(self, customers: int, credits: Sequence[int] = ()) -> None:
        """Bill customers, who pay and of whom some request a credit. The ledger shows each posting."""
        now = await self.store.now()
        accounts = [Account(n, now) for n in range(customers)]
        for account in accounts:
            for body in (account.customer_body(), account.subscription_body(), account.invoice_body()):
                self.systems["billing"].objects[body["id"]] = body
        await self.send(*_periods(now))
        await self.send(*(a.event("customer.created", a.customer_body()) for a in accounts))
        await self.send(*(a.event("customer.subscription.created", a.subscription_body()) for a in accounts))
        await self.rest()
        await self.send(*(a.event("invoiceitem.created", a._line(0, a.net)) for a in accounts))
        await self.send(*(a.event("invoice.created", a.invoice_body("draft")) for a in accounts))
        await self.send(*(a.event("invoice.finalized", a.invoice_body()) for a in accounts))
        await self.rest()
        await self.send(*(a.event("invoice.updated", a.invoice_body(), 1) for a in accounts))
        await self.rest()
        await self.send(*self._shown())
        asking = [accounts[n] for n in credits]
        await self.send(*(a.request("", 1, "open") for a in asking))
        await self.send(*(a.request(f"{40 + 30 * (a.n % 5)}.00", 2) for a in asking))
        await self.rest()
        await self.send(*self._shown())
        await self.send(*self._noted(accounts))
        for a in accounts:
            self.systems["billing"].objects[a.charge_body()["id"]] = a.charge_body()
        await self.send(*(delivery for a in accounts for delivery in a.paying()))
        for a in accounts:
            self.systems["billing"].objects[a.invoice] = a.invoice_body("paid", a.total)
        await self.send(*(a.event("invoice.paid", a.invoice_body("paid", a.total), 2) for a in accounts))
        await self.send(*(a.request("40.00", 3, "credit-posted") for a in asking))
        await self.rest()
        await self.send(*self._shown())
        await self.rest()

    def _noted(self, accounts: Sequence[Account]) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield the deliveries about the credit notes that billing issued."""
        of = {account.invoice: account for account in accounts}
        for operation, body, result in self.systems["billing"].done:
            if operation == "billing.credit_memo.issue":
                account = of[body["invoice"]]
                note = account.note_body(result["id"], body["metadata"]["credit_id"], body["amount"])
                self.systems["billing"].objects[note["id"]] = note
                yield account.event("credit_note.created", note, 3)

    def _shown(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield the deliveries about the documents and entries posted in the ledger since the last call."""
        stamp = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
        for operation, body, result in self.systems["erp"].done:
            if operation == "erp.receipt.post":
                entry = {
                    **body,
                    **result,
                    "type": "entry",
                    "state": "posted",
                    "version": stamp,
                    "reverses": None,
                }
                yield "erp", "entry", entry
            if operation not in ("erp.invoice.post", "erp.credit_memo.post"):
                continue
            credit = operation == "erp.credit_memo.post"
            total = Decimal(body["total"])
            rows = body.get("manual_taxes", ())
            taxes = sum((Decimal(t["amount"]) for t in rows), Decimal(0))
            yield (
                "erp",
                "credit_memo" if credit else "invoice",
                {
                    "id": result["id"], "type": "credit_memo" if credit else "invoice",
                    "reference": body["reference"], "number": result["number"], "state": "posted",
                    "currency": body["currency"], "amount_to_pay": total, "applied": Decimal(0),
                    "posting_date": body["accounting_date"], "untaxed": total - taxes, "tax": taxes,
                    "taxes": [{name: row[name] for name in ("code", "base", "amount")} for row in rows],
                    "total": total, "version": stamp,
                },
            )  # fmt: skip
        self.systems["erp"].done = [d for d in self.systems["erp"].done if d[0] == "erp.party.upsert"]


def _periods(now: datetime) -> Iterator[tuple[str, str, dict[str, Any]]]:
    first = now.date().replace(day=1)
    for n in (0, 1):
        following = (first + timedelta(days=32)).replace(day=1)
        yield "erp", "period", _period(n, first, following - timedelta(days=1))
        first = following


def _period(n: int, start: date, end: date) -> dict[str, Any]:
    return {
        "id": n + 1, "name": f"{start:%Y-%m}", "start": start.isoformat(), "end": end.isoformat(),
        "state": "open", "version": "2026-01-01T00:00:00.000001Z",
    }  # fmt: skip
