"""The page about contracts lists every rule of descriptions with the verdict that the table of rules gives it."""

from __future__ import annotations

import re
import textwrap

from counterfoil.contracts.openapi.reads import operation_uses
from counterfoil.contracts.openapi.rules import COUNTS, RULES, SCHEMA_KINDS
from counterfoil.json_or_yaml import parse
from tests.source import ROOT

PAGE = (ROOT / "docs/reference/contracts.md").read_text("utf-8")


def test_every_kind_of_change_of_a_schema_is_listed() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| (\w+) \| (.+) \|$", PAGE, re.M)
    assert [(name, (sent, got), meaning) for name, sent, got, meaning in rows if name in SCHEMA_KINDS] == [
        (name, verdicts, meaning) for name, (verdicts, meaning) in SCHEMA_KINDS.items()
    ]


def test_every_other_rule_is_listed() -> None:
    of_schemas = {f"{side}-{kind}" for side in ("request", "response") for kind in SCHEMA_KINDS}
    part = PAGE.partition("### Changes of everything else")[2]
    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| ([^|]+) \|$", part, re.M)
    assert rows == [
        (rule.name, rule.verdict, rule.meaning) for rule in RULES.values() if rule.name not in of_schemas
    ]


def test_the_profiles_are_listed_as_they_count() -> None:
    rows = re.findall(r"^\| (\w+) \| (breaking|no) \| (breaking|no) \| (breaking|no) \|", PAGE, re.M)
    assert {verdict: counted for verdict, *counted in rows} == {
        verdict: [
            "breaking" if profile in profiles else "no" for profile in ("strict", "standard", "consumer")
        ]
        for verdict, profiles in COUNTS.items()
    }


def test_the_declarations_that_pages_show_can_be_read() -> None:
    for page in ("how-to/judge-a-new-api-description.md", "reference/contracts.md"):
        text = (ROOT / "docs" / page).read_text("utf-8")
        shown = [
            textwrap.dedent(block)
            for block in re.findall(r"^ *```yaml\n(.+?)^ *```$", text, re.M | re.S)
            if "operations:" in block
        ]
        assert shown
        for block in shown:
            assert operation_uses(parse(block.encode()))
