"""Usage: the events of a batch that are stored, and the reasons why others are rejected. Compiled once per Model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import jsonschema_rs

from counterfoil.core.clock import EPOCH, micros
from counterfoil.core.usage import RefusedUsage, UsageEvent, UsageRow, same_content
from counterfoil.model import Model
from counterfoil.model.kinds import FieldSpec, Metered, seconds
from counterfoil.rules.contract import Contract
from counterfoil.rules.json_values import amounts_in, has_money, typed, with_minor
from counterfoil.rules.usage_corrections import unfounded
from counterfoil.rules.usage_entities import UNKNOWN_SUBSCRIPTION, UsageEntities, unknown_subscription
from counterfoil.rules.usage_records import Subscriptions, UsageRecords

MAX_CLOCK_AHEAD = timedelta(minutes=5)
"""Tolerance for a sender's clock that is ahead."""
MAX_ERRORS = 5


@dataclass(frozen=True, slots=True)
class MeterAnswers:
    """Declared meters and known subscriptions of one event type, for one batch."""

    listed: Collection[str]
    known: Collection[str] | None
    """None: any subscription is counted."""
    timed: Subscriptions | None
    """Set if the state of a subscription is compared too."""


@dataclass(frozen=True, slots=True)
class Meter:
    """One event type that reports usage."""

    subscription: str
    meter: str
    quantity: str | None
    corrects: str | None
    """Fields of the data."""
    listed: frozenset[str] | str
    """Declared meters, or the object whose heads they are."""
    subscriptions: Subscriptions | None
    past: timedelta
    schema: dict[str, Any]
    money: bool
    """The data has money, whose forms differ from its schema."""
    one: Any
    """Validator of the data of one event."""
    many: Any
    """Validator of a list of them that are counted: one call for a batch."""

    def answers(self, records: UsageRecords) -> MeterAnswers:
        """Return what the store and the model say about the events of one batch."""
        listed = records.heads.get(self.listed, ()) if type(self.listed) is str else self.listed
        if self.subscriptions is None:
            return MeterAnswers(listed, None, None)
        object_ = self.subscriptions.object
        if not self.subscriptions.timed:
            return MeterAnswers(listed, records.heads.get(object_, ()), None)
        return MeterAnswers(listed, records.states.get(object_, {}), self.subscriptions)

    def is_negative(self, data: dict[str, Any]) -> bool:
        """Return True for a negative quantity in an event that corrects no other one."""
        quantity = data.get(self.quantity) if self.quantity is not None else None
        if isinstance(quantity, bool) or not isinstance(quantity, int | Decimal) or quantity >= 0:
            return False
        return self.corrects is None or not data.get(self.corrects)

    def corrected(self, event: UsageEvent | str) -> str:
        """Return the id of the event that an event corrects; empty if it corrects none."""
        return _text(event.data or {}, self.corrects or "") if type(event) is UsageEvent else ""

    def plain(self, data: Any) -> Any:
        """Return the data with money in the form of its schema."""
        return with_minor(data, self.schema) if self.money else data


class Meters:
    """Usage that a Model accepts: by event type, from declared systems."""

    def __init__(self, model: Model) -> None:
        self._systems = frozenset(model.systems)
        self.types: dict[str, Meter] = {}
        for name, event in model.events.items():
            if event.usage is None:
                continue
            schema = model.schema_of_event(name)
            self.types[name] = Meter(
                subscription=event.usage.subscription,
                meter=event.usage.meter,
                quantity=_quantity(event.usage, schema),
                corrects=event.usage.corrects,
                listed=_listed(model, event.usage, event.data[event.usage.meter]),
                subscriptions=_subscriptions(event.usage),
                past=timedelta(seconds=seconds(event.usage.past)),
                schema=schema,
                money=has_money(schema),
                one=jsonschema_rs.validator_for(schema, validate_formats=True),
                many=jsonschema_rs.validator_for(
                    {"type": "array", "items": _counted(event.usage, schema)}, validate_formats=True
                ),
            )

    def needs(self, events: Sequence[UsageEvent | str]) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
        """Return the keys by object whose existence, and those whose states the check of a batch reads."""
        heads: dict[str, set[str]] = {}
        states: dict[str, set[str]] = {}
        for name, meter in self.types.items():
            if meter.subscriptions is None and type(meter.listed) is not str:
                continue
            data = [e.data for e in events if type(e) is UsageEvent and e.type == name and e.data is not None]
            if data and meter.subscriptions is not None:
                keys = states if meter.subscriptions.timed else heads
                keys.setdefault(meter.subscriptions.object, set()).update(_texts(data, meter.subscription))
            if data and type(meter.listed) is str:
                heads.setdefault(meter.listed, set()).update(_texts(data, meter.meter))
        return heads, states

    def owned(self, events: Sequence[UsageEvent | str], entities: UsageEntities) -> dict[str, set[str]]:
        """Return the subscriptions by object whose legal entity the check compares with that of an event."""
        owned: dict[str, set[str]] = {}
        for event in events:
            if type(event) is not UsageEvent or (meter := self.types.get(event.type)) is None:
                continue
            if meter.subscriptions is not None and entities.entity(event):
                key = _text(event.data or {}, meter.subscription)
                owned.setdefault(meter.subscriptions.object, set()).add(key)
        return owned

    def corrected(self, events: Sequence[UsageEvent | str]) -> dict[str, set[str]]:
        """Return the ids of the events that a batch corrects, by source."""
        ids: dict[str, set[str]] = {}
        for event in events if any(meter.corrects for meter in self.types.values()) else ():
            if type(event) is UsageEvent and (meter := self.types.get(event.type)) is not None:
                ids.setdefault(event.source, set()).update(filter(None, [meter.corrected(event)]))
        return {source: corrected for source, corrected in ids.items() if corrected}

    def knows(self, source: str) -> bool:
        """Return True if a source begins with a declared system."""
        return source.removeprefix("/").partition("/")[0] in self._systems


