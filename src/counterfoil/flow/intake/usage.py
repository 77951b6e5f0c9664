"""Usage: a batch of usage events is checked as a whole, stored in one transition, and answered when it is durable."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol

import msgspec

from counterfoil.core.canonical import HeadState
from counterfoil.core.case import Case
from counterfoil.core.cases import open_case
from counterfoil.core.clock import micros
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.usage import UsageEvent, UsageGroup, UsageRow, read_batch
from counterfoil.flow.context.deprecations import DeprecationUsage
from counterfoil.model import Model
from counterfoil.rules.usage import CheckedBatch, Meters, check_batch
from counterfoil.rules.usage_entities import UsageEntities
from counterfoil.rules.usage_records import UsageRecords
from counterfoil.store.port.usage import StoreUsage, StoreUsageResult

CLASH = "usage_clash"
EVERY_ENTITY = EntityScope()


class RefusedEvent(msgspec.Struct, frozen=True):
    """One event that was not accepted: its place in the batch, the reason, and its source and id as far as they were read."""

    index: int
    reason: str
    detail: str
    source: str = ""
    id: str = ""


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


class HeadReader(Protocol):
    """The reads of a store that a check of subscriptions and corrections needs."""

    async def known_heads(self, object_: str, keys: Sequence[str]) -> dict[str, str]: ...

    async def head_states(self, object_: str, keys: Sequence[str]) -> dict[str, list[HeadState]]: ...

    async def usage_meters(self, source: str, event_ids: Sequence[str]) -> dict[str, tuple[str, str]]: ...


class UsageIntake:
    """Checks batches of usage and stores them."""

    def __init__(self, store: UsageSink, heads: HeadReader, uses: DeprecationUsage | None = None) -> None:
        self._store, self._heads = store, heads
        self._uses = uses
        self._model: Model | None = None
        self._meters: Meters | None = None

    async def receive(
        self,
        model: Model,
        body: bytes,
        content_type: str,
        sender: str,
        now: datetime,
        heads: HeadReader | None = None,
        scope: EntityScope = EVERY_ENTITY,
    ) -> UsageAnswer:
        """Store a batch. `heads` shows the objects that the sender may name; without it, all. `scope` are the legal
        entities for which they may send usage. Raises WireRefused for an invalid batch, and TryAgain if nothing was stored."""
        events, bodies = read_batch(body, content_type)
        batch = f"usage_{micros(now):x}{secrets.token_hex(4)}"
        meters = self._compiled(model)
        entities = UsageEntities.of(model, scope)
        records = await self._records(meters, events, heads or self._heads, entities)
        checked = check_batch(events, bodies, meters, batch, now, records)
        refused = [refusal for _, refusal in checked.refused]
        result = await self._store.apply(
            StoreUsage(
                batch=batch,
                rows=tuple(checked.rows),
                refused=tuple(refused),
                cases=tuple(_cases(model, _groups(checked), now)),
                at=now,
                actor=f"person:{sender}",
            )
        )
        answers = [
            RefusedEvent(place, refusal.reason, refusal.message, refusal.source, refusal.id)
            for place, refusal in checked.refused
        ]
        detail = "stored before with different content; the first event stays valid"
        for place in result.clashes:
            source, id_ = checked.rows[place][:2]
            answers.append(RefusedEvent(checked.places[place], CLASH, detail, source, id_))
        return UsageAnswer(
            batch,
            result.accepted,
            result.repeated + checked.repeated,
            sorted(answers, key=lambda answer: answer.index),
            self._deprecated(checked.rows, sender, now),
        )

    async def _records(
        self,
        meters: Meters,
        events: Sequence[UsageEvent | str],
        reader: HeadReader,
        entities: UsageEntities | None,
    ) -> UsageRecords:
        """Read what the batch names, with one statement for each object."""
        heads, states = meters.needs(events)
        records = UsageRecords(entities=entities)
        if entities is not None:
            for object_, keys in meters.owned(events, entities).items():
                entities.owners[object_] = await reader.known_heads(object_, list(keys))
        for object_, keys in heads.items():
            records.heads[object_] = await reader.known_heads(object_, list(keys))
        for object_, keys in states.items():
            records.states[object_] = await reader.head_states(object_, list(keys))
        for source, ids in meters.corrected(events).items():
            stored = await reader.usage_meters(source, list(ids))
            records.events.update({(source, id_): meter for id_, meter in stored.items()})
        return records

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


def _groups(checked: CheckedBatch) -> set[UsageGroup]:
    """Return the groups of the refused events, and those of clashes, which only the store detects."""
    groups = {refusal.group for _, refusal in checked.refused}
    return groups | {
        UsageGroup(CLASH, source, meter) for source, meter in {(r[0], r[4]) for r in checked.rows}
    }


def _cases(model: Model, groups: Iterable[UsageGroup], now: datetime) -> list[Case]:
    """Return a Case for each group of events that may be refused. The store opens those that it needs."""
    owners = [
        role for event in model.events.values() if event.usage is not None for role in model.owners_of(event)
    ] + [role for name in sorted(model.systems) for role in model.owners_of(model.systems[name])]
    cases: dict[str, Case] = {}
    for group in groups:
        id_ = group.case_id(now)
        if id_ not in cases:
            of = " ".join(filter(None, (f"of {group.system}" if group.system else "", group.meter)))
            cases[id_] = open_case(
                group.reason,
                id=id_,
                message=f"Usage {of + ' ' if of else ''}was not counted on {now:%Y-%m-%d}",
                owners=owners,
                at=now,
                names={"system": group.system} if group.system else {},
            )
    return list(cases.values())
