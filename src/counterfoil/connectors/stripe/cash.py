"""Reads of money: payments, refunds, disputes, payouts with their parts, and the balances of an account and of a customer.

Amounts are minor units of the vendor; currencies are in its lower case.
"""

from __future__ import annotations

from collections.abc import Mapping
from zoneinfo import ZoneInfo

from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import Json
from counterfoil.connectors.stripe import balances, payouts
from counterfoil.connectors.stripe.client import StripeClient
from counterfoil.connectors.stripe.documents import is_id
from counterfoil.connectors.stripe.repaid import notes_by_refund, repaid
from counterfoil.core.errors import ErrorClass, Refused

READS: Mapping[str, str] = {
    "billing.payment.get": (
        "{id} -> the vendor's charge, with the objects `balance_transaction` and `failure_balance_transaction`."
    ),
    "billing.refund.get": (
        "{id} -> the vendor's refund, with the objects `balance_transaction` and `failure_balance_transaction`, and "
        "`customer` and `invoice` of its charge. `credit_note` is the note that it pays, or null. `repaid` is "
        "what went back of the charge without a note: refunds, and disputes that are open or lost."
    ),
    "billing.dispute.get": (
        "{id} -> the vendor's dispute with its balance transactions, `customer` and `invoice` of its charge, and `repaid` "
        "as of a refund."
    ),
    "billing.payout.get": (
        "{id} -> the vendor's payout, `manual`, and `parts: [{kind, amount, currency}]`, which add up to `amount`. A manual "
        "payout has no parts: the vendor does not list its transactions."
    ),
    "billing.balance.get": (
        "{as_of?} -> {balances: [{currency, available, pending, in_transit, processing, total}]}. `as_of` is a time, or a date "
        "that stands for its end in the zone of the system. `in_transit` is in payouts that have not arrived. `processing` is "
        "of bank debits without success, and in none of the other amounts."
    ),
    "billing.customer_balance.list": (
        "{customer} -> {customer, currency, balance, movements}, newest first: the vendor's balance transactions. Positive "
        "amounts are owed by the customer."
    ),
}
_PARTS = ("balance_transaction", "failure_balance_transaction")


async def read(
    client: StripeClient, operation: str, arguments: Mapping[str, Json], zone: ZoneInfo, by: Deadline
) -> Json:
    """Return the result of one of READS. Raises TryAgain, Refused or Misconfigured."""
    try:
        match operation:
            case "billing.payment.get":
                return await _get(client, "charge", _only(arguments, "id"), _PARTS, by)
            case "billing.refund.get":
                return await _refund(client, _only(arguments, "id"), by)
            case "billing.dispute.get":
                return await _dispute(client, _only(arguments, "id"), by)
            case "billing.payout.get":
                payout = await _get(client, "payout", _only(arguments, "id"), (), by)
                return await payouts.with_parts(client, payout, by)
            case "billing.balance.get":
                return await balances.read(client, balances.cut_off(arguments, zone), by)
        return await _customer_balance(client, _only(arguments, "customer"), by)
    except (KeyError, TypeError) as error:
        message = f"the answer to {operation} does not have the documented form: {error!r}"
        raise Refused(message, ErrorClass.INVALID, "shape") from error


def _only(arguments: Mapping[str, Json], name: str) -> str:
    id = arguments.get(name)
    if not is_id(id) or set(arguments) != {name}:
        raise Refused(
            f"the only argument must be the id {name}, not {dict(arguments)!r}", ErrorClass.INVALID, name
        )
    return str(id)


async def _get(
    client: StripeClient, kind: str, id: str, expanded: tuple[str, ...], by: Deadline
) -> dict[str, Json]:
    query = {f"expand[{place}]": name for place, name in enumerate(expanded)}
    return await client.get(f"/v1/{kind}s/{id}", kind, query, by)


async def _refund(client: StripeClient, id: str, by: Deadline) -> dict[str, Json]:
    refund = await _get(client, "refund", id, (*_PARTS, "charge"), by)
    notes = await notes_by_refund(client, refund["charge"], by)
    back = await repaid(client, refund["charge"], notes, by)
    return {**_of_charge(refund), "credit_note": notes.get(id), "repaid": back}


async def _dispute(client: StripeClient, id: str, by: Deadline) -> dict[str, Json]:
    dispute = await _get(client, "dispute", id, ("charge",), by)
    notes = await notes_by_refund(client, dispute["charge"], by)
    return {**_of_charge(dispute), "repaid": await repaid(client, dispute["charge"], notes, by)}


def _of_charge(row: Mapping[str, Json]) -> dict[str, Json]:
    """Return a row with the id of its expanded charge, and with the customer and the invoice of the charge."""
    charge = row["charge"]
    return {**row, "charge": charge["id"], "customer": charge["customer"], "invoice": charge["invoice"]}


async def _customer_balance(client: StripeClient, id: str, by: Deadline) -> dict[str, Json]:
    """Return a balance and its movements, which add up to it unless a movement came between the reads."""
    customer = await client.get(f"/v1/customers/{id}", "customer", {}, by)
    if customer.get("deleted"):
        raise Refused(f"customer {id} is deleted", ErrorClass.NOT_FOUND, "deleted")
    movements = [row async for row in client.rows(f"/v1/customers/{id}/balance_transactions", {}, by)]
    balance = movements[0]["ending_balance"] if movements else customer["balance"]
    return {"customer": id, "currency": customer["currency"], "balance": balance, "movements": movements}
