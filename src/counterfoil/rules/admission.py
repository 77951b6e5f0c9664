"""Admission: the events of a delivery, and the heads, Runs, foils and observations that follow from each event.

Pure. The engine and replay both decide by these functions; the caller reads the store, answers look-ups, fetches
and commits. HeldDelivery says why a delivery cannot be admitted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from counterfoil.contracts.versions import number
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt, rank, rank_key
from counterfoil.core.case import Case
from counterfoil.core.contradictions import clash_case, content_of
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.foil_versions import Withdrawal
from counterfoil.core.link import Link, ext_topic
from counterfoil.model import Model
from counterfoil.model.definition import InboundMapping
from counterfoil.rules import acceptance, mapping, matching, routing
from counterfoil.rules.acceptance import Rejection, asserted_fields, key_of_object, trespasses
from counterfoil.rules.entities import moved_head
from counterfoil.rules.json_values import head_names
from counterfoil.rules.lookup import Answers, account_of
from counterfoil.rules.mapping import MappedEvent, MappedEvents, MappingFailed, UnresolvedLink
from counterfoil.rules.matching import OwedFoil
from counterfoil.rules.routing import NO_CASTS, Forms, RoutedStart
from counterfoil.rules.templates import FAULTS, Lookup
from counterfoil.rules.versions import CastFailed, CastPath, view


class HeldDelivery(Exception):
    """A delivery that is not admitted. `reason` is that of its Case; a Link under the topic `wake` retries it.

    The caller adds the events that are known, or what was fetched for the mapping that failed, by its name.
    """

    def __init__(self, reason: str, message: str, owner: str, wake: str | None = None) -> None:
        super().__init__(message)
        self.reason, self.message, self.owner, self.wake = reason, message, owner, wake
        self.events: Sequence[CanonicalEvent] = ()
        self.fetched: Mapping[str, Any] = {}


MappedFacts = Sequence[CanonicalEvent]
"""The events of one delivery."""


# ------------------------------------------------------------------ from a delivery to its events


def accepting_mappings(
    model: Model, receipt: Receipt, body: Any, candidates: Sequence[InboundMapping]
) -> list[InboundMapping]:
    """Return the candidates whose `when` takes the delivery. Raises HeldDelivery if none does."""
    mappings = [m for m in candidates if mapping.takes(m, body, receipt.received_at)]
    if not mappings:
        message = f"no mapping takes {receipt.type} of {receipt.system}"
        raise HeldDelivery("unrouted", message, _system_owner(model, receipt.system))
    return mappings


def fetch_arguments(m: InboundMapping, receipt: Receipt, body: Any) -> dict[str, Any] | None:
    """Return the input of the read that the mapping needs first, or None. Raises HeldDelivery."""
    try:
        return mapping.needs_of_fetch(m, body, receipt.received_at)
    except FAULTS as error:
        raise HeldDelivery("mapping_failed", f"mapping {m.name}, fetch: {error}", _first(m.owners)) from error


def map_delivery(
    m: InboundMapping, receipt: Receipt, body: Any, fetched: Any, answers: Answers
) -> MappedEvents:
    """Apply the mapping to the delivery. Raises HeldDelivery, LookupsNeeded."""
    result = mapping.apply_inbound(m, body, fetched, receipt.received_at, answers)
    match result:
        case MappedEvents():
            return result
        case MappingFailed(message):
            raise HeldDelivery("mapping_failed", message, _first(m.owners))
        case UnresolvedLink(object=object_, id=id_, system=system):
            message = f"{object_} {id_} of {system} is not linked to any known {object_}"
            topic = ext_topic(object_, system, id_)
            raise HeldDelivery("unresolved", message, _first(m.owners), wake=topic)


def accept(
    model: Model, m: InboundMapping, receipt: Receipt, event: MappedEvent, trusted: bool = False
) -> CanonicalEvent:
    """Return the mapped event in canonical form. Raises HeldDelivery for a broken contract or foreign fields.

    `trusted` skips both checks.
    """
    canonical = acceptance.canonical(model, m, receipt, event, trusted)
    if isinstance(canonical, Rejection):
        raise HeldDelivery(canonical.reason, canonical.message, _first(m.owners))
    return canonical


def accept_declared(model: Model, receipt: Receipt) -> CanonicalEvent:
    """Return the event of a delivery that came in canonical form. Raises HeldDelivery."""
    event = acceptance.declared(model, receipt)
    if isinstance(event, Rejection):
        raise HeldDelivery(event.reason, event.message, _system_owner(model, receipt.system))
    return event


def links_of(model: Model, system: str, event: MappedEvent, entity: str, now: datetime) -> list[Link]:
    """Return the Links that an event establishes: external ids for the data's `<object>_id`."""
    return [
        Link(
            object=object_,
            canonical=str(event.data[f"{object_}_id"]),
            system=system,
            account=account_of(model, system),
            ext_id=ext_id,
            legal_entity=entity,
            established_by=f"event:{event.id}",
            valid_from=now,
        )
        for object_, ext_id in event.links
        if f"{object_}_id" in event.data
    ]


