"""The descriptions of `contract_vs_parse` are large, always the same, and have the planted changes."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date

from bench.contracts import RESOURCES, changed, description
from counterfoil.contracts import compare_openapi


def test_the_descriptions_have_seven_megabytes() -> None:
    assert 6.5e6 < len(json.dumps(description(), separators=(",", ":"))) < 8e6


def test_every_planted_change_is_found_once() -> None:
    base = description(150)
    assert base == description(150)
    rules = Counter(
        change.rule for change in compare_openapi(base, changed(base), today=date(2026, 1, 1)).changes
    )
    assert rules == {
        "response-optional-property-removed": 3,
        "response-enum-value-added": 3,
        "request-form-field-removed": 3,
    }
    assert RESOURCES > 150
