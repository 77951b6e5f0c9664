"""The impact of a change: differences between two models over the same recorded traffic, as `replay` reports them.

Money is in integer minor units; `delta` is always new minus old. A group counts only differences. What both models do
alike is counted in `ImpactCounts.same` only.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

MAX_EXAMPLES = 5
"""Examples in each group: the first ones in the order of the traffic."""
MAX_MONEY_ROWS = 1_000
"""Rows of `money` in a report. `money_left_off` counts the others; `totals` include all of them."""


class ImpactCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Each receipt is counted once: receipts = same + changed + only_old + only_new + not_comparable."""

    receipts: int = 0
    """Replayed deliveries and declared events. Fetched bodies are not deliveries."""
    events: int = 0
    """Canonical events recorded for them."""
    runs: int = 0
    """Runs that they started, under either model."""
    same: int = 0
    """No difference, neither in events nor in their consequences."""
    changed: int = 0
    """Both models create events, with different results."""
    only_old: int = 0
    """Only the old model creates events."""
    only_new: int = 0
    not_comparable: int = 0
    """A look-up has no recorded answer; `Impact.not_comparable` gives the reasons."""
    shortcut: int = 0
    """The part of `same` that follows from equal document digests, without a replay."""


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. `old` and `new`: the differing fields by path. None: does not exist on that side."""

    receipt: int
    """Number of the receipt."""
    delivery: str
    """The delivery's id in its system."""
    event: str = ""
    run: str = ""
    key: str = ""
    """Business key of the event or Run."""
    old: dict[str, Any] | None = None
    new: dict[str, Any] | None = None


class GroupDifference(msgspec.Struct, frozen=True, kw_only=True):
    """The differences of one group: events of a type, effects of an operation, or foils of a rule."""

    name: str
    changed: int = 0
    only_old: int = 0
    only_new: int = 0
    fields: dict[str, int] = {}
    """Number of differences by field path, without list positions: `lines[].net`."""
    examples: tuple[Example, ...] = ()


class ApprovalDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Approvals with a different tier, or required by one model only."""

    policy: str
    old: str
    """The tier: `automatic`, or roles and quorum such as `controller x1`; "" if no approval is required."""
    new: str
    count: int
    examples: tuple[Example, ...] = ()


class PostingDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Differing money of effects that write to the ERP, by period, accounts and leg."""

    operation: str
    period: str
    """Name of the posting date's period, or `YYYY-MM` if the period is unknown; "" without a date."""
    accounts: str
    """Values under `account` in the request, sorted and joined by a comma."""
    leg: str
    """Field of the operation's input."""
    currency: str
    old: int = 0
    new: int = 0
    delta: int = 0
    old_count: int = 0
    new_count: int = 0


class MoneyDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Differing money. `source` is the operation or reconciliation, `leg` its field or leg. Sums over several
    sources may count the same money twice."""

    customer: str = ""
    legal_entity: str
    currency: str
    source: str
    leg: str
    old: int = 0
    new: int = 0
    delta: int = 0


class RunDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Runs with another end state: the business state, with `case:<reason>` if a person must act."""

    workflow: str
    old: str
    new: str
    count: int
    examples: tuple[Example, ...] = ()


class HeldDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries that one model holds for a person, by reason: `contract`, `mapping_failed`, ..."""

    reason: str
    old: int = 0
    new: int = 0
    examples: tuple[Example, ...] = ()


class NotComparable(msgspec.Struct, frozen=True, kw_only=True):
    """Look-ups without a recorded answer. The answer is never guessed: both sides leave out what depends on it."""

    reason: str
    count: int
    examples: tuple[Example, ...] = ()


class Impact(msgspec.Struct, frozen=True, kw_only=True):
    """The complete report."""

    old: str
    """Digest of the old model."""
    new: str
    since: datetime | None = None
    """Time at which the first replayed delivery was received."""
    until: datetime | None = None
    counts: ImpactCounts = ImpactCounts()
    events: tuple[GroupDifference, ...] = ()
    """By type."""
    effects: tuple[GroupDifference, ...] = ()
    """By operation. Requests count too: a changed table row that only affects the request appears here."""
    foils: tuple[GroupDifference, ...] = ()
    """By reconciliation."""
    approvals: tuple[ApprovalDifference, ...] = ()
    runs: tuple[RunDifference, ...] = ()
    held: tuple[HeldDifference, ...] = ()
    postings: tuple[PostingDifference, ...] = ()
    money: tuple[MoneyDifference, ...] = ()
    """By customer, the largest differences first."""
    money_left_off: int = 0
    totals: tuple[MoneyDifference, ...] = ()
    """Sums over all customers."""
    not_comparable: tuple[NotComparable, ...] = ()
    assumed: dict[str, int] = {}
    """Assumptions where nothing was recorded, with their number: an outcome, an approval's grant."""

    @property
    def nothing(self) -> bool:
        """True if nothing differs and everything was comparable."""
        c = self.counts
        return c.same == c.receipts
