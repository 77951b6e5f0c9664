"""Every fault of an input is told at its place, and no value is repeated."""

from __future__ import annotations

from counterfoil.model.fields import object_schema
from counterfoil.rules.contract import faults
from counterfoil.rules.json_values import typed

SCHEMA = object_schema({"amount": "money", "reason": "string", "a/b~c?": "int", "note?": "string"})


def test_every_fault_has_its_pointer() -> None:
    value = {"amount": {"minor": "12", "currency": "usd", "rate": 1}, "a/b~c": "x", "who": "me", "why": "so"}
    assert [(f.pointer, f.detail) for f in sorted(faults(value, SCHEMA), key=lambda f: f.pointer)] == [
        ("#/amount/currency", 'the value does not match "^[A-Z]{3}$"'),
        ("#/amount/minor", 'the value is not of type "integer"'),
        ("#/amount/rate", "is not part of the contract"),
        ("#/a~1b~0c", 'the value is not of type "integer"'),
        ("#/reason", '"reason" is a required property'),
        ("#/who", "is not part of the contract"),
        ("#/why", "is not part of the contract"),
    ]


def test_what_has_the_form_of_an_amount_and_is_none_is_a_fault() -> None:
    schema = object_schema({"amounts": "[money]", "day": "date", "at?": "timestamp"})
    good = {
        "amounts": [{"minor": 1, "currency": "USD"}],
        "day": "2026-02-28",
        "at": "2026-02-28T12:00:00+01:00",
    }
    assert faults(typed(good, schema), schema) == []
    for amount in ({"minor": 1, "currency": "ZZZ"}, {"minor": 10**40, "currency": "USD"}):
        value = good | {"amounts": [*good["amounts"], amount]}
        assert [f.pointer for f in faults(typed(value, schema), schema)] == ["#/amounts/1"]
    for at in ("2026-12-31T23:59:60Z", "2026-02-28T12:00:00"):
        assert [f.pointer for f in faults(typed(good | {"at": at}, schema), schema)] == ["#/at"]


def test_what_is_no_object_is_one_fault_at_the_root() -> None:
    assert [f.pointer for f in faults([1], SCHEMA)] == ["#"]
    assert faults(typed({"amount": {"minor": 1, "currency": "USD"}, "reason": "r"}, SCHEMA), SCHEMA) == []
