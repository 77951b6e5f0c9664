"""Test cards of the vendor: by number, token or test id of a payment method, with the effect of each.

Source: docs.stripe.com/testing. An unlisted card is charged and refunded without an incident.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

GOOD_NUMBER = "4242424242424242"
_PREFIX = re.compile(r"(pm_card_|tok_)(visa_)?")


@dataclass(frozen=True, slots=True)
class CardBehavior:
    """Effects of a test card.

    `decline` is the decline code of every charge. `dispute` is the reason of a dispute over the whole charge, and `inquiry`
    makes it an inquiry. `refund` is the first status of a refund that changes later. With `available`, the money of a charge
    skips the pending balance.
    """

    number: str
    effect: str = "Charges succeed."
    decline: str | None = None
    attaches: bool = True
    dispute: str | None = None
    inquiry: bool = False
    refund: str | None = None
    available: bool = False


def _declined(number: str, decline: str) -> CardBehavior:
    effect = f"Charges are declined with `{decline}`; the card cannot be attached to a customer."
    return CardBehavior(number, effect, decline, attaches=False)


CARDS = {
    "chargeDeclined": _declined("4000000000000002", "generic_decline"),
    "chargeDeclinedInsufficientFunds": _declined("4000000000009995", "insufficient_funds"),
    "chargeDeclinedLostCard": _declined("4000000000009987", "lost_card"),
    "chargeDeclinedStolenCard": _declined("4000000000009979", "stolen_card"),
    "chargeDeclinedExpiredCard": _declined("4000000000000069", "expired_card"),
    "chargeDeclinedIncorrectCvc": _declined("4000000000000127", "incorrect_cvc"),
    "chargeDeclinedProcessingError": _declined("4000000000000119", "processing_error"),
    "chargeDeclinedFraudulent": _declined("4100000000000019", "fraudulent"),
    "chargeCustomerFail": CardBehavior(
        "4000000000000341", "Attaches to a customer; every charge is declined with `generic_decline`.",
        "generic_decline",
    ),
    "createDispute": CardBehavior(
        "4000000000000259", "Charges succeed and are disputed as fraudulent.", dispute="fraudulent"),
    "createDisputeProductNotReceived": CardBehavior(
        "4000000000002685", "Charges succeed and are disputed as product not received.",
        dispute="product_not_received"),
    "createDisputeInquiry": CardBehavior(
        "4000000000001976", "Charges succeed, and the bank opens an inquiry.", dispute="fraudulent", inquiry=True),
    "pendingRefund": CardBehavior(
        "4000000000007726", "Refunds start `pending` and succeed an hour later.", refund="pending"),
    "refundFail": CardBehavior(
        "4000000000005126", "Refunds start `succeeded` and fail an hour later.", refund="succeeded"),
    "bypassPending": CardBehavior(
        "4000000000000077", "Charges succeed, and their money is available at once.", available=True),
}  # fmt: skip
"""Behavior by the last part of the token (`tok_...`) and of the payment method (`pm_card_...`, `pm_card_visa_...`)."""
_BY_NUMBER = {card.number: card for card in CARDS.values()}


def behavior(card: str) -> CardBehavior:
    """Return the behavior of a card number, token or test id."""
    if card.isdigit():
        return _BY_NUMBER.get(card) or CardBehavior(card)
    return CARDS.get(_PREFIX.sub("", card, count=1)) or CardBehavior(GOOD_NUMBER)
