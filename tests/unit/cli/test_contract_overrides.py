"""`contracts diff --overrides`: accepted changes and severities, each with a reason and a last day."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.cli.conftest import API, WIDER

RULE = "response-enum-value-added"
WHY = {"reason": "all readers were asked", "until": "2099-01-31"}
OVER = {"reason": "for a month", "until": "2020-01-31"}
OUTSIDE = json.loads(json.dumps(API).replace('"b": {}', '"b": {"$ref": "https://example.com/b.json"}'))


def test_severities_of_rules_replace_the_profile(diff: Any) -> None:
    assert diff(API, WIDER, overrides={"severities": {RULE: {"severity": "warn", **WHY}}}).code == 0
    removed = {"response-enum-value-removed": {"severity": "break", **WHY}}
    assert diff(WIDER, API, overrides={"severities": removed}).code == 1


def test_a_stated_severity_settles_an_undecided_change(diff: Any) -> None:
    renamed = {**OUTSIDE, "info": {"title": "Other", "version": "1"}}
    (row,) = json.loads(diff(OUTSIDE, renamed, "--format", "json").out)["changes"]
    for severity, code in (("warn", 0), ("break", 1)):
        stated = {"severities": {row["rule"]: {"severity": severity, **WHY}}}
        result = diff(OUTSIDE, renamed, "--undecided=break", overrides=stated)
        assert (result.code, "0 undecided" in result.out) == (code, True)


def test_changes_are_accepted_by_fingerprint_or_by_rule_and_place(diff: Any) -> None:
    (row,) = json.loads(diff(API, WIDER, "--format", "json").out)["changes"]
    for entry in (
        {"fingerprint": row["fingerprint"]},
        {"rule": RULE, "where": "/components/schemas/T/*"},
        {"rule": RULE},
    ):
        result = diff(API, WIDER, overrides={"accept": [{**entry, **WHY}]})
        assert (result.code, "1 accepted" in result.out, result.err) == (0, True, "")
    assert (
        diff(API, WIDER, overrides={"accept": [{"rule": RULE, "where": "/components/?chemas/*", **WHY}]}).code
        == 1
    )


def test_an_accepted_change_has_its_reason_in_json(diff: Any) -> None:
    output = json.loads(
        diff(API, WIDER, "--format", "json", overrides={"accept": [{"rule": RULE, **WHY}]}).out
    )
    assert output["changes"][0]["accepted"] == WHY["reason"]
    assert output["groups"][0]["accepted"] == 1
    assert output["overrides"] == {"expired": [], "unused": []}


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({"accept": [{"rule": RULE, **OVER}]}, RULE),
        ({"accept": [{"rule": RULE, "where": "/components/*", **OVER}]}, f"{RULE} at /components/*"),
        ({"severities": {RULE: {"severity": "warn", **OVER}}}, f"severity of {RULE}"),
    ],
)
def test_an_expired_entry_counts_no_more_and_is_named(diff: Any, entry: Any, name: str) -> None:
    result = diff(API, WIDER, overrides=entry)
    assert result.code == 1
    assert f"expired: {name} ended on 2020-01-31: for a month" in result.err
    output = json.loads(diff(API, WIDER, "--format", "json", overrides=entry).out)
    assert output["overrides"] == {"expired": [f"{name} ended on 2020-01-31: for a month"], "unused": []}
    assert "expired: " in diff(API, WIDER, "--format", "markdown", overrides=entry).out


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({"accept": [{"rule": "path-removed", **WHY}]}, "path-removed"),
        ({"accept": [{"fingerprint": "0f5c2d6a7b81", **WHY}]}, "fingerprint 0f5c2d6a7b81"),
        ({"severities": {"path-removed": {"severity": "warn", **WHY}}}, "severity of path-removed"),
    ],
)
def test_an_entry_that_matches_no_change_is_named(diff: Any, entry: Any, name: str) -> None:
    result = diff(API, WIDER, overrides=entry)
    assert result.code == 1
    assert f"unused: {name}" in result.err
    output = json.loads(diff(API, WIDER, "--format", "json", overrides=entry).out)
    assert output["overrides"] == {"expired": [], "unused": [name]}


def test_the_last_day_of_an_entry_counts() -> None:
    from datetime import date

    from counterfoil.contracts.overrides import read_overrides
    from counterfoil.contracts.report import Change

    change = Change(rule=RULE, where="/a", breaking=True, message="m")
    overrides = read_overrides({"accept": [{"rule": RULE, "reason": "r", "until": "2026-03-31"}]})
    assert overrides.judge(change, date(2026, 3, 31)).accepted == "r"
    assert overrides.judge(change, date(2026, 4, 1)).change.breaking


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"accept": [{"rule": "a", "reason": " ", "until": "2026-01-31"}]}, "state a reason"),
        ({"accept": [{"rule": "a", "reason": "r"}]}, "until"),
        ({"accept": [{"rule": "a", "until": "2026-01-31"}]}, "reason"),
        ({"accept": [{"rule": "a", "reason": "r", "until": "soon"}]}, "date"),
        ({"accept": [WHY]}, "a fingerprint or a rule"),
        ({"accept": [{"rule": "a", "fingerprint": "b", **WHY}]}, "a fingerprint or a rule"),
        ({"accept": [{"fingerprint": "b", "where": "/a", **WHY}]}, "remove `where`"),
        ({"severity": {}}, "severity"),
        ({"severities": {"a": "warn"}}, "object"),
        ({"severities": {"a": {"severity": "ignore", **WHY}}}, "ignore"),
        ({"severities": {"a": {"severity": "warn", "until": "2026-01-31"}}}, "reason"),
        ({"severities": {"a": {"severity": "warn", "reason": "", "until": "2026-01-31"}}}, "state a reason"),
        ({"severities": {"a": {"severity": "warn", "reason": "r"}}}, "until"),
        ([], "object"),
    ],
)
def test_malformed_overrides_end_with_2_and_one_sentence(diff: Any, overrides: Any, says: str) -> None:
    result = diff(API, API, overrides=overrides)
    assert (result.code, says in result.err, len(result.err.strip().splitlines())) == (2, True, 1)
