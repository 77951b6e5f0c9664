"""Text form of a plan, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from counterfoil.change import stages
from counterfoil.change.difference import DocumentChange
from counterfoil.change.plan_report import PlanReport
from counterfoil.change.verdicts import AffectedRuns
from counterfoil.cli.output import say
from counterfoil.core.impact import Impact, MoneyDifference, PostingDifference
from counterfoil.core.plural import counted

MAX_DETAILS = 12
"""Printed details, and printed rows, of one document."""


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
        for detail in change.details[:MAX_DETAILS]:
            say(f"    {detail.message}" + (" BREAKING" if detail.breaking else ""))
        if len(change.details) > MAX_DETAILS:
            say(f"    and {len(change.details) - MAX_DETAILS} more")
        for row in change.rows[:MAX_DETAILS]:
            say(f"    row {'/'.join(row.key)} {row.change}: {row.old} -> {row.new} ({row.standing})")
        if len(change.rows) > MAX_DETAILS:
            say(f"    and {counted(len(change.rows) - MAX_DETAILS, 'more row')}")
        for user in change.affects:
            if user.broken:
                say(f"    breaks {user.kind} {user.name}: it {user.how}"
                    + (", and changes too" if user.follows else ""))  # fmt: skip


def _runs(groups: list[AffectedRuns]) -> None:
    say("\nUnfinished Runs:" if groups else "\nNo Run is unfinished.")
    for group in groups:
        why = f": {group.why}" if group.why else ""
        say(f"  {group.count:>6} {group.workflow} {group.verdict}{why}")


def _impact(impact: Impact | None) -> None:
    if impact is None:
        say("\nNo recorded traffic was replayed.")
        return
    counts = impact.counts
    say(f"\nReplayed {counted(counts.receipts, 'delivery', 'deliveries')}: {counts.same} the same, {counts.changed} changed, "
        f"{counts.only_old} only before, {counts.only_new} only after, "
        f"{counts.not_comparable} not comparable")  # fmt: skip
    for word, groups in (("event", impact.events), ("effect", impact.effects), ("foil", impact.foils)):
        for group in groups:
            fields = ", ".join(group.fields)
            say(f"  {word} {group.name}: {group.changed} changed, {group.only_old} removed, "
                f"{group.only_new} new" + (f" ({fields})" if fields else ""))  # fmt: skip
    for tier in impact.approvals:
        say(
            f"  approval {tier.policy}: {tier.old or 'none'} -> {tier.new or 'none'}, {counted(tier.count, 'time')}"
        )
    for posting in impact.postings:
        _money(posting, posting.operation, posting.period)
    for total in impact.totals:
        _money(total, total.source, total.legal_entity)


def _money(money: PostingDifference | MoneyDifference, what: str, where: str) -> None:
    say(f"  money {what} {money.leg} {where}: {money.old} -> {money.new} minor units "
        f"{money.currency} ({money.delta:+})")  # fmt: skip


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
