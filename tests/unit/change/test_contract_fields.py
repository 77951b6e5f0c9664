"""Fields of contracts compared: what the comparison of schemas calls breaking, the fields do too."""

from __future__ import annotations

import random
from typing import Any

import pytest

from counterfoil.change.contract_fields import contract_changes
from counterfoil.contracts import compare_json_schema
from counterfoil.model.fields import field_schema, object_schema
from counterfoil.model.kinds import FieldSpec

TYPES = ["string", "id", "int", "decimal", "bool", "money", "date", "timestamp", "any", "[string]", "[money]"]


def field(draw: random.Random, depth: int = 1) -> Any:
    match draw.randrange(6):
        case 0 if depth:
            return FieldSpec(type="object", fields=fields(draw, depth - 1))
        case 1 if depth:
            return FieldSpec(type="list", fields=fields(draw, depth - 1))
        case 2:
            return FieldSpec(enum=draw.sample(["a", "b", "c"], draw.randint(1, 3)))
    return draw.choice(TYPES)


def fields(draw: random.Random, depth: int = 1) -> dict[str, Any]:
    names = draw.sample(["a", "b", "c", "d"], draw.randint(1, 3))
    return {name + draw.choice(["", "?"]): field(draw, depth) for name in names}


def opened(schema: Any) -> Any:
    """Return the schema as a reader accepts it: unnamed fields may have any value."""
    if isinstance(schema, dict):
        if schema.get("x-type") == "money":
            return schema
        return {key: opened(part) for key, part in schema.items() if key != "additionalProperties"}
    return [opened(part) for part in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize("seed", range(12))
def test_no_break_that_the_comparison_of_schemas_finds_is_missed(seed: int) -> None:
    draw = random.Random(seed)
    broken = 0
    for _ in range(12):
        before = fields(draw)
        after = {**before, **fields(draw)} if draw.random() < 0.5 else fields(draw)
        names = {name.removesuffix("?"): name for name in after}
        old, new = object_schema(before), object_schema({full: after[full] for full in names.values()})
        changes = list(contract_changes(old, new))
        if compare_json_schema(opened(old), opened(new), direction="forward").breaking:
            broken += 1
            assert any(change.breaks_readers for change in changes), (before, after)
        if compare_json_schema(old, new, direction="backward").breaking:
            assert any(change.breaks_writers for change in changes), (before, after)
    assert broken


@pytest.mark.parametrize(
    ("before", "after", "readers", "writers"),
    [
        ("decimal", "int", False, True),
        ("int", "decimal", True, False),
        ("string", "id", False, True),
        ("id", "string", True, False),
        ("any", "money", False, True),
        ("money", "any", True, False),
        ("date", "timestamp", True, True),
        ("string", "date", True, True),
        ("string", "[string]", True, True),
    ],
)
def test_a_type_breaks_readers_when_it_widens_and_writers_when_it_narrows(
    before: str, after: str, readers: bool, writers: bool
) -> None:
    (changes,) = contract_changes(field_schema(before), field_schema(after), "amount")
    assert (changes.rule, changes.breaks_readers, changes.breaks_writers) == (
        "type-changed",
        readers,
        writers,
    )


def test_values_break_readers_when_added_and_writers_when_removed() -> None:
    old, new = ({"r": FieldSpec(enum=values)} for values in (["a", "b"], ["b", "c"]))
    changes = contract_changes(object_schema(old), object_schema(new))
    assert {(c.rule, c.old, c.new, c.breaks_readers, c.breaks_writers) for c in changes} == {
        ("value-removed", "a", None, False, True),
        ("value-added", None, "c", True, False),
    }


def test_a_field_inside_a_list_is_reported_by_its_path() -> None:
    old = {"lines": FieldSpec(type="list", fields={"net": "money", "tax": "money"})}
    new = {"lines": FieldSpec(type="list", fields={"net": "money", "tax?": "money"})}
    (changes,) = contract_changes(object_schema(old), object_schema(new))
    assert (changes.field, changes.rule, changes.absent) == ("lines.tax", "field-optional", True)
