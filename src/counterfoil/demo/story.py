"""Story of the demonstration company, as data: acts with the steps of people and their expected outcomes.

Each step uses the API of an outside system or of Counterfoil, in the name of the person responsible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from counterfoil.demo.operators import Declined
from counterfoil.demo.stage import Act, Await, Do, Stage, money, was_unknown


@dataclass(frozen=True)
class Customer:
    """Customer with the seats of its monthly subscription; a seat costs 25.00 USD plus 8.25 % sales tax."""

    name: str
    email: str
    seats: int
    address: Mapping[str, str]


CUSTOMERS = {
    "northwind": Customer(
        "Northwind Traders",
        "ap@northwind.example",
        120,
        {"line1": "418 Pike Street", "city": "Seattle", "postal_code": "98101", "country": "US"},
    ),
    "globex": Customer(
        "Globex Manufacturing",
        "finance@globex.example",
        160,
        {"line1": "77 Harbour Road", "city": "Boston", "postal_code": "02110", "country": "US"},
    ),
    "initech": Customer(
        "Initech Software",
        "billing@initech.example",
        40,
        {"line1": "9 Congress Avenue", "city": "Austin", "postal_code": "78701", "country": "US"},
    ),
}
WORKSHOP_CENTS = 75_000
"""Amount of one customer's second invoice, which is paid at once."""


# ------------------------------------------------------------------ billing: customers and invoices


async def make_catalogue(stage: Stage) -> str:
    product = await stage.once("product", lambda: _create(stage, "products", "product", {"name": "Seat"}))
    await stage.once(
        "price",
        lambda: _create(stage, "prices", "price", {
            "product": product, "currency": "usd", "unit_amount": 2500, "recurring": {"interval": "month"},
        }),
    )  # fmt: skip
    await stage.once(
        "tax_rate",
        lambda: _create(stage, "tax_rates", "tax_rate", {
            "display_name": "Sales tax", "percentage": "8.25", "inclusive": False, "jurisdiction": "US",
        }),
    )  # fmt: skip
    return f"product {product}, price {stage.id('price')}, tax rate {stage.id('tax_rate')} of 8.25 %"


async def make_customers(stage: Stage) -> str:
    for name, customer in CUSTOMERS.items():
        values = {
            "name": customer.name, "email": customer.email, "address": customer.address,
            "payment_method": "pm_card_visa", "invoice_settings": {"default_payment_method": "pm_card_visa"},
        }  # fmt: skip
        await stage.once(f"{name}.customer", lambda n=name, v=values: _create(stage, "customers", n, v))  # type: ignore[misc]
    return ", ".join(f"{c.name} {stage.id(f'{name}.customer')}" for name, c in CUSTOMERS.items())


async def make_subscriptions(stage: Stage) -> str:
    for name, customer in CUSTOMERS.items():
        values = {
            "customer": stage.id(f"{name}.customer"), "collection_method": "send_invoice", "days_until_due": 30,
            "items": [{"price": stage.id("price"), "quantity": customer.seats}],
            "default_tax_rates": [stage.id("tax_rate")],
        }  # fmt: skip
        subscription = await stage.billing.post("subscriptions", values, once=f"story/{name}/subscription")
        stage.journal.note(f"{name}.subscription", subscription["id"])
        stage.journal.note(f"{name}.invoice", subscription["latest_invoice"])
    return ", ".join(f"{c.seats} seats for {c.name}" for c in CUSTOMERS.values())


async def make_workshop(stage: Stage) -> str:
    customer = stage.id("northwind.customer")
    invoice = await stage.once(
        "workshop.invoice",
        lambda: _create(stage, "invoices", "workshop", {
            "customer": customer, "currency": "usd", "default_tax_rates": [stage.id("tax_rate")],
        }),
    )  # fmt: skip
    await stage.once(
        "workshop.item",
        lambda: _create(stage, "invoiceitems", "workshop-item", {
            "customer": customer, "invoice": invoice, "currency": "usd", "amount": WORKSHOP_CENTS,
            "description": "Onboarding workshop",
        }),
    )  # fmt: skip
    return f"draft {invoice} of {money(WORKSHOP_CENTS)} plus tax"


async def finalize(stage: Stage) -> str:
    finalized = []
    for name in (*CUSTOMERS, "workshop"):
        invoice = await stage.billing.get(f"invoices/{stage.id(f'{name}.invoice')}")
        if invoice["status"] == "draft":
            invoice = await stage.billing.post(f"invoices/{invoice['id']}/finalize", {"auto_advance": False})
        finalized.append(f"{invoice['number']} {money(invoice['total'])}")
    return ", ".join(finalized)


