"""Routing: the Runs that an event starts, and the topics under which it is posted. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from counterfoil.core import ids
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.clock import micros
from counterfoil.core.contradictions import HEAD_PREFIX
from counterfoil.core.link import event_topic
from counterfoil.model import Model
from counterfoil.model.blocks import blocks_of
from counterfoil.model.definition import Block, Definition, Wait
from counterfoil.rules.envelope import complete, entity_of_start, names_of_event, with_entity
from counterfoil.rules.json_values import event_names
from counterfoil.rules.templates import Lookup, UnusableValue, truth
from counterfoil.rules.templates import key as key_of
from counterfoil.rules.versions import CastPath, view

NO_CASTS: Mapping[str, CastPath] = MappingProxyType({})


class RoutedStart(msgspec.Struct, frozen=True, kw_only=True):
    """A Run that an event starts."""

    run: str
    workflow: str
    key: str
    generation: int
    names: dict[str, Any]
    """Names in the Run's scope at its start: `event`, or `object` and `object_key` of a due start."""


Forms = Mapping[str, CanonicalEvent]
"""One event by version: as sent, and as casts convert it."""


def forms(
    model: Model, event: CanonicalEvent, waited: Collection[str], bridges: Mapping[str, CastPath] = NO_CASTS
) -> dict[str, CanonicalEvent]:
    """Return the event in each version that something takes, first as it was sent. Raises CastFailed.

    `bridges` are casts of former Releases to versions that only their Runs wait for.
    """
    forms = {event.type: event}
    others = model.versions.others(event.type)
    if not others and not bridges:
        return forms
    newest = model.versions.newest(event.type)
    for other in others:
        path = model.versions.path(event.type, other)
        if path is not None and (other in model.consumed or other in waited or other == newest):
            forms[other] = view(event, path)
    for other, bridge in bridges.items():
        if other not in forms:
            forms[other] = view(event, bridge)
    return forms


def starts(
    model: Model, event: CanonicalEvent, lookup: Lookup | None, forms: Forms | None = None
) -> list[RoutedStart]:
    """Return the Runs that the event starts, by the `start` of workflows, each with the version that it takes."""
    return [s for form in (forms or {event.type: event}).values() for s in _starts(model, form, lookup)]


def _starts(model: Model, event: CanonicalEvent, lookup: Lookup | None) -> list[RoutedStart]:
    names, stored = names_of_event(event, model.envelope), {"event": event_names(event)}
    starts = []
    for definition in model.starts_by_event(event.type):
        start = definition.start
        if not truth(start.when, names, lookup):
            continue
        key = key_of(start.key, names, lookup)
        starts.append(_start(definition, key, _generation(definition, names, lookup), dict(stored)))
    successors = [_successor(d, event, lookup) for d in model.generations_by_event(event.type)]
    return starts + [s for s in successors if s is not None]


def start_of_call(
    definition: Definition, value: dict[str, Any], event: CanonicalEvent, lookup: Lookup | None
) -> RoutedStart | None:
    """Return the Run that a consumer's call starts, or None if the workflow's `when` is false.

    The data of `event` is the input and the caller.
    """
    start = definition.start
    stored = {"input": value, "event": event_names(event)}
    names = {**stored, "event": complete(stored["event"], definition.envelope)}
    names = with_entity(names, entity_of_start(names), definition.envelope)
    if not truth(start.when, names, lookup):
        return None
    generation = _generation(definition, names, lookup)
    return _start(definition, key_of(start.key, names, lookup), generation, stored)


def _generation(definition: Definition, names: Mapping[str, Any], lookup: Lookup | None) -> int:
    expression = definition.start.generation
    value = expression(names, lookup) if expression is not None else 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise UnusableValue(f"the generation of {definition.name} is not a whole number: {value!r}")
    return value


def _successor(definition: Definition, event: CanonicalEvent, lookup: Lookup | None) -> RoutedStart | None:
    """Return the Run that the event starts after others of the same key: late usage, a resubmitted credit.

    If an object's date starts the workflow, `where` names the object that the event is about. The generation is the
    time of the event's receipt in microseconds: greater than that of every former Run, and the same when the event is
    admitted twice. Deliveries that are stored together have receipt times one microsecond apart.
    """
    start = definition.start
    names = names_of_event(event, definition.envelope)
    stored: dict[str, Any] = {"event": event_names(event)}
    if start.due_object is not None:
        assert start.generation_where is not None
        of = next((e for path, e in start.generation_where.equalities("object") if path == "id"), None)
        if of is None or lookup is None:
            raise UnusableValue(f"the generation of {definition.name} does not name the {start.due_object}")
        key = key_of(of, names, lookup)
        head = lookup("head", (start.due_object, key))
        if head is None:
            about = f"{event.type} is about {start.due_object} {key}"
            raise UnusableValue(f"{about}, of which there is no record")
        stored |= {"object": head, "object_key": key}
        names |= stored | {"event": names["event"]}
    if not truth(start.generation_where, names, lookup):
        return None
    return _start(definition, key_of(start.key, names, lookup), micros(event.received_at), stored)


