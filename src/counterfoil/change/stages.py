"""The stages of a plan as data: what `apply` does, in this order. One reader does them, another explains them."""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class CheckBase(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="check_base"):
    """Refused when something else came into force since."""

    base: str


class CheckCalendar(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="check_calendar"):
    """Refused on days on which the calendars in force say so."""


class RequireApprovals(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="require_approvals"):
    """Refused while one is missing."""

    approvals: tuple[str, ...]
    """Their ids."""


class TryConnectors(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="try_connectors"):
    """Build the connectors of new and changed systems, and let go of them again: what cannot be built here is found
    before anything is in force."""

    systems: tuple[str, ...]


class MakeRelease(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="make_release"):
    """The one transaction: base and approvals are looked at once more, and the revision is in force."""

    revision: str


class TakeUp(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="take_up"):
    """This process takes the Release up at once, others within a second."""


class MoveRuns(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="move_runs"):
    """Move what may be moved to the Release; who is pinned stays."""

    workflows: tuple[str, ...]


class Watch(msgspec.Struct, frozen=True, kw_only=True, tag_field="stage", tag="watch"):
    """Say what to look at afterwards."""

    workflows: tuple[str, ...]


Stage: TypeAlias = (
    CheckBase | CheckCalendar | RequireApprovals | TryConnectors | MakeRelease | TakeUp | MoveRuns | Watch
)


def explain(stage: Stage) -> str:
    """A stage in one sentence, for people."""
    match stage:
        case CheckBase(base=base):
            return f"Check that {base[:12]} is still in force."
        case CheckCalendar():
            return "Check that no calendar refuses changes of this sort on that day."
        case RequireApprovals(approvals=approvals):
            return f"Wait for {len(approvals)} approval{'s' if len(approvals) != 1 else ''}."
        case TryConnectors(systems=systems):
            return f"Build the connectors of {', '.join(systems)} to see that they can be built."
        case MakeRelease(revision=revision):
            return f"Put {revision[:12]} in force, in one transaction with its history."
        case TakeUp():
            return "Have the running processes take it up: new and changed connectors are built, old ones closed once idle."
        case MoveRuns(workflows=workflows):
            return f"Move the Runs of {', '.join(workflows)} that may be moved; the others end under their own Release."
        case Watch(workflows=workflows):
            of = f" of {', '.join(workflows)}" if workflows else ""
            return f"Look at the Cases{of} for a while: `counterfoil cases`."
