"""Text form of a plan, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from counterfoil.change import stages
from counterfoil.change.bootstrap import ACTIVE_AT_START
from counterfoil.change.difference import DocumentChange
from counterfoil.change.plan_report import PlanReport
from counterfoil.change.plan_words import change_lines, impact_lines
from counterfoil.change.verdicts import AffectedRuns
from counterfoil.cli.output import say
from counterfoil.core.impact import Impact


class PlanApproval(msgspec.Struct, frozen=True, kw_only=True):
    """An approval of a plan, in the part of the server's answer that is printed."""

    id: str
    path: str
    state: str


def show(
    report: PlanReport | None, approvals: list[PlanApproval], places: dict[tuple[str, str], str]
) -> None:
    """Print a plan. `places`: `file:line` of documents by kind and name."""
    if report is None:
        say("Nothing changes: this is the active Release.")
        return
    say(f"plan {report.digest[:12]}: release {report.base[:12]} -> {report.revision[:12]}"
        + (" (was active before)" if report.rollback else ""))  # fmt: skip
    say("")
    show_differences(report.differences, places)
    _runs(report.runs)
    _impact(report.impact)
    for notice in report.calendar:
        say(f"\n{notice.effect.upper()}: {notice.message} (calendar {notice.calendar})")
    if ACTIVE_AT_START not in report.notes:
        _approvals(report, approvals)
        say("\n`apply` will:")
        for number, stage in enumerate(report.stages, start=1):
            say(f"  {number}. {stages.explain(stage)}")
    for note in report.notes:
        say(f"\nnote: {note}")


def show_differences(differences: Sequence[DocumentChange], places: dict[tuple[str, str], str]) -> None:
    if not differences:
        say("No change in meaning; only the notation differs.")
    for change in differences:
        sign = {"added": "+", "removed": "-", "changed": "~"}[change.change]
        place = places.get((change.kind, change.name), "")
        say(f"{sign} {change.kind} {change.name}  [{', '.join(change.classes)}]"
            + (" BREAKING" if change.breaking else "") + (f"  {place}" if place else ""))  # fmt: skip
        for line in change_lines(change):
            say(f"    {line}")


def _runs(groups: list[AffectedRuns]) -> None:
    say("\nUnfinished Runs:" if groups else "\nNo Run is unfinished.")
    for group in groups:
        why = f": {group.why}" if group.why else ""
        say(f"  {group.count:>6} {group.workflow} {group.verdict}{why}")


def _impact(impact: Impact | None) -> None:
    first, *more = impact_lines(impact)
    say(f"\n{first}")
    for line in more:
        say(f"  {line}")


def _approvals(report: PlanReport, approvals: list[PlanApproval]) -> None:
    if not report.approvals:
        say("\nNo approval is required.")
        return
    say(f"\nApprovals required by `{report.policy}`, until {report.expires:%Y-%m-%d %H:%M} UTC, not from "
        f"{report.requester}:")  # fmt: skip
    states = {(approval.path, approval.state == "open"): approval for approval in approvals}
    for required in report.approvals:
        approval = states.get((required.name, True)) or states.get((required.name, False))
        state = f" {approval.state} {approval.id}" if approval else ""
        could = f" (eligible: {', '.join(required.could)})" if required.could else " (no person is eligible)"
        say(f"  {required.quorum} of {' or '.join(required.roles)}{could}:{state}")
        for reason in required.because:
            say(f"      {reason}")
