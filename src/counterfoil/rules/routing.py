"""Routing: which Runs an event begins, and under which topics it is made known. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from counterfoil.core import ids
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.clock import micros
from counterfoil.model import Model
from counterfoil.model.definition import Block, Definition, Reaction, Verb, Wait
from counterfoil.rules.templates import Lookup, UnusableValue, truth
from counterfoil.rules.templates import key as key_of
from counterfoil.rules.values import event_names
from counterfoil.rules.versions import CastPath, view
from counterfoil.rules.workflow.context import blocks_of
from counterfoil.rules.workflow.decide import event_topic

NO_CASTS: Mapping[str, CastPath] = MappingProxyType({})


class RoutedStart(msgspec.Struct, frozen=True, kw_only=True):
    """A Run that an event begins."""

    run: str
    workflow: str
    key: str
    generation: int
    names: dict[str, Any]
    """What the Run knows when it begins: `event`, or `object_key` of a due start."""


Forms = Mapping[str, CanonicalEvent]
"""One fact by version: as it was sent, and as casts give it."""


def forms(
    model: Model, event: CanonicalEvent, waited: Collection[str], bridges: Mapping[str, CastPath] = NO_CASTS
) -> dict[str, CanonicalEvent]:
    """The fact in each version in which something takes it; first as it was sent. `bridges` are casts of former
    Releases to versions that only their Runs wait for. Raises CastFailed."""
    found = {event.type: event}
    known = model.versions.others(event.type)
    if not known and not bridges:
        return found
    newest = model.versions.newest(event.type)
    for other in known:
        path = model.versions.path(event.type, other)
        if path is not None and (other in model.consumed or other in waited or other == newest):
            found[other] = view(event, path)
    for other, bridge in bridges.items():
        if other not in found:
            found[other] = view(event, bridge)
    return found


def starts(
    model: Model, event: CanonicalEvent, lookup: Lookup | None, known: Forms | None = None
) -> list[RoutedStart]:
    """The Runs that this event begins, by its workflows' `start`: each is told it in the version that it takes."""
    return [s for form in (known or {event.type: event}).values() for s in _starts(model, form, lookup)]


def _starts(model: Model, event: CanonicalEvent, lookup: Lookup | None) -> list[RoutedStart]:
    names = {"event": event_names(event)}
    found = []
    for definition in model.starts_by_event(event.type):
        start = definition.start
        if not truth(start.when, names, lookup):
            continue
        key = key_of(start.key, names, lookup)
        generation = start.generation(names, lookup) if start.generation is not None else 0
        if isinstance(generation, bool) or not isinstance(generation, int):
            raise UnusableValue(f"the generation of {definition.name} is not a whole number: {generation!r}")
        found.append(_start(definition, key, generation, dict(names)))
    successors = [_successor(d, event, lookup) for d in model.generations_by_event(event.type)]
    return found + [s for s in successors if s is not None]


def start_of_call(
    definition: Definition, value: dict[str, Any], event: CanonicalEvent, lookup: Lookup | None
) -> RoutedStart | None:
    """The Run that a consumer's call begins, by its workflow's `start`; None when `when` does not take it. `event` tells
    of the call: its data is the input and who called."""
    start = definition.start
    names = {"input": value, "event": event_names(event)}
    if not truth(start.when, names, lookup):
        return None
    generation = start.generation(names, lookup) if start.generation is not None else 0
    if isinstance(generation, bool) or not isinstance(generation, int):
        raise UnusableValue(f"the generation of {definition.name} is not a whole number: {generation!r}")
    return _start(definition, key_of(start.key, names, lookup), generation, names)


def _successor(definition: Definition, event: CanonicalEvent, lookup: Lookup | None) -> RoutedStart | None:
    """The Run that follows others of the same key because of this event: late usage, a resubmitted credit.

    Where the workflow begins with an object's date, `where` says which object the event speaks of. Its
    generation is the time of the event's receipt in microseconds: greater than that of every former Run, the
    same when the event is admitted twice, and no two events share a Run.
    """
    start = definition.start
    names: dict[str, Any] = {"event": event_names(event)}
    if start.due_object is not None:
        assert start.generation_where is not None
        of = next((e for path, e in start.generation_where.equalities("object") if path == "id"), None)
        if of is None or lookup is None:
            raise UnusableValue(f"the generation of {definition.name} does not say which {start.due_object}")
        key = key_of(of, names, lookup)
        head = lookup("head", (start.due_object, key))
        if head is None:
            raise UnusableValue(f"no {start.due_object} {key} is known, of which {event.type} speaks")
        names |= {"object": head, "object_key": key}
    if not truth(start.generation_where, names, lookup):
        return None
    return _start(definition, key_of(start.key, names, lookup), micros(event.received_at), names)


