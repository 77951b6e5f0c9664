"""Verdicts of other tools on pairs of OpenAPI descriptions."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from counterfoil.contracts import compare_openapi
from counterfoil.contracts.load import load
from counterfoil.contracts.report import Profile

SUITE = Path(__file__).parents[3] / "../shared/suites/openapi_breaking"
TODAY = date(2026, 3, 1)

OTHERWISE: dict[str, tuple[Profile, str]] = {
    "oasdiff:check_request_parameter_deprecation:TestBreaking_ParameterDeprecationWithoutSunsetWithPolicy": (
        "strict",
        "the same two files are compatible without a policy that asks for a date of removal",
    ),
    "openapi-diff:SchemaDiffTest:addPropertyHandlingTest": (
        "consumer",
        "an optional property of an answer is gone: it breaks those who rely on it",
    ),
    "openapi-diff:SchemaBCTest:changedButCompatible": (
        "consumer",
        "optional properties of answers are gone: it breaks those who rely on them",
    ),
    "openapi-diff:SchemaBCTest:requestPropsPutIncreased": (
        "consumer",
        "optional properties of answers are gone: it breaks those who rely on them",
    ),
}
"""Agreed verdicts that the default profile does not give: the profile that gives each, and why."""

PROVEN = {
    "oasdiff:check_breaking:TestBreaking_ModifyParameterPattern": (
        "the other tool does not compare patterns: a text that was accepted is refused now"
    ),
}
"""Agreed verdicts that an example refutes."""


def cases() -> list[Any]:
    files = sorted(SUITE.glob("*.jsonl")) if SUITE.is_dir() else []
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


CASES = [case for case in cases() if case["expected_breaking"] is not None]
CORE = [case for case in CASES if case["core"]]
pytestmark = pytest.mark.skipif(not CASES, reason="the suites are not beside this checkout")


def breaks(case: Any, profile: Profile = "standard") -> bool:
    old, new = load(SUITE / case["base"]), load(SUITE / case["revision"])
    return compare_openapi(old, new, profile, today=TODAY).breaking


def test_agreed_verdicts_are_met_by_the_default_profile_but_for_those_that_are_listed() -> None:
    wrong = {case["case_id"] for case in CORE if breaks(case) != case["expected_breaking"]}
    assert wrong == {*OTHERWISE, *PROVEN}
    assert len(wrong) <= 0.03 * len(CORE)


@pytest.mark.parametrize(
    "case", [case for case in CORE if case["case_id"] in OTHERWISE], ids=lambda c: c["case_id"]
)
def test_the_other_agreed_verdicts_are_those_of_another_profile(case: Any) -> None:
    assert breaks(case, OTHERWISE[case["case_id"]][0]) == case["expected_breaking"]


def test_most_verdicts_of_one_source_alone_are_given_by_some_profile() -> None:
    alone = [case for case in CASES if not case["core"]]
    profiles: tuple[Profile, ...] = ("standard", "strict", "consumer")
    matching = sum(
        any(breaks(case, profile) == case["expected_breaking"] for profile in profiles) for case in alone
    )
    assert matching >= 0.85 * len(alone)
