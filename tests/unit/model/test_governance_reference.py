"""docs/reference/governance.md names every kind, every key of a kind, and every rule in the rule's own words."""

from __future__ import annotations

from pathlib import Path

from counterfoil.model.checks import EXPLANATIONS
from counterfoil.model.kinds import KINDS

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "governance.md"


def test_every_kind_is_documented_with_its_keys() -> None:
    rows: dict[str, str] = {}
    for line in REFERENCE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):  # the table of the kinds is the first one
            rows.setdefault(line.split("|")[1].strip(" `"), line.split("|")[2])
    shared = {"kind", "name", "owner", "doc"}
    missing = [
        f"{name}.{info.alias or field}"
        for name, kind in KINDS.items()
        for field, info in kind.model_fields.items()
        if field not in shared and name not in ("calendar", "control", "alert", "test", "pattern")
        if f"`{info.alias or field}`" not in rows[name]
    ]
    assert set(KINDS) <= set(rows)
    assert missing == []


def test_every_rule_is_documented_in_its_own_words() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    missing = [
        name
        for name, words in EXPLANATIONS.items()
        if f"| `{name}` | {words.replace('|', chr(92) + '|')} |" not in text
    ]
    assert missing == []
