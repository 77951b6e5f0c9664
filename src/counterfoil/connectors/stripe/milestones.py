"""Milestones that the vendor's objects show, and the lists of these objects: the books of an account.

An object is delivered as the events that would bring about its present state. Their types are those of the webhooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from counterfoil.connectors.sdk import Json


class Milestone(NamedTuple):
    """Event that an object shows. `at` is its time in seconds since 1970; None for the present state of the object."""

    type: str
    name: str
    at: int | None = None


@dataclass(frozen=True, slots=True)
class BillingBook:
    """List of objects. `milestones` returns what one object shows, as events of `types`; `volatile` fields change without an
    event."""

    path: str
    types: tuple[str, ...]
    milestones: Callable[[Json], Iterator[Milestone]]
    query: Mapping[str, str]
    volatile: frozenset[str] = frozenset()
    has_states: bool = True
    deletes: bool = False
    """Objects can be deleted, and the list can be read up to a time."""
    expanded: str | None = None
    """Field whose object the list returns for the milestones. Deliveries have its id, as the vendor's events do."""


def _customer(_customer: Json) -> Iterator[Milestone]:
    yield Milestone("customer.updated", "state")


def _subscription(subscription: Json) -> Iterator[Milestone]:
    if subscription["status"] == "canceled":
        at = subscription.get("ended_at") or subscription.get("canceled_at") or subscription["created"]
        yield Milestone("customer.subscription.deleted", "ended", at)
    else:
        yield Milestone("customer.subscription.updated", "state")


def _invoice(invoice: Json) -> Iterator[Milestone]:
    """Yield nothing for a draft: it is no document yet. What an invoice still owes changes until it is paid or void."""
    status, times = invoice["status"], invoice["status_transitions"]
    if status in ("draft", None):
        return
    yield Milestone("invoice.finalized", "finalized", times["finalized_at"] or invoice["created"])
    if status == "paid":
        yield Milestone("invoice.paid", "paid", times["paid_at"] or invoice["created"])
    elif status == "void":
        yield Milestone("invoice.voided", "voided", times["voided_at"] or invoice["created"])
    else:
        if status == "uncollectible":
            at = times["marked_uncollectible_at"] or invoice["created"]
            yield Milestone("invoice.marked_uncollectible", "uncollectible", at)
        yield Milestone("invoice.updated", "state")


def _credit_note(note: Json) -> Iterator[Milestone]:
    yield Milestone("credit_note.created", "created", note["created"])
    if note["status"] == "void":
        yield Milestone("credit_note.voided", "voided", note.get("voided_at") or note["created"])


def _charge(charge: Json) -> Iterator[Milestone]:
    """Yield the result of a charge. A bank debit is pending for days; the object does not show when it succeeded."""
    created, status = charge["created"], charge["status"]
    if status == "pending":
        yield Milestone("charge.pending", "pending", created)
    elif status == "succeeded":
        yield Milestone("charge.succeeded", "succeeded", created)
    elif charge["payment_method_details"]["type"] == "card":
        yield Milestone("charge.failed", "failed", created)
    else:
        yield Milestone("charge.failed", "failed", _time_of_return(charge))


def _refund(refund: Json) -> Iterator[Milestone]:
    yield Milestone("refund.created", "created", refund["created"])
    failed = refund["status"] in ("failed", "canceled")
    yield Milestone("refund.updated", refund["status"] if failed else "state", _time_of_return(refund))


def _dispute(dispute: Json) -> Iterator[Milestone]:
    """Yield the movements of money with their times. Only a won dispute shows when it was closed."""
    yield Milestone("charge.dispute.created", "created", dispute["created"])
    returned = None
    for transaction in dispute["balance_transactions"]:
        if transaction["amount"] < 0:
            yield Milestone("charge.dispute.funds_withdrawn", "withdrawn", transaction["created"])
        else:
            returned = transaction["created"]
            yield Milestone("charge.dispute.funds_reinstated", "reinstated", returned)
    if dispute["status"] in CLOSED_DISPUTES:
        yield Milestone("charge.dispute.closed", "closed", returned if dispute["status"] == "won" else None)
    else:
        yield Milestone("charge.dispute.updated", "state")


def _payout(payout: Json) -> Iterator[Milestone]:
    """Yield what happened to a payout. One that failed after its day of arrival was paid before."""
    yield Milestone("payout.created", "created", payout["created"])
    status, arrival, returned = payout["status"], payout["arrival_date"], _time_of_return(payout)
    if status == "paid" or (status == "failed" and returned is not None and returned > arrival):
        yield Milestone("payout.paid", "paid", arrival)
    if status in ("failed", "canceled"):
        yield Milestone(f"payout.{status}", status, returned)
    elif status != "paid":
        yield Milestone("payout.updated", "state")


def _time_of_return(row: Json) -> int | None:
    """Return the time at which the money of a failed movement came back, in seconds since 1970; None if it did not."""
    transaction = row.get("failure_balance_transaction")
    return int(transaction["created"]) if transaction else None


CLOSED_DISPUTES = frozenset({"won", "lost", "warning_closed", "charge_refunded", "prevented"})
_RETURN: Mapping[str, str] = {"expand[]": "data.failure_balance_transaction"}


BOOKS = {
    "customers": BillingBook(
        "/v1/customers",
        ("customer.updated",),
        _customer,
        {},
        frozenset({"next_invoice_sequence"}),
        deletes=True,
    ),
    "subscriptions": BillingBook(
        "/v1/subscriptions",
        ("customer.subscription.updated", "customer.subscription.deleted"),
        _subscription,
        {"status": "all"},
    ),
    "invoices": BillingBook(
        "/v1/invoices",
        (
            "invoice.finalized",
            "invoice.updated",
            "invoice.paid",
            "invoice.voided",
            "invoice.marked_uncollectible",
        ),
        _invoice,
        {},
        frozenset({"hosted_invoice_url", "invoice_pdf", "webhooks_delivered_at"}),
        deletes=True,
    ),
    "credit_notes": BillingBook(
        "/v1/credit_notes", ("credit_note.created", "credit_note.voided"), _credit_note, {}, has_states=False
    ),
    "charges": BillingBook(
        "/v1/charges",
        ("charge.pending", "charge.succeeded", "charge.failed"),
        _charge,
        _RETURN,
        expanded="failure_balance_transaction",
    ),
    "refunds": BillingBook(
        "/v1/refunds",
        ("refund.created", "refund.updated"),
        _refund,
        _RETURN,
        expanded="failure_balance_transaction",
    ),
    "disputes": BillingBook(
        "/v1/disputes",
        (
            "charge.dispute.created",
            "charge.dispute.updated",
            "charge.dispute.funds_withdrawn",
            "charge.dispute.funds_reinstated",
            "charge.dispute.closed",
        ),
        _dispute,
        {},
        frozenset({"balance_transactions"}),
    ),
    "payouts": BillingBook(
        "/v1/payouts",
        ("payout.created", "payout.updated", "payout.paid", "payout.failed", "payout.canceled"),
        _payout,
        _RETURN,
        frozenset({"reconciliation_status"}),
        expanded="failure_balance_transaction",
    ),
}
"""Books by the name of their listing."""
