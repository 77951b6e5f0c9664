"""The schema of an operation's output, where the caller may not read personal data."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from counterfoil.core.personal_texts import MASKED
from counterfoil.web.api.operations_openapi import maskable

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "x-pii": True},
        "mail": {"type": "string", "format": "email", "maxLength": 5},
        "born": {"type": "string", "x-type": "date", "format": "date"},
        "wage": {"type": "object", "x-type": "money", "properties": {"minor": {"type": "integer"}}},
        "phones": {"type": "array", "items": {"type": "integer"}},
        "card": {"type": "object", "properties": {"last": {"enum": ["a"]}, "kind": {"type": "string"}}},
        "lines": {"type": "array", "items": {"type": "object", "properties": {"payer": {"type": "integer"}}}},
        "number": {"type": "integer"},
    },
}
MARKS: dict[str, Any] = dict.fromkeys(("name", "mail", "born", "wage", "phones", "card")) | {
    "lines": {"payer": None}
}
MASKED_VALUES = [
    {"name": MASKED}, {"mail": MASKED}, {"born": None}, {"born": MASKED}, {"wage": None}, {"phones": [None, None]},
    {"card": {"last": MASKED, "kind": MASKED}}, {"lines": [{"payer": None}]},
]  # fmt: skip


@pytest.mark.parametrize("value", MASKED_VALUES, ids=str)
def test_a_masked_value_fits_the_described_output(value: dict[str, Any]) -> None:
    assert jsonschema_rs.is_valid(maskable(SCHEMA, MARKS), value)


def test_a_field_that_is_not_marked_is_described_as_it_was() -> None:
    described = maskable(SCHEMA, MARKS)
    assert described["properties"]["number"] == {"type": "integer"}
    assert not jsonschema_rs.is_valid(described, {"number": None})
    assert not jsonschema_rs.is_valid(described, {"phones": ["x"]})
    assert maskable(SCHEMA, {}) == SCHEMA
