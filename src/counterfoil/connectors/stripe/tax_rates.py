"""Tax rates of an invoice or credit note: percentage and jurisdiction, which the vendor keeps in objects of their own.

Until version 2025-03-31 of the API a document is read together with its rates (`expand`). Later versions only show the ids, so
each rate is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import Json
from counterfoil.connectors.stripe.client import StripeClient

_SEPARATE_SINCE = "2025-03-31"
TAXED = {"invoice": "total_tax_amounts", "credit_note": "tax_amounts"}
"""Field with the taxes of a document by its kind, before all kinds had `total_taxes`."""


def expansion(kind: str, api_version: str) -> dict[str, str]:
    """Return the query by which a document is read together with its tax rates."""
    if kind not in TAXED or api_version >= _SEPARATE_SINCE:
        return {}
    return {"expand[]": f"{TAXED[kind]}.tax_rate"}


async def with_tax_rates(client: StripeClient, document: dict[str, Json], by: Deadline) -> dict[str, Json]:
    """Return a document whose taxes have ids, with the rates by id in `tax_rates`. Raises TryAgain or Refused."""
    rates: dict[str, Json] = {}
    for holder in _holders(document):
        rate = holder["tax_rate"]
        if isinstance(rate, dict):
            holder["tax_rate"] = rate["id"]
            rates[str(rate["id"])] = rate
        elif rate is not None and rate not in rates:
            rates[rate] = await client.get(f"/v1/tax_rates/{rate}", "tax_rate", {}, by)
    return {**document, "tax_rates": rates}


def _holders(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the parts of a document that name a rate."""
    for tax in document.get(TAXED[document["object"]]) or ():
        yield tax
    for tax in document.get("total_taxes") or ():
        if tax.get("tax_rate_details"):
            yield tax["tax_rate_details"]
