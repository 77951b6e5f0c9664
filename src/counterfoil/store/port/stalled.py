"""What makes no progress, as the port tells it: by kind and by class of subject, with one Case for each."""

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
)
"""Every kind of stuckness that is looked for."""
MOST = 500
"""Subjects of one kind that are counted."""
WINDOW = 20_000
"""Rows of one kind that are looked at, the oldest first, where an index alone cannot tell the stuck."""
EXAMPLES = 3
ASK_AGAIN = timedelta(days=1)
"""A Case that was resolved while its cause stayed is opened anew after so long."""


class StallLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How long each may last before it is called stuck."""

    due: timedelta = timedelta(minutes=2)
    """A Run that is due and not turned, or that nothing will wake."""
    lease: timedelta = timedelta(minutes=1)
    """A lease past its end on a Run that is due: a turn took far too long, or its worker has gone."""
    planned: timedelta = timedelta(minutes=10)
    sending: timedelta = timedelta(minutes=1)
    """Past `call_until`."""
    unknown: timedelta = timedelta(minutes=30)
    """Past `conclude_at`, and no Case."""
    todo: timedelta = timedelta(minutes=10)
    foil: timedelta = timedelta(minutes=5)
    leaf: timedelta = timedelta(minutes=2)


class Stalled(msgspec.Struct, frozen=True, kw_only=True):
    """Subjects of one kind and class that make no progress."""

    kind: str
    about: str
    """Their class: a workflow, a system, a rule, a role, or what else they have in common."""
    count: int
    since: datetime
    """Of the oldest."""
    subjects: tuple[str, ...]
    """The oldest few."""
    owner: str = ""
    """The role that the oldest names itself; empty: whoever owns the class."""


class StalledFinding(msgspec.Struct, frozen=True, kw_only=True):
    """What the latest scan found, as it is kept."""

    stuck: Stalled
    first_at: datetime
    seen_at: datetime
    case: str | None


class RecordStalled(Transition[bool], frozen=True, kw_only=True):
    """Replace the findings of the previous scan. A scan older than the latest -> False, nothing written.

    A finding that lasts for `settle` opens its Case, once; a Case that a person resolved while its cause stayed opens
    again after a day. A finding that is gone loses its row, and its Case is resolved by `progress`.
    """

    found: tuple[Stalled, ...]
    cases: tuple[Case, ...]
    """One for each found, opened where it has none."""
    settle: timedelta = timedelta(seconds=10)
    at: datetime
    actor: str


class StalledSubject(msgspec.Struct, frozen=True, kw_only=True):
    """One subject, before they are put together."""

    kind: str
    about: str
    subject: str
    since: datetime
    owner: str = ""


def together(seen: Iterable[StalledSubject]) -> list[Stalled]:
    """Subjects by kind and class, in order of both."""
    groups: dict[tuple[str, str], list[StalledSubject]] = {}
    for each in seen:
        groups.setdefault((each.kind, each.about), []).append(each)
    found = []
    for (kind, about), members in sorted(groups.items()):
        members.sort(key=lambda each: (each.since, each.subject))
        found.append(
            Stalled(
                kind=kind,
                about=about,
                count=len(members),
                since=members[0].since,
                subjects=tuple(each.subject for each in members[:EXAMPLES]),
                owner=members[0].owner,
            )
        )
    return found


def opens(case: Case | None, first_at: datetime, tell: RecordStalled) -> bool:
    """Whether what was found again needs a Case now. `case` is the one that it had."""
    if case is None:
        return tell.at - first_at >= tell.settle
    return case.resolved_at is not None and tell.at - case.resolved_at >= ASK_AGAIN
