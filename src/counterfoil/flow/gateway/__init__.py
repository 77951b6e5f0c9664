"""Calls of exposed Operations by consumers, from the idempotency key to the answer."""
