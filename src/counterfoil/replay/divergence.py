"""The two sides of a replay, and how far each of them differs from the recording.

Later deliveries read the differences of earlier ones: heads, Links, limits, and events that waiting Runs received.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.link import Link
from counterfoil.core.people import Person
from counterfoil.model import Model
from counterfoil.replay.aggregation import DeliveryDifference
from counterfoil.replay.event_builder import MappedDelivery
from counterfoil.replay.paths import DivergedKeys
from counterfoil.replay.recorded_answers import NotRecorded, RecordedAnswers, ReplaySide
from counterfoil.rules import admission, routing
from counterfoil.rules.versions import CastFailed
from counterfoil.store.port.recorded import RecordedDelivery, RecordedRun

OLD, NEW = 0, 1
EventPair: TypeAlias = tuple[CanonicalEvent | None, CanonicalEvent | None]
"""One event as the old and the new model create it."""
MappedPair: TypeAlias = tuple[MappedDelivery, MappedDelivery]


class Divergence:
    """Tracks the differences of both sides from the recording."""

    def __init__(self, old: Model, new: Model, persons: Sequence[Person] = ()) -> None:
        self.sides = (ReplaySide(old, persons), ReplaySide(new, persons))
        self.waited_types = {type_ for side in self.sides for type_ in side.waited}
        """Event types that some workflow waits for, under either model."""
        self.changed_events: dict[str, EventPair] = {}
        """Differing events that waiting Runs may have received, by event id."""
        self._recorded_limits: dict[tuple[str, str], int] = {}
        """Amounts that recorded Runs reserved, by scope and key."""
        self._moves = 0
        self._keys = DivergedKeys()

    def keys(self) -> DivergedKeys:
        """Return everything that differs so far, on either side."""
        a, b = self.sides
        moves = a.moves + b.moves
        if moves != self._moves:
            self._moves = moves
            heads, links, limits = (frozenset(x | y) for x, y in zip(a.diverged(), b.diverged(), strict=True))
            self._keys = DivergedKeys(heads=heads, links=links, limits=limits)
        return self._keys

    def answers(self, n: int, recorded: RecordedDelivery) -> RecordedAnswers:
        """Return the look-up answers of one side for a delivery."""
        return RecordedAnswers(self.sides[n], recorded, self._recorded_limits)

    def is_recorded_by_old(self, run: RecordedRun) -> bool:
        """Return True if the Run was recorded under the old model, and nothing has diverged from the recording."""
        side = self.sides[OLD]
        return not side.moves and run.run.pin == side.model.digest

    # ------------------------------------------------------------------ recording differences

    def count_limits(self, recorded: RecordedDelivery) -> None:
        for run in recorded.runs:
            for guard in run.guards:
                key = (guard.scope, guard.key)
                self._recorded_limits[key] = self._recorded_limits.get(key, 0) + guard.own

    def guarded(
        self, difference: DeliveryDifference, recorded: RecordedDelivery, work: Callable[[], None]
    ) -> None:
        """Run `work`. If an answer is not recorded, the delivery is not comparable and its heads become unknown."""
        try:
            work()
        except NotRecorded as missing:
            difference.not_comparable(missing.reason)
            for side in self.sides:
                side.mark_unknown((e.object, e.key) for e in recorded.events if e.object)

    def settle_events(self, recorded: RecordedDelivery) -> None:
        """Apply recorded events: the fields that they assert no longer differ."""
        for side in self.sides:
            for event in recorded.events if side.heads else ():
                if event.object in side.heads:
                    self._settle(side, event)

    def record(self, recorded: RecordedDelivery, mapped: MappedPair, pairs: list[EventPair]) -> None:
        """Record how the events and Links of each side differ from the recorded ones."""
        recorded_events = {event.id: event for event in recorded.events}
        for side, delivery in zip(self.sides, mapped, strict=True):
            if delivery.events is recorded.events:  # copied from the rows, with its Links
                for event in delivery.events:
                    self._settle(side, event)
                continue
            events = {event.id: event for event in delivery.events}
            for id_ in dict.fromkeys((*recorded_events, *events)):
                before, now = recorded_events.get(id_), events.get(id_)
                if before != now:
                    self._record_facts(side, recorded, before, now)
                elif before is not None:
                    self._settle(side, before)
            self._record_links(side, recorded, delivery)
        for pair in pairs:
            changed = pair[NEW] or pair[OLD]
            if changed is not None and pair[OLD] != pair[NEW] and changed.type in self.waited_types:
                self.changed_events[changed.id] = pair

    def _settle(self, side: ReplaySide, event: CanonicalEvent) -> None:
        if event.key in side.heads.get(event.object, ()):
            side.settle_fact(event.object, event.key, _asserted(side, event))

    def _record_facts(
        self,
        side: ReplaySide,
        recorded: RecordedDelivery,
        before: CanonicalEvent | None,
        now: CanonicalEvent | None,
    ) -> None:
        for event in (before, now):
            if event is None or not event.object:
                continue
            name = (event.object, event.key)
            same_object = [e for e in (before, now) if e is not None and (e.object, e.key) == name]
            if event is not same_object[0]:
                continue  # recorded together with the other event
            state = next((h.state for h in recorded.heads if (h.object, h.key) == name), {})
            recorded_fact = _asserted(side, before) if before in same_object and before is not None else {}
            fact = _asserted(side, now) if now in same_object and now is not None else {}
            side.record_fact(*name, fact, recorded_fact, state)

    def _record_links(self, side: ReplaySide, recorded: RecordedDelivery, delivery: MappedDelivery) -> None:
        before, now = (
            {(link.object, link.system, link.ext_id): link.canonical for link in links}
            for links in (links_of_events(recorded), delivery.links)
        )
        for key in {*before, *now}:
            if before.get(key) != now.get(key):
                side.record_link(*key, now.get(key))


def _asserted(side: ReplaySide, event: CanonicalEvent) -> Mapping[str, Any]:
    try:
        forms = routing.forms(side.model, event, side.waited)
        return admission.asserted_state(side.model, event, forms) or {}
    except CastFailed:
        return {}


def links_of_events(recorded: RecordedDelivery) -> tuple[Link, ...]:
    """Return the recorded Links that the delivery's events established."""
    established_by = {f"event:{event.id}" for event in recorded.events}
    return tuple(link for link in recorded.links if link.established_by in established_by)


def event_pairs(mapped: MappedPair) -> list[EventPair]:
    """Return the events of both sides, paired by id."""
    old, new = ({event.id: event for event in delivery.events} for delivery in mapped)
    return [(old.get(id_), new.get(id_)) for id_ in dict.fromkeys((*old, *new))]
