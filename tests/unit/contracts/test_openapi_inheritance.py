"""Components that are made of others by `allOf`: facts that move between them, and facts that the whole loses."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.unit.contracts.test_openapi import TEXT, breaking, compare, gets, sends

BASE: dict[str, Any] = {"type": "object", "properties": {"id": TEXT}}
OWN: dict[str, Any] = {"type": "object", "properties": {"note": TEXT}}


def description(base: Any, own: Any, *, place: Any = gets, use_base: bool = False) -> dict[str, Any]:
    """A description of `Order`, which is made of `Document` and its own schema."""
    order = {"allOf": [{"$ref": "#/components/schemas/Document"}, own]}
    used = {"$ref": "#/components/schemas/Order"}
    if use_base:
        used = {"type": "object", "properties": {"a": used, "b": {"$ref": "#/components/schemas/Document"}}}
    return {**place(used), "components": {"schemas": {"Document": base, "Order": order}}}


def having(schema: Any, **facts: Any) -> Any:
    changed = copy.deepcopy(schema)
    changed["properties"].update(facts.pop("properties", {}))
    changed.update(facts)
    return changed


FACTS = [
    {"properties": {"total": TEXT}},
    {"properties": {"total": TEXT}, "required": ["total"]},
    {"required": ["id"]},
    {"properties": {"state": {"enum": ["open", "paid"]}}},
    {"maxProperties": 5},
]


@pytest.mark.parametrize("place", [gets, sends])
@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_that_moves_between_a_component_and_its_part_breaks_nothing(fact: Any, place: Any) -> None:
    in_base = description(having(BASE, **fact), OWN, place=place)
    in_child = description(BASE, having(OWN, **fact), place=place)
    for old, new in ((in_base, in_child), (in_child, in_base)):
        for profile in ("strict", "standard", "consumer"):
            assert breaking(compare(old, new, profile)) == []


def test_a_fact_that_a_part_loses_breaks_those_who_use_the_part_itself() -> None:
    fact = FACTS[1]
    old = description(having(BASE, **fact), OWN, use_base=True)
    new = description(BASE, having(OWN, **fact), use_base=True)
    report = compare(old, new)
    assert [(change.rule, change.where) for change in report.changes if change.breaking] == [
        ("response-property-removed", "/components/schemas/Document/properties/total")
    ]


def test_a_fact_that_another_component_does_not_restore_is_lost() -> None:
    def with_second(document: dict[str, Any]) -> dict[str, Any]:
        schemas = document["components"]["schemas"]
        schemas["Quote"] = {"allOf": [{"$ref": "#/components/schemas/Document"}]}
        schemas["Order"]["allOf"][1]["properties"]["quote"] = {"$ref": "#/components/schemas/Quote"}
        return document

    old = with_second(description(having(BASE, **FACTS[0]), copy.deepcopy(OWN)))
    new = with_second(description(BASE, having(OWN, **FACTS[0])))
    report = compare(old, new)
    assert breaking(report) == ["response-optional-property-removed"]


def test_a_property_that_leaves_a_part_and_is_required_by_the_whole_breaks_every_consumer() -> None:
    own = having(OWN, required=["total"])
    old, new = description(having(BASE, **FACTS[0]), own), description(BASE, own)
    (change,) = [change for change in compare(old, new, "consumer").changes if change.breaking]
    assert (change.rule, change.where) == (
        "response-property-removed",
        "/components/schemas/Order/properties/total",
    )


def test_a_fact_that_is_written_differently_where_it_moves_still_breaks() -> None:
    old = description(having(BASE, properties={"total": TEXT}), OWN)
    new = description(BASE, having(OWN, properties={"total": {"type": "integer"}}))
    assert compare(old, new).breaking
