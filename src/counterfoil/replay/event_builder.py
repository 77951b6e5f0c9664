"""From a recorded delivery to its events under one model: as admission does it, on what was recorded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from counterfoil.core import wire
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.expr import BudgetExceeded, EvaluationError
from counterfoil.model.definition import InboundMapping
from counterfoil.replay.incremental_mapping import IncrementalMapping
from counterfoil.replay.recorded_answers import NotRecorded, RecordedAnswers, ReplaySide
from counterfoil.rules import acceptance, admit
from counterfoil.rules import mapping as mappings
from counterfoil.rules.acceptance import Rejection
from counterfoil.rules.mapping import Mapped, MappingFailed, UnresolvedLink
from counterfoil.store.port.recorded import Recorded


class MappedDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """What one model makes of a delivery: events, or the reason for which it is held; neither: it means nothing."""

    events: tuple[CanonicalEvent, ...] = ()
    links: tuple[tuple[str, str, str, str, str], ...] = ()
    """Event, object, system, external id, canonical id: Links that the events establish."""
    held: str = ""
    message: str = ""


class DeliveryBodies:
    """The bodies of a delivery, read once for both sides."""

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded
        self.body = wire.read_again(recorded.receipt.body)
        self._fetched: dict[str, Any] = {}
        self._asked: dict[str, Any] = {}

    def fetched(self, operation: str, arguments: Any) -> Any:
        """What was fetched then. Raises NotRecorded where it was not, or where the sides ask for different things."""
        if self._asked.setdefault(operation, arguments) != arguments:
            raise NotRecorded(f"what {operation} answers to other arguments")
        if operation not in self._fetched:
            if operation not in self._recorded.fetched:
                raise NotRecorded(f"what {operation} answered")
            self._fetched[operation] = wire.read_again(self._recorded.fetched[operation])
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
        receipt = recorded.receipt
        found = [
            m
            for m in self._mappings(receipt.system, receipt.type)
            if mappings.takes(m, bodies.body, receipt.received_at)
        ]
        if not found:
            return MappedDelivery(
                held="unrouted", message=f"no mapping takes {receipt.type} of {receipt.system}"
            )
        events: list[CanonicalEvent] = []
        links: list[tuple[str, str, str, str, str]] = []
        for m in found:
            if m.ignore is not None:
                continue
            of = then.events[0] if then is not None and len(then.events) == 1 else None
            if of is not None and of.receipt != receipt.no:
                of = None  # another delivery told it first
            mapped = self._map(m, recorded, bodies, answers, of, remaking)
            if isinstance(mapped, MappedDelivery):
                return mapped
            for e in mapped.events:
                judged = e.type in self._trusted and any(
                    then.id == e.id and then.data == e.data for then in recorded.events
                )
                event = acceptance.canonical(self._model, m, receipt, e, judged)
                if isinstance(event, Rejection):
                    return MappedDelivery(held=event.reason, message=event.message)
                events.append(event)
                links += [
                    (e.id, object_, m.system, ext_id, str(e.data[f"{object_}_id"]))
                    for object_, ext_id in e.links
                    if f"{object_}_id" in e.data
                ]
        return MappedDelivery(events=tuple(admit.once(events)), links=tuple(links))

    def declared(self, recorded: Recorded) -> MappedDelivery:
        """Of an event that came in canonical form."""
        event = acceptance.declared(self._model, recorded.receipt)
        if isinstance(event, Rejection):
            return MappedDelivery(held=event.reason, message=event.message)
        return MappedDelivery(events=(event,))

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
        answers: Mapping[tuple[str, tuple[Any, ...]], Any],
        then: CanonicalEvent | None,
        remaking: IncrementalMapping | None,
    ) -> Mapped | MappedDelivery:
        received = recorded.receipt.received_at
        fetched = None
        if m.fetch_operation is not None:
            try:
                arguments = mappings.needs_of_fetch(m, bodies.body, received)
            except (EvaluationError, BudgetExceeded) as error:
                return MappedDelivery(held="mapping_failed", message=f"mapping {m.name}, fetch: {error}")
            fetched = bodies.fetched(m.fetch_operation, arguments)
        if then is not None and remaking is not None:
            again = remaking.apply(then, bodies.body, fetched, received, answers)
            if again is not None:
                return again
        result = mappings.apply_inbound(m, bodies.body, fetched, received, answers)
        match result:
            case Mapped():
                return result
            case MappingFailed(message):
                return MappedDelivery(held="mapping_failed", message=message)
            case UnresolvedLink():
                return MappedDelivery(
                    held="unresolved", message=f"{result.object} {result.id} of {result.system}"
                )
        raise AssertionError("every question is answered or raises")
