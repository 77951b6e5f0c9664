"""The impact of a change as lines of text, the same on a terminal and on the pages of approvers."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.change.difference import DocumentChange
from counterfoil.change.plan_report import PlanReport
from counterfoil.change.table_diff import RowChange
from counterfoil.core.impact import Impact, MoneyDifference, PostingDifference
from counterfoil.core.money import Money
from counterfoil.core.plural import counted

MAX_DETAILS = 12
"""Details, and rows, of one document that a text names."""
MAX_SUMMARY_CHANGES = 3
"""Documents that a summary names."""


def change_lines(change: DocumentChange) -> Iterator[str]:
    """Yield what changed in a document: `up_to is now 300; before it was 100`, its rows, and what it breaks."""
    for detail in change.details[:MAX_DETAILS]:
        yield detail.message + (" BREAKING" if detail.breaking else "")
    if len(change.details) > MAX_DETAILS:
        yield f"and {len(change.details) - MAX_DETAILS} more"
    for row in change.rows[:MAX_DETAILS]:
        yield _row_line(row)
    if len(change.rows) > MAX_DETAILS:
        yield f"and {counted(len(change.rows) - MAX_DETAILS, 'more row')}"
    for user in change.affects:
        if user.broken:
            also = ", and changes too" if user.follows else ""
            yield f"breaks {user.kind} {user.name}: it {user.how}{also}"


def _row_line(row: RowChange) -> str:
    """Return a changed row in words: `row US-CA, 7.5 is new: US-CA from 2027-01-01, not in force yet`."""
    change = {
        "added": f"is new: {row.new}",
        "removed": f"is removed; it was {row.old}",
        "changed": f"is now {row.new}; before it was {row.old}",
    }[row.change]
    if row.beside and row.old == row.new:
        change = f"has other {', '.join(row.beside)}"
    days = (f" from {row.begins}" if row.begins else "") + (f" to before {row.ends}" if row.ends else "")
    standing = {"later": ", not in force yet", "past": ", no longer in force"}.get(row.standing, "")
    table = f"{row.table}, " if row.table else ""
    return f"{table}row {', '.join(row.key)} {change}{days}{standing}"


def impact_lines(impact: Impact | None) -> Iterator[str]:
    """Yield what the replay of recorded traffic shows, its counts first, then groups and money."""
    if impact is None:
        yield "No recorded traffic was replayed."
        return
    counts = impact.counts
    yield (
        f"Replayed {counted(counts.receipts, 'delivery', 'deliveries')}: {counts.same} the same, {counts.changed} changed, "
        f"{counts.only_old} only before, {counts.only_new} only after, {counts.not_comparable} not comparable"
    )
    for word, groups in (("event", impact.events), ("effect", impact.effects), ("foil", impact.foils)):
        for group in groups:
            fields = ", ".join(group.fields)
            yield (
                f"{word} {group.name}: {group.changed} changed, {group.only_old} removed, {group.only_new} new"
                + (f" ({fields})" if fields else "")
            )
    for tier in impact.approvals:
        yield f"approval {tier.policy}: {tier.old or 'none'} -> {tier.new or 'none'}, {counted(tier.count, 'time')}"
    for posting in impact.postings:
        accounts = f"accounts {posting.accounts}" if posting.accounts else ""
        yield _money(posting, posting.operation, ", ".join(filter(None, (posting.period, accounts))))
    for total in impact.totals:
        yield _money(total, total.source, total.legal_entity)


def plan_summary(report: PlanReport) -> str:
    """Return the changes of a plan and their impact in one sentence, for a list."""
    changes = [_of_document(change) for change in report.differences[:MAX_SUMMARY_CHANGES]]
    more = len(report.differences) - len(changes)
    changes += [f"{more} more documents change"] if more > 0 else []
    if report.impact is not None:
        counts = report.impact.counts
        changes.append(f"{counts.receipts - counts.same} of {counts.receipts} replayed deliveries change")
    return "; ".join(changes) or "No change in meaning"


def _of_document(change: DocumentChange) -> str:
    lines = list(change_lines(change))
    text = f"{change.kind} {change.name} {f'is {change.change}' if not lines else lines[0]}"
    return f"{text} (and {len(lines) - 1} more)" if len(lines) > 1 else text


def _money(money: PostingDifference | MoneyDifference, what: str, where: str) -> str:
    def text(minor: int) -> str:
        amount = Money(minor, money.currency)
        return f"{amount.major():,f} {amount.currency}"

    sign = "+" if money.delta > 0 else ""
    return f"money {what} {money.leg} {where}: {text(money.old)} -> {text(money.new)} ({sign}{text(money.delta)})"
