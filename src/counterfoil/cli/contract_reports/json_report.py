"""Report as JSON: every change, and the groups of the text report."""

from __future__ import annotations

from typing import Any

import msgspec

from counterfoil.cli.contract_reports.changes import SEVERITIES, JudgedChange, distinct
from counterfoil.cli.contract_reports.groups import Group, groups, place_of
from counterfoil.cli.contract_reports.summary import Comparison


def json_report(comparison: Comparison) -> dict[str, Any]:
    """Return the object that `--format json` prints."""
    return {
        "kind": comparison.kind, "profile": comparison.profile, "direction": comparison.direction,
        "breaking": comparison.breaking, "undecided": comparison.undecided,
        "changes": [_change(item) for item in comparison.rows],
        "groups": [_group(group) for group in groups(comparison.rows)],
        "overrides": {"expired": comparison.expired, "unused": comparison.unused},
    }  # fmt: skip


def _change(item: JudgedChange) -> dict[str, Any]:
    change = item.change
    row = {
        "rule": change.rule, "where": change.where, "direction": item.way, "breaking": change.breaking,
        "decided": change.decided, "users": change.users, "used_by": list(change.used_by), "message": change.message,
        "fingerprint": change.fingerprint,
    }  # fmt: skip
    if item.accepted:
        row["accepted"] = item.accepted
    if change.example is not msgspec.UNSET:
        row["example"] = change.example
    return row


def _group(group: Group) -> dict[str, Any]:
    return {
        "kind": group.place.kind, "name": group.place.name, "used_by": group.used_by,
        **{severity: group.counts[severity] for severity in SEVERITIES},
        "findings": [
            {
                "severity": finding.folded.severity,
                "rule": finding.folded.first.rule,
                "message": finding.message,
                "in": distinct(place_of(item).title for item in finding.folded.changes),
                "fingerprints": distinct(item.change.fingerprint for item in finding.folded.changes),
            }
            for finding in group.findings
        ],
    }  # fmt: skip
