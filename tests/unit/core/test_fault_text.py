"""Faults of shapes are words, for every kind of fault that the validation library reports."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import pytest

from counterfoil.core.case import Choice
from counterfoil.core.fault_text import fault_text


class Line(msgspec.Struct, forbid_unknown_fields=True):
    amount: Decimal
    note: str | None = None


class Document(msgspec.Struct, forbid_unknown_fields=True):
    party: str
    lines: list[Line] = []
    choice: Choice | None = None
    side: Literal["left", "right"] = "left"
    code: Annotated[str, msgspec.Meta(max_length=3)] = ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"party": 5}, "`party` must be text, not a whole number"),
        ({"party": None}, "`party` must be text, not nothing"),
        ({}, "`party` is missing"),
        ({"party": "x", "lines": [{}]}, "`lines[0].amount` is missing"),
        ({"party": "x", "colour": 1}, "there is no field `colour`"),
        ({"party": "x", "lines": [{"amount": "1", "x": 1}]}, "there is no field `lines[0].x`"),
        ({"party": "x", "lines": [{"amount": "1", "note": 1}]}, "`lines[0].note` must be text or nothing, not a whole number"),
        ({"party": "x", "lines": {}}, "`lines` must be a list, not an object"),
        ({"party": "x", "choice": "contnue"}, "`choice` cannot be 'contnue'"),
        ({"party": "x", "side": "up"}, "`side` cannot be 'up'"),
        ({"party": "x", "code": "abcd"}, "`code` does not fit"),
        ({"party": "x", "lines": [{"amount": "x"}]}, "`lines[0].amount` does not fit"),
        ([], "the value must be an object, not a list"),
    ],
)  # fmt: skip
def test_a_fault_is_said_in_words(value: Any, text: str) -> None:
    with pytest.raises(msgspec.ValidationError) as fault:
        msgspec.convert(value, Document)
    assert fault_text(fault.value) == text


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"nonsense"])
def test_a_body_that_is_no_json_is_called_so(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError) as fault:
        msgspec.json.decode(body, type=Document)
    assert fault_text(fault.value) == "it is not JSON"