def drop_repeats(events: Iterable[CanonicalEvent]) -> list[CanonicalEvent]:
    """Return each fact once: of two versions in one delivery, the newer. Repeats of one version stay."""
    newest: dict[str, CanonicalEvent] = {}
    repeats: list[CanonicalEvent] = []
    for event in events:
        other = newest.get(event.id)
        if other is not None and other.type == event.type:
            repeats.append(event)
        elif other is None or number(other.type) < number(event.type):
            newest[event.id] = event
    return [*newest.values(), *repeats]


# ------------------------------------------------------------------ versions of an event


def forms_of(
    model: Model,
    event: CanonicalEvent,
    waited: Collection[str],
    bridges: Mapping[str, CastPath] = NO_CASTS,
    onward: CastPath = (),
) -> Forms:
    """Return the event in each version that something takes; the stored version is the one that was sent.

    `bridges` and `onward` are casts of former Releases. Raises HeldDelivery if a cast fails or changes the subject.
    """
    try:
        current = view(event, onward)
        forms = {event.type: event, **routing.forms(model, current, waited, bridges)}
    except CastFailed as error:
        owner = _first(owners(model, event.type))
        raise HeldDelivery("cast_failed", f"{event.type} {event.key}: {error}", owner) from error
    for type_, form in forms.items():
        if type_ != event.type:
            _check_form(model, event, type_, form)
    return forms


def _check_form(model: Model, event: CanonicalEvent, type_: str, form: CanonicalEvent) -> None:
    """A cast may neither change the event's subject nor assert fields that its sender does not own."""
    kind = model.events.get(type_)
    if kind is None or not kind.object:
        return
    owner = _first(model.owners_of(kind))
    key = key_of_object(kind, form.data, "")
    if key != event.key:
        message = f"{event.type} is about {event.object} {event.key}, but as {type_} about {key or 'nothing'}"
        raise HeldDelivery("cast_failed", message, owner)
    foreign = trespasses(model, type_, event.system, set(form.data)) if event.receipt is not None else []
    if foreign:
        message = f"{event.system} may not assert by {type_}: {'; '.join(foreign)}"
        raise HeldDelivery("ownership", message, owner)


def check_taken(model: Model, event: CanonicalEvent, forms: Forms, waited: Collection[str]) -> None:
    """Raise HeldDelivery if nothing follows from the event in any version: no object, Run, wake-up or foil."""
    if not event.object and not any(type_ in model.consumed or type_ in waited for type_ in forms):
        message = f"nothing takes {event.type}: no object, workflow or counterfoil"
        raise HeldDelivery("unrouted", message, _first(owners(model, event.type)))


def owners(model: Model, event: str) -> list[str]:
    """Return the roles that own an event; for an undeclared one, the owners of all systems."""
    kind = model.events.get(event)
    own = model.owners_of(kind) if kind is not None else []
    return own or list(dict.fromkeys(_all_owners(model)))


def check_entity(model: Model, event: CanonicalEvent, head: Head | None) -> None:
    """Raise HeldDelivery for a fact that would move its object to another legal entity."""
    message = moved_head(model, event, head)
    if message is not None:
        raise HeldDelivery("ownership", message, _first(owners(model, event.type)))


# ------------------------------------------------------------------ one fact with two contents


def clash_of_repeat(
    model: Model, first: Receipt, mapped: tuple[MappedFacts, MappedFacts], now: datetime
) -> Case | None:
    """Return the Case of a delivery that came again with other content, as its mappings read both; None if they agree."""
    before, after = ({(e.type, e.key, n): e for n, e in enumerate(facts)} for facts in mapped)
    for place in dict.fromkeys((*before, *after)):
        stored, event = before.get(place), after.get(place)
        if stored is not None and event is not None and content_of(stored) == content_of(event):
            continue
        contents = [{} if e is None else content_of(e) for e in (stored, event)]
        subject = msgspec.structs.replace(event or before[place], receipt=first.no)
        return clash_case(subject, contents[0], contents[1], _first(owners(model, subject.type)), now)
    return None


def clash_across_versions(
    model: Model, stored: CanonicalEvent, event: CanonicalEvent, now: datetime
) -> Case | None:
    """Return the Case of a fact that came in two versions with different content; None if the casts show no difference.

    Both are compared as the event's version shows what the stored version can say.
    """
    there = model.versions.path(event.type, stored.type)
    back = model.versions.path(stored.type, event.type)
    if stored.type == event.type or there is None or back is None:
        return None
    try:
        before, after = view(stored, back), view(view(event, there), back)
    except CastFailed:
        return None  # the admission of the event reports the cast
    if content_of(before) == content_of(after):
        return None
    owner = _first(owners(model, event.type))
    return clash_case(event, content_of(before), content_of(after), owner, now)


# ------------------------------------------------------------------ what follows from an event


