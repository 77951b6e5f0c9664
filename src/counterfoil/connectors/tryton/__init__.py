"""Connector of the ERP Tryton: customers, invoices, credit memos and their application, periods and balances."""

from counterfoil.connectors.sdk import Connector, SystemConfig

from .connector import Tryton


def connect(config: SystemConfig) -> Connector:
    """Build the connector. Raises Misconfigured."""
    return Tryton(config)
