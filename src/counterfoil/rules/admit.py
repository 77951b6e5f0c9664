"""What follows from a fact that several versions tell: whether anything takes it, and how its object moves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec

from counterfoil.contracts.versions import number
from counterfoil.core.canonical import CanonicalEvent, Head
from counterfoil.model import Model
from counterfoil.rules.ownership import asserted_fields, trespasses
from counterfoil.rules.routing import Forms


class UnusableVersion(msgspec.Struct, frozen=True):
    """Why a fact cannot be taken in one of its versions."""

    reason: str
    message: str
    owners: list[str]


def once(events: Sequence[CanonicalEvent]) -> list[CanonicalEvent]:
    """Each fact once: of one that a delivery tells in two versions, the newer."""
    found: dict[str, CanonicalEvent] = {}
    again: list[CanonicalEvent] = []
    for event in events:
        held = found.get(event.id)
        if held is not None and held.type == event.type:
            again.append(event)
        elif held is None or number(held.type) < number(event.type):
            found[event.id] = event
    return [*found.values(), *again]


def owners(model: Model, event: str) -> list[str]:
    """Who answers for an event; for one that is declared no more, whoever owns any system."""
    kind = model.events.get(event)
    own = model.owners_of(kind) if kind is not None else []
    every = (role for name in sorted(model.systems) for role in model.owners_of(model.systems[name]))
    return own or list(dict.fromkeys(every))


def taken(model: Model, event: CanonicalEvent, forms: Forms, waited: Collection[str]) -> bool:
    """Does anything follow from the event in any of its versions: a head, a Run, a wake-up, a foil, an observation?"""
    return bool(event.object) or any(type_ in model.consumed or type_ in waited for type_ in forms)


def strange_form(model: Model, event: CanonicalEvent, forms: Forms) -> UnusableVersion | None:
    """A cast may not make another thing of what the fact speaks of, nor say what its sender may not."""
    for type_, form in forms.items():
        kind = model.events.get(type_)
        if type_ == event.type or kind is None or not kind.object:
            continue
        owners = model.owners_of(kind)
        key = str(form.data.get(kind.key or f"{kind.object}_id", ""))
        if key != event.key:
            message = f"{event.type} speaks of {event.object} {event.key}, as {type_} of {key or 'nothing'}"
            return UnusableVersion("cast_failed", message, owners)
        foreign = trespasses(model, type_, event.system, set(form.data)) if event.receipt is not None else []
        if foreign:
            return UnusableVersion(
                "ownership", f"{event.system} may not assert by {type_}: {'; '.join(foreign)}", owners
            )
    return None


def head(model: Model, event: CanonicalEvent, forms: Forms, now: datetime) -> Head | None:
    """What the fact says of its object, as its head holds it."""
    state = asserted(model, event, forms)
    if state is None:
        return None
    return Head(
        object=event.object,
        key=event.key,
        version=event.version,
        state=state,
        system=event.system,
        effective_at=event.effective_at,
        recorded_at=now,
        event=event.id,
    )


def asserted(model: Model, event: CanonicalEvent, forms: Forms) -> dict[str, Any] | None:
    """What the fact says of its object: in its own version and, above that, in the newest, whose shape the object has.
    None where it speaks of none."""
    if not event.object:
        return None
    declared = [type_ for type_ in forms if type_ in model.events]
    if not declared:
        return None
    newest = forms.get(model.versions.newest(declared[0]), event)
    return {
        field: form.data[field]
        for form in ((event,) if newest is event else (event, newest))
        if form.type in model.events
        for field in asserted_fields(model, form.type)
        if field in form.data
    }
