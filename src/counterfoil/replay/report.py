"""What a replay through two models says: counts, and the differences in groups, with a few examples of each.

Plain values that `to_dict` makes JSON of. Money is integer minor units; `delta` is always new less old. A group
counts only what differs: what both models do alike is counted in `Counts.same` and nowhere else.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

EXAMPLES = 5
"""Examples kept of each group: the first ones in the order of the traffic."""
ROWS = 1_000
"""Rows of money that are shown; `money_left_off` counts the others, `totals` hold them all."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Each receipt is counted once: receipts = same + changed + only_old + only_new + not_comparable."""

    receipts: int = 0
    """Deliveries and declared events that were replayed; what an admission fetched is no delivery."""
    events: int = 0
    """Canonical events that were recorded for them."""
    runs: int = 0
    """Runs that they began, under either model."""
    same: int = 0
    """Nothing differs: neither an event nor anything that follows from one."""
    changed: int = 0
    """Both models do something, and not the same."""
    only_old: int = 0
    """The old model makes events of it, the new one none."""
    only_new: int = 0
    not_comparable: int = 0
    """Something was asked that nobody recorded; `Impact.not_comparable` says what."""
    shortcut: int = 0
    """Of `same`: told by the digests of what it would have run through, without running it."""


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. `old` and `new` hold the fields that differ, by their path; None: there is none at all."""

    receipt: int
    """Its number."""
    delivery: str
    """Its id in its system."""
    event: str = ""
    run: str = ""
    key: str = ""
    """Business key of the event or Run."""
    old: dict[str, Any] | None = None
    new: dict[str, Any] | None = None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What differs among things of one kind: events of a type, effects of an operation, foils of a rule."""

    name: str
    changed: int = 0
    only_old: int = 0
    only_new: int = 0
    fields: dict[str, int] = {}
    """How often each field differs, by its path; list positions are left out: `lines[].net`."""
    examples: tuple[Example, ...] = ()


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """Approvals that are asked for by another tier, or by one model alone."""

    policy: str
    old: str
    """The tier: `automatic`, or roles and quorum as `controller x1`; "" where nothing is asked."""
    new: str
    count: int
    examples: tuple[Example, ...] = ()


class Posting(msgspec.Struct, frozen=True, kw_only=True):
    """Money of effects that write to the ERP, where it differs: by period, accounts and leg."""

    operation: str
    period: str
    """The period of the posting date, by its name; without a known one `YYYY-MM`; "" without a date."""
    accounts: str
    """What stands under `account` in the request, sorted and joined by a comma."""
    leg: str
    """Field of the operation's input."""
    currency: str
    old: int = 0
    new: int = 0
    delta: int = 0
    old_count: int = 0
    new_count: int = 0


class Amount(msgspec.Struct, frozen=True, kw_only=True):
    """Money that differs. `source` is the operation or reconciliation, `leg` its field or leg: sums over one
    source count nothing twice, sums over several do."""

    customer: str = ""
    legal_entity: str
    currency: str
    source: str
    leg: str
    old: int = 0
    new: int = 0
    delta: int = 0


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that come to stand elsewhere: the business state, with `case:<reason>` where a person is needed."""

    workflow: str
    old: str
    new: str
    count: int
    examples: tuple[Example, ...] = ()


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries that are held for a person under one model, by the reason: `contract`, `mapping_failed`, ..."""

    reason: str
    old: int = 0
    new: int = 0
    examples: tuple[Example, ...] = ()


class NotComparable(msgspec.Struct, frozen=True, kw_only=True):
    """What a model asks that nobody recorded. Never guessed: what follows is left out on both sides."""

    reason: str
    count: int
    examples: tuple[Example, ...] = ()


class Impact(msgspec.Struct, frozen=True, kw_only=True):
    """The whole difference."""

    old: str
    """Digest of the old model."""
    new: str
    since: datetime | None = None
    """When the first replayed delivery was received."""
    until: datetime | None = None
    counts: Counts = Counts()
    events: tuple[Difference, ...] = ()
    """By type."""
    effects: tuple[Difference, ...] = ()
    """By operation; requests count, so a table's row that only the request shows is here."""
    foils: tuple[Difference, ...] = ()
    """By reconciliation."""
    approvals: tuple[Decided, ...] = ()
    runs: tuple[Ended, ...] = ()
    held: tuple[Held, ...] = ()
    postings: tuple[Posting, ...] = ()
    money: tuple[Amount, ...] = ()
    """By customer, the largest differences first."""
    money_left_off: int = 0
    totals: tuple[Amount, ...] = ()
    """The same over all customers."""
    not_comparable: tuple[NotComparable, ...] = ()
    assumed: dict[str, int] = {}
    """What was taken as given where nothing was recorded, and how often: an outcome, an approval's grant."""

    @property
    def nothing(self) -> bool:
        """Nothing differs and everything could be compared."""
        c = self.counts
        return c.same == c.receipts


def to_dict(impact: Impact) -> dict[str, Any]:
    """As plain JSON values."""
    made = msgspec.to_builtins(impact)
    assert isinstance(made, dict)
    return made
