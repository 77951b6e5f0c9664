"""Work without progress, by kind and by class of subject, with one Case for each."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from counterfoil.core.case import Case
from counterfoil.store.port.transition import Transition

KINDS = (
    "run_not_turned",
    "lease_expired",
    "run_lost",
    "effect_planned",
    "effect_sending",
    "effect_unknown",
    "todo_waiting",
    "todo_parked",
    "case_overdue",
    "foil_past_due",
    "serial_held",
    "serial_stranded",
    "leaf_pending",
    "sweep_waiting",
)
"""Every kind of stall that the progress scan looks for."""
MAX_SUBJECTS = 500
"""Subjects counted per kind."""
MAX_SCANNED_ROWS = 20_000
"""Rows read per kind, oldest first, where an index alone cannot select the stalled ones."""
MAX_EXAMPLES = 3
REOPEN_AFTER = timedelta(days=1)
"""Time after which a Case that was resolved while its cause stayed opens again."""


class StallLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Maximum duration of each kind of wait."""

    due: timedelta = timedelta(minutes=2)
    """A Run that is due without a turn, or that nothing will wake."""
    lease: timedelta = timedelta(minutes=1)
    """An expired lease on a Run that is due: a turn takes far too long, or its worker is gone."""
    planned: timedelta = timedelta(minutes=10)
    sending: timedelta = timedelta(minutes=1)
    """Past `call_until`."""
    unknown: timedelta = timedelta(minutes=30)
    """Past `conclude_at`, and no Case."""
    todo: timedelta = timedelta(minutes=10)
    foil: timedelta = timedelta(minutes=5)
    leaf: timedelta = timedelta(minutes=2)
    sweep: timedelta = timedelta(minutes=10)
    """A sweep that no worker reads. One that waits while another is being read is not stalled."""


class StalledGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Subjects of one kind and class that make no progress."""

    kind: str
    about: str
    """Their class, such as a workflow, system, rule or role."""
    count: int
    since: datetime
    """Of the oldest."""
    subjects: tuple[str, ...]
    """Ids of the oldest ones."""
    owner: str = ""
    """The role named by the oldest one; empty: the owner of the class."""


class StalledFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A finding of the latest scan, as stored."""

    stuck: StalledGroup
    first_at: datetime
    seen_at: datetime
    case: str | None


class RecordStalled(Transition[bool], frozen=True, kw_only=True):
    """Replace the findings of the previous scan. A scan older than the latest -> False, nothing written.

    A finding that lasts for `settle` opens its Case, once; a Case that a person resolved while its cause stayed opens
    again after a day. A finding that is gone loses its row, and its Case is resolved by `progress`.
    """

    findings: tuple[StalledGroup, ...]
    cases: tuple[Case, ...]
    """One for each finding, opened where it has none."""
    settle: timedelta = timedelta(seconds=10)
    at: datetime
    actor: str


class StalledSubject(msgspec.Struct, frozen=True, kw_only=True):
    """One subject, before grouping."""

    kind: str
    about: str
    subject: str
    since: datetime
    owner: str = ""


def group_subjects(subjects: Iterable[StalledSubject]) -> list[StalledGroup]:
    """Group subjects by kind and class, in order of both."""
    groups: dict[tuple[str, str], list[StalledSubject]] = {}
    for subject in subjects:
        groups.setdefault((subject.kind, subject.about), []).append(subject)
    stalls = []
    for (kind, about), members in sorted(groups.items()):
        members.sort(key=lambda member: (member.since, member.subject))
        stalls.append(
            StalledGroup(
                kind=kind,
                about=about,
                count=len(members),
                since=members[0].since,
                subjects=tuple(member.subject for member in members[:MAX_EXAMPLES]),
                owner=members[0].owner,
            )
        )
    return stalls


def needs_case(case: Case | None, first_at: datetime, scan: RecordStalled) -> bool:
    """Report whether a finding needs a Case now. `case` is the one that it has."""
    if case is None:
        return scan.at - first_at >= scan.settle
    return case.resolved_at is not None and scan.at - case.resolved_at >= REOPEN_AFTER
