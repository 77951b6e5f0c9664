"""Usage: the events of a batch that are stored, and the reasons why others are rejected. Compiled once per Model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import jsonschema_rs

from counterfoil.core.clock import EPOCH, micros
from counterfoil.core.usage import RefusedUsage, UsageEvent, UsageRow, same_content
from counterfoil.model import Model
from counterfoil.model.kinds import FieldSpec, seconds

MAX_CLOCK_AHEAD = timedelta(minutes=5)
"""Tolerance for a sender's clock that is ahead."""
MAX_ERRORS = 5


@dataclass(frozen=True, slots=True)
class Meter:
    """One event type that reports usage."""

    subscription: str
    meter: str
    """Fields of the data."""
    listed: frozenset[str]
    """Declared meters."""
    past: timedelta
    one: Any
    """Validator of the data of one event."""
    many: Any
    """Validator of a list of them: one call for a batch."""


class Meters:
    """Usage that a Model accepts: by event type, from declared systems."""

    def __init__(self, model: Model) -> None:
        self._systems = frozenset(model.systems)
        self.types: dict[str, Meter] = {}
        for name, event in model.events.items():
            if event.usage is None:
                continue
            schema = model.schema_of_event(name)
            spec = event.data[event.usage.meter]
            self.types[name] = Meter(
                subscription=event.usage.subscription,
                meter=event.usage.meter,
                listed=frozenset((spec.enum or ()) if isinstance(spec, FieldSpec) else ()),
                past=timedelta(seconds=seconds(event.usage.past)),
                one=jsonschema_rs.validator_for(schema, validate_formats=True),
                many=jsonschema_rs.validator_for({"type": "array", "items": schema}, validate_formats=True),
            )

    def knows(self, source: str) -> bool:
        """Return True if a source begins with a declared system."""
        return source.removeprefix("/").partition("/")[0] in self._systems


@dataclass(slots=True)
class CheckedBatch:
    """Result of the check of a batch. Places are positions of its events."""

    rows: list[UsageRow] = field(default_factory=list)
    """In order of source and id."""
    places: list[int] = field(default_factory=list)
    """Of the rows."""
    repeated: int = 0
    """Events that the batch repeats."""
    refused: list[tuple[int, RefusedUsage]] = field(default_factory=list)

    def refuse(self, place: int, reason: str, message: str, source: str, id_: str, body: bytes) -> None:
        refused = RefusedUsage(reason=reason, message=message, source=source[:500], id=id_[:500], body=body)
        self.refused.append((place, refused))


def check_batch(
    events: Sequence[UsageEvent | str], bodies: Sequence[bytes], meters: Meters, batch: str, now: datetime
) -> CheckedBatch:
    """Return the rows to store, and the rejected events with reasons: form, source, type, meter, time or data.

    An event that the batch repeats is stored once.
    """
    checked = CheckedBatch()
    at, latest = now - EPOCH, now + MAX_CLOCK_AHEAD
    sources: dict[str, bool] = {}
    groups: defaultdict[str, list[tuple[int, UsageEvent]]] = defaultdict(list)
    for place, event in enumerate(events):
        if type(event) is str:
            checked.refuse(place, "usage_unreadable", event, "", "", bodies[place])
            continue
        assert type(event) is UsageEvent
        meter = meters.types.get(event.type)
        time, data = event.time, event.data
        is_declared = sources.get(event.source)
        if is_declared is None:
            is_declared = sources[event.source] = meters.knows(event.source)
        if (
            meter is None
            or not is_declared
            or data is None
            or type(name := data.get(meter.meter)) is not str
            or name not in meter.listed
            or time > latest
            or at - (time - EPOCH) > meter.past
        ):
            reason, message = _why(event, meter, meters, now)
            checked.refuse(place, reason, message, event.source, event.id, bodies[place])
            continue
        groups[event.type].append((place, event))
    rows: dict[tuple[str, str], tuple[int, UsageRow]] = {}
    for type_, group in groups.items():
        meter = meters.types[type_]
        for place, event in _valid(group, bodies, meter, checked):
            fields: Any = event.data
            row = (
                event.source,
                event.id,
                type_,
                fields[meter.subscription],
                fields[meter.meter],
                micros(event.time),
                batch,
                bodies[place],
            )
            first = rows.setdefault(row[:2], (place, row))
            if first[0] != place:
                _again(checked, first[1], place, row)
    ordered = [rows[key] for key in sorted(rows)]
    checked.rows = [row for _, row in ordered]
    checked.places = [place for place, _ in ordered]
    checked.refused.sort(key=lambda refusal: refusal[0])
    return checked


def _why(event: UsageEvent, meter: Meter | None, meters: Meters, now: datetime) -> tuple[str, str]:
    """Return the first reason to reject an event."""
    if not meters.knows(event.source):
        return "usage_unknown_source", f"no system is declared for the source {event.source[:100]}"
    if meter is None:
        return "usage_unknown_type", f"no event {event.type[:100]} is declared as usage"
    if event.data is None:
        return "usage_invalid", "the data of usage is a JSON object"
    name = event.data.get(meter.meter)
    if type(name) is str and name not in meter.listed:
        return "usage_unknown_meter", f"{event.type} has no meter {name[:100]}"
    if event.time > now + MAX_CLOCK_AHEAD:
        return "usage_future", f"it happened more than {MAX_CLOCK_AHEAD.total_seconds():g} s from now"
    if now - event.time > meter.past:
        return "usage_past", f"it happened more than {meter.past / timedelta(days=1):g} days ago"
    return "usage_invalid", "; ".join(_wrong(meter, event)) or f"{meter.meter} is not a meter"


def _valid(
    group: list[tuple[int, UsageEvent]], bodies: Sequence[bytes], meter: Meter, checked: CheckedBatch
) -> list[tuple[int, UsageEvent]]:
    """Return the events whose data keeps the contract: one call if all do, else one call for each."""
    if meter.many.is_valid([event.data for _, event in group]):
        return group
    valid = []
    for place, event in group:
        wrong = _wrong(meter, event)
        if wrong:
            message = "; ".join(wrong)[:1000]
            checked.refuse(place, "usage_invalid", message, event.source, event.id, bodies[place])
        else:
            valid.append((place, event))
    return valid


def _wrong(meter: Meter, event: UsageEvent) -> list[str]:
    """Return the violations of the contract, as `place: message`."""
    wrong = []
    for error in meter.one.iter_errors(event.data):
        where = "/".join(str(part) for part in error.instance_path) or "data"
        wrong.append(f"{where}: {error.message}")
        if len(wrong) == MAX_ERRORS:
            break
    return wrong


def _again(checked: CheckedBatch, first: UsageRow, place: int, row: UsageRow) -> None:
    if same_content(first[7], row[7]):
        checked.repeated += 1
        return
    message = "the batch repeats it with different content; the first event stays valid"
    checked.refuse(place, "usage_clash", message, row[0], row[1], row[7])
