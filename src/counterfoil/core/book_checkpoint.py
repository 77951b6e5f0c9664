"""Checkpoints of the books: what two systems differ by at a cut-off, counted twice, prepared and signed by two persons.

Each total is counted from our documents and from the systems' own books, as sweeps have listed them. Our rows cannot prove
themselves, so a difference between both ways of counting is a defect, and no such checkpoint can be signed.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any

import msgspec

from counterfoil.core import ids
from counterfoil.core.document import Side
from counterfoil.core.number_series import NumberSeries


class CheckpointState(StrEnum):
    PREPARED = "prepared"
    SIGNED = "signed"
    SUPERSEDED = "superseded"  # another checkpoint at the same cut-off took its place


class BookReading(msgspec.Struct, frozen=True, kw_only=True):
    """The sweep by which a book was read."""

    system: str
    book: str
    sweep: str
    began: datetime
    ended: datetime
    listed: int
    """Records."""


class CountDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A document that counts otherwise in our rows than in its system's book. Amounts are minor units."""

    side: Side
    document: str
    ours: int | None
    """None: our rows do not count it."""
    book: int | None
    """None: the book does not count it."""


class CheckpointLine(msgspec.Struct, frozen=True, kw_only=True):
    """The identity in one currency, counted twice. All amounts are minor units."""

    currency: str
    opening: int
    signed_opening: int | None = None
    """Closing difference that the last checkpoint was signed with. None: there is none."""
    asserted: int
    observed: int
    closing: int
    columns: dict[str, int]
    """As those of `core.roll_forward`."""
    balanced: bool
    """Both ways to the closing difference agree."""
    left_total: int
    """Total of our rows on the left up to the cut-off, opening included; provisional documents are in no book."""
    right_total: int
    left_book: int | None
    """Total of the books of the left system. None: no book of it lists what it asserts."""
    right_book: int | None
    taken_over: int = 0
    """Documents that count in the books as in our rows: they changed while a book was read, or no book has them."""
    late: int = 0
    """Documents that our rows count and that came after the books were read."""
    differing: int
    """Documents that count otherwise in a book."""
    differences: tuple[CountDifference, ...] = ()
    """The first of them."""

    @property
    def agrees(self) -> bool:
        """True if both ways of counting come to the same."""
        return self.balanced and not self.differing

    @property
    def opening_changed(self) -> bool:
        """True if the period does not begin with what the last one was signed with."""
        return self.signed_opening is not None and self.signed_opening != self.opening


class PartLine(msgspec.Struct, frozen=True, kw_only=True):
    """One amount of a divided leg, such as the base or the tax of a tax code, on both sides. Minor units of `currency`."""

    leg: str
    """`taxes[DE-19].base`."""
    currency: str
    asserted: int
    observed: int


class SeriesLine(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of one series on one side."""

    side: Side
    numbers: NumberSeries


class ControlLine(msgspec.Struct, frozen=True, kw_only=True):
    """The balance of a control account and what it must equal, in one currency. Minor units."""

    account: str
    """Its name on file, such as `receivables`."""
    currency: str
    balance: int
    """Debit less credit up to the cut-off, as the ledger has it."""
    documents: int
    """The same from our rows, which are the standing documents of its system; or the balance that the other system has."""
    signed_difference: int | None = None
    """Difference that the last checkpoint was signed with. None: there is none."""

    @property
    def difference(self) -> int:
        """Amount that the account has beyond the documents: journals by hand, payments, or what is older than our rows."""
        return self.balance - self.documents

    @property
    def agrees(self) -> bool:
        """True if the account has nothing beyond the documents, or no more than was signed before."""
        return self.difference in (0, self.signed_difference)


class CheckpointContent(msgspec.Struct, frozen=True, kw_only=True):
    """Content of a checkpoint, which its signature is about."""

    rule: str
    entity: str
    at: date
    """The cut-off: the last document date that counts."""
    known: datetime
    """Documents count as they were known then."""
    since: date | None
    """First day of the period, after the last signed checkpoint. None: everything is new."""
    lines: tuple[CheckpointLine, ...]
    parts: tuple[PartLine, ...] = ()
    series: tuple[SeriesLine, ...] = ()
    controls: tuple[ControlLine, ...] = ()
    unread: dict[str, str] = {}
    """Control accounts whose balance could not be read, with the reason."""
    readings: tuple[BookReading, ...] = ()
    stale: tuple[str, ...] = ()
    """Books that were read before the cut-off was over, or too long ago: `invoices of erp`."""
    held: int = 0
    """Listed records that wait for a decision about their admission, so that no way of counting has them."""
    dismissed: int = 0
    """Listed records that count nowhere because a person dismissed their Cases."""

    @property
    def stored(self) -> bytes:
        """The form in which it is stored, and of which the digest is."""
        return msgspec.json.encode(self)

    @property
    def obstacles(self) -> tuple[str, ...]:
        """Reasons for which it cannot be signed; empty if there is none."""
        obstacles = [
            f"{line.currency}: {line.differing} documents count otherwise in the system's own book"
            for line in self.lines
            if line.differing
        ]
        obstacles += [
            f"{line.currency}: documents came after the books were read ({line.late}); read the books again"
            for line in self.lines
            if line.late
        ]
        obstacles += [
            f"{line.currency}: the items do not add up to the closing difference"
            for line in self.lines
            if not line.balanced
        ]
        obstacles += [
            f"{line.currency}: an earlier period has changed since it was signed; sign that cut-off again first"
            for line in self.lines
            if line.opening_changed
        ]
        obstacles += [
            f"{book} was read too early for this cut-off; read the books again" for book in self.stale
        ]
        if self.held:
            obstacles.append(f"{self.held} listed records wait for a decision about their admission")
        obstacles += [
            f"the balance of {account} could not be read: {reason}" for account, reason in self.unread.items()
        ]
        return tuple(obstacles)

    @property
    def unexplained(self) -> tuple[ControlLine, ...]:
        """Control accounts that have something beyond the documents, which the signature must explain."""
        return tuple(line for line in self.controls if not line.agrees)


def defect_case_id(checkpoint: str) -> str:
    """Return the id of the Case about a checkpoint whose two ways of counting differ."""
    return ids.derive("case", "checkpoint_defect", checkpoint)


def control_case_id(checkpoint: str) -> str:
    """Return the id of the Case about control accounts that have something beyond the documents."""
    return ids.derive("case", "control_difference", checkpoint)


class BookCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One checkpoint of a reconciliation, legal entity and cut-off. At most one is prepared, and at most one signed."""

    id: str
    rule: str
    entity: str
    at: str
    """The cut-off as an ISO date, by which rows are compared."""
    known: datetime
    digest: str
    """Of its content."""
    content: bytes
    state: CheckpointState = CheckpointState.PREPARED
    prepared_at: datetime
    prepared_by: str
    signed_at: datetime | None = None
    signed_by: str = ""
    note: str = ""
    """Text of the person who signed."""
    reported: datetime
    """Changes that were known up to here have had their Case."""
    change_case: str = ""
    """The last Case about changes."""

    @property
    def body(self) -> CheckpointContent:
        return msgspec.json.decode(self.content, type=CheckpointContent)

    @property
    def leaf_body(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "entity": self.entity,
            "at": self.at,
            "known": self.known.isoformat(),
            "digest": self.digest,
            "prepared_by": self.prepared_by,
            "signed_by": self.signed_by,
        }
