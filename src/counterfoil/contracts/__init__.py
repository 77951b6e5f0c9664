"""What may change in a contract: JSON Schema and descriptions of APIs, compared by meaning."""

from counterfoil.contracts.json_schema import compare_json_schema

__all__ = ["compare_json_schema"]
