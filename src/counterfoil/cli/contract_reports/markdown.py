"""Report as a Markdown page for a review: the summary, then a part for each operation, path and component."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from counterfoil.cli.contract_reports.changes import MAX_NAMES, example_text, shorten
from counterfoil.cli.contract_reports.groups import GroupFinding, groups
from counterfoil.cli.contract_reports.summary import Comparison, count_text, rules, totals

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and marks that turn the direction of the text around."""
_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>|#&~$"})


def markdown(comparison: Comparison) -> Iterator[str]:
    """Yield the lines, the most severe parts first."""
    yield from ("# Changes of the contract", "", f"**{totals(comparison)}**", "")
    table = rules(comparison)
    if table:
        yield from ("| rule | changes | breaking |", "|---|---:|---:|")
        yield from (f"| `{rule}` | {count} | {breaking} |" for rule, count, breaking in table)
        yield ""
    for note in comparison.notes:
        yield f"- {plain(note)}"
    if comparison.notes:
        yield ""
    for group in groups(comparison.rows):
        yield from (f"## {plain(group.title)}", "", count_text(group.counts), "")
        yield from _users(group.used_by)
        for finding in group.findings:
            yield from _item(finding, several=comparison.direction == "full")
        yield ""


def _users(operations: list[str]) -> Iterator[str]:
    """Yield the operations that use a component; a long list can be opened."""
    listed = ", ".join(code(operation) for operation in operations)
    if len(operations) > MAX_NAMES:
        yield from (f"<details><summary>used by {len(operations)} operations</summary>", "", listed, "")
        yield from ("</details>", "")
    elif operations:
        yield from (f"used by {listed}", "")


def _item(finding: GroupFinding, *, several: bool) -> Iterator[str]:
    first = finding.folded.first
    direction = f" ({finding.folded.changes[0].way})" if several else ""
    yield f"- {finding.folded.severity}: **{first.rule}**{direction}: {plain(finding.message)}"
    places = [code(place) for place in finding.inside if place]
    if places:
        yield f"  - at {shorten(places)}"
    if first.example is not msgspec.UNSET and first.breaking:
        yield f"  - example: {code(example_text(first.example))}"
    if finding.elsewhere:
        yield f"  - also in {', '.join(code(title) for title in finding.elsewhere)}"


def code(value: str) -> str:
    """Return a text as code. A backtick would end it."""
    return f"`{_visible(value).replace('`', chr(39))}`"


def plain(value: str) -> str:
    """Return a text in which no character is a mark of Markdown or HTML."""
    return _visible(value).translate(_SPECIAL)


def _visible(value: str) -> str:
    """Return a text on one line, without characters that a reader cannot see."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", " ".join(value.split()))
