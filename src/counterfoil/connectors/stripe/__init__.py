"""The Stripe connector: credit memos, balance debits, reads of billing objects, events by webhook and by poll.

The entry point names `connector.connect`. `answers` lists which answers prove what.
"""

from counterfoil.connectors.stripe.connector import Stripe, connect
from counterfoil.connectors.stripe.currencies import CURRENCIES

STAMPS = "seconds"
"""Precision of every time that the vendor shows: whole seconds since 1970."""

__all__ = ["CURRENCIES", "STAMPS", "Stripe", "connect"]
