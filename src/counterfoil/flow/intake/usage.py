"""usage: a batch of usage events is judged as a whole, kept in one transition, and answered when it is durable."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from counterfoil.core import ids
from counterfoil.core.case import Case
from counterfoil.core.cases import open_case
from counterfoil.core.clock import micros
from counterfoil.core.usage import RefusedUsage, UsageRow, read_batch
from counterfoil.flow.context.deprecations import DeprecationUsage
from counterfoil.model import Model
from counterfoil.rules.usage import Meters, judge
from counterfoil.store.port.usage import StoreUsage, StoreUsageResult

CLASH = "usage_clash"


class RefusedEvent(msgspec.Struct, frozen=True):
    """One event that was not accepted: its place in the batch, and why."""

    index: int
    reason: str
    detail: str


class UsageAnswer(msgspec.Struct, frozen=True):
    """What became of a batch, once that is durable. Refused events are in quarantine, with a Case for their owner."""

    batch: str
    accepted: int
    repeated: int
    refused: list[RefusedEvent]
    deprecated: list[str] = []
    """Event types of the batch that are on their way out."""


class UsageStore(Protocol):
    """What keeps usage: a store, or the intake before one."""

    async def apply(self, transition: StoreUsage, /) -> StoreUsageResult: ...


class UsageIntake:
    """Batches of usage on their way into a store."""

    def __init__(self, keeper: UsageStore, uses: DeprecationUsage | None = None) -> None:
        self._keeper = keeper
        self._uses = uses
        self._model: Model | None = None
        self._meters: Meters | None = None

    async def receive(
        self, model: Model, body: bytes, content_type: str, sender: str, now: datetime
    ) -> UsageAnswer:
        """Keep a batch. Raises WireRefused for what is no batch, TryAgain when nothing was kept."""
        events, bodies = read_batch(body, content_type)
        batch = f"usage_{micros(now):x}{secrets.token_hex(4)}"
        judged = judge(events, bodies, self._compiled(model), batch, now)
        refused = [each for _, each in judged.refused]
        kept = await self._keeper.apply(
            StoreUsage(
                batch=batch,
                rows=tuple(judged.rows),
                refused=tuple(refused),
                cases=tuple(_cases(model, refused, batch, now)),
                at=now,
                actor=f"person:{sender}",
            )
        )
        told = [RefusedEvent(place, each.reason, each.message) for place, each in judged.refused]
        told += [
            RefusedEvent(
                judged.places[place], CLASH, "kept before with another content; the first one stands"
            )
            for place in kept.clashes
        ]
        return UsageAnswer(
            batch,
            kept.accepted,
            kept.repeated + judged.repeated,
            sorted(told, key=lambda each: each.index),
            self._deprecated(judged.rows, sender, now),
        )

    def _deprecated(self, rows: Sequence[UsageRow], sender: str, now: datetime) -> list[str]:
        """The deprecated types of a batch, counted; rows are looked at only where such a type is metered."""
        if self._uses is None or self._meters is None:
            return []
        if not self._uses.deprecated(now).keys() & self._meters.types.keys():
            return []
        counts = Counter(row[2] for row in rows)
        who = f"person:{sender}"
        return sorted(
            name for name, count in counts.items() if self._uses.note(name, "sends", who, now, count)
        )

    def _compiled(self, model: Model) -> Meters:
        if self._meters is None or self._model is not model:
            self._model, self._meters = model, Meters(model)
        return self._meters


def _cases(model: Model, refused: Sequence[RefusedUsage], batch: str, now: datetime) -> list[Case]:
    """One for each reason, and one for clashes that only the store can see."""
    owners = [
        role for event in model.events.values() if event.usage is not None for role in model.owners_of(event)
    ] + [role for name in sorted(model.systems) for role in model.owners_of(model.systems[name])]
    return [
        open_case(
            reason,
            id=ids.derive("case", "usage", batch, reason),
            message=f"usage that was sent and is not counted, batch {batch}",
            owners=owners,
            at=now,
        )
        for reason in sorted({CLASH, *(each.reason for each in refused)})
    ]
