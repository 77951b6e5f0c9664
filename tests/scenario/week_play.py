"""Plays the acts of a week in the systems of a company, with the server as a process of its own.

Billing, the help desk and the persons of Counterfoil reach the server through a gateway that repeats deliveries; the
server reaches the ERP through a proxy that loses answers. Each act is done before the next one begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2
import stripe

from counterfoil.core.errors import TryAgain
from counterfoil.demo.bank import Movement
from counterfoil.demo.operators import Declined, Operator
from counterfoil.demo.ports import free_port
from counterfoil.demo.proxy import Proxy
from tests.companies.acme import Company, Edits, Program, token_of
from tests.companies.books import KEYS
from tests.companies.erp_client import allow_cancellation
from tests.gateways import RepeatingGateway
from tests.patience import PATIENCE_SECONDS
from tests.scenario.week_plan import BUSINESS, DOUBTED_MINOR, Act, Plan, label
from tests.served import CUSTOMER, until

PACE: Edits = {
    "systems/billing.yaml": [("every: 15s", "every: 3s")],
    "systems/billing-de.yaml": [("every: 15s", "every: 3s")],
    "systems/support.yaml": [("every: 15s", "every: 3s")],
    "workflows/void-to-erp.yaml": [("until: +10m", "until: +5s")],
    "operations/erp.yaml": [("horizon: 60s", "horizon: 30s\ntimeout: 20s")],
    "operations/billing.yaml": [("horizon: 120s", "horizon: 30s\ntimeout: 20s")],
    "operations/support.yaml": [("horizon: 60s", "horizon: 30s\ntimeout: 20s")],
}
"""Edits that find lost deliveries and lost requests within seconds. The systems take no request later than that."""
DECIDERS = {"support-lead": "lead", "finance-operations": "fiona", "controller": "carl", "cfo": "dana"}
OUTAGE_SECONDS = 4.0
EVENTS_PER_BATCH = 20
POSTING = b"/post HTTP"
"""Part of the request that posts a document in the ERP."""


class Player:
    """One week in one company."""

    def __init__(self, systems: Company, plan: Plan, proxy: Proxy) -> None:
        self.systems, self.plan, self.proxy = systems, plan, proxy
        self.port = free_port()
        self.store = systems.home / "store.sqlite"
        self.folder = systems.governance(PACE)
        self.gateway = RepeatingGateway(self.port, systems.port, b"POST /v1/receipts/support ")
        self.ids: dict[str, str] = {}
        """Name in the week -> id in its system: customers, invoices, subscriptions of billing, tickets of the desk."""
        self.numbers: dict[str, str] = {}
        """Name of an invoice -> its number in billing, which the ERP shows as description."""
        self.texts: dict[str, str] = {}
        """Name of a customer -> the newest name in billing."""
        self.done: Counter[str] = Counter()
        """Business events that were played, by kind."""
        self.faults: Counter[str] = Counter()
        """Faults that were played by the week itself; those of billing are counted by `billing_faults`."""
        self.usage: list[dict[str, Any]] = []
        """Answers to the batches of usage."""
        self.repeats: list[dict[str, Any]] = []
        """Answers to batches of usage that were sent again."""
        self.entered: list[str] = []
        """Numbers of the documents that were entered in the ERP by hand."""
        self._charges: dict[str, str] = {}
        """Name of an invoice -> its payment by card."""
        self._payers: dict[str, str] = {}
        """Name of an invoice -> its customer's id. Reading it from billing would take a fault that is meant for the server."""
        self.wires: dict[tuple[str, str], list[Movement]] = {}
        """Legal entity and currency -> what customers sent to the account."""
        self._planned: Counter[tuple[str, str]] = Counter()
        self._down_since = 0.0
        self._billing: dict[str, Any] = {}
        self._rates: dict[tuple[str, str, str], str] = {}
        self._server: Program | None = None
        self._persons: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ the server

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the server behind its gateway, and persons who decide."""
        await asyncio.to_thread(self._prepare)
        await allow_cancellation(self.systems)
        async with self.gateway:
            self._persons = asyncio.create_task(self._decide_all())
            try:
                await asyncio.to_thread(self.server.up)
                yield
            finally:
                self._persons.cancel()
                await asyncio.gather(self._persons, return_exceptions=True)
                await asyncio.to_thread(self.server.stop)

    def _prepare(self) -> None:
        for entity, key in KEYS.items():
            client = stripe.StripeClient(
                key, base_addresses={"api": self.systems.twin.url}, max_network_retries=0
            )
            self._billing[entity] = client.v1
        self.systems.add_german_hook()
        environment = self.systems.environment() | {"ACME_ERP_URL": self.proxy.url}
        self._server = Program(
            "server",
            ["-m", "counterfoil.cli.main", "up", str(self.folder), "--store", f"sqlite:{self.store}",
             "--port", str(self.port)],
            self.port, self.systems.home, environment,
        )  # fmt: skip

    @property
    def server(self) -> Program:
        assert self._server is not None
        return self._server

    def numbers_of(self, fate: str) -> set[str]:
        """Return the numbers of the invoices with a fate."""
        return {self.numbers[name] for name, each in self.plan.fates.items() if each == fate}

    def operator(self, person: str = "admin") -> Operator:
        return Operator(f"http://127.0.0.1:{self.port}", token_of(person))

    # ------------------------------------------------------------------ acts

    async def play(self) -> None:
        """Play every act, then let the banks write their statements. Raises AssertionError with the act that could not be played."""
        for place, act in enumerate(self.plan.acts):
            try:
                if self._persons is not None and self._persons.done():
                    self._persons.result()
                await self._act(act)
            except Exception as error:
                raise AssertionError(
                    f"act {place} of {len(self.plan.acts)}: {act}: {error!r}\n{self.server.output()}"
                ) from error
        for (entity, currency), wires in self.wires.items():
            self.systems.bank_books(*wires, entity=entity, currency=currency)

    async def _act(self, act: Act) -> None:
        match act.kind:
            case "credit":
                await self._request_credit(act)
            case "usage":
                await self._send_usage(act)
            case "void":
                if act.text:
                    await self._until_reviewed(act)
                await asyncio.to_thread(self._in_billing, act)
            case "verdict":
                outcome = {"id": self.ids[act.of], "status": act.text}
                await asyncio.to_thread(self._control, act.entity, "POST", "outcome", outcome)
            case "entry by hand" | "cancellation":
                await self._in_erp(act)
            case "until posted":
                await self.until_posted(act.names)
            case "until paid":
                await self._until_paid(act.names)
            case "until credited":
                await self._until_credited()
            case "ERP outage: start" | "server outage: start":
                self._down_since = time.monotonic()
                await asyncio.to_thread(self._stop, act.kind.partition(" ")[0])
            case "ERP outage: end" | "server outage: end":
                await asyncio.sleep(max(0.0, self._down_since + OUTAGE_SECONDS - time.monotonic()))
                system = act.kind.partition(" ")[0]
                await asyncio.to_thread((self.systems.erp if system == "ERP" else self.server).up)
                self.faults[f"{system} outage"] += 1
            case "lost answer of the ERP":
                self.proxy.lose_next_answer(POSTING)
            case "repeated callback":
                self.gateway.times += 1
            case "billing fault":
                await asyncio.to_thread(self._fault, act)
            case _:
                await asyncio.to_thread(self._in_billing, act)
        if act.kind in BUSINESS:
            self.done[act.kind] += 1

    def _stop(self, system: str) -> None:
        if system == "ERP":
            self.systems.erp.stop()
        else:
            self.server.stop(signal.SIGKILL)

    def _in_billing(self, act: Act) -> None:
        api = self._billing[act.entity]
        match act.kind:
            case "customer":
                address = {
                    "country": act.entity[-2:].upper(),
                    "city": "Springfield",
                    "line1": "1 Main St",
                    "postal_code": "12345",
                }
                self.texts[act.name] = act.name
                self.ids[act.name] = api.customers.create({"name": act.name, "address": address}).id
            case "change":
                self.texts[act.of] = act.text
                api.customers.update(self.ids[act.of], {"name": act.text})
            case "subscription":
                product = api.products.create({"name": act.name})
                price = api.prices.create({
                    "product": product.id, "currency": act.currency, "unit_amount": 2_000, "recurring": {"interval": "month"},
                })  # fmt: skip
                self.ids[act.name] = api.subscriptions.create({
                    "customer": self.ids[act.of], "items": [{"price": price.id}], "trial_period_days": 30,
                }).id  # fmt: skip
            case "invoice":
                self._invoice(api, act)
            case "payment":
                self._pay(api, act)
            case "void":
                api.invoices.void_invoice(self.ids[act.of])
            case "refund":
                refund = {"charge": self._charges[act.of], "amount": act.minor}
                self.ids[act.name] = api.refunds.create(refund).id
            case "dispute":
                charge = {"charge": self._charges[act.of]}
                self.ids[act.name] = self._control(act.entity, "POST", "disputes", charge)["id"]
            case "payout":
                self._pay_out(api, act)
            case _:
                raise AssertionError(f"no act {act.kind}")

    def _invoice(self, api: Any, act: Act) -> None:
        customer = self.ids[act.of]
        draft = api.invoices.create({
            "customer": customer, "currency": act.currency, "collection_method": "send_invoice", "days_until_due": 30,
            "auto_advance": False, "pending_invoice_items_behavior": "exclude",
        })  # fmt: skip
        for minor, (jurisdiction, percentage) in act.lines:
            item = {
                "customer": customer,
                "invoice": draft.id,
                "currency": act.currency,
                "amount": minor,
                "description": "Seats",
            }
            if jurisdiction:
                item["tax_rates"] = [self._rate(api, act.entity, jurisdiction, percentage)]
            api.invoice_items.create(item)
        invoice = api.invoices.finalize_invoice(draft.id, {"auto_advance": False})
        self.ids[act.name], self.numbers[act.name] = invoice.id, invoice.number
        self._payers[act.name] = customer

    def _pay(self, api: Any, act: Act) -> None:
        if act.text == "transfer":
            paid = api.invoices.pay(self.ids[act.of], {"paid_out_of_band": True})
            amount = Decimal(paid.amount_paid).scaleb(-2)
            wire = Movement("wire", amount, f"Invoice {paid.number}", paid.customer_name)
            self.wires.setdefault((act.entity, paid.currency.upper()), []).append(wire)
            return
        kind = "pm_card_visa" if act.text == "card" else "pm_card_bypassPending"
        card = api.payment_methods.attach(kind, {"customer": self._payers[act.of]})
        self._charges[act.of] = api.invoices.pay(self.ids[act.of], {"payment_method": card.id}).charge

    def _pay_out(self, api: Any, act: Act) -> None:
        """Pay out half of what is available. One that fails has arrived before, so the bank books it twice."""
        (available,) = [
            row.amount for row in api.balance.retrieve().available if row.currency == act.currency
        ]
        payout = api.payouts.create({"amount": available // 2, "currency": act.currency})
        amount, text = Decimal(payout.amount).scaleb(-2), f"STRIPE TRANSFER {payout.id}"
        wires = self.wires.setdefault((act.entity, act.currency.upper()), [])
        for status, sign in (("paid", 1), ("failed", -1)) if act.text == "failed" else (("paid", 1),):
            self._control(act.entity, "POST", "outcome", {"id": payout.id, "status": status})
            wires.append(Movement("payout", sign * amount, text, "STRIPE"))

    async def _in_erp(self, act: Act) -> None:
        """Cancel an invoice in the ERP, or enter a document for the customer of an invoice, as an accountant does."""
        company = self.systems.erp_seed["companies"][act.entity]["company"]
        domain = [["company", "=", company], ["description", "=", self.numbers[act.of]]]
        async with self.systems.of_erp(company=act.entity) as erp:
            (invoice,) = await erp.search("account.invoice", domain, ["party.code"])
            if act.kind == "cancellation":
                await erp.act("account.invoice", invoice["id"], "cancel")
            else:
                amount = Decimal(act.minor).scaleb(-2)
                self.entered.append(await erp.enter(amount, invoice["party"]["code"]))

    def _rate(self, api: Any, entity: str, jurisdiction: str, percentage: str) -> str:
        key = (entity, jurisdiction, percentage)
        if key not in self._rates:
            rate = {
                "display_name": "Tax",
                "inclusive": False,
                "percentage": percentage,
                "jurisdiction": jurisdiction,
            }
            self._rates[key] = api.tax_rates.create(rate).id
        return self._rates[key]

    async def _request_credit(self, act: Act) -> None:
        invoice = next(each for each in self.plan.acts if each.kind == "invoice" and each.name == act.of)
        amount = f"{Decimal(act.minor).scaleb(-2)}"
        self.ids[act.name] = await self.systems.ask_credit(
            self.ids[invoice.of],
            self.ids[act.of],
            amount,
            act.name,
            user=act.text,
            currency=act.currency.upper(),
        )

    async def _send_usage(self, act: Act) -> None:
        """Send a batch of usage, and send it once more, as a sender does that got no answer."""
        async with self.operator() as admin:
            canonical = await until("the subscription", lambda: self._subscription(admin, act))
        source = "/billing" if act.entity == "acme-us" else "/billing-de"
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        data = {"subscription_id": canonical, "meter": "api_calls", "quantity": 5}
        batch = [
            {"specversion": "1.0", "id": f"{act.name}/{n}", "source": source, "type": "usage.recorded.v1", "time": at, "data": data}
            for n in range(EVENTS_PER_BATCH)
        ]  # fmt: skip
        self.usage.append(await self._post_usage(batch))
        self.repeats.append(await self._post_usage(batch))

    async def _subscription(self, admin: Operator, act: Act) -> str | None:
        """Return the canonical id of a subscription: the one that its customer has."""
        (subscription,) = [each for each in self.plan.of("subscription") if each.name == act.of]
        runs = await admin.all("runs", workflow=CUSTOMER, key=self.ids[subscription.of])
        customers = {run["key"] for run in runs}
        for event in await admin.all("events", type="subscription.changed.v1"):
            if event["data"]["customer_id"] in customers:
                return str(event["data"]["subscription_id"])
        return None

    async def _post_usage(self, batch: list[dict[str, Any]]) -> dict[str, Any]:
        headers = {
            "authorization": f"Bearer {token_of('admin')}",
            "content-type": "application/cloudevents-batch+json",
        }
        async with httpx2.AsyncClient(base_url=self.systems.url, trust_env=False, timeout=60) as http:
            answer = await http.post("/v1/usage", content=json.dumps(batch), headers=headers)
        assert answer.status_code == 202, answer.text
        content: dict[str, Any] = answer.json()
        return content

    # ------------------------------------------------------------------ faults of billing

    def _fault(self, act: Act) -> None:
        self._planned[act.entity, label(act.fault)] += int(act.fault["times"])
        self._control(act.entity, "POST", "faults", dict(act.fault))

    def billing_faults(self) -> Counter[tuple[str, str]]:
        """Return the number of faults that billing has played, by legal entity and kind."""
        played = Counter(self._planned)
        for entity in KEYS:
            for fault in self._control(entity, "GET", "state")["faults"]:
                played[entity, label(fault)] -= fault["left"]
        return played

    def _control(self, entity: str, method: str, name: str, body: Any = None) -> Any:
        text, headers = "" if body is None else json.dumps(body), {"authorization": f"Bearer {KEYS[entity]}"}
        status, _, answer = self.systems.twin.call(method, f"/_twin/{name}", text, headers)
        assert status == 200, answer
        return json.loads(answer)

    # ------------------------------------------------------------------ waits

    async def until_posted(self, names: Iterable[str]) -> None:
        """Wait until the ERP shows these invoices as posted."""
        for entity in KEYS:
            numbers = {self.numbers[name] for name in names if name.startswith(entity)}
            look = functools.partial(self._posted, entity, numbers)
            await until(f"the postings of {entity}", look, 2 * PATIENCE_SECONDS, self.report)

    async def _posted(self, entity: str, numbers: set[str]) -> bool:
        """Return whether the ERP shows invoices with all these numbers as posted."""
        company = self.systems.erp_seed["companies"][entity]["company"]
        states = ["state", "in", ["posted", "paid"]]
        domain = [["company", "=", company], states, ["description", "in", sorted(numbers)]]
        async with self.systems.of_erp(company=entity) as erp:
            rows = await erp.search("account.invoice", domain, ["description"])
        return {row["description"] for row in rows} == numbers

    async def _until_paid(self, names: Iterable[str]) -> None:
        """Wait until the server knows that these invoices are paid, so that their credits go to the balance."""
        numbers = {self.numbers[name] for name in names}
        async with self.operator() as admin:

            async def look() -> bool:
                payments = await admin.all("events", type="payment.received.v1")
                paid = {event["data"]["invoice_id"] for event in payments}
                invoices = await admin.all("events", type="invoice.finalized.v1")
                return numbers <= {i["data"]["number"] for i in invoices if i["data"]["invoice_id"] in paid}

            await until("the payments", look, PATIENCE_SECONDS, self.report)

    async def _until_credited(self) -> None:
        """Wait until billing has a credit note for each credit of the week so far."""
        requested = Counter(act.entity for act in self.plan.of("credit") if act.name in self.ids)

        async def look() -> bool:
            states = {
                entity: await asyncio.to_thread(self._control, entity, "GET", "state") for entity in KEYS
            }
            notes = {entity: state["objects"].get("credit_note", 0) for entity, state in states.items()}
            return all(notes[entity] >= number for entity, number in requested.items())

        await until("the credits", look, PATIENCE_SECONDS, self.report)

    async def _until_reviewed(self, act: Act) -> None:
        """Wait until a reviewer sees the invoice."""
        async with self.operator() as admin:

            async def look() -> bool:
                rows = await admin.all("approvals", state="open")
                return any(self.ids[act.of] in str(row) or self.numbers[act.of] in str(row) for row in rows)

            await until("the review", look, PATIENCE_SECONDS, self.report)

    async def _decide_all(self) -> None:
        """Decide open approvals as the persons whose roles may. A doubted invoice waits for billing, a void for its month."""
        while True:
            with contextlib.suppress(TryAgain):
                async with self.operator() as admin:
                    for row in await admin.all("approvals", state="open"):
                        doubted = (
                            row["policy"] == "invoice-review" and row["amount"]["minor"] >= DOUBTED_MINOR
                        )
                        if not doubted and row["policy"] != "invoice-void":
                            await self._approve(row)
            await asyncio.sleep(0.5)

    async def _approve(self, row: dict[str, Any]) -> None:
        person = next(DECIDERS[role] for role in row["roles"] if role in DECIDERS)
        async with self.operator(person) as decider:
            try:
                await decider.decide(row["id"], True, "as discussed")
            except Declined as error:
                if error.status != 409:  # decided or changed meanwhile
                    raise

    async def report(self) -> str:
        """Return what the server shows, for a failing test."""
        async with self.operator() as admin:
            runs = [run for run in await admin.all("runs") if run["status"] in ("ready", "waiting")]
            cases = await admin.all("cases", state="open")
            waiting = {run["id"] for run in runs}
            foils = [foil for foil in await admin.all("foils") if foil["run"] in waiting]
            unmatched = await admin.all("unmatched")
        async with self.systems.of_erp() as erp:
            entries = await erp.search("account.move", [["description", "like", "[disp%"]], ["description"])
        lines = [
            f"run {r['workflow']} {r['key']} {r['name']} {r['status']} {r['state']}: {r['waits_for']}"
            for r in runs
        ]
        lines += [f"case {c['reason']} {c['owner']} {c['message']}" for c in cases]
        lines += [f"foil {foil}" for foil in foils] + [f"unmatched {item}" for item in unmatched]
        lines += [f"entry of a dispute in the ERP: {entry}" for entry in entries]
        return "\n".join([*lines, self.server.output()])
