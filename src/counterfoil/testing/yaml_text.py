"""A document of kind test as YAML, as a person would write it: short values on one line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

_MAX_LINE_CHARACTERS = 110
_PLAIN = re.compile(
    r"[A-Za-z][\w./@+-]*(?: [\w./@+-]+)*|-?[0-9][0-9,]*\.[0-9]+ [A-Z]{3}|\d{4}-\d\d-\d\d(?:T[\d:.]+Z)?|\d+[smhd]"
)
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "inf", "nan"})


def yaml_text(document: Mapping[str, Any]) -> str:
    """Return the text of a document."""
    return "\n".join(_block(document, "")) + "\n"


def _block(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _entry(f"{indent}{_scalar(key)}:", part, indent + "  ")
        return
    for part in value:
        flow = _flow(part)
        if not isinstance(part, dict | list) or len(indent) + 2 + len(flow) <= _MAX_LINE_CHARACTERS:
            yield f"{indent}- {flow}"
            continue
        first, *rest = _block(part, f"{indent}  ")
        yield f"{indent}- {first.strip()}"
        yield from rest


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    flow = _flow(value)
    is_list_of_mappings = isinstance(value, list) and any(isinstance(part, dict) for part in value)
    if not isinstance(value, dict | list) or (
        len(head) + 1 + len(flow) <= _MAX_LINE_CHARACTERS and not is_list_of_mappings
    ):
        yield f"{head} {flow}"
        return
    yield head
    yield from _block(value, indent)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is None:
        return "=null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return str(value)
    text = str(value)
    if text.startswith("="):
        text = "=" + json.dumps(text, ensure_ascii=False)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)
