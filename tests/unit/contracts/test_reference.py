"""The reference page names every rule of the comparison."""

from __future__ import annotations

import re
from pathlib import Path

from counterfoil.contracts.jsonschema.subjects import GROUPS, SUBJECTS
from counterfoil.contracts.jsonschema.values import SAMPLES
from tests.source import ROOT

PAGE = (Path(ROOT) / "docs/reference/contracts.md").read_text("utf-8")
SCHEMAS = PAGE[PAGE.index("## JSON Schema") :]


def test_every_rule_is_documented() -> None:
    documented = set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", SCHEMAS))
    assert {subject for subject, _, _ in GROUPS} <= SUBJECTS
    missing = {
        subject
        for subject in SUBJECTS | {"instance-refused", "undecided"}
        if subject not in documented and f"{subject}-changed" not in documented
    }
    assert missing == set()


def test_every_format_that_refuses_is_documented() -> None:
    assert [name for name in SAMPLES if f"`{name}`" not in SCHEMAS] == []
