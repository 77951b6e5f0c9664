"""Connector of the ERP Tryton: customers, invoices, credit memos and their application, periods and balances."""

from counterfoil.connectors.sdk import Connector, SystemConfig

from .connector import Tryton

STAMPS = "microseconds"
"""Precision of the time of the last change of a record."""


def connect(config: SystemConfig) -> Connector:
    """Build the connector. Raises Misconfigured."""
    return Tryton(config)
