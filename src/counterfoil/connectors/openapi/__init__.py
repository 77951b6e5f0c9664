"""Any HTTP system that an OpenAPI document describes, by configuration alone.

docs/how-to/write-a-connector.md says when this is enough and when a connector of its own is better.
"""

from counterfoil.connectors.openapi.connector import connect

__all__ = ["connect"]
