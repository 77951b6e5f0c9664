"""The visible story of the demonstration company, as data: acts of what people do and what must come of it.

Everything is done through the outside systems' own APIs and Counterfoil's doors, by the persons whose work it is.
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
    """A customer of the story with the seats of its monthly subscription; 25.00 USD each and 8.25 % sales tax."""

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
WORKSHOP = 75_000
"""Minor units of the second invoice of one customer, which is paid at once."""


# ------------------------------------------------------------------ billing: customers and invoices


async def make_catalogue(stage: Stage) -> str:
    product = await stage.once("product", lambda: _made(stage, "products", "product", {"name": "Seat"}))
    await stage.once(
        "price",
        lambda: _made(stage, "prices", "price", {
            "product": product, "currency": "usd", "unit_amount": 2500, "recurring": {"interval": "month"},
        }),
    )  # fmt: skip
    await stage.once(
        "tax_rate",
        lambda: _made(stage, "tax_rates", "tax_rate", {
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
        await stage.once(f"{name}.customer", lambda n=name, v=values: _made(stage, "customers", n, v))  # type: ignore[misc]
    return ", ".join(f"{c.name} {stage.id(f'{name}.customer')}" for name, c in CUSTOMERS.items())


async def make_subscriptions(stage: Stage) -> str:
    for name, customer in CUSTOMERS.items():
        values = {
            "customer": stage.id(f"{name}.customer"), "collection_method": "send_invoice", "days_until_due": 30,
            "items": [{"price": stage.id("price"), "quantity": customer.seats}],
            "default_tax_rates": [stage.id("tax_rate")],
        }  # fmt: skip
        made = await stage.billing.post("subscriptions", values, once=f"story/{name}/subscription")
        stage.journal.note(f"{name}.subscription", made["id"])
        stage.journal.note(f"{name}.invoice", made["latest_invoice"])
    return ", ".join(f"{c.seats} seats for {c.name}" for c in CUSTOMERS.values())


async def make_workshop(stage: Stage) -> str:
    customer = stage.id("northwind.customer")
    invoice = await stage.once(
        "workshop.invoice",
        lambda: _made(stage, "invoices", "workshop", {
            "customer": customer, "currency": "usd", "default_tax_rates": [stage.id("tax_rate")],
        }),
    )  # fmt: skip
    await stage.once(
        "workshop.item",
        lambda: _made(stage, "invoiceitems", "workshop-item", {
            "customer": customer, "invoice": invoice, "currency": "usd", "amount": WORKSHOP,
            "description": "Onboarding workshop",
        }),
    )  # fmt: skip
    return f"draft {invoice} over {money(WORKSHOP)} and tax"


async def finalize(stage: Stage) -> str:
    told = []
    for name in (*CUSTOMERS, "workshop"):
        invoice = await stage.billing.get(f"invoices/{stage.id(f'{name}.invoice')}")
        if invoice["status"] == "draft":
            invoice = await stage.billing.post(f"invoices/{invoice['id']}/finalize", {"auto_advance": False})
        told.append(f"{invoice['number']} {money(invoice['total'])}")
    return ", ".join(told)


async def pay_workshop(stage: Stage) -> str:
    invoice = await stage.billing.get(f"invoices/{stage.id('workshop.invoice')}")
    if invoice["status"] != "paid":
        invoice = await stage.billing.post(f"invoices/{invoice['id']}/pay", {})
    return f"{invoice['number']} is {invoice['status']}"


async def invoices_matched(stage: Stage) -> str | None:
    told = []
    for name in (*CUSTOMERS, "workshop"):
        invoice = await stage.billing.get(f"invoices/{stage.id(f'{name}.invoice')}")
        known = await stage.event("invoice.finalized.v1", "number", invoice["number"])
        foil = await stage.foil("invoice-in-erp", known["invoice_id"]) if known else None
        if known is None or foil is None or foil["state"] != "matched":
            return None
        (document,) = await stage.erp.invoices(known["invoice_id"])
        if document["state"] not in ("posted", "paid") or document["total_amount"] != money(invoice["total"]):
            return None
        told.append(f"{invoice['number']} = {document['number']}")
    return ", ".join(told)


async def payment_known(stage: Stage) -> str | None:
    invoice = await stage.billing.get(f"invoices/{stage.id('workshop.invoice')}")
    known = await stage.event("invoice.finalized.v1", "number", invoice["number"])
    payment = known and await stage.event("payment.received.v1", "invoice_id", known["invoice_id"])
    return f"{payment['amount']['amount']} USD received" if payment else None


async def _made(stage: Stage, path: str, name: str, values: Mapping[str, Any]) -> str:
    return str((await stage.billing.post(path, values, once=f"story/{path}/{name}"))["id"])


# ------------------------------------------------------------------ support: credits


@dataclass(frozen=True)
class Credit:
    """A credit that the agent asks for in the help desk; `amount` is decimal text in USD."""

    name: str
    customer: str
    amount: str
    title: str
    reason: str = "sla"
    days_ago: int = 3

    async def ask(self, stage: Stage) -> str:
        incident = f"INC-{self.name}"
        there = await stage.desk.find(incident_ref=incident)
        day = datetime.now(UTC).date() - timedelta(days=self.days_ago)
        ticket = there[0] if there else await stage.desk.request_credit(
            "agent", self.title, stage.id(f"{self.customer}.customer"), stage.id(f"{self.customer}.invoice"),
            self.amount, "USD", self.reason, incident, day,
        )  # fmt: skip
        stage.journal.note(self.name, ticket)
        return f"ticket {ticket}, {self.amount} USD for {CUSTOMERS[self.customer].name}"

    async def reconciled(self, stage: Stage) -> str | None:
        """The Run is through: one credit note in billing, one credit memo in the ERP, the ticket answered."""
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

    async def asked(self, stage: Stage) -> str | None:
        """An approval waits for a person."""
        approval = await self._approval(stage)
        return None if approval is None else f"asked of {' or '.join(approval['roles'])}"

    async def decide(self, stage: Stage, person: str, approve: bool, comment: str) -> str:
        approval = await self._approval(stage)
        if approval is None:
            return "there is nothing to decide"
        if approval["state"] != "open":
            return f"decided before: {approval['state']}"
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
    raise Declined(200, f"the requester's own vote was not refused: {verdict}")


async def approve_medium(stage: Stage) -> str:
    return await MEDIUM.decide(stage, "lead", True, "two days without reports, agreed")


async def reject_large(stage: Stage) -> str:
    return await LARGE.decide(stage, "fiona", False, "the contract caps credits at a month's fee")


async def large_rejected(stage: Stage) -> str | None:
    run = await stage.credit_run(LARGE.name)
    ticket = await stage.desk.get(stage.id(LARGE.name))
    if run is None or run["state"] != "rejected" or ticket["status"] != "credit-rejected":
        return None
    if await stage.credit_notes(run["key"]) or await stage.erp.invoices(run["key"]):
        return None
    return "the ticket shows credit-rejected; billing and the ERP never heard of it"


# ------------------------------------------------------------------ the closed period


async def close_month(stage: Stage) -> str:
    name = await stage.once("period", _this_month)
    states = {period["name"]: period["state"] for period in await stage.erp.periods()}
    if states[name] == "open":
        await stage.erp.close_period(name)
    return f"period {name} is closed in the ERP"


async def _this_month() -> str:
    return f"{datetime.now(UTC).date():%Y-%m}"


async def month_known_closed(stage: Stage) -> str | None:
    for event in await stage.admin.all("events", type="period.closed.v1"):
        if event["data"]["name"] == stage.id("period"):
            return f"the sweep saw {stage.id('period')} closed"
    return None


async def late_queues(stage: Stage) -> str | None:
    run = await stage.credit_run(LATE.name)
    if run is None or run["state"] != "billed" or run["status"] != "waiting":
        return None
    notes = await stage.credit_notes(run["key"])
    if len(notes) != 1 or await stage.erp.invoices(run["key"]):
        return None
    return f"billing issued {notes[0]['number']}; the ERP's half waits, and its counterfoil is open"


async def reopen_month(stage: Stage) -> str:
    name = stage.id("period")
    states = {period["name"]: period["state"] for period in await stage.erp.periods()}
    if states[name] != "open":
        await stage.erp.reopen_period(name)
    return f"period {name} is open again"


# ------------------------------------------------------------------ the lost answer


async def ask_and_lose(stage: Stage) -> str:
    await stage.proxy("lose /post ")
    return f"{await LOST.ask(stage)}; the ERP's next answer to a posting will not come back"


async def lost_found(stage: Stage) -> str | None:
    said = await LOST.reconciled(stage)
    run = await stage.credit_run(LOST.name)
    if said is None or run is None:
        return None
    trace = await stage.admin.get(f"runs/{run['id']}")
    (post,) = [e for e in trace["effects"] if e["operation"] == "erp.credit_memo.post"]
    if was_unknown(trace, post["id"]):
        return f"sent {post['attempt']} time, outcome unknown, found by look-up; {said}"
    # The proxy forgets at its end what it was told to lose: then there was nothing to look up.
    lost = (await stage.proxy("counts"))["lost"]
    return None if lost else f"the network had recovered before; {said}"


# ------------------------------------------------------------------ the permanent refusal


async def legacy_case(stage: Stage) -> str | None:
    case = await _case(stage)
    return None if case is None else f"Case for {case['owner']}: {case['message'][:160]}"


async def undo_legacy(stage: Stage) -> str:
    case = await _case(stage)
    if case is None or case["state"] != "open":
        return "resolved before"
    async with stage.as_person("fiona") as operator:
        return await operator.resolve(
            case["id"], "undo", "there is no account for old goodwill; take it back"
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
    """Receivables of the ERP = open amounts of billing + payments that no workflow carries to the ERP yet."""
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
        f" + {received} paid there, which no workflow books in the ERP yet"
    )


ACTS: Sequence[Act] = (
    Act("invoices", "Customers subscribe, and what billing invoices is posted in the ERP", [
        Do("Billing gets its catalogue", make_catalogue),
        Do("Three customers are entered in billing", make_customers),
        Do("They subscribe", make_subscriptions),
        Do("One of them books a workshop", make_workshop),
        Do("The invoices are finalized", finalize),
        Do("The workshop is paid", pay_workshop),
        Await("The payment is known", payment_known, 60),
        Await("Every invoice is posted in the ERP, to the cent", invoices_matched, 120),
    ]),
    Act("small", "A small credit is granted by policy", [
        Do("The agent asks", SMALL.ask),
        Await("Issued, posted, applied, told", SMALL.reconciled),
    ]),
    Act("medium", "A larger one needs the support lead", [
        Do("The agent asks", MEDIUM.ask),
        Await("The matrix finds who decides", MEDIUM.asked),
        Do("The agent tries to approve the own request", approve_own),
        Do("The lead approves", approve_medium),
        Await("Issued, posted, applied, told", MEDIUM.reconciled),
    ]),
    Act("large", "A large one is refused by finance", [
        Do("The agent asks", LARGE.ask),
        Await("The matrix finds who decides", LARGE.asked),
        Do("Finance operations refuses", reject_large),
        Await("The requester is told", large_rejected),
    ]),
    Act("late", "A credit meets a closed period and waits for the controller", [
        Do("The controller closes the month", close_month),
        Await("Counterfoil knows", month_known_closed),
        Do("The agent asks", LATE.ask),
        Await("Half of it is done", late_queues),
        Do("The controller reopens the month", reopen_month),
        Await("Posted, applied, told", LATE.reconciled, 120),
    ]),
    Act("lost", "An answer of the ERP is lost on the way", [
        Do("The agent asks, and the network is about to fail", ask_and_lose),
        Await("Not sent again blindly but looked up", lost_found, 120),
    ]),
    Act("legacy", "The ERP refuses for good, and what billing did is taken back", [
        Do("The agent asks, with a reason whose account is gone", LEGACY.ask),
        Await("A person is asked", legacy_case),
        Do("Finance operations takes it back", undo_legacy),
        Await("Undone", legacy_undone),
    ]),
    Act("books", "Both sides of the books agree", [
        Await("Every counterfoil is matched or reversed, and the difference is explained", books_agree),
    ]),
)  # fmt: skip
