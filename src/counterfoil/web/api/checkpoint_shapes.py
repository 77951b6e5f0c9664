"""Answers about checkpoints of a reconciliation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from counterfoil.core.book_checkpoint import (
    BookCheckpoint,
    CheckpointLine,
    CheckpointState,
    ControlLine,
    PartLine,
    SeriesLine,
)
from counterfoil.core.document import divided_leg, number_of
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.money import Money
from counterfoil.flow.worker.checkpoint_changes import ChangeInside
from counterfoil.model import Model
from counterfoil.web.api import shapes


class DifferenceShape(msgspec.Struct, frozen=True, kw_only=True):
    """A document that counts otherwise in our rows than in its system's book."""

    side: Literal["left", "right"]
    document: str
    ours: shapes.Amount | None
    """None: our rows do not count it."""
    book: shapes.Amount | None
    """None: the book does not count it."""


class CountShape(msgspec.Struct, frozen=True, kw_only=True):
    """One side up to the cut-off, counted twice. Provisional documents are in neither."""

    system: str
    ours: shapes.Amount
    book: shapes.Amount | None
    """None: no book of the system lists what this side shows."""


class CheckpointLineShape(msgspec.Struct, frozen=True, kw_only=True):
    """opening + asserted - observed = closing = the sum of the items, in one currency."""

    currency: str
    opening: shapes.Amount
    signed_opening: shapes.Amount | None
    """Closing difference that the last checkpoint was signed with."""
    asserted: shapes.Amount
    observed: shapes.Amount
    closing: shapes.Amount
    items: dict[str, shapes.Amount]
    balanced: bool
    left: CountShape
    right: CountShape
    taken_over: int
    """Documents that count in the books as in our rows: they changed while a book was read, or no book has them."""
    late: int
    """Documents that our rows count and that came after the books were read."""
    differing: int
    """Documents that count otherwise in a book; `differences` has the first 100."""
    differences: list[DifferenceShape]


class PartShape(msgspec.Struct, frozen=True, kw_only=True):
    """One amount of a part, such as the base of a tax code, on both sides."""

    leg: str
    part: str
    amount: str
    asserted: shapes.Amount
    observed: shapes.Amount
    difference: shapes.Amount


