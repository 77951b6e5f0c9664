"""Random pairs of schemas and random instances: no verdict is contradicted, and no example is wrong."""

from __future__ import annotations

from collections import Counter
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterfoil.contracts import compare_json_schema
from counterfoil.contracts.jsonschema.inclusion import included
from counterfoil.contracts.report import Change, Report
from tests.schemas.draws import SchemaCase, draw_case
from tests.schemas.judge import judge as judge_by_force

NAMES = st.sampled_from(["a", "b", "ab"])
SCALARS = st.sampled_from(
    [None, True, False, 0, 1, 2, 3, -1, 1.5, 6, "", "a", "b", "ab", "abc", "2024-02-29"]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
TYPES = ["string", "number", "integer", "object", "array", "boolean", "null"]
SMALL = st.integers(0, 3)
FLAT: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(TYPES) | st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True),
    "enum": st.lists(VALUES, min_size=1, max_size=3),
    "const": VALUES,
    "minimum": SMALL,
    "maximum": SMALL,
    "exclusiveMinimum": SMALL,
    "exclusiveMaximum": SMALL,
    "multipleOf": st.sampled_from([1, 2, 3, 0.5]),
    "minLength": SMALL,
    "maxLength": SMALL,
    "pattern": st.sampled_from(["^a", "b", "^[a-z]+$", "^.{2}$", r"\d", "^(a|b)*$"]),
    "format": st.sampled_from(["date", "email", "uri"]),
    "required": st.lists(NAMES, max_size=2, unique=True),
    "minProperties": SMALL,
    "maxProperties": SMALL,
    "dependentRequired": st.just({"a": ["b"]}),
    "minItems": SMALL,
    "maxItems": SMALL,
    "uniqueItems": st.just(True),
    "minContains": SMALL,
    "maxContains": SMALL,
}
NESTED = ["items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else",
          "unevaluatedProperties", "unevaluatedItems"]  # fmt: skip
LISTS = ["allOf", "anyOf", "oneOf", "prefixItems"]
MAPS = {
    "properties": NAMES,
    "dependentSchemas": NAMES,
    "patternProperties": st.sampled_from(["^a", "b", "."]),
}


@st.composite
def schemas(draw: st.DrawFn, depth: int = 0) -> Any:
    """One to three keywords, and inside of them further schemas, three levels deep."""
    if depth == 3 or draw(st.integers(0, 5)) == 0:
        return draw(
            st.sampled_from(
                [True, False, {"type": "string"}, {"type": "integer"}, {"const": 1}, {"minimum": 1}]
            )
        )
    inner = schemas(depth + 1)
    schema = {}
    for name in draw(st.lists(st.sampled_from([*FLAT, *NESTED, *LISTS, *MAPS]), min_size=1, max_size=3)):
        if name in FLAT:
            schema[name] = draw(FLAT[name])
        elif name in NESTED:
            schema[name] = draw(inner)
        elif name in LISTS:
            schema[name] = draw(st.lists(inner, min_size=1, max_size=3))
        else:
            schema[name] = {draw(MAPS[name]): draw(inner)}
    return schema


SCHEMAS = schemas()
LINKED = st.sampled_from([{"$ref": "#/$defs/tree"}, {"properties": {"a": {"$ref": "#/$defs/tree"}}}])


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Any, Any]:
    """Two schemas that mostly have something in common, with a recursive definition that may differ."""
    sides = []
    shared = draw(SCHEMAS)
    for _ in range(2):
        parts = [draw(st.just(shared) | SCHEMAS), *draw(st.lists(SCHEMAS | LINKED, max_size=1))]
        body = parts[0] if len(parts) == 1 and isinstance(parts[0], dict) else {"allOf": parts}
        tree = {"type": draw(st.sampled_from(["object", ["object", "null"], "array"])),
                "additionalProperties": {"$ref": "#/$defs/tree"},
                "minProperties": draw(st.integers(0, 1))}  # fmt: skip
        sides.append({**body, "$defs": {"tree": tree}})
    return sides[0], sides[1]