async def pay_workshop(stage: Stage) -> str:
    invoice = await stage.billing.get(f"invoices/{stage.id('workshop.invoice')}")
    if invoice["status"] != "paid":
        invoice = await stage.billing.post(f"invoices/{invoice['id']}/pay", {})
    return f"{invoice['number']} is {invoice['status']}"


async def invoices_matched(stage: Stage) -> str | None:
    pairs = []
    for name in (*CUSTOMERS, "workshop"):
        invoice = await stage.billing.get(f"invoices/{stage.id(f'{name}.invoice')}")
        event = await stage.event("invoice.finalized.v1", "number", invoice["number"])
        foil = await stage.foil("invoice-in-erp", event["invoice_id"]) if event else None
        if event is None or foil is None or foil["state"] != "matched":
            return None
        (document,) = await stage.erp.invoices(event["invoice_id"])
        if document["state"] not in ("posted", "paid") or document["total_amount"] != money(invoice["total"]):
            return None
        pairs.append(f"{invoice['number']} = {document['number']}")
    return ", ".join(pairs)


async def payment_received(stage: Stage) -> str | None:
    invoice = await stage.billing.get(f"invoices/{stage.id('workshop.invoice')}")
    event = await stage.event("invoice.finalized.v1", "number", invoice["number"])
    payment = event and await stage.event("payment.received.v1", "invoice_id", event["invoice_id"])
    return f"{payment['amount']['amount']} USD received" if payment else None


async def _create(stage: Stage, path: str, name: str, values: Mapping[str, Any]) -> str:
    return str((await stage.billing.post(path, values, once=f"story/{path}/{name}"))["id"])


# ------------------------------------------------------------------ support: credits


@dataclass(frozen=True)
class Credit:
    """Credit that the agent requests in the help desk; `amount` is decimal text in USD."""

    name: str
    customer: str
    amount: str
    title: str
    reason: str = "sla"
    days_ago: int = 3

    async def request(self, stage: Stage) -> str:
        incident = f"INC-{self.name}"
        existing = await stage.desk.find(incident_ref=incident)
        day = datetime.now(UTC).date() - timedelta(days=self.days_ago)
        ticket = existing[0] if existing else await stage.desk.request_credit(
            "agent", self.title, stage.id(f"{self.customer}.customer"), stage.id(f"{self.customer}.invoice"),
            self.amount, "USD", self.reason, incident, day,
        )  # fmt: skip
        stage.journal.note(self.name, ticket)
        return f"ticket {ticket}, {self.amount} USD for {CUSTOMERS[self.customer].name}"

    async def reconciled(self, stage: Stage) -> str | None:
        """Observe the finished Run: one credit note in billing, one credit memo in the ERP, the ticket answered."""
        run = await stage.credit_run(self.name)
        if run is None or run["status"] != "done" or run["state"] != "reconciled":
            return None
        foil = await stage.foil("credit-in-erp", run["key"])
        notes = await stage.credit_notes(run["key"])
        documents = await stage.erp.invoices(run["key"])
        ticket = await stage.desk.get(stage.id(self.name))
        if foil is None or foil["state"] != "matched" or ticket["status"] != "credit-posted":
            return None
        amount = Decimal(self.amount)
        if [money(note["total"]) for note in notes] != [amount]:
            return None
        if [document["total_amount"] for document in documents] != [-amount]:
            return None
        return f"credit note {notes[0]['number']} = credit memo {documents[0]['number']}, ticket answered"

    async def awaits_approval(self, stage: Stage) -> str | None:
        """Observe the approval that waits for a person."""
        approval = await self._approval(stage)
        return None if approval is None else f"requested from {' or '.join(approval['roles'])}"

    async def decide(self, stage: Stage, person: str, approve: bool, comment: str) -> str:
        approval = await self._approval(stage)
        if approval is None:
            return "no approval to decide"
        if approval["state"] != "open":
            return f"decided already: {approval['state']}"
        async with stage.as_person(person) as operator:
            return await operator.decide(approval["id"], approve, comment)

    async def _approval(self, stage: Stage) -> dict[str, Any] | None:
        run = await stage.credit_run(self.name)
        if run is None:
            return None
        approvals = await stage.admin.all("approvals", run=run["id"])
        return next((a for a in approvals if not a["automatic"]), None)


