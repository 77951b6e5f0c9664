"""Steps of the story in the German company: its own billing account and books, and a person who sees nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from counterfoil.demo.operators import Declined
from counterfoil.demo.stage import Stage, money

ENTITY = "acme-de"
NET_CENTS = 240_000
VAT = "19"
"""Rate of the VAT in percent."""
CUSTOMER = {
    "name": "Nordwind Handels GmbH",
    "email": "rechnung@nordwind.example",
    "address": {"line1": "Speicherstr. 4", "city": "Hamburg", "postal_code": "20457", "country": "DE"},
}


async def make_invoice(stage: Stage) -> str:
    """Create a customer with one invoice over 19 % VAT in the German billing account, and finalize it."""
    billing = stage.german_billing

    async def create(path: str, name: str, values: Mapping[str, Any]) -> str:
        return str((await billing.post(path, values, once=f"story/german/{path}/{name}"))["id"])

    customer = await stage.once("nordwind.customer", lambda: create("customers", "nordwind", CUSTOMER))
    rate = {"display_name": "USt", "percentage": VAT, "inclusive": False, "jurisdiction": "DE"}
    vat = await stage.once("vat", lambda: create("tax_rates", "vat", rate))
    values = {"customer": customer, "currency": "eur", "default_tax_rates": [vat], "collection_method": "send_invoice",
              "days_until_due": 30}  # fmt: skip
    id_ = await stage.once("nordwind.invoice", lambda: create("invoices", "nordwind", values))
    item = {
        "customer": customer,
        "invoice": id_,
        "currency": "eur",
        "amount": NET_CENTS,
        "description": "Lizenzen",
    }
    await stage.once("nordwind.item", lambda: create("invoiceitems", "nordwind", item))
    invoice = await billing.get(f"invoices/{id_}")
    if invoice["status"] == "draft":
        invoice = await billing.post(f"invoices/{id_}/finalize", {"auto_advance": False})
    return f"{invoice['number']} over {money(invoice['total'])} EUR, with {VAT} % VAT"


async def invoice_matched(stage: Stage) -> str | None:
    """Return the German number of the invoice, once it is posted and matched in the German books."""
    invoice = await stage.german_billing.get(f"invoices/{stage.id('nordwind.invoice')}")
    events = await stage.admin.all("events", type="invoice.finalized.v1", entity=ENTITY)
    event = next((e["data"] for e in events if e["data"]["number"] == invoice["number"]), None)
    foil = await stage.foil("invoice-in-erp", event["invoice_id"]) if event else None
    if event is None or foil is None or (foil["state"], foil["legal_entity"]) != ("matched", ENTITY):
        return None
    (document,) = await stage.german_erp.invoices(event["invoice_id"])
    balance = await stage.german_erp.trial_balance()
    if document["total_amount"] != money(invoice["total"]) or sum(balance.values(), Decimal(0)) != 0:
        return None
    if await stage.erp.invoices(event["invoice_id"]):
        raise Declined(200, "the American books have the German invoice too")
    return f"{invoice['number']} = {document['number']}, in the German books alone"


async def own_rows_only(stage: Stage) -> str | None:
    """Return what the German accountant sees: the rows of the German company and no others."""
    runs = await stage.admin.all("runs")
    async with stage.as_person("greta") as greta:
        own = await greta.all("runs")
        for run in runs:
            if run["legal_entity"] != ENTITY:
                try:
                    await greta.get(f"runs/{run['id']}")
                except Declined as error:
                    if error.status == 404:
                        continue
                raise Declined(200, f"a Run of {run['legal_entity']} is shown to a person of {ENTITY}")
    expected = [run["id"] for run in runs if run["legal_entity"] == ENTITY]
    if [run["id"] for run in own] != expected or not expected:
        return None
    return f"{len(own)} of {len(runs)} Runs; the others answer 404"
