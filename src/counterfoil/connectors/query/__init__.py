"""Connector of systems whose books are queries on a database of the company."""

from counterfoil.connectors.query.connector import QuerySystem, connect

__all__ = ["QuerySystem", "connect"]