SMALL = Credit("small", "northwind", "80.00", "Login was down for an hour")
MEDIUM = Credit("medium", "northwind", "450.00", "Reports were wrong for two days")
LARGE = Credit("large", "globex", "2300.00", "Import lost a day of orders")
LATE = Credit("late", "initech", "60.00", "Slow search over the weekend")
LOST = Credit("lost", "globex", "95.00", "Notifications came twice")
LEGACY = Credit("legacy", "initech", "30.00", "Gesture for a long-standing customer", "goodwill_legacy")


async def approve_own(stage: Stage) -> str:
    try:
        verdict = await MEDIUM.decide(stage, "agent", True, "it is obvious")
    except Declined as error:
        return f"refused, {error}"
    raise Declined(200, f"the requester's own vote was accepted: {verdict}")


async def approve_medium(stage: Stage) -> str:
    return await MEDIUM.decide(stage, "lead", True, "two days without reports, agreed")


async def reject_large(stage: Stage) -> str:
    return await LARGE.decide(stage, "fiona", False, "the contract limits credits to one monthly fee")


async def large_rejected(stage: Stage) -> str | None:
    run = await stage.credit_run(LARGE.name)
    ticket = await stage.desk.get(stage.id(LARGE.name))
    if run is None or run["state"] != "rejected" or ticket["status"] != "credit-rejected":
        return None
    if await stage.credit_notes(run["key"]) or await stage.erp.invoices(run["key"]):
        return None
    return "the ticket shows credit-rejected; billing and the ERP received no call"


# ------------------------------------------------------------------ the closed period


async def close_month(stage: Stage) -> str:
    name = await stage.once("period", _this_month)
    states = {period["name"]: period["state"] for period in await stage.erp.periods()}
    if states[name] == "open":
        await stage.erp.close_period(name)
    return f"period {name} is closed in the ERP"


async def _this_month() -> str:
    return f"{datetime.now(UTC).date():%Y-%m}"


async def month_seen_closed(stage: Stage) -> str | None:
    for event in await stage.admin.all("events", type="period.closed.v1"):
        if event["data"]["name"] == stage.id("period"):
            return f"polling the ERP found {stage.id('period')} closed"
    return None


async def late_waits(stage: Stage) -> str | None:
    run = await stage.credit_run(LATE.name)
    if run is None or run["state"] != "billed" or run["status"] != "waiting":
        return None
    notes = await stage.credit_notes(run["key"])
    if len(notes) != 1 or await stage.erp.invoices(run["key"]):
        return None
    return f"billing issued {notes[0]['number']}; the ERP half waits with an open counterfoil"


async def reopen_month(stage: Stage) -> str:
    name = stage.id("period")
    states = {period["name"]: period["state"] for period in await stage.erp.periods()}
    if states[name] != "open":
        await stage.erp.reopen_period(name)
    return f"period {name} is open again"


# ------------------------------------------------------------------ the lost answer


async def request_and_lose(stage: Stage) -> str:
    await stage.proxy("lose /post ")
    return f"{await LOST.request(stage)}; the ERP's next response to a posting will be lost"


async def lost_reconciled(stage: Stage) -> str | None:
    result = await LOST.reconciled(stage)
    run = await stage.credit_run(LOST.name)
    if result is None or run is None:
        return None
    trace = await stage.admin.get(f"runs/{run['id']}")
    (post,) = [e for e in trace["effects"] if e["operation"] == "erp.credit_memo.post"]
    if was_unknown(trace, post["id"]):
        return f"sent {post['attempt']} time, outcome unknown, found by look-up; {result}"
    # A restarted proxy has lost its `lose` command. Then the response arrived, and no look-up was needed.
    lost = (await stage.proxy("counts"))["lost"]
    return None if lost else f"the network had recovered before; {result}"


# ------------------------------------------------------------------ the permanent refusal


async def legacy_case(stage: Stage) -> str | None:
    case = await _case(stage)
    return None if case is None else f"Case for {case['owner']}: {case['message'][:160]}"


async def undo_legacy(stage: Stage) -> str:
    case = await _case(stage)
    if case is None or case["state"] != "open":
        return "resolved already"
    async with stage.as_person("fiona") as operator:
        return await operator.resolve(
            case["id"], "undo", "there is no account for old goodwill; undo the credit"
        )


