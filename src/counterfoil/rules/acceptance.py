"""Acceptance: an event becomes canonical if it is declared, keeps its contract, and its system owns what it asserts.

Pure. `admission` decides what happens to a rejected event.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from counterfoil.contracts.versions import first
from counterfoil.core import ids
from counterfoil.core.canonical import CanonicalEvent, Receipt
from counterfoil.core.clock import micros
from counterfoil.core.event import parse
from counterfoil.model import Model, kinds
from counterfoil.model.definition import InboundMapping
from counterfoil.rules.contract import Contract
from counterfoil.rules.entities import entity_fault, entity_of_fact
from counterfoil.rules.json_values import typed
from counterfoil.rules.mapping import MappedEvent

REQUESTED_BY = "requested_by"
"""The field of a call's event that names the caller. The input cannot set it to another person."""

MAX_SEQUENCE_DIGITS = 18
"""A database stores such a number. Another `sequence` is no order, so the time counts."""


class Ownership:
    """The fields of its object that events of one type assert, with the system of record of each."""

    def __init__(self, model: Model, event: str) -> None:
        kind = model.events[event]
        self.object = kind.object
        self._owners: dict[str, str] = {}
        if kind.object is not None:
            own = model.schema_of_object(kind.object)["properties"]
            data = model.schema_of_event(event)["properties"]
            for field in kind.sets if kind.sets is not None else data:
                if field in own:
                    self._owners[field] = model.system_of_record(kind.object, field)

    @classmethod
    def of(cls, model: Model, event: str) -> Ownership:
        """Return the ownership of an event, compiled once per model. Raises KeyError for an undeclared event."""
        compiled = _OWNERSHIP.setdefault(model, {})
        if event not in compiled:
            compiled[event] = cls(model, event)
        return compiled[event]

    @property
    def fields(self) -> Collection[str]:
        """Fields of the object's head that an event of this type sets."""
        return self._owners.keys()

    def trespasses(self, system: str, present: Collection[str]) -> list[str]:
        """Return the fields that the event asserts and another system owns. `present` are the fields of its data."""
        return [
            f"{self.object}.{field} belongs to {owner}"
            for field, owner in self._owners.items()
            if owner != system and field in present
        ]


_OWNERSHIP: WeakKeyDictionary[Model, dict[str, Ownership]] = WeakKeyDictionary()


class Rejection(msgspec.Struct, frozen=True):
    """Reason why an event is rejected; `reason` is that of its Case."""

    reason: str
    message: str


class EventAcceptance:
    """Contract and ownership of one event type, compiled once per model."""

    def __init__(self, model: Model, event: str) -> None:
        self.kind = model.events[event]
        self._model = model
        self.schema = model.schema_of_event(event)
        self.contract = Contract(self.schema)
        self.ownership = Ownership.of(model, event)

    @classmethod
    def of(cls, model: Model, event: str) -> EventAcceptance | None:
        """Return the compiled acceptance; None for a type that no file declares."""
        compiled = _COMPILED.setdefault(model, {})
        if event not in compiled:
            if event not in model.events:
                return None
            compiled[event] = cls(model, event)
        return compiled[event]

    def check(self, system: str, data: dict[str, Any], entity: str, what: str) -> Rejection | None:
        wrong = self.contract.violations(data)
        if wrong:
            return Rejection("contract", f"{what}: {'; '.join(wrong)}")
        foreign = "; ".join(self.ownership.trespasses(self._model.family(system), data))
        if foreign:
            return Rejection("ownership", f"{system} may not assert by {self.kind.name}: {foreign}")
        fault = entity_fault(self._model, system, entity)
        return Rejection(fault[0], f"{what}: {fault[1]}") if fault is not None else None


_COMPILED: WeakKeyDictionary[Model, dict[str, EventAcceptance]] = WeakKeyDictionary()


