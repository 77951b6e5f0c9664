"""The Stripe connector: credit memos, balance debits, reads of billing objects, events by webhook and by poll.

The entry point names `connector.connect`. `answers` lists which answers prove what.
"""

from counterfoil.connectors.stripe.connector import Stripe, connect

__all__ = ["Stripe", "connect"]
