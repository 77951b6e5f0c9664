"""Money of an invoice that went back without a credit note: refunds, and disputes that are open or lost.

What a credit note returns counts with the note. An inquiry moves no money.
"""

from __future__ import annotations

from collections.abc import Mapping

from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import Json
from counterfoil.connectors.stripe.client import StripeClient

_WITHOUT_MONEY = ("won", "charge_refunded")
_FAILED = ("failed", "canceled")


async def repaid(client: StripeClient, charge: Mapping[str, Json], by: Deadline) -> int:
    """Return what went back of a charge without a credit note, in minor units of the vendor."""
    notes: set[str] = set()
    if charge["invoice"]:
        rows = client.rows("/v1/credit_notes", {"invoice": charge["invoice"]}, by)
        notes = {note["refund"] async for note in rows if note["refund"]}
    total = 0
    async for refund in client.rows("/v1/refunds", {"charge": charge["id"]}, by):
        if refund["status"] not in _FAILED and refund["id"] not in notes:
            total += refund["amount"]
    async for dispute in client.rows("/v1/disputes", {"charge": charge["id"]}, by):
        if dispute["status"] not in _WITHOUT_MONEY and not dispute["status"].startswith("warning"):
            total += dispute["amount"]
    return total
