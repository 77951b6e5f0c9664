"""From a recorded delivery to its events under one model: as admission does it, on what was recorded."""

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
from counterfoil.rules.lookup import Answers
from counterfoil.rules.mapping import Mapped, MappedEvent
from counterfoil.store.port.recorded import Recorded


class MappedDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """What one model makes of a delivery: events, or the reason for which it is held; neither: it means nothing."""

    events: tuple[CanonicalEvent, ...] = ()
    links: tuple[Link, ...] = ()
    """Links that the events establish."""
    held: str = ""
    message: str = ""


class DeliveryBodies:
    """The bodies of a delivery, read once for both sides."""

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded
        self.body = wire.read_trusted(recorded.receipt.body)
        self._fetched: dict[str, Any] = {}
        self._asked: dict[str, Any] = {}

    def fetched(self, operation: str, arguments: Any) -> Any:
        """What was fetched then. Raises NotRecorded where it was not, or where the sides ask for different things."""
        if self._asked.setdefault(operation, arguments) != arguments:
            raise NotRecorded(f"what {operation} answers to other arguments")
        if operation not in self._fetched:
            if operation not in self._recorded.fetched:
                raise NotRecorded(f"what {operation} answered")
            self._fetched[operation] = wire.read_trusted(self._recorded.fetched[operation])
        return self._fetched[operation]


class EventBuilder:
    """Makes events of deliveries under one model."""

    def __init__(self, side: ReplaySide, trusted: Collection[str] = ()) -> None:
        """`trusted`: types whose contract both models hold alike. What was let through then is let through again."""
        self._model = side.model
        self._trusted = trusted
        self._inbound: dict[tuple[str, str], list[InboundMapping]] = {}

    def make(
        self,
        recorded: Recorded,
        bodies: DeliveryBodies,
        answers: RecordedAnswers,
        then: MappedDelivery | None = None,
        remaking: IncrementalMapping | None = None,
    ) -> MappedDelivery:
        """Raises NotRecorded. `then`: what the other model made of the same bodies, and how it is made again."""
        try:
            return self._made(recorded, bodies, answers, then, remaking)
        except HeldDelivery as held:
            return MappedDelivery(held=held.reason, message=held.message)

    def _made(
        self,
        recorded: Recorded,
        bodies: DeliveryBodies,
        answers: RecordedAnswers,
        then: MappedDelivery | None,
        remaking: IncrementalMapping | None,
    ) -> MappedDelivery:
        model, receipt = self._model, recorded.receipt
        candidates = self._mappings(receipt.system, receipt.type)
        events: list[CanonicalEvent] = []
        links: list[Link] = []
        for m in admission.accepting(model, receipt, bodies.body, candidates):
            if m.ignore is not None:
                continue
            of = then.events[0] if then is not None and len(then.events) == 1 else None
            if of is not None and of.receipt != receipt.no:
                of = None  # another delivery told it first
            mapped = self._map(m, recorded, bodies, answers, of, remaking)
            for e in mapped.events:
                events.append(admission.accepted(model, m, receipt, e, self._is_trusted(recorded, e)))
                links += admission.links_of(model, m.system, e, receipt.received_at)
        return MappedDelivery(events=tuple(admission.once(events)), links=tuple(links))

    def _is_trusted(self, recorded: Recorded, event: MappedEvent) -> bool:
        """Return True if admission accepted the same event under the same contract."""
        return event.type in self._trusted and any(
            then.id == event.id and then.data == event.data for then in recorded.events
        )

    def declared(self, recorded: Recorded) -> MappedDelivery:
        """Return the event of a delivery that came in canonical form."""
        try:
            return MappedDelivery(events=(admission.declared(self._model, recorded.receipt),))
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
        recorded: Recorded,
        bodies: DeliveryBodies,
        answers: Answers,
        then: CanonicalEvent | None,
        remaking: IncrementalMapping | None,
    ) -> Mapped:
        receipt = recorded.receipt
        fetched = None
        if m.fetch_operation is not None:
            arguments = admission.fetch_arguments(m, receipt, bodies.body)
            fetched = bodies.fetched(m.fetch_operation, arguments)
        if then is not None and remaking is not None:
            again = remaking.apply(then, bodies.body, fetched, receipt.received_at, answers)
            if again is not None:
                return again
        return admission.mapped(m, receipt, bodies.body, fetched, answers)
