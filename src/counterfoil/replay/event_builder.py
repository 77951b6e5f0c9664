"""Builds the events of a recorded delivery under one model, with the rules of admission and recorded look-ups."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from counterfoil.core import wire
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.link import Link
from counterfoil.model.definition import InboundMapping
from counterfoil.replay.incremental_mapping import IncrementalMapping
from counterfoil.replay.recorded_answers import NotRecorded, RecordedAnswers, ReplaySide
from counterfoil.rules import admission
from counterfoil.rules.admission import HeldDelivery
from counterfoil.rules.entities import entity_of_fact
from counterfoil.rules.lookup import Answers
from counterfoil.rules.mapping import MappedEvent, MappedEvents
from counterfoil.store.port.recorded import RecordedDelivery


class MappedDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """The events of a delivery under one model, or the reason for holding it. Neither: the delivery is ignored."""

    events: tuple[CanonicalEvent, ...] = ()
    links: tuple[Link, ...] = ()
    """Links that the events establish."""
    held: str = ""
    message: str = ""


class DeliveryBodies:
    """The bodies of a delivery, read once for both sides."""

    def __init__(self, recorded: RecordedDelivery) -> None:
        self._recorded = recorded
        self.body = wire.read_trusted(recorded.receipt.body)
        self._fetched: dict[str, Any] = {}
        self._arguments: dict[str, Any] = {}

    def fetched(self, operation: str, arguments: Any) -> Any:
        """Return the recorded body. Raises NotRecorded if there is none, or if the sides fetch with different arguments."""
        if self._arguments.setdefault(operation, arguments) != arguments:
            raise NotRecorded(f"the answer of {operation} to other arguments")
        if operation not in self._fetched:
            if operation not in self._recorded.fetched:
                raise NotRecorded(f"the answer of {operation}")
            self._fetched[operation] = wire.read_trusted(self._recorded.fetched[operation])
        return self._fetched[operation]


class EventBuilder:
    """Builds the events of deliveries under one model."""

    def __init__(self, side: ReplaySide, trusted: Collection[str] = ()) -> None:
        """`trusted`: types with the same contract in both models. Their recorded events are not validated again."""
        self._model = side.model
        self._trusted = trusted
        self._inbound: dict[tuple[str, str], list[InboundMapping]] = {}

    def build(
        self,
        recorded: RecordedDelivery,
        bodies: DeliveryBodies,
        answers: RecordedAnswers,
        by_old: MappedDelivery | None = None,
        incremental: IncrementalMapping | None = None,
    ) -> MappedDelivery:
        """Return the events. Raises NotRecorded.

        `by_old`: the recorded events of the old model for the same bodies. `incremental`: the mapping that reuses them.
        """
        try:
            return self._build(recorded, bodies, answers, by_old, incremental)
        except HeldDelivery as held:
            return MappedDelivery(held=held.reason, message=held.message)

    def _build(
        self,
        recorded: RecordedDelivery,
        bodies: DeliveryBodies,
        answers: RecordedAnswers,
        by_old: MappedDelivery | None,
        incremental: IncrementalMapping | None,
    ) -> MappedDelivery:
        model, receipt = self._model, recorded.receipt
        candidates = self._mappings(receipt.system, receipt.type)
        events: list[CanonicalEvent] = []
        links: list[Link] = []
        for m in admission.accepting_mappings(model, receipt, bodies.body, candidates):
            if m.ignore is not None:
                continue
            old_event = by_old.events[0] if by_old is not None and len(by_old.events) == 1 else None
            if old_event is not None and old_event.receipt != receipt.no:
                old_event = None  # an earlier delivery brought the event
            mapped = self._map(m, recorded, bodies, answers, old_event, incremental)
            for e in mapped.events:
                events.append(admission.accept(model, m, receipt, e, self._is_trusted(recorded, e)))
                entity = entity_of_fact(model, m.system, e.legal_entity, e.data)
                links += admission.links_of(model, m.system, e, entity, receipt.received_at)
        return MappedDelivery(events=tuple(admission.drop_repeats(events)), links=tuple(links))

    def _is_trusted(self, recorded: RecordedDelivery, event: MappedEvent) -> bool:
        """Return True if admission accepted the same event under the same contract."""
        return event.type in self._trusted and any(
            other.id == event.id and other.data == event.data for other in recorded.events
        )

    def declared(self, recorded: RecordedDelivery) -> MappedDelivery:
        """Return the event of a delivery that came in canonical form."""
        try:
            return MappedDelivery(events=(admission.accept_declared(self._model, recorded.receipt),))
        except HeldDelivery as held:
            return MappedDelivery(held=held.reason, message=held.message)

    def _mappings(self, system: str, type_: str) -> list[InboundMapping]:
        key = (system, type_)
        if key not in self._inbound:
            self._inbound[key] = self._model.inbound(system, type_)
        return self._inbound[key]

    def _map(
        self,
        m: InboundMapping,
        recorded: RecordedDelivery,
        bodies: DeliveryBodies,
        answers: Answers,
        old_event: CanonicalEvent | None,
        incremental: IncrementalMapping | None,
    ) -> MappedEvents:
        receipt = recorded.receipt
        fetched = None
        if m.fetch_operation is not None:
            arguments = admission.fetch_arguments(m, receipt, bodies.body)
            fetched = bodies.fetched(m.fetch_operation, arguments)
        if old_event is not None and incremental is not None:
            mapped = incremental.apply(old_event, bodies.body, fetched, receipt.received_at, answers)
            if mapped is not None:
                return mapped
        return admission.map_delivery(m, receipt, bodies.body, fetched, answers)
