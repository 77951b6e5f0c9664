"""Steps of the story in billing: a price catalogue, customers, subscriptions, and invoices that the ERP receives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from counterfoil.demo.stage import Stage, money


@dataclass(frozen=True)
class Customer:
    """Customer with the seats of its monthly subscription; a seat costs 25.00 USD plus 8.25 % sales tax."""

    name: str
    email: str
    seats: int
    street: str
    city: str
    postal_code: str

    @property
    def address(self) -> Mapping[str, str]:
        return {"line1": self.street, "city": self.city, "postal_code": self.postal_code, "country": "US"}


CUSTOMERS = {
    "northwind": Customer("Northwind Traders", "ap@northwind.example", 120, "418 Pike Street", "Dallas", "75201"),
    "globex": Customer("Globex Manufacturing", "finance@globex.example", 160, "77 Harbour Road", "Houston", "77002"),
    "initech": Customer("Initech Software", "billing@initech.example", 40, "9 Congress Avenue", "Austin", "78701"),
}  # fmt: skip
WORKSHOP_CENTS = 75_000
"""Amount of one customer's second invoice, which is paid at once."""


async def make_catalogue(stage: Stage) -> str:
    product = await stage.once(
        "product", lambda: _create(stage, "products", "product", {"id": "cloud", "name": "Seat"})
    )
    await stage.once(
        "price",
        lambda: _create(stage, "prices", "price", {
            "product": product, "currency": "usd", "unit_amount": 2500, "recurring": {"interval": "month"},
            "lookup_key": "team",
        }),
    )  # fmt: skip
    await stage.once(
        "tax_rate",
        lambda: _create(stage, "tax_rates", "tax_rate", {
            "display_name": "Sales tax", "percentage": "8.25", "inclusive": False, "jurisdiction": "US-TX",
        }),
    )  # fmt: skip
    return f"product {product}, price {stage.id('price')}, tax rate {stage.id('tax_rate')} of 8.25 %"


async def make_customers(stage: Stage) -> str:
    return ", ".join([await register(stage, name, customer) for name, customer in CUSTOMERS.items()])


async def register(stage: Stage, name: str, customer: Customer) -> str:
    """Create a customer in billing and note its id."""
    values = {
        "name": customer.name, "email": customer.email, "address": customer.address,
        "payment_method": "pm_card_visa", "invoice_settings": {"default_payment_method": "pm_card_visa"},
    }  # fmt: skip
    id_ = await stage.once(f"{name}.customer", lambda: _create(stage, "customers", name, values))
    return f"{customer.name} {id_}"


async def make_subscriptions(stage: Stage) -> str:
    return ", ".join([await subscribe(stage, name, customer) for name, customer in CUSTOMERS.items()])


async def subscribe(stage: Stage, name: str, customer: Customer) -> str:
    """Subscribe a customer and note the ids of the subscription and of its first invoice."""
    values = {
        "customer": stage.id(f"{name}.customer"), "collection_method": "send_invoice", "days_until_due": 30,
        "items": [{"price": stage.id("price"), "quantity": customer.seats}],
        "default_tax_rates": [stage.id("tax_rate")],
    }  # fmt: skip
    subscription = await stage.billing.post("subscriptions", values, once=f"story/{name}/subscription")
    stage.journal.note(f"{name}.subscription", subscription["id"])
    stage.journal.note(f"{name}.invoice", subscription["latest_invoice"])
    return f"{customer.seats} seats for {customer.name}"


async def make_workshop(stage: Stage) -> str:
    invoice = await one_line(stage, "workshop", "northwind", WORKSHOP_CENTS, "Onboarding workshop")
    return f"draft {invoice} of {money(WORKSHOP_CENTS)} plus tax"


async def one_line(stage: Stage, name: str, customer: str, cents: int, description: str) -> str:
    """Draft an invoice of one line plus tax, note it as `NAME.invoice`, and return its id."""
    of = stage.id(f"{customer}.customer")
    values = {"customer": of, "currency": "usd", "default_tax_rates": [stage.id("tax_rate")]}
    invoice = await stage.once(f"{name}.invoice", lambda: _create(stage, "invoices", name, values))
    item = {
        "customer": of,
        "invoice": invoice,
        "currency": "usd",
        "amount": cents,
        "description": description,
    }
    await stage.once(f"{name}.item", lambda: _create(stage, "invoiceitems", f"{name}-item", item))
    return invoice


async def finalize(stage: Stage) -> str:
    return ", ".join([await finalize_invoice(stage, name) for name in (*CUSTOMERS, "workshop")])


async def finalize_invoice(stage: Stage, name: str) -> str:
    """Finalize the invoice noted under this name, unless that was done, and return its number and total."""
    invoice = await stage.billing.get(f"invoices/{stage.id(f'{name}.invoice')}")
    if invoice["status"] == "draft":
        invoice = await stage.billing.post(f"invoices/{invoice['id']}/finalize", {"auto_advance": False})
    return f"{invoice['number']} {money(invoice['total'])}"


async def pay_workshop(stage: Stage) -> str:
    invoice = await pay(stage, "workshop", {})
    return f"{invoice['number']} is {invoice['status']}"


async def pay(stage: Stage, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Pay the invoice noted under this name by card, unless it is paid, and return it."""
    invoice = await stage.billing.get(f"invoices/{stage.id(f'{name}.invoice')}")
    if invoice["status"] != "paid":
        invoice = await stage.billing.post(f"invoices/{invoice['id']}/pay", values)
    return invoice


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
