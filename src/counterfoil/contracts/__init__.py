"""Comparison of contracts by meaning: JSON Schemas, OpenAPI and AsyncAPI descriptions."""

from counterfoil.contracts.asyncapi import compare_asyncapi
from counterfoil.contracts.jsonschema.comparison import compare_json_schema
from counterfoil.contracts.openapi import compare_openapi

__all__ = ["compare_asyncapi", "compare_json_schema", "compare_openapi"]
