"""Report for a terminal: the summary, then a block for each operation, path and component."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from counterfoil.cli.contract_reports.changes import MAX_NAMES, example_text, shorten
from counterfoil.cli.contract_reports.groups import GroupFinding, groups
from counterfoil.cli.contract_reports.summary import Comparison, count_text, rules, totals

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
MAX_USERS = 3
"""Limit of operations that are named where there are too many to list."""


def text(comparison: Comparison) -> Iterator[str]:
    """Yield the lines, the most severe blocks first.

    Control characters of a description are escaped: they could hide a line, or be a command to a pipeline.
    """
    for line in _lines(comparison):
        yield _CONTROL.sub(lambda match: repr(match[0])[1:-1], line)


def _lines(comparison: Comparison) -> Iterator[str]:
    yield totals(comparison)
    table = rules(comparison)
    if table:
        yield f"{'changes':>8}  {'breaking':>8}  rule"
    for rule, count, breaking in table:
        yield f"{count:>8}  {breaking or '':>8}  {rule}"
    for group in groups(comparison.rows):
        yield ""
        yield f"{group.title}: {count_text(group.counts)}"
        if group.used_by:
            yield f"  used by {_users(group.used_by)}"
        for finding in group.findings:
            yield from _finding(finding, several=comparison.direction == "full")


def _users(operations: list[str]) -> str:
    if len(operations) <= MAX_NAMES:
        return ", ".join(operations)
    return f"{len(operations)} operations, such as {', '.join(operations[:MAX_USERS])}"


def _finding(finding: GroupFinding, *, several: bool) -> Iterator[str]:
    first = finding.folded.first
    direction = f" [{finding.folded.changes[0].way}]" if several else ""
    places = [place for place in finding.inside if place]
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    at = f"  {places[0]}{more}" if places else ""
    users = f"  ({first.users} places)" if first.users > 1 else ""
    yield f"  {finding.folded.severity:<9}  {first.rule}{direction}{at}{users}"
    yield f"             {finding.message}"
    if first.example is not msgspec.UNSET and first.breaking:
        yield f"             example: {example_text(first.example)}"
    if finding.elsewhere:
        yield f"             also in {shorten(finding.elsewhere)}"