def due_starts(model: Model, object_: str, head: dict[str, Any], lookup: Lookup | None) -> list[RoutedStart]:
    """The Runs that a date of this object will begin; recomputed on each version of it."""
    found = []
    for definition in model.starts_by_object(object_):
        key = key_of(definition.start.key, {"object": head}, lookup)
        found.append(_start(definition, key, 0, {"object": head, "object_key": str(head["id"])}))
    return found


def sync_start(
    definition: Definition, object_: str, head: dict[str, Any], lookup: Lookup | None
) -> RoutedStart:
    """The Run that carries an object to a system in which its Link is missing.

    Its start formulas see an event whose data is the head.
    """
    event = {
        "id": f"head:{object_}:{head['id']}:{head['version']}",
        "type": definition.start.event or "",
        "system": "counterfoil",
        "source": "counterfoil",
        "subject": str(head["id"]),
        "key": str(head["id"]),
        "version": str(head["version"]),
        "legal_entity": str(head.get("legal_entity", "")),
        "time": head["recorded_at"],
        "occurred_at": head["recorded_at"],
        "effective_at": head["effective_at"],
        "received_at": head["recorded_at"],
        "correlation_id": "",
        "causation_id": "",
        "data": {f"{object_}_id": head["id"], **head},
    }
    key = key_of(definition.start.key, {"event": event}, lookup)
    return _start(definition, key, 0, {"event": event})


def _start(definition: Definition, key: str, generation: int, names: dict[str, Any]) -> RoutedStart:
    return RoutedStart(
        run=ids.run_id(definition.name, key, generation),
        workflow=definition.name,
        key=key,
        generation=generation,
        names=names,
    )


WaitedFields = Mapping[str, Collection[str]]
"""Event types that Runs wait for, with the fields that narrow their topics."""


def topics(
    model: Model, event: CanonicalEvent, known: Forms | None = None, waited: WaitedFields | None = None
) -> tuple[str, ...]:
    """Where the event is made known, in each version for which something waits; none where nothing does."""
    waited = waited_fields(model) if waited is None else waited
    found: list[str] = []
    for type_, form in (known or {event.type: event}).items():
        keyed = waited.get(type_)
        if keyed is None:
            continue
        narrow = [event_topic(type_, f, _at(form.data, f)) for f in sorted(keyed)]
        found += [f"event:{type_}", *(t for t in narrow if t is not None)]
    return tuple(found)


def event_body(event: CanonicalEvent, known: Forms, waited: WaitedFields) -> dict[str, Any]:
    """What Runs that wait for the event are told: as it was sent, and `as` what else somebody waits for. A Run
    casts by what it is pinned to, where that has casts; `as` is for one that has none."""
    other = {t: f.data for t, f in known.items() if t != event.type and t in waited}
    return {**event_names(event), "as": other} if other else event_names(event)


def _at(data: dict[str, Any], path: str) -> Any:
    value: Any = data
    for part in path.removeprefix("data.").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def waited_fields(model: Model) -> dict[str, set[str]]:
    """Event types that a Run may wait for, be interrupted or woken by, with the fields that narrow topics."""
    cached = _WAITED.get(model)
    if cached is not None:
        return cached
    found: dict[str, set[str]] = {}
    for name in model.workflows:
        for type_, field in _waited(model.workflow(name)):
            fields = found.setdefault(type_, set())
            if field:
                fields.add(field)
    _WAITED[model] = found
    return found


def waits(model: Model) -> tuple[tuple[str, str], ...]:
    """The same as pairs, for a Release to keep; an empty field is the type alone."""
    found = {(t, f) for t, fields in waited_fields(model).items() for f in ("", *fields)}
    return tuple(sorted(found))


def _waited(definition: Definition) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for block in blocks_of(definition).values():
        for step in block.steps:
            if isinstance(step, Wait) and step.event is not None:
                found += [(step.event, ""), *((step.event, f) for f, _ in step.keys)]
    for signal in definition.signals:
        found += [(signal.event, ""), *((signal.event, f) for f, _ in signal.keys)]

    def wakes(reaction: Reaction) -> None:
        verb = reaction.verb if isinstance(reaction, Block) else reaction
        if isinstance(verb, Verb) and verb.queue is not None and verb.queue.wake is not None:
            found.append((verb.queue.wake, ""))

    for block in blocks_of(definition).values():
        for step in block.steps:
            for reaction in step.outcomes.values():
                wakes(reaction)
    for reaction in definition.failure.reactions.values():
        wakes(reaction)
    if definition.failure.queue.wake is not None:
        found.append((definition.failure.queue.wake, ""))
    return found


_WAITED: WeakKeyDictionary[Model, dict[str, set[str]]] = WeakKeyDictionary()
"""Worked out once for each Model in use: Runs of former Releases go on beside those of the present one."""
