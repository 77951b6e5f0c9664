"""Money of a charge that went back: by which credit note, or without one.

What a credit note returns counts with the note. An inquiry moves no money.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import Json
from counterfoil.connectors.stripe.client import StripeClient

_FAILED = ("failed", "canceled")
_WITHOUT_MONEY = ("won", "charge_refunded")


async def notes_by_refund(client: StripeClient, charge: Mapping[str, Json], by: Deadline) -> dict[str, str]:
    """Return the credit note of each refund that pays one, for the invoice of a charge."""
    if not charge["invoice"]:
        return {}
    rows = client.rows("/v1/credit_notes", {"invoice": charge["invoice"]}, by)
    return {note["refund"]: note["id"] async for note in rows if note["refund"]}


async def repaid(
    client: StripeClient, charge: Mapping[str, Json], of_notes: Collection[str], by: Deadline
) -> int:
    """Return the sum of refunds, except those of notes, and of disputes that are open or lost, in minor units of the vendor."""
    total = 0
    async for refund in client.rows("/v1/refunds", {"charge": charge["id"]}, by):
        if refund["status"] not in _FAILED and refund["id"] not in of_notes:
            total += refund["amount"]
    async for dispute in client.rows("/v1/disputes", {"charge": charge["id"]}, by):
        if dispute["status"] not in _WITHOUT_MONEY and not dispute["status"].startswith("warning"):
            total += dispute["amount"]
    return total
