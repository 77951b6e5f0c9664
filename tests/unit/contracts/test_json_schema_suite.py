"""Verdicts of other tools on pairs of JSON Schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from counterfoil.contracts import compare_json_schema

SUITE = Path(__file__).parents[3] / "../shared/suites/jsonschema_compat"

FORWARD_ALONE: dict[str, str] = {
    "apicurio:10:String: pattern 1": "`[a-z]*` is found in every string: nothing was ever refused",
    "apicurio:119-reversed:Complex: oneOf 3": "a short string is in both branches, so it was refused before",
}
"""Forward verdicts that meaning contradicts; an instance or a proof shows it."""


def cases() -> list[Any]:
    files = sorted(SUITE.glob("*.jsonl")) if SUITE.is_dir() else []
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


CASES = cases()


@pytest.mark.skipif(not CASES, reason="the suites are not beside this checkout")
def test_every_agreed_verdict_is_met_with_default_arguments() -> None:
    core = [case for case in CASES if case["core"]]
    wrong = [
        case["case_id"]
        for case in core
        if compare_json_schema(case["original"], case["update"]).breaking
        is case["expected_backward_compatible"]
    ]
    assert len(core) > 200
    assert wrong == []


@pytest.mark.skipif(not CASES, reason="the suites are not beside this checkout")
def test_forward_verdicts_are_met_but_for_those_that_meaning_contradicts() -> None:
    wrong = [
        case["case_id"]
        for case in CASES
        if case["core"]
        and "expected_forward_compatible" in case
        and compare_json_schema(case["original"], case["update"], "forward").breaking
        is case["expected_forward_compatible"]
    ]
    assert wrong == list(FORWARD_ALONE)


@pytest.mark.skipif(not CASES, reason="the suites are not beside this checkout")
@pytest.mark.parametrize("profile", ["standard", "strict"])
def test_everything_is_decided_and_every_example_holds(profile: Any) -> None:
    for case in CASES:
        report = compare_json_schema(case["original"], case["update"], profile=profile)
        drafts = {"7": jsonschema_rs.Draft7Validator, "4": jsonschema_rs.Draft4Validator}
        draft = drafts["4" if "draft-04" in case["dialect"] else "7"]
        for change in report.changes:
            assert change.decided, case["case_id"]
            if change.example is not msgspec.UNSET:
                try:
                    old, new = (draft(case[side], validate_formats=True) for side in ("original", "update"))
                except jsonschema_rs.ValidationError:
                    continue
                assert old.is_valid(change.example), case["case_id"]
                assert not new.is_valid(change.example), case["case_id"]
