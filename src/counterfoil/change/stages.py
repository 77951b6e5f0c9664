"""The stages of a plan as data, in the order in which `apply` executes them.

`build` lists them for a plan and `explain` describes them for people. `change.apply` executes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec


class CheckBase(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="check_base"):
    """Refuse if another Release became active since the plan was made."""

    base: str


class CheckCalendar(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="check_calendar"):
    """Refuse on days on which a calendar of the active Release forbids such changes."""


class RequireApprovals(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="require_approvals"):
    """Refuse while an approval is missing."""

    approvals: tuple[str, ...]
    """Names of the required approvals."""


class TryConnectors(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="try_connectors"):
    """Build the connectors of new and changed systems and close them again. An error shows before the Release
    becomes active."""

    systems: tuple[str, ...]


class MakeRelease(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="make_release"):
    """Check base and approvals again and make the revision active, in one transaction."""

    revision: str


class TakeUp(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="take_up"):
    """Load the Release in this process. Other processes load it within a second."""


class MoveRuns(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="move_runs"):
    """Move the Runs that can be moved to the Release. The other Runs stay pinned."""

    workflows: tuple[str, ...]


class Watch(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="watch"):
    """Report what to look at afterwards."""

    workflows: tuple[str, ...]


Stage: TypeAlias = (
    CheckBase | CheckCalendar | RequireApprovals | TryConnectors | MakeRelease | TakeUp | MoveRuns | Watch
)


def build(
    *,
    base: str,
    revision: str,
    approvals: Sequence[str],
    systems: Sequence[str],
    migrate: Sequence[str],
    watch: Sequence[str],
) -> list[Stage]:
    """Return the stages of a plan.

    `approvals`: names of the required approvals. `systems`: systems whose connectors must be built. `migrate`:
    workflows whose Runs move with the change. `watch`: changed workflows.
    """
    ordered: list[Stage] = [CheckBase(base=base), CheckCalendar()]
    if approvals:
        ordered.append(RequireApprovals(approvals=tuple(approvals)))
    if systems:
        ordered.append(TryConnectors(systems=tuple(systems)))
    ordered += [MakeRelease(revision=revision), TakeUp()]
    if migrate:
        ordered.append(MoveRuns(workflows=tuple(migrate)))
    ordered.append(Watch(workflows=tuple(watch)))
    return ordered


def explain(stage: Stage) -> str:
    """Return a sentence that describes a stage to a person."""
    match stage:
        case CheckBase(base=base):
            return f"Check that {base[:12]} is still active."
        case CheckCalendar():
            return "Check that no calendar forbids such a change on that day."
        case RequireApprovals(approvals=approvals):
            return f"Wait for {len(approvals)} approval{'s' if len(approvals) != 1 else ''}."
        case TryConnectors(systems=systems):
            return f"Test that the connectors of {', '.join(systems)} can be built."
        case MakeRelease(revision=revision):
            return f"Make {revision[:12]} active and record it in the history, in one transaction."
        case TakeUp():
            return "Load the Release in the running processes. New and changed connectors are built; old ones close when idle."
        case MoveRuns(workflows=workflows):
            return f"Move the Runs of {', '.join(workflows)} that can be moved. The other Runs end under their own Release."
        case Watch(workflows=workflows):
            of = f" of {', '.join(workflows)}" if workflows else ""
            return f"Watch the Cases{of} for a while: `counterfoil cases`."
