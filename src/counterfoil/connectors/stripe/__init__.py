"""The Stripe connector: credit memos, balance debits, reads of billing objects, events by webhook and by poll.

`connector.connect` is what the entry point names. Which answers prove what stands in `answers`.
"""

from counterfoil.connectors.stripe.connector import Stripe, connect

__all__ = ["Stripe", "connect"]
