"""Verdicts on small pairs of descriptions taken from public fault reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from counterfoil.contracts import compare_json_schema, compare_openapi
from counterfoil.contracts.load import binary, load
from counterfoil.contracts.report import Report

PAIRS = Path(__file__).parents[3] / "../shared/inputs/contracts"
EXPECTED = PAIRS / "expected.json"
VERDICTS: dict[str, str] = json.loads(EXPECTED.read_text()) if EXPECTED.is_file() else {}
OPEN = "open by the specification"
"""Both verdicts are right for such a pair."""


def report(case: str) -> Report:
    old, new = (load(PAIRS / f"{case}.{side}.yaml") for side in ("base", "rev"))
    if "openapi" in old:
        return compare_openapi(old, new)
    return compare_json_schema(binary(old), binary(new))


def verdict(changes: Report) -> str:
    if changes.breaking:
        return "breaking"
    return "compatible" if all(change.decided for change in changes.changes) else "undecided"


@pytest.mark.skipif(not VERDICTS, reason="the published pairs are not beside this checkout")
def test_each_pair_gives_its_verdict() -> None:
    verdicts = {case: verdict(report(case)) for case in VERDICTS}
    wrong: dict[str, Any] = {
        case: (got, VERDICTS[case])
        for case, got in verdicts.items()
        if got != VERDICTS[case] and VERDICTS[case] != OPEN
    }
    assert not wrong
    assert "undecided" not in verdicts.values()
