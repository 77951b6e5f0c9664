"""Report as annotations of a GitHub workflow, each at its line of the revision.

Syntax and escapes: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands, and
`packages/core/src/command.ts` of https://github.com/actions/toolkit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from counterfoil.cli.contract_reports.changes import JudgedChange, Severity, example_text
from counterfoil.cli.contract_reports.groups import groups
from counterfoil.cli.contract_reports.summary import Comparison, totals

_LEVELS: dict[Severity, str] = {
    "breaking": "error",
    "undecided": "warning",
    "accepted": "notice",
    "other": "notice",
}


def github(comparison: Comparison, file: str, line_of: Callable[[JudgedChange], int]) -> Iterator[str]:
    """Yield one command for each finding, the most severe first: a step shows ten of each level.

    `file` is the revision's; without it the annotations have no place.
    """
    for group in groups(comparison.rows):
        for finding in group.findings:
            severity, first = finding.folded.severity, finding.folded.first
            level = _LEVELS[severity]
            if severity == "undecided" and comparison.undecided_breaks:
                level = "error"
            lines = [f"{group.title}: {finding.message}"]
            if first.example is not msgspec.UNSET and first.breaking:
                lines.append(f"example: {example_text(first.example)}")
            if finding.elsewhere:
                lines.append(f"also in {', '.join(finding.elsewhere)}")
            at = f"title={_property(first.rule)}"
            if file:
                at = f"file={_property(file)},line={line_of(finding.folded.changes[0])},{at}"
            yield f"::{level} {at}::{_data(chr(10).join(lines))}"
    yield _data(totals(comparison))


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
