"""Usage: a batch of usage events is checked as a whole, stored in one transition, and answered when it is durable."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Protocol

import msgspec

from counterfoil.core import ids
from counterfoil.core.case import Case
from counterfoil.core.cases import open_case
from counterfoil.core.clock import micros
from counterfoil.core.usage import RefusedUsage, UsageRow, read_batch
from counterfoil.flow.context.deprecations import DeprecationUsage
from counterfoil.model import Model
from counterfoil.rules.usage import Meters, check_batch
from counterfoil.store.port.usage import StoreUsage, StoreUsageResult

CLASH = "usage_clash"


class RefusedEvent(msgspec.Struct, frozen=True):
    """One event that was not accepted: its place in the batch, and the reason."""

    index: int
    reason: str
    detail: str


class UsageAnswer(msgspec.Struct, frozen=True):
    """Result of a durable batch. Rejected events are in quarantine, with a Case for their owner."""

    batch: str
    accepted: int
    repeated: int
    refused: list[RefusedEvent]
    deprecated: list[str] = []
    """Deprecated event types of the batch."""


class UsageSink(Protocol):
    """A store, or the intake in front of one."""

    async def apply(self, transition: StoreUsage, /) -> StoreUsageResult: ...


class UsageIntake:
    """Checks batches of usage and stores them."""

    def __init__(self, store: UsageSink, uses: DeprecationUsage | None = None) -> None:
        self._store = store
        self._uses = uses
        self._model: Model | None = None
        self._meters: Meters | None = None

    async def receive(
        self, model: Model, body: bytes, content_type: str, sender: str, now: datetime
    ) -> UsageAnswer:
        """Store a batch. Raises WireRefused for an invalid batch, and TryAgain if nothing was stored."""
        events, bodies = read_batch(body, content_type)
        batch = f"usage_{micros(now):x}{secrets.token_hex(4)}"
        checked = check_batch(events, bodies, self._compiled(model), batch, now)
        refused = [refusal for _, refusal in checked.refused]
        result = await self._store.apply(
            StoreUsage(
                batch=batch,
                rows=tuple(checked.rows),
                refused=tuple(refused),
                cases=tuple(_cases(model, refused, batch, now)),
                at=now,
                actor=f"person:{sender}",
            )
        )
        answers = [RefusedEvent(place, refusal.reason, refusal.message) for place, refusal in checked.refused]
        detail = "stored before with different content; the first event stays valid"
        answers += [RefusedEvent(checked.places[place], CLASH, detail) for place in result.clashes]
        return UsageAnswer(
            batch,
            result.accepted,
            result.repeated + checked.repeated,
            sorted(answers, key=lambda answer: answer.index),
            self._deprecated(checked.rows, sender, now),
        )

    def _deprecated(self, rows: Sequence[UsageRow], sender: str, now: datetime) -> list[str]:
        """Count the deprecated types of a batch and return them. Rows are read only if such a type is metered."""
        if self._uses is None or self._meters is None:
            return []
        if not self._uses.deprecated(now).keys() & self._meters.types.keys():
            return []
        counts = Counter(row[2] for row in rows)
        note = partial(self._uses.note, side="sends", who=f"person:{sender}", now=now)
        return sorted(name for name, count in counts.items() if note(name, count=count))

    def _compiled(self, model: Model) -> Meters:
        if self._meters is None or self._model is not model:
            self._model, self._meters = model, Meters(model)
        return self._meters


def _cases(model: Model, refused: Sequence[RefusedUsage], batch: str, now: datetime) -> list[Case]:
    """Return a Case for each reason, and one for clashes, which only the store detects."""
    owners = [
        role for event in model.events.values() if event.usage is not None for role in model.owners_of(event)
    ] + [role for name in sorted(model.systems) for role in model.owners_of(model.systems[name])]
    return [
        open_case(
            reason,
            id=ids.derive("case", "usage", batch, reason),
            message=f"usage events that were not counted, batch {batch}",
            owners=owners,
            at=now,
        )
        for reason in sorted({CLASH, *(refusal.reason for refusal in refused)})
    ]
