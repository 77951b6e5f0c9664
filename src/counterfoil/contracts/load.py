"""A contract's text to plain data: JSON, or YAML read as JSON would be. Bounded, and never from the network."""

from __future__ import annotations

import json
from typing import Any

import yaml  # type: ignore[import-untyped]

MAX_BYTES = 64 * 1024 * 1024
_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Unreadable(ValueError):
    """The text is no JSON and no YAML, or too much of it."""


class _Loader(_BASE):  # type: ignore[misc]
    """YAML whose dates stay texts: a contract is data that JSON could carry."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _BASE.yaml_implicit_resolvers.items()
}


def read_document(text: str) -> Any:
    """The value of a text. Raises Unreadable with the place of the fault."""
    if len(text) > MAX_BYTES:
        raise Unreadable(f"more than {MAX_BYTES // 1024 // 1024} MB")
    json_fault = ""
    if text.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(text)
        except RecursionError as error:
            raise Unreadable("nested too deep") from error
        except ValueError as error:
            json_fault = str(error)  # a flow mapping of YAML begins alike: it is tried as well
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Unreadable(f"not JSON: {json_fault}" if json_fault else f"not YAML: {error}") from error
