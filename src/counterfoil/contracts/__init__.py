"""Comparison of contracts by meaning: JSON Schemas, OpenAPI and AsyncAPI descriptions."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterfoil.contracts.asyncapi import compare_asyncapi
    from counterfoil.contracts.jsonschema.comparison import compare_json_schema
    from counterfoil.contracts.openapi import compare_openapi

__all__ = ["compare_asyncapi", "compare_json_schema", "compare_openapi"]

_MODULES = {
    "compare_asyncapi": "counterfoil.contracts.asyncapi",
    "compare_json_schema": "counterfoil.contracts.jsonschema.comparison",
    "compare_openapi": "counterfoil.contracts.openapi",
}


def __getattr__(name: str) -> Any:
    """Import a comparison when it is used first: every process reads `versions`, and few compare descriptions."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