class AdmissionConsequences(msgspec.Struct, frozen=True, kw_only=True):
    head: Head | None
    starts: tuple[RoutedStart, ...]
    """Runs that the event starts, then Runs that a date of its object will start."""
    owed: tuple[OwedFoil, ...]
    withdrawn: tuple[Withdrawal, ...]
    """Documents of both sides that the event takes out, where they were shown before."""
    carrier: str | None
    """The first Run that the event itself starts: its foils belong to it."""

    def foils(self) -> list[Foil]:
        return [matching.foil_of(foil, self.carrier) for foil in self.owed]


def consequences(
    model: Model,
    event: CanonicalEvent,
    forms: Forms,
    now: datetime,
    lookup: Lookup,
    with_head: bool = True,
    read: datetime | None = None,
) -> AdmissionConsequences:
    """Return the head, Runs and foils of an event. Raises HeldDelivery, LookupNeeded.

    Without `with_head`, the head is built only if Runs start by a date of it: replay compares no heads. `read` is the time
    at which the event's content was read from the system of record.
    """
    try:
        head = None
        if with_head or (event.object and model.starts_by_object(event.object)):
            head = head_of(model, event, forms, now, read)
        starts = routing.starts(model, event, lookup, forms)
        due = [] if head is None else routing.due_starts(model, event.object, head_names(head), lookup)
        owed = [
            foil
            for rule, form in matching.writers(model, forms.values())
            for foil in matching.owed(rule, form, lookup)
        ]
        withdrawn = tuple(matching.withdrawals(model, forms.values(), lookup))
    except FAULTS as error:
        raise routing_failed(model, event, error) from error
    carrier = starts[0].run if starts else None
    return AdmissionConsequences(
        head=head, starts=(*starts, *due), owed=tuple(owed), withdrawn=withdrawn, carrier=carrier
    )


def observations(model: Model, event: CanonicalEvent, forms: Forms, lookup: Lookup) -> list[Observation]:
    """Return what the event shows of foils that others owe. Raises HeldDelivery, LookupNeeded."""
    try:
        rules = [(rule, form) for form in forms.values() for rule in model.foils_by_observation(form.type)]
        return [o for rule, form in rules for o in matching.observations_of(rule, form, lookup)]
    except FAULTS as error:
        raise routing_failed(model, event, error) from error


class EventDocuments(NamedTuple):
    """Documents of both sides that an event shows."""

    foils: tuple[Foil, ...]
    observations: tuple[Observation, ...]
    withdrawals: tuple[Withdrawal, ...]


def documents(model: Model, event: CanonicalEvent, forms: Forms, lookup: Lookup) -> EventDocuments:
    """Return the documents that an event shows, apart from Runs. Raises HeldDelivery, LookupNeeded."""
    try:
        writers = matching.writers(model, forms.values())
        owed = [foil for rule, form in writers for foil in matching.owed(rule, form, lookup)]
        withdrawn = tuple(matching.withdrawals(model, forms.values(), lookup))
    except FAULTS as error:
        raise routing_failed(model, event, error) from error
    foils = tuple(matching.foil_of(foil, None) for foil in owed)
    return EventDocuments(foils, tuple(observations(model, event, forms, lookup)), withdrawn)


def routing_failed(model: Model, event: CanonicalEvent, error: Exception) -> HeldDelivery:
    owner = _first(owners(model, event.type))
    return HeldDelivery("routing_failed", f"{event.type} {event.key}: {error}", owner)


def head_of(
    model: Model, event: CanonicalEvent, forms: Forms, now: datetime, read: datetime | None = None
) -> Head | None:
    """Return the head that the event gives its object; None if it has no object."""
    state = asserted_state(model, event, forms)
    if state is None:
        return None
    final = acceptance.is_final(model, event.object, state)
    return Head(
        object=event.object,
        key=event.key,
        version=event.version,
        state=state,
        system=event.system,
        effective_at=event.effective_at,
        recorded_at=now,
        event=event.id,
        entity=event.legal_entity,
        versions={rank_key(event.system): rank(event.id, final, read)},
    )


def asserted_state(model: Model, event: CanonicalEvent, forms: Forms) -> dict[str, Any] | None:
    """Return the object's fields that the event asserts; None if it has no object.

    The newest version wins over the sent one, because the object has the newest version's shape.
    """
    if not event.object:
        return None
    types = [type_ for type_ in forms if type_ in model.events]
    if not types:
        return None
    newest = forms.get(model.versions.newest(types[0]), event)
    state: dict[str, Any] = {}
    for form in (event,) if newest is event else (event, newest):
        if form.type in model.events:
            fields = asserted_fields(model, form.type)
            state |= {field: form.data[field] for field in fields if field in form.data}
    return state


def _system_owner(model: Model, system: str) -> str:
    """Return the owner of a system; for an undeclared one, the first owner of another, so that every Case has an owner."""
    kind = model.systems.get(system)
    own = model.owners_of(kind) if kind is not None else []
    return _first(own or _all_owners(model))


def _all_owners(model: Model) -> list[str]:
    return [role for name in sorted(model.systems) for role in model.owners_of(model.systems[name])]


def _first(roles: Iterable[str]) -> str:
    return next(iter(roles), "")