def due_starts(model: Model, object_: str, head: dict[str, Any], lookup: Lookup | None) -> list[RoutedStart]:
    """Return the Runs that a date of this object will start; recomputed on each version of it.

    One whose `when` is false now may begin with a later version. It is looked at once more when the date comes.
    """
    starts = []
    for definition in model.starts_by_object(object_):
        names = with_entity({"object": head}, entity_of_start({"object": head}), definition.envelope)
        if not truth(definition.start.when, names, lookup):
            continue
        key, generation = key_of(definition.start.key, names, lookup), _generation(definition, names, lookup)
        starts.append(_start(definition, key, generation, {"object": head, "object_key": str(head["id"])}))
    return starts


def sync_start(
    definition: Definition, object_: str, head: dict[str, Any], lookup: Lookup | None
) -> RoutedStart:
    """Return the Run that copies an object to a system where it has no Link.

    Its start formulas read an event whose data is the head.
    """
    event = {
        "id": f"{HEAD_PREFIX}{object_}:{head['id']}:{head['version']}",
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
    names = with_entity(
        {"event": complete(event, definition.envelope)}, event["legal_entity"], definition.envelope
    )
    key = key_of(definition.start.key, names, lookup)
    return _start(definition, key, 0, {"event": event})


def _start(definition: Definition, key: str, generation: int, names: dict[str, Any]) -> RoutedStart:
    workflow = definition.name
    run = ids.run_id(workflow, key, generation)
    return RoutedStart(run=run, workflow=workflow, key=key, generation=generation, names=names)


WaitedFields = Mapping[str, Collection[str]]
"""Event types that Runs wait for, with the fields that narrow their topics."""


def topics(
    model: Model, event: CanonicalEvent, forms: Forms | None = None, waited: WaitedFields | None = None
) -> tuple[str, ...]:
    """Return the topics of the event in each version that a Run may wait for."""
    waited = waited_fields(model) if waited is None else waited
    topics: list[str] = []
    for type_, form in (forms or {event.type: event}).items():
        fields = waited.get(type_)
        if fields is None:
            continue
        narrow = [event_topic(type_, f, _at(form.data, f)) for f in sorted(fields)]
        topics += [f"event:{type_}", *(t for t in narrow if t is not None)]
    return tuple(topics)


def event_body(event: CanonicalEvent, forms: Forms, waited: WaitedFields) -> dict[str, Any]:
    """Return the stimulus body for Runs that wait for the event: as sent, and `as` in other versions that are awaited.

    A Run casts by its pinned Release where that has casts; `as` is for one without.
    """
    other = {t: f.data for t, f in forms.items() if t != event.type and t in waited}
    return {**event_names(event), "as": other} if other else event_names(event)


def _at(data: dict[str, Any], path: str) -> Any:
    value: Any = data
    for part in path.removeprefix("data.").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def waited_fields(model: Model) -> dict[str, set[str]]:
    """Return the event types for which a Run may wait, or that interrupt or wake it, with the fields that narrow topics."""
    cached = _WAITED.get(model)
    if cached is not None:
        return cached
    waited: dict[str, set[str]] = {}
    for name in model.workflows:
        for type_, field in _waits_of(model.workflow(name)):
            fields = waited.setdefault(type_, set())
            if field:
                fields.add(field)
    _WAITED[model] = waited
    return waited


def waits(model: Model) -> tuple[tuple[str, str], ...]:
    """Return the same as pairs, for a Release to store. An empty field stands for the type alone."""
    pairs = {(t, f) for t, fields in waited_fields(model).items() for f in ("", *fields)}
    return tuple(sorted(pairs))


def _waits_of(definition: Definition) -> list[tuple[str, str]]:
    waits: list[tuple[str, str]] = []
    steps = [step for block in blocks_of(definition).values() for step in block.steps]
    for step in steps:
        if isinstance(step, Wait) and step.event is not None:
            waits += [(step.event, ""), *((step.event, f) for f, _ in step.keys)]
    for signal in definition.signals:
        waits += [(signal.event, ""), *((signal.event, f) for f, _ in signal.keys)]

    reactions = [reaction for step in steps for reaction in step.outcomes.values()]
    for reaction in (*reactions, *definition.failure.reactions.values()):
        verb = reaction.verb if isinstance(reaction, Block) else reaction
        if verb is not None and verb.queue is not None and verb.queue.wake is not None:
            waits.append((verb.queue.wake, ""))
    if definition.failure.queue.wake is not None:
        waits.append((definition.failure.queue.wake, ""))
    return waits


_WAITED: WeakKeyDictionary[Model, dict[str, set[str]]] = WeakKeyDictionary()
"""Cache per Model: Runs of former Releases continue next to those of the active one."""
