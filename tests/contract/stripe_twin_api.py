"""Short ways to what tests of the Stripe twin need first, through the vendor's own library."""

from __future__ import annotations

from typing import Any

import pytest
import stripe


def customer(api: Any, **more: Any) -> Any:
    return api.customers.create(
        {
            "name": "Acme",
            "email": "pay@acme.test",
            "payment_method": "pm_card_visa",
            "invoice_settings": {"default_payment_method": "pm_card_visa"},
            **more,
        }
    )


def invoice(api: Any, who: str, *lines: dict[str, Any], **more: Any) -> Any:
    """A draft with lines of 10.00 EUR unless told otherwise."""
    made = api.invoices.create({"customer": who, "currency": "eur", **more})
    for line in lines or ({"amount": 1000},):
        api.invoice_items.create({"customer": who, "currency": "eur", "invoice": made.id, **line})
    return api.invoices.retrieve(made.id)


def opened(api: Any, who: str, *lines: dict[str, Any], **more: Any) -> Any:
    return api.invoices.finalize_invoice(invoice(api, who, *lines, **more).id)


def paid(api: Any, who: str, *lines: dict[str, Any], **more: Any) -> Any:
    return api.invoices.pay(opened(api, who, *lines, **more).id)


def refused(call: Any, *arguments: Any, **named: Any) -> stripe.StripeError:
    with pytest.raises(stripe.StripeError) as caught:
        call(*arguments, **named)
    return caught.value
