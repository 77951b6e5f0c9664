"""Events judged: is it declared, does its data keep its contract, may its system assert it; then it is canonical.

Asks nobody. Whoever admits holds what is refused; whoever replays counts it.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import msgspec

from counterfoil.contracts.versions import first
from counterfoil.core import ids
from counterfoil.core.canonical import CanonicalEvent, Receipt
from counterfoil.core.clock import micros
from counterfoil.core.event import parse
from counterfoil.model import Model
from counterfoil.model.definition import InboundMapping
from counterfoil.rules.contract import Contract
from counterfoil.rules.mapping import MappedEvent
from counterfoil.rules.ownership import Ownership
from counterfoil.rules.values import typed


class Rejection(msgspec.Struct, frozen=True):
    """Why a delivery is held. `reason` as its Case says it."""

    reason: str
    message: str


class EventAcceptance:
    """What a model says of events of one type, worked out once."""

    def __init__(self, model: Model, event: str) -> None:
        self.kind = model.events[event]
        self.schema = model.schema_of_event(event)
        self.contract = Contract(self.schema)
        self.ownership = Ownership.of(model, event)

    @classmethod
    def of(cls, model: Model, event: str) -> EventAcceptance | None:
        """None for a type that no file declares."""
        known = _JUDGES.setdefault(model, {})
        if event not in known:
            if event not in model.events:
                return None
            known[event] = cls(model, event)
        return known[event]


_JUDGES: WeakKeyDictionary[Model, dict[str, EventAcceptance]] = WeakKeyDictionary()


def canonical(
    model: Model, mapping: InboundMapping, receipt: Receipt, mapped: MappedEvent, judged: bool = False
) -> CanonicalEvent | Rejection:
    """A mapped event as it is kept, once its contract and the ownership of what it asserts are kept. `judged`: that
    they are is known already."""
    judge = EventAcceptance.of(model, mapped.type)
    if judge is None:
        return Rejection("contract", f"mapping {mapping.name} emits {mapped.type}, which no file declares")
    wrong = [] if judged else judge.contract.violations(mapped.data)
    if wrong:
        return Rejection("contract", f"{mapped.type} by {mapping.name}: {'; '.join(wrong)}")
    foreign = [] if judged else judge.ownership.trespasses(mapping.system, mapped.data)
    if foreign:
        return Rejection(
            "ownership", f"{mapping.system} may not assert by {mapped.type}: {'; '.join(foreign)}"
        )
    kind = judge.kind
    return CanonicalEvent(
        id=mapped.id,
        type=mapped.type,
        system=mapping.system,
        object=kind.object or "",
        key=str(mapped.data.get(kind.key or f"{kind.object}_id", mapped.key)) if kind.object else mapped.key,
        version=mapped.version,
        data=mapped.data,
        legal_entity=mapped.legal_entity,
        occurred_at=mapped.occurred_at,
        effective_at=mapped.effective_at,
        received_at=receipt.received_at,
        receipt=receipt.no,
        correlation=mapped.key,
    )


def declared(model: Model, receipt: Receipt) -> CanonicalEvent | Rejection:
    """A CloudEvent that is canonical already: its type is declared and its data keeps the contract."""
    (event,) = parse(receipt.body, "application/cloudevents+json")
    judge = EventAcceptance.of(model, event.type)
    if judge is None:
        return Rejection("unrouted", f"no file declares the event {event.type}")
    data = typed(event.data, judge.schema)
    wrong = judge.contract.violations(data)
    if wrong:
        return Rejection("contract", f"{event.type} {event.id}: {'; '.join(wrong)}")
    foreign = judge.ownership.trespasses(receipt.system, data)
    if foreign:
        return Rejection(
            "ownership", f"{receipt.system} may not assert by {event.type}: {'; '.join(foreign)}"
        )
    kind = judge.kind
    when = event.time or receipt.received_at
    sequence = event.extensions.get("sequence")
    version = int(str(sequence)) if str(sequence or "").isdigit() else micros(when)
    subject = event.subject or event.id
    return CanonicalEvent(
        id=ids.derive("evt", event.source, event.id, first(event.type)),
        type=event.type,
        system=receipt.system,
        object=kind.object or "",
        key=str(data.get(kind.key or f"{kind.object}_id", subject)) if kind.object else subject,
        version=version,
        data=data,
        legal_entity=str(event.extensions.get("legalentity", "")),
        occurred_at=when,
        effective_at=when,
        received_at=receipt.received_at,
        receipt=receipt.no,
        correlation=str(event.extensions.get("correlationid", event.id)),
    )
