"""impact: replay recorded traffic through the old and the new model, and report what differs.

Look-ups are answered from the recording. A delivery whose answers were not recorded is counted as not comparable; no
answer is guessed. Deliveries whose documents are equal in both models are not replayed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from functools import cache

import msgspec

from counterfoil.core.impact import Impact
from counterfoil.core.people import Person
from counterfoil.model import Model
from counterfoil.replay.aggregation import DeliveryDifference, DifferenceTotals
from counterfoil.replay.consequences import ConsequenceReplayer
from counterfoil.replay.divergence import (
    NEW,
    OLD,
    Divergence,
    EventPair,
    MappedPair,
    event_pairs,
    links_of_events,
)
from counterfoil.replay.event_builder import DeliveryBodies, EventBuilder, MappedDelivery
from counterfoil.replay.incremental_mapping import IncrementalMapping
from counterfoil.replay.paths import Paths
from counterfoil.replay.recorded_answers import ReplaySide
from counterfoil.rules import admission
from counterfoil.rules.admission import HeldDelivery
from counterfoil.store.port.recorded import DeliveryFilter, RecordedDelivery
from counterfoil.store.port.store import Store

BATCH_DELIVERIES = 50
"""Deliveries replayed in one thread call. Between two calls, other tasks of the process can run."""


class Replay:
    """Replays deliveries in the order of their receipts. `result` ends the replay and returns the report.

    `every`: also replay deliveries whose documents show that nothing differs.
    """

    def __init__(self, old: Model, new: Model, every: bool = False, persons: Sequence[Person] = ()) -> None:
        self._every = every
        self.paths = Paths(old, new)
        self._divergence = Divergence(old, new, persons)
        sides = self._divergence.sides
        trusted = () if every else self.paths.trusted
        self._builders = (EventBuilder(sides[OLD], trusted), EventBuilder(sides[NEW], trusted))
        self._consequences = ConsequenceReplayer(self.paths, self._divergence, every)
        self._totals = DifferenceTotals(old, new)
        self._incremental = cache(lambda system, type_: IncrementalMapping.of(old, new, system, type_))

    def take(self, recorded: RecordedDelivery) -> None:
        """Replay one delivery with everything that was recorded for it."""
        self._totals.add_delivery(recorded)
        if not self._consequences.waiting and self._is_same(recorded):
            self._totals.add_same(len(recorded.runs))
            self._divergence.count_limits(recorded)
            return
        difference = DeliveryDifference(self._totals, recorded)
        self._divergence.guarded(difference, recorded, lambda: self._replay(recorded, difference))
        self._divergence.count_limits(recorded)
        difference.done()
        if self._consequences.waiting:
            self._consequences.events_replayed(recorded)

    def result(self) -> Impact:
        """Return the report. Runs that still wait for a later event are replayed with the recorded events."""
        self._consequences.finish()
        return self._totals.impact(self._divergence.sides)

    # ------------------------------------------------------------------ one delivery

    def _is_same(self, recorded: RecordedDelivery) -> bool:
        """Return True if the documents show that nothing differs for this delivery."""
        if not self._maps_as_recorded(recorded):
            return False
        diverged = self._divergence.keys()
        for event in recorded.events:
            path = self.paths.event(event.type)
            if not path.same or not path.is_untouched(diverged):
                return False
        for run in recorded.runs:
            if self._consequences.later_events(recorded, run):
                return False
        self._divergence.settle_events(recorded)
        return True

    def _maps_as_recorded(self, recorded: RecordedDelivery) -> bool:
        """Return True if both models map the delivery to the recorded events: equal documents, and no diverged
        look-ups."""
        receipt = recorded.receipt
        if self._every:
            return False
        if receipt.door == "events":
            types = {event.type for event in recorded.events}
            return bool(types) and types.isdisjoint(self.paths.differing_events)
        path = self.paths.delivery(receipt.system, receipt.type)
        return path.same and path.is_untouched(self._divergence.keys())

    def _replay(self, recorded: RecordedDelivery, difference: DeliveryDifference) -> None:
        old_side, new_side = self._divergence.sides
        if self._maps_as_recorded(recorded):
            pairs: list[EventPair] = [(event, event) for event in recorded.events]
            if any(not self.paths.event(e.type).same for e in recorded.events):
                delivery = MappedDelivery(events=recorded.events)
                mapped = (_admitted(old_side, delivery), _admitted(new_side, delivery))
                difference.add_mapped(*mapped)
                pairs = event_pairs(mapped)
            self._divergence.settle_events(recorded)
        else:
            difference.ran = True
            old, new = self._map(recorded)
            if old.events is not recorded.events:  # recorded events were admitted already
                old = _admitted(old_side, old)
            mapped = (old, _admitted(new_side, new))
            difference.add_mapped(*mapped)
            pairs = event_pairs(mapped)
            self._divergence.record(recorded, mapped, pairs)
        for pair in pairs:
            self._consequences.replay(recorded, difference, pair)

    def _map(self, recorded: RecordedDelivery) -> MappedPair:
        old, new = self._builders
        if recorded.receipt.door == "events":
            return old.declared(recorded), new.declared(recorded)
        bodies = DeliveryBodies(recorded)
        by_old = self._recorded_by_old(recorded)
        incremental = None
        if by_old is not None:
            incremental = self._incremental(recorded.receipt.system, recorded.receipt.type)
        return (
            by_old or old.build(recorded, bodies, self._divergence.answers(OLD, recorded)),
            new.build(recorded, bodies, self._divergence.answers(NEW, recorded), by_old, incremental),
        )

    def _recorded_by_old(self, recorded: RecordedDelivery) -> MappedDelivery | None:
        """Return the recorded events if the old model created them."""
        if self._every or not any(map(self._divergence.is_recorded_by_old, recorded.runs)):
            return None
        return MappedDelivery(events=recorded.events, links=links_of_events(recorded))


def _admitted(side: ReplaySide, delivery: MappedDelivery) -> MappedDelivery:
    """Return the delivery, or the reason why admission holds it: an event that nothing uses."""
    model, waited = side.model, side.waited
    try:
        all_forms = [side.forms(event) for event in delivery.events]
        for event, forms in zip(delivery.events, all_forms, strict=True):
            admission.check_taken(model, event, forms, waited)
    except HeldDelivery as held:
        return MappedDelivery(held=held.reason, message=held.message)
    return delivery


def impact(old: Model, new: Model, traffic: Iterable[RecordedDelivery], every: bool = False) -> Impact:
    """Return the differences between the results of both models for the traffic."""
    replay = Replay(old, new, every)
    for recorded in traffic:
        replay.take(recorded)
    return replay.result()


async def recorded(
    store: Store, paths: Paths, since: datetime, until: datetime
) -> AsyncIterator[RecordedDelivery]:
    """Yield the deliveries received from `since` until before `until`, in the order of receipts, page by page."""
    time_range: DeliveryFilter | None = DeliveryFilter(
        since=since, until=until, fetches=paths.fetches, calendars=paths.calendars
    )
    while time_range is not None:
        page, after = await store.traffic(time_range)
        for delivery in page:
            yield delivery
        time_range = None if after is None else msgspec.structs.replace(time_range, after=after)


async def replay_traffic(store: Store, old: Model, new: Model, since: datetime, until: datetime) -> Impact:
    """Return the differences between the results of both models for the traffic."""
    replay = Replay(old, new, persons=await store.persons())
    waiting: list[RecordedDelivery] = []

    def take(batch: Sequence[RecordedDelivery]) -> None:
        for one in batch:
            replay.take(one)

    async for one in recorded(store, replay.paths, since, until):
        waiting.append(one)
        if len(waiting) >= BATCH_DELIVERIES:
            await asyncio.to_thread(take, waiting)
            waiting = []
    await asyncio.to_thread(take, waiting)
    return await asyncio.to_thread(replay.result)
