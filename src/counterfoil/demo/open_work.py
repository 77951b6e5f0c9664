"""Work that the story leaves for its reader: approvals, a Case, an open and a broken counterfoil, an unmatched item."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from counterfoil.demo import invoicing
from counterfoil.demo.credits import Credit
from counterfoil.demo.invoicing import Customer
from counterfoil.demo.stage import Act, Await, Do, Stage

LARGE_CUSTOMER = Customer("Hooli Holdings", "ap@hooli.example", 1000, "1 Harbour Plaza", "Oakland", "94607")
"""Customer whose first invoice is above the limit of the invoice review, 25,000.00 USD."""
WAITING = Credit("waiting", "globex", "250.00", "Dashboards were empty on Monday")
REFUSED = Credit(
    "refused", "initech", "40.00", "Second gesture for a long-standing customer", "goodwill_legacy"
)
MISTYPED = Decimal("-4.00")
"""Credit note that the accountant enters in the ERP by hand instead of 40.00 USD."""
BY_HAND = Decimal("120.00")
"""Invoice that the accountant enters in the ERP without telling billing."""


async def invoice_large(stage: Stage) -> str:
    await invoicing.register(stage, "hooli", LARGE_CUSTOMER)
    await invoicing.subscribe(stage, "hooli", LARGE_CUSTOMER)
    return f"{await invoicing.finalize_invoice(stage, 'hooli')} for {LARGE_CUSTOMER.name}"


async def large_waits(stage: Stage) -> str | None:
    """Observe the invoice's approval, and its open counterfoil."""
    foil = await _invoice_foil(stage)
    if foil is None or foil["state"] != "open":
        return None
    approvals = await stage.admin.all("approvals", run=foil["run"], state="open")
    if not approvals:
        return None
    return f"requested from {' or '.join(approvals[0]['roles'])}; the ERP shows no invoice, so the counterfoil is open"


async def _invoice_foil(stage: Stage) -> dict[str, Any] | None:
    invoice = await stage.billing.get(f"invoices/{stage.id('hooli.invoice')}")
    event = await stage.event("invoice.finalized.v1", "number", invoice["number"])
    return await stage.foil("invoice-in-erp", event["invoice_id"]) if event else None


async def mistype(stage: Stage) -> str:
    run = await stage.credit_run(REFUSED.name)
    assert run is not None, "the Case of this credit was observed before"
    documents = await stage.erp.invoices(run["key"])
    customer = await _party(stage, REFUSED.customer)
    number = documents[0]["number"] if documents else await stage.erp.enter(MISTYPED, customer, run["key"])
    return f"{number} over {abs(MISTYPED)} USD instead of {REFUSED.amount} USD"


async def mistyped_is_broken(stage: Stage) -> str | None:
    run = await stage.credit_run(REFUSED.name)
    foil = await stage.foil("credit-in-erp", run["key"]) if run is not None else None
    if foil is None or foil["state"] != "broken":
        return None
    return f"{foil['reason']}; {foil['residual']['gross']['amount']} USD are missing in the ERP"


async def enter_by_hand(stage: Stage) -> str:
    documents = [document for document in await stage.erp.invoices() if not document["reference"]]
    customer = await _party(stage, "northwind")
    number = documents[0]["number"] if documents else await stage.erp.enter(BY_HAND, customer)
    return f"{stage.journal.note('by_hand', number)} over {BY_HAND} USD"


async def work_is_left(stage: Stage) -> str | None:
    """Observe everything that the act leaves: the item of the last step, and the work of the steps before."""
    items = await stage.admin.all("unmatched")
    item = next((item for item in items if item["document"] == stage.id("by_hand")), None)
    waiting = await WAITING.awaits_approval(stage)
    case = await REFUSED.case(stage)
    if item is None or waiting is None or case is None or case["state"] != "open":
        return None
    if await large_waits(stage) is None or await mistyped_is_broken(stage) is None:
        return None
    return f"{item['document']} has no counterpart in billing; its owner is {item['owner']}"


async def _party(stage: Stage, customer: str) -> str:
    """Return the party code of a customer in the ERP, which is its canonical id."""
    invoice = await stage.billing.get(f"invoices/{stage.id(f'{customer}.invoice')}")
    event = await stage.event("invoice.finalized.v1", "number", invoice["number"])
    assert event is not None, "the invoice is posted in the ERP"
    return str(event["customer_id"])


ACT = Act("work", "Some work is left for you", [
    Do("Billing invoices a large customer", invoice_large),
    Await("The invoice waits for a review by finance", large_waits),
    Do("The agent requests a credit", WAITING.request),
    Await("The credit waits for an approval", WAITING.awaits_approval),
    Do("The agent requests a credit for a reason without an account", REFUSED.request),
    Await("A Case waits for finance", REFUSED.awaits_case),
    Do("The accountant enters that credit in the ERP by hand and mistypes it", mistype),
    Await("Its counterfoil is broken", mistyped_is_broken),
    Do("The accountant enters an invoice in the ERP by hand", enter_by_hand),
    Await("The invoice is an unmatched item", work_is_left),
])  # fmt: skip