async def legacy_undone(stage: Stage) -> str | None:
    run = await stage.credit_run(LEGACY.name)
    if run is None or run["status"] != "undone":
        return None
    notes = await stage.credit_notes(run["key"])
    foil = await stage.foil("credit-in-erp", run["key"])
    if [note["status"] for note in notes] != ["void"] or await stage.erp.invoices(run["key"]):
        return None
    if foil is None or foil["state"] != "reversed":
        return None
    return f"credit note {notes[0]['number']} is void, its counterfoil reversed, the ERP untouched"


async def _case(stage: Stage) -> dict[str, Any] | None:
    run = await stage.credit_run(LEGACY.name)
    cases = await stage.admin.all("cases", run=run["id"]) if run is not None else []
    return cases[0] if cases else None


# ------------------------------------------------------------------ the books


async def books_agree(stage: Stage) -> str | None:
    """Check: receivables in the ERP = open amounts in billing + payments that no workflow posts in the ERP yet."""
    balance = await stage.erp.trial_balance()
    if sum(balance.values(), Decimal(0)) != 0:
        return None
    foils = await stage.admin.all("foils")
    if any(foil["state"] in ("provisional", "open", "partly", "over", "broken") for foil in foils):
        return None
    open_amount = sum(
        (money(i["amount_remaining"]) for i in await stage.billing.all("invoices", status="open")), Decimal(0)
    )
    payments = await stage.admin.all("events", type="payment.received.v1")
    received = sum((Decimal(event["data"]["amount"]["amount"]) for event in payments), Decimal(0))
    receivable = balance["1200"]
    if receivable != open_amount + received:
        return None
    return (
        f"the trial balance is zero; receivables {receivable} = {open_amount} open in billing"
        f" + {received} paid there, which no workflow posts in the ERP yet"
    )


ACTS: Sequence[Act] = (
    Act("invoices", "Customers subscribe, and billing's invoices are posted in the ERP", [
        Do("Billing sets up its price catalogue", make_catalogue),
        Do("Billing registers three customers", make_customers),
        Do("The customers subscribe", make_subscriptions),
        Do("One customer books a workshop", make_workshop),
        Do("Billing finalizes the invoices", finalize),
        Do("The customer pays the workshop", pay_workshop),
        Await("Counterfoil receives the payment", payment_received, 60),
        Await("Every invoice is posted in the ERP, to the cent", invoices_matched, 120),
    ]),
    Act("small", "Policy grants a small credit", [
        Do("The agent requests a credit", SMALL.request),
        Await("Credit issued, posted and applied, ticket answered", SMALL.reconciled),
    ]),
    Act("medium", "A larger credit needs the support lead's approval", [
        Do("The agent requests a credit", MEDIUM.request),
        Await("The approval matrix selects the approver", MEDIUM.awaits_approval),
        Do("The agent tries to approve their own request", approve_own),
        Do("The support lead approves", approve_medium),
        Await("Credit issued, posted and applied, ticket answered", MEDIUM.reconciled),
    ]),
    Act("large", "Finance rejects a large credit", [
        Do("The agent requests a credit", LARGE.request),
        Await("The approval matrix selects the approver", LARGE.awaits_approval),
        Do("Finance operations rejects it", reject_large),
        Await("The ticket shows the rejection", large_rejected),
    ]),
    Act("late", "A credit hits a closed period and waits for the controller", [
        Do("The controller closes the month", close_month),
        Await("Counterfoil sees the closed period", month_seen_closed),
        Do("The agent requests a credit", LATE.request),
        Await("Billing has issued the credit, the ERP half waits", late_waits),
        Do("The controller reopens the month", reopen_month),
        Await("Credit posted and applied, ticket answered", LATE.reconciled, 120),
    ]),
    Act("lost", "A response of the ERP is lost", [
        Do("The agent requests a credit while the network is failing", request_and_lose),
        Await("Counterfoil looks up the outcome instead of sending again", lost_reconciled, 120),
    ]),
    Act("legacy", "The ERP refuses permanently, and the credit is undone in billing", [
        Do("The agent requests a credit for a reason without an account", LEGACY.request),
        Await("A Case asks finance to decide", legacy_case),
        Do("Finance operations chooses undo", undo_legacy),
        Await("The credit is undone", legacy_undone),
    ]),
    Act("books", "Both sides of the books agree", [
        Await("Every counterfoil is matched or reversed, and the difference is explained", books_agree),
    ]),
)  # fmt: skip
