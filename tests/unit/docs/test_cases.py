"""The catalogue of Case reasons holds every reason that the source uses, and the page on Cases shows it."""

from __future__ import annotations

import ast
import re
from datetime import timedelta
from pathlib import Path

import pytest

from counterfoil.core.case import Choice
from counterfoil.core.case_choices import LABELS
from counterfoil.core.case_reasons import (
    ANSWERED_BY_EVIDENCE,
    CATALOGUE,
    STALL_PREFIX,
    TOPICS,
    UNDO_PREFIX,
    CaseReason,
)
from counterfoil.core.cases import DEFAULT_NAMES, next_action
from counterfoil.core.errors import ErrorClass
from counterfoil.core.matching import FoilState
from counterfoil.model.checks.steps import OUTCOMES
from counterfoil.store.port.stalled import KINDS
from tests.source import PACKAGE, ROOT

PAGE = "docs/how-to/resolve-a-case.md"
WORD = re.compile(r"[a-z]+(?:_[a-z]+)*")
BUILT = {
    *(f"{UNDO_PREFIX}{outcome}" for outcome in {*ErrorClass, "unknown"} - {"already_done"}),
    *(f"{STALL_PREFIX}{kind}" for kind in KINDS),
    *(f"foil_{state}" for state in (FoilState.BROKEN, FoilState.OVER)),
    *(str(error_class) for error_class in ErrorClass),
    f"{UNDO_PREFIX}no_undo",
}
"""Reasons that the source puts together from other closed sets."""
PLACES = {
    "open_case": (0, 2),
    "_case": (2,),
    "HeldDelivery": (0,),
    "Rejection": (0,),
    "UnusableVersion": (0,),
    "NeedsPerson": (0,),
    "refuse": (1,),
}
"""Calls that name a reason, with its place: a decision's `open_case` has the step and its state before it."""


def literals(path: Path) -> set[str]:
    """Every word that stands as a text in a file."""
    return {
        node.value
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and WORD.fullmatch(node.value)
    }


def named_reasons(path: Path) -> set[str]:
    """The literal reasons of a file: of calls that open a Case, hold a delivery or refuse usage."""
    reasons = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for place in PLACES.get(name, ()):
            argument = node.args[place] if len(node.args) > place else None
            if isinstance(argument, ast.Constant) and WORD.fullmatch(str(argument.value)):
                reasons.add(str(argument.value))
    return reasons


def sources(*floors: str) -> list[Path]:
    folder = ROOT / "src" / PACKAGE
    return sorted(path for floor in floors or (".",) for path in (folder / floor).rglob("*.py"))


def test_every_reason_that_the_source_names_is_in_the_catalogue() -> None:
    named = {
        reason: path.name for path in sources("rules", "flow", "change") for reason in named_reasons(path)
    }
    assert {reason: file for reason, file in named.items() if reason not in CATALOGUE} == {}
    assert len(named) > 15


def test_every_outcome_of_a_step_is_in_the_catalogue() -> None:
    assert {outcome for outcomes in OUTCOMES.values() for outcome in outcomes} - set(CATALOGUE) == set()
    assert BUILT - set(CATALOGUE) == set()


def test_every_reason_of_the_catalogue_is_used() -> None:
    words = set().union(*(literals(path) for path in sources() if path.name != "case_reasons.py"))
    assert set(CATALOGUE) - words - BUILT == set()


def test_a_reason_that_nothing_uses_would_be_noticed(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text('open_case("planted_reason", id="x")\nother("no_reason")\n')
    assert named_reasons(planted) == {"planted_reason"}
    assert literals(planted) == {"planted_reason", "no_reason", "x"}


@pytest.mark.parametrize("row", CATALOGUE.values(), ids=CATALOGUE)
def test_every_row_tells_what_happened_and_what_to_do(row: CaseReason) -> None:
    assert row.title
    assert not row.title.endswith(".")
    assert next_action(row.reason)
    assert "{" not in next_action(row.reason)
    assert row.choices
    assert set(row.choices) <= set(LABELS)
    assert row.deadline > timedelta(0)


def test_every_placeholder_is_used() -> None:
    used = {name for row in CATALOGUE.values() for name in re.findall(r"{(\w+)}", row.next_action)}
    assert used == set(DEFAULT_NAMES)


def test_every_reason_stands_once_and_every_choice_has_a_label() -> None:
    assert sum(len(rows) for rows in TOPICS.values()) == len(CATALOGUE)
    assert set(LABELS) == set(Choice)
    assert set(ANSWERED_BY_EVIDENCE) <= set(CATALOGUE)


def span(deadline: timedelta) -> str:
    hours = deadline // timedelta(hours=1)
    return f"{hours // 24} d" if hours % 24 == 0 else f"{hours} h"


def table() -> str:
    """The tables of the page, one for each topic."""
    lines = []
    for topic, rows in TOPICS.items():
        lines += [
            f"### {topic}",
            "",
            "| reason | what happened | next action | choices | deadline |",
            "|---|---|---|---|---|",
        ]
        for row in rows:
            choices = ", ".join(row.choices)
            lines.append(
                f"| `{row.reason}` | {row.title} | {next_action(row.reason)} | {choices} | {span(row.deadline)} |"
            )
        lines.append("")
    return "\n".join(lines)


def test_the_page_shows_the_catalogue() -> None:
    page = (ROOT / PAGE).read_text("utf-8")
    assert table() in page, f"put this into {PAGE}:\n{table()}"


def test_the_reasons_of_refused_usage_are_in_the_catalogue() -> None:
    source = (ROOT / "src" / PACKAGE / "rules/usage.py").read_text("utf-8")
    reasons = set(re.findall(r'"(usage_\w+)"', source))
    assert reasons
    assert reasons - set(CATALOGUE) == set()
