"""Usage: which events of a batch are kept, and why the others are not. Compiled once for each Model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema_rs

from counterfoil.core.usage import RefusedUsage, UsageEvent, UsageRow, same_content
from counterfoil.model import Model
from counterfoil.model.kinds import FieldSpec, seconds

MAX_CLOCK_AHEAD = timedelta(minutes=5)
"""By how much a clock elsewhere may be ahead of ours."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MAX_ERRORS = 5


@dataclass(frozen=True, slots=True)
class Meter:
    """One event type that tells usage."""

    subscription: str
    meter: str
    """Fields of the data."""
    listed: frozenset[str]
    """The meters there are."""
    past: timedelta
    one: Any
    """Validator of the data of one event."""
    many: Any
    """Validator of a list of them: one call for a batch."""


class Meters:
    """The usage that a Model takes: by event type, of declared systems."""

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
        """Whether a source begins with a declared system."""
        return source.removeprefix("/").partition("/")[0] in self._systems


@dataclass(slots=True)
class CheckedBatch:
    """What becomes of a batch. Places are those of its events."""

    rows: list[UsageRow] = field(default_factory=list)
    """In order of source and id."""
    places: list[int] = field(default_factory=list)
    """Of the rows."""
    repeated: int = 0
    """Events that the batch has twice."""
    refused: list[tuple[int, RefusedUsage]] = field(default_factory=list)

    def refuse(self, place: int, reason: str, message: str, source: str, id_: str, body: bytes) -> None:
        refused = RefusedUsage(reason=reason, message=message, source=source[:500], id=id_[:500], body=body)
        self.refused.append((place, refused))


def check_batch(
    events: Sequence[UsageEvent | str], bodies: Sequence[bytes], meters: Meters, batch: str, now: datetime
) -> CheckedBatch:
    """The rows to keep, and the refusals with their reasons: no event at all, source, type, meter, time, data.

    Ids that the batch has twice are kept once.
    """
    judged = CheckedBatch()
    at, latest = now - EPOCH, now + MAX_CLOCK_AHEAD
    sources: dict[str, bool] = {}
    groups: dict[str, list[tuple[int, UsageEvent]]] = {}
    for place, event in enumerate(events):
        if type(event) is str:
            judged.refuse(place, "usage_unreadable", event, "", "", bodies[place])
            continue
        assert type(event) is UsageEvent
        meter = meters.types.get(event.type)
        time, data = event.time, event.data
        known = sources.get(event.source)
        if known is None:
            known = sources[event.source] = meters.knows(event.source)
        if (
            meter is None
            or not known
            or data is None
            or type(name := data.get(meter.meter)) is not str
            or name not in meter.listed
            or time > latest
            or at - (time - EPOCH) > meter.past
        ):
            reason, message = _why(event, meter, meters, now)
            judged.refuse(place, reason, message, event.source, event.id, bodies[place])
            continue
        group = groups.get(event.type)
        if group is None:
            groups[event.type] = [(place, event)]
        else:
            group.append((place, event))
    kept: dict[tuple[str, str], tuple[int, UsageRow]] = {}
    for type_, group in groups.items():
        meter = meters.types[type_]
        for place, event in _valid(group, bodies, meter, judged):
            told: Any = event.data
            row = (
                event.source,
                event.id,
                type_,
                told[meter.subscription],
                told[meter.meter],
                (event.time - EPOCH) // MICROSECOND,
                batch,
                bodies[place],
            )
            first = kept.setdefault(row[:2], (place, row))
            if first[0] != place:
                _again(judged, first[1], place, row)
    ordered = [kept[key] for key in sorted(kept)]
    judged.rows = [row for _, row in ordered]
    judged.places = [place for place, _ in ordered]
    judged.refused.sort(key=lambda each: each[0])
    return judged


def _why(event: UsageEvent, meter: Meter | None, meters: Meters, now: datetime) -> tuple[str, str]:
    """The first reason to refuse an event that has one."""
    if not meters.knows(event.source):
        return "usage_unknown_source", f"no system is declared for the source {event.source[:100]}"
    if meter is None:
        return "usage_unknown_type", f"no event {event.type[:100]} is declared to tell usage"
    if event.data is None:
        return "usage_invalid", "usage has data, a JSON object"
    name = event.data.get(meter.meter)
    if type(name) is str and name not in meter.listed:
        return "usage_unknown_meter", f"{event.type} has no meter {name[:100]}"
    if event.time > now + MAX_CLOCK_AHEAD:
        return "usage_future", f"it happened more than {MAX_CLOCK_AHEAD.total_seconds():g} s from now"
    if now - event.time > meter.past:
        return "usage_past", f"it happened more than {meter.past / timedelta(days=1):g} days ago"
    return "usage_invalid", "; ".join(_wrong(meter, event)) or f"{meter.meter} is no meter"


def _valid(
    group: list[tuple[int, UsageEvent]], bodies: Sequence[bytes], meter: Meter, judged: CheckedBatch
) -> list[tuple[int, UsageEvent]]:
    """Those whose data keeps the contract. One call where all do, one for each where one does not."""
    if meter.many.is_valid([event.data for _, event in group]):
        return group
    valid = []
    for place, event in group:
        wrong = _wrong(meter, event)
        if wrong:
            message = "; ".join(wrong)[:1000]
            judged.refuse(place, "usage_invalid", message, event.source, event.id, bodies[place])
        else:
            valid.append((place, event))
    return valid


def _wrong(meter: Meter, event: UsageEvent) -> list[str]:
    """What does not keep the contract, as `place: message`."""
    wrong = []
    for error in meter.one.iter_errors(event.data):
        where = "/".join(str(part) for part in error.instance_path) or "data"
        wrong.append(f"{where}: {error.message}")
        if len(wrong) == MAX_ERRORS:
            break
    return wrong


def _again(judged: CheckedBatch, first: UsageRow, place: int, row: UsageRow) -> None:
    if same_content(first[7], row[7]):
        judged.repeated += 1
        return
    message = "the batch has it twice, with another content; the first one stands"
    judged.refuse(place, "usage_clash", message, row[0], row[1], row[7])