def key_of_object(kind: kinds.Event, data: Mapping[str, Any], other: str) -> str:
    """Return the key of the object that an event is about; `other` if it is about none, or its data has no key."""
    return str(data.get(kind.key or f"{kind.object}_id", other)) if kind.object else other


def canonical(
    model: Model, mapping: InboundMapping, receipt: Receipt, mapped: MappedEvent, trusted: bool = False
) -> CanonicalEvent | Rejection:
    """Return a mapped event in canonical form, or why it is rejected. `trusted` skips contract and ownership checks."""
    rules = EventAcceptance.of(model, mapped.type)
    if rules is None:
        return Rejection("contract", f"mapping {mapping.name} emits {mapped.type}, which no file declares")
    what = f"{mapped.type} by {mapping.name}"
    entity = entity_of_fact(model, mapping.system, mapped.legal_entity, mapped.data)
    rejection = None if trusted else rules.check(mapping.system, mapped.data, entity, what)
    if rejection is not None:
        return rejection
    return CanonicalEvent(
        id=mapped.id,
        type=mapped.type,
        system=mapping.system,
        object=rules.kind.object or "",
        key=key_of_object(rules.kind, mapped.data, mapped.key),
        version=mapped.version,
        data=mapped.data,
        legal_entity=entity,
        occurred_at=mapped.occurred_at,
        effective_at=mapped.effective_at,
        received_at=receipt.received_at,
        receipt=receipt.no,
        correlation=mapped.key,
        senders=receipt.senders,
    )


def declared(model: Model, receipt: Receipt) -> CanonicalEvent | Rejection:
    """Return the event of a CloudEvent that is canonical already, or why it is rejected."""
    (event,) = parse(receipt.body, "application/cloudevents+json")
    rules = EventAcceptance.of(model, event.type)
    if rules is None:
        return Rejection("unrouted", f"no file declares the event {event.type}")
    data = typed(event.data, rules.schema)
    named = str(event.extensions.get("legalentity", ""))
    entity = entity_of_fact(model, receipt.system, named, data)
    rejection = rules.check(receipt.system, data, entity, f"{event.type} {event.id}")
    if rejection is not None:
        return rejection
    when = event.time or receipt.received_at
    sequence = event.extensions.get("sequence")
    order = str(sequence or "")
    version = int(order) if order.isdecimal() and len(order) <= MAX_SEQUENCE_DIGITS else micros(when)
    return CanonicalEvent(
        id=ids.derive("evt", event.source, event.id, first(event.type)),
        type=event.type,
        system=receipt.system,
        object=rules.kind.object or "",
        key=key_of_object(rules.kind, data, event.subject or event.id),
        version=version,
        data=data,
        legal_entity=entity,
        occurred_at=when,
        effective_at=when,
        received_at=receipt.received_at,
        receipt=receipt.no,
        correlation=str(event.extensions.get("correlationid", event.id)),
        senders=receipt.senders,
    )


def is_final(model: Model, object_: str, state: Mapping[str, Any]) -> bool:
    """Return True if a field of the state has a value that the object declares as final."""
    finals = _FINALS.setdefault(model, {})
    if object_ not in finals:
        finals[object_] = model.final_values(object_)
    return any(state.get(field) in values for field, values in finals[object_].items())


_FINALS: WeakKeyDictionary[Model, dict[str, dict[str, list[str]]]] = WeakKeyDictionary()


def asserted_fields(model: Model, event: str) -> Collection[str]:
    """Return the fields of the object's head that an event of this type sets."""
    return Ownership.of(model, event).fields


def trespasses_of_call(
    model: Model, name: str, speaks: Collection[str], fields: Collection[str]
) -> list[str]:
    """Return the fields that a call's input asserts without the right to speak for the system that owns them."""
    owners = model.asserted_by_call(name).items()
    return [f"{f} belongs to {system}" for f, system in owners if f in fields and system not in speaks]


def trespasses(model: Model, event: str, system: str, present: Collection[str]) -> list[str]:
    return Ownership.of(model, event).trespasses(model.family(system), present)
