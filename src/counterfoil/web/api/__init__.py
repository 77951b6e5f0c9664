"""The JSON API: deliveries, decisions, lists, plans, operations, and its descriptions."""
