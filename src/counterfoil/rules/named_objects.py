"""The objects that an event names: the one that it is about, and those of its data. Pure.

A field `invoice_id` names an invoice by its canonical id, `invoice_ref` by its id in a system. Prefixes, plurals and
nested fields name it too: `first_invoice_id`, `invoice_ids`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from counterfoil.core.canonical import CanonicalEvent, Receipt
from counterfoil.core.event import Event
from counterfoil.model import Model
from counterfoil.rules import acceptance
from counterfoil.rules.acceptance import Rejection
from counterfoil.rules.versions import CastFailed, view


class NamedObjects(msgspec.Struct, frozen=True):
    """Objects as pairs of type and id."""

    ids: frozenset[tuple[str, str]]
    """By canonical id."""
    references: frozenset[tuple[str, str]]
    """By the id in a system."""


def named_objects(model: Model, event: Event, receipt: Receipt) -> NamedObjects:
    """Return the objects that a CloudEvent names, in its data as sent and in each version that casts make of it."""
    kind = model.events.get(event.type)
    data = event.data if isinstance(event.data, dict) else {}
    ids = set(_about(model, kind.object if kind is not None else None, [event.subject or event.id]))
    if kind is not None and kind.object:
        ids |= set(_about(model, kind.object, [acceptance.key_of_object(kind, data, "")]))
    references: set[tuple[str, str]] = set()
    for each in (data, *_versions(model, receipt)):
        fields = list(_fields(each))
        ids |= set(_matching(model, fields, "_id"))
        references |= set(_matching(model, fields, "_ref"))
    return NamedObjects(frozenset(ids), frozenset(references))


def _about(model: Model, object_: str | None, keys: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the object of an event; an event about none may name one of any type by its subject."""
    for name in (object_,) if object_ else model.objects:
        yield from ((name, key) for key in keys if key)


def _versions(model: Model, receipt: Receipt) -> Iterator[Mapping[str, Any]]:
    """Yield the data in the other versions of the event. What cannot be read or cast is held by its admission."""
    event = acceptance.declared(model, receipt)
    if isinstance(event, Rejection):
        return
    for other in model.versions.others(event.type):
        path = model.versions.path(event.type, other)
        if path is None:
            continue
        form: CanonicalEvent
        try:
            form = view(event, path)
        except CastFailed:
            continue
        yield form.data


def _fields(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the names and texts of the fields of a JSON value, at any depth. A list has the name of its field."""
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        name, part = pending.pop()
        if isinstance(part, dict):
            pending += part.items()
        elif isinstance(part, list | tuple):
            pending += [(name, each) for each in part]
        elif isinstance(part, str) or type(part) is int:
            yield name, str(part)


def _matching(model: Model, fields: list[tuple[str, str]], end: str) -> Iterator[tuple[str, str]]:
    for name, text in fields:
        for object_ in model.objects if text else ():
            field = f"{object_}{end}"
            if name in (field, f"{field}s") or name.endswith((f"_{field}", f"_{field}s")):
                yield object_, text
