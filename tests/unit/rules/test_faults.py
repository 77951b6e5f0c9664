"""Every fault of an input is told at its place, and no value is repeated."""

from __future__ import annotations

from counterfoil.model.fields import object_schema
from counterfoil.rules.contract import faults

SCHEMA = object_schema({"amount": "money", "reason": "string", "a/b~c?": "int", "note?": "string"})


def test_every_fault_has_its_pointer() -> None:
    given = {"amount": {"minor": "12", "currency": "usd", "rate": 1}, "a/b~c": "x", "who": "me", "why": "so"}
    assert [(f.pointer, f.detail) for f in sorted(faults(given, SCHEMA), key=lambda f: f.pointer)] == [
        ("#/amount/currency", 'the value does not match "^[A-Z]{3}$"'),
        ("#/amount/minor", 'the value is not of type "integer"'),
        ("#/amount/rate", "is not a part of the contract"),
        ("#/a~1b~0c", 'the value is not of type "integer"'),
        ("#/reason", '"reason" is a required property'),
        ("#/who", "is not a part of the contract"),
        ("#/why", "is not a part of the contract"),
    ]


def test_what_is_no_object_is_one_fault_at_the_root() -> None:
    assert [f.pointer for f in faults([1], SCHEMA)] == ["#"]
    assert faults({"amount": {"minor": 1, "currency": "USD"}, "reason": "r"}, SCHEMA) == []
