"""Governance documents compiled to the definitions that the rules read."""
