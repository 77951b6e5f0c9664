"""Event types that the `type` of a mapping may name: a literal, or the constants of a formula."""

from __future__ import annotations

import re
from typing import Any

from counterfoil.model.template import is_formula

_CONSTANT = re.compile(r"'([^'\\]*)'|\"([^\"\\]*)\"")
EVENT_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\.v[1-9][0-9]*")


def emitted_types(value: Any) -> list[str]:
    """Return the event types; `=i.total < 0 ? 'credit.issued.v1' : 'invoice.finalized.v1'` has two."""
    if not isinstance(value, str):
        return []
    if not is_formula(value):
        return [value]
    constants = (match[1] or match[2] or "" for match in _CONSTANT.finditer(value))
    return list(dict.fromkeys(text for text in constants if EVENT_NAME.fullmatch(text)))
