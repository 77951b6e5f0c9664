"""Moves money in the Stripe twin, and reads what it says about it."""

from __future__ import annotations

import json
from typing import Any

from tests.contract.stripe_twin_process import Twin

HOUR, DAY = 3600, 86_400


def advance(twin: Twin, seconds: int) -> None:
    twin.control("POST", "clock", {"advance": seconds})


def paid(api: Any, card: str = "pm_card_visa", amount: int = 10_000, **more: Any) -> Any:
    """Return the charge of a payment without an invoice."""
    form = {"amount": amount, "currency": "eur", "payment_method": card, "confirm": True, **more}
    return api.charges.retrieve(api.payment_intents.create(form).latest_charge)


def types(api: Any, *prefixes: str) -> list[str]:
    """Return the types of all events with these prefixes, oldest first."""
    events = [event.type for event in api.events.list({"limit": 100}).data]
    return [type for type in reversed(events) if type.startswith(prefixes)]


def refusal(twin: Twin, control: str, body: Any) -> str:
    status, _, answer = twin.call("POST", f"/_twin/{control}", json.dumps(body))
    assert status == 400
    return str(json.loads(answer)["error"])
