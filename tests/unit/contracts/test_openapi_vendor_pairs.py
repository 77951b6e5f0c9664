"""Announced breaking changes of vendors are found, and each changed component is reported once."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from counterfoil.contracts import compare_openapi
from counterfoil.contracts.report import Change
from counterfoil.json_or_yaml import parse

SUITE = Path(__file__).parents[3] / "../shared/suites/vendor_pairs"
PAIRS = sorted(SUITE.glob("*/*")) if SUITE.is_dir() else []
pytestmark = pytest.mark.skipif(not PAIRS, reason="the suites are not beside this checkout")


def description(pair: Path, name: str) -> Any:
    return parse(gzip.decompress(next(pair.glob(f"{name}.*.gz")).read_bytes()))


def finds(change: Change, locator: Any) -> bool:
    """Return true if a change is at a locator: a component, its property, a path, or a field and value at a path."""
    place, *rest = locator["where"]
    if place.startswith("/") or " /" in place:
        return place in change.where and all(part in f"{change.where} {change.message}" for part in rest)
    if locator["kind"] == "schema removed":
        return change.where == f"/components/schemas/{place}"
    schema, _, name = place.rpartition(".")
    is_there = change.where.startswith(f"/components/schemas/{schema}/") and change.where.endswith(f"/{name}")
    return is_there and all(part in change.message for part in rest)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_announced_changes_are_found_where_they_show_and_nothing_floods(pair: Path) -> None:
    changes = compare_openapi(
        description(pair, "base"), description(pair, "revision"), today=date(2026, 3, 1)
    ).changes
    breaking = [change for change in changes if change.breaking]
    announced = json.loads((pair / "announced.json").read_text())["items"]
    locators = [locator for item in announced if item["confirmed"] for locator in item["locators"]]
    assert locators
    assert [each for each in locators if not any(finds(change, each) for change in breaking)] == []

    places = Counter((change.where, change.rule, change.message) for change in changes)
    assert max(places.values()) == 1
    count_by_place = Counter(change.where for change in changes)
    listed = sum(len(entries) for entries in json.loads((pair / "component_diff.json").read_text()).values())
    assert len(count_by_place) <= 2.5 * listed
