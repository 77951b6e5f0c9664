"""Story of the demonstration company, as data: acts with the steps of people and their expected outcomes.

Each step uses the API of an outside system or of Counterfoil, in the name of the person responsible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from counterfoil.demo import cash, german, invoicing, open_work, service_levels
from counterfoil.demo.billing import BillingClient
from counterfoil.demo.credits import Credit
from counterfoil.demo.erp.charts import DE, US, CompanyPlan
from counterfoil.demo.erp.client import ErpClient, local_day
from counterfoil.demo.operators import Declined
from counterfoil.demo.stage import Act, Await, Do, Stage, money, was_unknown

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
    return await LARGE.decide(stage, "fiona", False, "the customer took a free month instead")


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
    """Return the month of the American company's documents that are issued now."""
    return f"{local_day(US.key):%Y-%m}"


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


async def undo_legacy(stage: Stage) -> str:
    case = await LEGACY.case(stage)
    if case is None or case["state"] != "open":
        return "resolved already"
    async with stage.as_person("fiona") as operator:
        note = "there is no account for old goodwill; undo the credit"
        return await operator.resolve(case["id"], "undo", note)


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


# ------------------------------------------------------------------ the books


SIGNS = {
    "invoice-in-erp": ("gross", 1), "debit-in-erp": ("gross", 1), "credit-in-erp": ("gross", -1),
    "payment-in-erp": ("gross", -1), "refund-in-erp": ("amount", 1), "write-off-in-erp": ("amount", -1),
}  # fmt: skip
"""Leg and sign by which the documents of a reconciliation move receivables: an invoice raises them, a payment lowers them."""


async def differences(stage: Stage, entity: str) -> Decimal:
    """Return by how much receivables in the ERP exceed billing's, according to counterfoils and unmatched items."""
    total = Decimal(0)
    for foil in await stage.admin.all("foils", entity=entity):
        if foil["state"] not in ("matched", "reversed", "void"):
            total -= _moved(foil["rule"], foil["residual"])
    for item in await stage.admin.all("unmatched", entity=entity):
        total += _moved(item["reconciliation"], item["amounts"])
    return total


def _moved(rule: str, amounts: Mapping[str, Any]) -> Decimal:
    leg, sign = SIGNS.get(rule, ("", 0))
    return sign * Decimal(amounts[leg]["amount"]) if leg in amounts else Decimal(0)


async def books_agree(stage: Stage) -> str | None:
    """Check: receivables of each company are what billing has open, and what Counterfoil lists with an owner."""
    own = await _receivables(stage, US, stage.billing, stage.erp)
    german = await _receivables(stage, DE, stage.german_billing, stage.german_erp)
    return None if own is None or german is None else f"{own}; {german}"


async def _receivables(stage: Stage, plan: CompanyPlan, billing: BillingClient, erp: ErpClient) -> str | None:
    """Return the equation of a company's receivables in its own currency. None: it does not hold."""
    balance = await erp.trial_balance()
    invoices = await billing.all("invoices", status="open")
    open_amount = sum((money(invoice["amount_remaining"]) for invoice in invoices), Decimal(0))
    listed = await differences(stage, plan.key)
    receivable = balance.get(plan.receivable, Decimal(0))
    if sum(balance.values(), Decimal(0)) != 0 or receivable != open_amount + listed:
        return None
    return (
        f"{plan.name}: the trial balance is zero; receivables {receivable} {plan.currency} = {open_amount} open in billing"
        f" {'-' if listed < 0 else '+'} {abs(listed)} in open and broken counterfoils and unmatched items, each with an owner"
    )


ACTS: Sequence[Act] = (
    Act("invoices", "Customers subscribe, and billing's invoices are posted in the ERP", [
        Do("Billing sets up its price catalogue", invoicing.make_catalogue),
        Do("Billing registers three customers", invoicing.make_customers),
        Do("The customers subscribe", invoicing.make_subscriptions),
        Do("One customer books a workshop", invoicing.make_workshop),
        Do("Billing finalizes the invoices", invoicing.finalize),
        Do("The customer pays the workshop", invoicing.pay_workshop),
        Await("Counterfoil receives the payment", invoicing.payment_received, 60),
        Await("Every invoice is posted in the ERP, to the cent", invoicing.invoices_matched, 120),
        Do("Sales exports contracts, and monitoring its incidents", service_levels.write_files),
        Await("Counterfoil reads the contracts and incidents", service_levels.files_received),
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
        Await("A Case asks finance to decide", LEGACY.awaits_case),
        Do("Finance operations chooses undo", undo_legacy),
        Await("The credit is undone", legacy_undone),
    ]),
    Act("german", "The German company bills in euro, in its own account and books", [
        Do("German billing finalizes an invoice", german.make_invoice),
        Await("The invoice is posted under a German number", german.invoice_matched, 120),
        Await("The German accountant sees the German company alone", german.own_rows_only),
    ]),
    cash.ACT,
    open_work.ACT,
    Act("books", "The books of billing and the ERP are compared", [
        Await("Every difference is a counterfoil or an unmatched item", books_agree),
    ]),
)  # fmt: skip