class SeriesShape(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of one series in the period: `#` stands for the digits."""

    system: str
    series: str
    first: str
    last: str
    documents: int
    missing: int
    gaps: list[str]
    double: int
    doubles: list[str]


class ControlAccountShape(msgspec.Struct, frozen=True, kw_only=True):
    """A control account and the documents that it consists of, up to the cut-off."""

    account: str
    balance: shapes.Amount
    """Debit less credit, as the ledger has it."""
    documents: shapes.Amount
    difference: shapes.Amount
    """What the account has beyond the documents."""
    signed_difference: shapes.Amount | None
    """Difference that the last checkpoint was signed with."""
    agrees: bool


class ReadingShape(msgspec.Struct, frozen=True, kw_only=True):
    system: str
    book: str
    sweep: str
    began: str
    ended: str
    listed: int


class ChangeShape(msgspec.Struct, frozen=True, kw_only=True):
    """A document inside a checkpoint that has changed since it was prepared."""

    side: Literal["left", "right"]
    id: str
    document: str
    known_at: str
    before: dict[str, str] | None
    """Legs, date and state as the checkpoint knew them; None: it knew none."""
    now: dict[str, str]


class BookCheckpointShape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    reconciliation: str
    entity: str
    at: str
    known_at: str
    since: str | None
    state: CheckpointState
    prepared_at: str
    prepared_by: str
    signed_at: str | None
    signed_by: str
    note: str
    digest: str
    """SHA-256 of the content; the leaf of the signature has it."""
    obstacles: list[str]
    """Reasons for which it cannot be signed."""
    lines: list[CheckpointLineShape]
    parts: list[PartShape]
    series: list[SeriesShape]
    controls: list[ControlAccountShape]
    unread: dict[str, str]
    """Control accounts whose balance could not be read, with the reason."""
    readings: list[ReadingShape]
    held: int
    """Listed records that wait for a decision about their admission."""
    dismissed: int
    """Listed records that count nowhere because a person dismissed their Cases."""
    changes: list[ChangeShape]
    """Documents inside it that have changed since, at most 100. Only the answer about one checkpoint has them."""


class CheckpointList(msgspec.Struct, frozen=True):
    checkpoints: list[BookCheckpointShape]


def checkpoint_shape(
    row: BookCheckpoint,
    model: Model,
    scope: EntityScope,
    changes: Iterable[ChangeInside] = (),
) -> BookCheckpointShape:
    """Return the answer about a checkpoint.

    A system that belongs to no legal entity lists the records of all: only a caller without a bound sees how many.
    """
    body, rule = row.body, model.reconciliations.get(row.rule)
    readings = [r for r in body.readings if scope.everything or _belongs(model, r.system)]
    systems = {"left": "" if rule is None else rule.left, "right": "" if rule is None else rule.right}
    return BookCheckpointShape(
        id=row.id,
        reconciliation=row.rule,
        entity=row.entity,
        at=row.at,
        known_at=row.known.isoformat(),
        since=None if body.since is None else body.since.isoformat(),
        state=row.state,
        prepared_at=row.prepared_at.isoformat(),
        prepared_by=row.prepared_by,
        signed_at=None if row.signed_at is None else row.signed_at.isoformat(),
        signed_by=row.signed_by,
        note=row.note,
        digest=row.digest,
        obstacles=list(body.obstacles),
        lines=[_line(line, systems) for line in body.lines],
        parts=[_part(part) for part in body.parts],
        series=[_series(line, systems[line.side]) for line in body.series],
        controls=[_control(line) for line in body.controls],
        unread=body.unread,
        readings=[
            ReadingShape(
                system=r.system,
                book=r.book,
                sweep=r.sweep,
                began=r.began.isoformat(),
                ended=r.ended.isoformat(),
                listed=r.listed,
            )
            for r in readings
        ],
        held=body.held if len(readings) == len(body.readings) else 0,
        dismissed=body.dismissed if len(readings) == len(body.readings) else 0,
        changes=[_change(change, row.entity) for change in changes],
    )


def _belongs(model: Model, system: str) -> bool:
    kind = model.systems.get(system)
    return kind is not None and bool(kind.legal_entity)


def _change(change: ChangeInside, entity: str) -> ChangeShape:
    return ChangeShape(
        side=change.side,
        id=change.id,
        document=change.present.number,
        known_at=change.known_at.isoformat(),
        before=None if change.before is None else _texts(change.before),
        now=_texts(change.present) if change.present.entity == entity else {"legal entity": "another one"},
    )


def _texts(row: Foil | Observation) -> dict[str, str]:
    legs = {name: str(value) for name, value in sorted(row.legs.items())}
    return legs | {"date": row.effective, "stands": "yes" if row.stands else "no"}


def _line(line: CheckpointLine, systems: Mapping[str, str]) -> CheckpointLineShape:
    def money(units: int) -> shapes.Amount:
        return shapes.amount(Money(units, line.currency))

    def maybe(units: int | None) -> shapes.Amount | None:
        return None if units is None else money(units)

    return CheckpointLineShape(
        currency=line.currency,
        opening=money(line.opening),
        signed_opening=maybe(line.signed_opening),
        asserted=money(line.asserted),
        observed=money(line.observed),
        closing=money(line.closing),
        items={name: money(units) for name, units in line.columns.items()},
        balanced=line.balanced,
        left=CountShape(system=systems["left"], ours=money(line.left_total), book=maybe(line.left_book)),
        right=CountShape(system=systems["right"], ours=money(line.right_total), book=maybe(line.right_book)),
        taken_over=line.taken_over,
        late=line.late,
        differing=line.differing,
        differences=[
            DifferenceShape(
                side=d.side, document=number_of(d.document), ours=maybe(d.ours), book=maybe(d.book)
            )
            for d in line.differences
        ],
    )


def _part(part: PartLine) -> PartShape:
    def money(units: int) -> shapes.Amount:
        return shapes.amount(Money(units, part.currency))

    name, _, amount = part.leg.partition("[")[2].rpartition("].")
    return PartShape(
        leg=divided_leg(part.leg),
        part=name,
        amount=amount,
        asserted=money(part.asserted),
        observed=money(part.observed),
        difference=money(part.asserted - part.observed),
    )


def _control(line: ControlLine) -> ControlAccountShape:
    def money(units: int) -> shapes.Amount:
        return shapes.amount(Money(units, line.currency))

    return ControlAccountShape(
        account=line.account,
        balance=money(line.balance),
        documents=money(line.documents),
        difference=money(line.difference),
        signed_difference=None if line.signed_difference is None else money(line.signed_difference),
        agrees=line.agrees,
    )


def _series(line: SeriesLine, system: str) -> SeriesShape:
    numbers = line.numbers
    return SeriesShape(
        system=system,
        series=numbers.series,
        first=numbers.first,
        last=numbers.last,
        documents=numbers.documents,
        missing=numbers.missing,
        gaps=list(numbers.gaps),
        double=numbers.double,
        doubles=list(numbers.doubles),
    )