def _quantity(usage: Metered, schema: Mapping[str, Any]) -> str | None:
    """Return the field of the quantity: the declared one, or `quantity` if it is a number."""
    if usage.quantity is not None:
        return usage.quantity
    return (
        "quantity" if schema["properties"].get("quantity", {}).get("type") in ("number", "integer") else None
    )


def _counted(usage: Metered, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of data that is counted: without a negative quantity, unless the event corrects another one."""
    quantity = _quantity(usage, schema)
    if quantity is None:
        return schema
    counted: dict[str, Any] = {"properties": {quantity: {"minimum": 0}}}
    if usage.corrects is not None:
        named = {"properties": {usage.corrects: {"minLength": 1}}, "required": [usage.corrects]}
        counted = {"anyOf": [counted, named]}
    return {"allOf": [schema, counted]}


def _listed(model: Model, usage: Metered, spec: object) -> frozenset[str] | str:
    if usage.meters is None:
        return frozenset((spec.enum or ()) if isinstance(spec, FieldSpec) else ())
    if usage.meters.object is not None:
        return usage.meters.object
    return model.tables[usage.meters.table or ""].names


def _subscriptions(usage: Metered) -> Subscriptions | None:
    if usage.object is None:
        return None
    active = tuple((name, frozenset(values)) for name, values in usage.active.items())
    return Subscriptions(usage.object, active, usage.starts, usage.ends)


def _texts(data: Sequence[Mapping[str, Any]], name: str) -> set[str]:
    return {value for fields in data if type(value := fields.get(name)) is str}


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if type(value) is str else ""


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

    def refuse(
        self,
        place: int,
        reason: str,
        message: str,
        event: UsageEvent | None,
        meter: Meter | None,
        body: bytes,
    ) -> None:
        data = event.data if event is not None else None
        name = data.get(meter.meter) if data is not None and meter is not None else ""
        meter_name = name[:100] if type(name) is str and reason != "usage_unknown_meter" else ""
        refused = RefusedUsage(
            reason=reason,
            message=message,
            source="" if event is None else event.source[:500],
            id="" if event is None else event.id[:500],
            meter=meter_name,
            amounts=tuple(amounts_in(data, meter.schema)) if meter is not None and meter.money else (),
            body=body,
        )
        self.refused.append((place, refused))


def check_batch(
    events: Sequence[UsageEvent | str],
    bodies: Sequence[bytes],
    meters: Meters,
    batch: str,
    now: datetime,
    records: UsageRecords | None = None,
) -> CheckedBatch:
    """Return the rows to store, and the rejected events with reasons: form, source, type, entity, meter, subscription,
    time, quantity, data or correction. `records` answers what `Meters.needs` and `Meters.corrected` of the events name.

    An event that the batch repeats is stored once.
    """
    checked, records = CheckedBatch(), records or UsageRecords()
    at, latest = now - EPOCH, now + MAX_CLOCK_AHEAD
    sources: dict[str, bool] = {}
    groups: defaultdict[str, list[tuple[int, UsageEvent]]] = defaultdict(list)
    answers = {name: meter.answers(records) for name, meter in meters.types.items()}
    for place, event in enumerate(events):
        if type(event) is str:
            checked.refuse(place, "usage_unreadable", event, None, None, bodies[place])
            continue
        assert type(event) is UsageEvent
        meter, time, data = meters.types.get(event.type), event.time, event.data
        is_declared = sources.get(event.source)
        if is_declared is None:
            is_declared = sources[event.source] = meters.knows(event.source)
        if (
            meter is None
            or not is_declared
            or data is None
            or type(name := data.get(meter.meter)) is not str
            or name not in (answer := answers[event.type]).listed
            or time > latest
            or at - (time - EPOCH) > meter.past
            or (
                answer.known is not None
                and (type(key := data.get(meter.subscription)) is not str or key not in answer.known)
            )
            or (answer.timed is not None and answer.timed.why_not(records, data[meter.subscription], time))
            or (records.entities is not None and _foreign(records.entities, meter, event))
        ):
            reason, message = _why(event, meter, meters, records, now)
            checked.refuse(place, reason, message, event, meter, bodies[place])
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
                _again(checked, first[1], place, event, meter, row)
    _refuse_unfounded(checked, rows, events, meters, records)
    ordered = [rows[key] for key in sorted(rows)]
    checked.rows = [row for _, row in ordered]
    checked.places = [place for place, _ in ordered]
    checked.refused.sort(key=lambda refusal: refusal[0])
    return checked


def _refuse_unfounded(
    checked: CheckedBatch,
    rows: dict[tuple[str, str], tuple[int, UsageRow]],
    events: Sequence[UsageEvent | str],
    meters: Meters,
    records: UsageRecords,
) -> None:
    corrections = {
        key: (row[0], id_)
        for key, (place, row) in rows.items()
        if (id_ := meters.types[row[2]].corrected(events[place]))
    }
    of_rows = {key: (row[3], row[4]) for key, (_, row) in rows.items()} if corrections else {}
    for key, message in unfounded(of_rows, corrections, records.events).items():
        place, row = rows.pop(key)
        event = events[place]
        assert type(event) is UsageEvent
        checked.refuse(place, "usage_unfounded", message, event, meters.types[row[2]], row[7])


def _foreign(entities: UsageEntities, meter: Meter, event: UsageEvent) -> tuple[str, str] | None:
    """Return why usage is refused for its legal entity, or None."""
    object_ = None if meter.subscriptions is None else meter.subscriptions.object
    return entities.why_not(event, object_, _text(event.data or {}, meter.subscription))


def _unknown(meter: Meter, event: UsageEvent, records: UsageRecords) -> tuple[str, str] | None:
    """Return why usage of its subscription is refused, or None."""
    answer, key = meter.answers(records), _text(event.data or {}, meter.subscription)
    if answer.known is None or meter.subscriptions is None:
        return None
    if key not in answer.known:
        return UNKNOWN_SUBSCRIPTION, unknown_subscription(meter.subscriptions.object, key)
    why = answer.timed.why_not(records, key, event.time) if answer.timed is not None else ""
    return ("usage_not_entitled", f"{meter.subscriptions.object} {key[:100]}: {why}") if why else None


def _why(
    event: UsageEvent, meter: Meter | None, meters: Meters, records: UsageRecords, now: datetime
) -> tuple[str, str]:
    """Return the first reason to reject an event."""
    if not meters.knows(event.source):
        return "usage_unknown_source", f"no system is declared for the source {event.source[:100]}"
    if meter is None:
        return "usage_unknown_type", f"no event {event.type[:100]} is declared as usage"
    if event.data is None:
        return "usage_invalid", "the data of usage is a JSON object"
    if records.entities is not None and (foreign := _foreign(records.entities, meter, event)) is not None:
        return foreign
    name = event.data.get(meter.meter)
    if type(name) is str and name not in meter.answers(records).listed:
        return "usage_unknown_meter", f"{event.type} has no meter {name[:100]}"
    if event.time > now + MAX_CLOCK_AHEAD:
        return "usage_future", f"it happened more than {MAX_CLOCK_AHEAD.total_seconds():g} s from now"
    if now - event.time > meter.past:
        return "usage_past", f"it happened more than {meter.past / timedelta(days=1):g} days ago"
    wrong = "; ".join(_wrong(meter, event))
    if wrong or type(name) is not str:
        return "usage_invalid", wrong or f"{meter.meter} is not a meter"
    unknown = _unknown(meter, event, records)
    return unknown or ("usage_invalid", f"{meter.subscription} or {meter.meter} cannot be read")


def _valid(
    group: list[tuple[int, UsageEvent]], bodies: Sequence[bytes], meter: Meter, checked: CheckedBatch
) -> list[tuple[int, UsageEvent]]:
    """Return the events whose data keeps the contract: one call if all do, else one call for each."""
    if meter.many.is_valid([meter.plain(event.data) for _, event in group]):
        return group
    valid = []
    for place, event in group:
        wrong = _wrong(meter, event)
        if wrong:
            message = "; ".join(wrong)[:1000]
            checked.refuse(place, "usage_invalid", message, event, meter, bodies[place])
        elif meter.is_negative(event.data or {}):
            message = f"{meter.quantity} is negative, and the event corrects no other one"
            checked.refuse(place, "usage_negative", message, event, meter, bodies[place])
        else:
            valid.append((place, event))
    return valid


def _wrong(meter: Meter, event: UsageEvent) -> list[str]:
    """Return the violations of the contract, as `place: message`."""
    if meter.money:
        return Contract(meter.schema).violations(typed(event.data, meter.schema))[:MAX_ERRORS]
    wrong = []
    for error in meter.one.iter_errors(event.data):
        where = "/".join(str(part) for part in error.instance_path) or "data"
        wrong.append(f"{where}: {error.message}")
        if len(wrong) == MAX_ERRORS:
            break
    return wrong


def _again(
    checked: CheckedBatch, first: UsageRow, place: int, event: UsageEvent, meter: Meter, row: UsageRow
) -> None:
    if same_content(first[7], row[7]):
        checked.repeated += 1
        return
    message = "the batch repeats it with different content; the first event stays valid"
    checked.refuse(place, "usage_clash", message, event, meter, row[7])
