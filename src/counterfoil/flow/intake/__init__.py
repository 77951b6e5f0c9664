"""Deliveries in: receipts, admission to canonical events, load shedding and usage batches."""
