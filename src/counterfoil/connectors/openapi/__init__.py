"""Connector for any HTTP system with an OpenAPI document, by configuration alone.

docs/how-to/write-a-connector.md says when this is enough, and when to write a connector.
"""

from counterfoil.connectors.openapi.connector import connect

__all__ = ["connect"]