def judge(schema: Any) -> Any:
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


SETTINGS = settings(
    max_examples=180, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


@SETTINGS
@given(pairs(), st.lists(VALUES, min_size=5, max_size=12))
def test_included_is_never_contradicted_by_an_instance(pair: tuple[Any, Any], instances: list[Any]) -> None:
    narrow, wide = pair
    inclusion = included(narrow, wide, dialect="2020-12")
    one, other = judge(narrow), judge(wide)
    if inclusion.verdict == "yes":
        assert [value for value in instances if one.is_valid(value) and not other.is_valid(value)] == []
    elif inclusion.verdict == "no":
        assert inclusion.example is not msgspec.UNSET
        assert one.is_valid(inclusion.example)
        assert not other.is_valid(inclusion.example)


@SETTINGS
@given(pairs(), st.lists(VALUES, min_size=5, max_size=12), st.sampled_from(["backward", "forward", "full"]))
def test_every_example_holds_and_nothing_that_breaks_is_missed(
    pair: tuple[Any, Any], instances: list[Any], direction: Any
) -> None:
    old, new = pair
    report = compare_json_schema(old, new, direction, "strict", dialect="2020-12")
    one, other = judge(old), judge(new)

    def breaks(value: Any) -> bool:
        was, is_ = one.is_valid(value), other.is_valid(value)
        return (was and not is_ and direction != "forward") or (is_ and not was and direction != "backward")

    for change in report.changes:
        if change.example is not msgspec.UNSET:
            assert change.breaking
            assert breaks(change.example)
        elif change.breaking and change.rule != "content-changed":
            assert not change.decided
    if not report.breaking:
        assert [value for value in instances if breaks(value)] == []


@SETTINGS
@given(SCHEMAS)
def test_a_schema_has_no_changes_against_itself(schema: Any) -> None:
    assert compare_json_schema(schema, msgspec.json.decode(msgspec.json.encode(schema)), "full").changes == []


SLICE = 150
"""Pairs of one test; `make campaign` judges 50,000."""


@pytest.mark.parametrize("first", range(0, 4 * SLICE, SLICE))
def test_no_verdict_is_contradicted_by_any_instance_of_the_bounded_set(first: int) -> None:
    verdicts: Counter[str] = Counter()
    for seed in range(first, first + SLICE):
        case = draw_case(seed)
        judgement = judge_by_force(case, seed=seed)
        if judgement is not None:
            assert not judgement.faults, (seed, case)
            assert not judgement.unproven, (seed, case)
            verdicts[judgement.verdict] += 1
    assert verdicts["breaking"] > 0.1 * SLICE
    assert verdicts["compatible"] > 0.5 * SLICE
    assert verdicts["undecided"] < 0.05 * SLICE


@pytest.mark.parametrize(
    ("verdict", "has_faults", "is_unproven"),
    [
        (Report([]), True, False),
        (Report([Change(rule="r", where="", breaking=True, message="m", example="long")]), True, False),
        (Report([Change(rule="r", where="", breaking=True, message="m", example="ab")]), False, False),
        (Report([Change(rule="r", where="", breaking=False, message="m", decided=False)]), False, False),
    ],
)
def test_the_judge_finds_a_missed_break_and_a_wrong_example(
    verdict: Report, has_faults: bool, is_unproven: bool
) -> None:
    case = SchemaCase("7", "backward", {"maxLength": 2}, {"maxLength": 1})
    judgement = judge_by_force(case, compare=lambda *_: verdict)
    assert judgement is not None
    assert (bool(judgement.faults), judgement.unproven) == (has_faults, is_unproven)


def test_the_judge_finds_a_break_without_a_witness() -> None:
    broken = Report([Change(rule="r", where="", breaking=True, message="m")])
    case = SchemaCase("7", "backward", {"maxLength": 2}, {"maxLength": 3})
    judgement = judge_by_force(case, compare=lambda *_: broken)
    assert judgement is not None
    assert judgement.unproven
