"""Calendar entries that concern a plan: vendors' releases, ends of versions, days around a period close. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from counterfoil.change.difference import DocumentChange
from counterfoil.model import Model, kinds
from counterfoil.model.kinds import seconds
from counterfoil.model.walk import steps

ALWAYS_ALLOWED_KINDS = frozenset({"calendar"})
"""Kinds of document that may change on any day. Otherwise a wrong calendar could never be corrected."""


class CalendarNotice(msgspec.Struct, frozen=True, kw_only=True):
    """A calendar entry that concerns a plan now or soon."""

    calendar: str
    what: str
    effect: Literal["refuse", "warn"]
    begins: datetime
    ends: datetime | None
    message: str


def calendar_notices(
    old: Model, new: Model, differences: Sequence[DocumentChange], now: datetime, zones: Mapping[str, str]
) -> list[CalendarNotice]:
    """Return the entries of the active calendars that hold now, or whose notice period has begun.

    `zones`: time zones of the recorded legal entities by their id; those of the active Model replace them. Days are
    whole days of their zone, `from` and `to` included.
    """
    zones = {**zones, **{name: entity.zone for name, entity in old.legal_entities.items()}}
    systems = {system for change in differences for system in systems_of(old, new, change)}
    areas: set[str] = {class_ for change in differences for class_ in change.classes}
    areas |= {"breaking"} if any(change.breaking for change in differences) else set()
    refusable = any(change.kind not in ALWAYS_ALLOWED_KINDS for change in differences)
    notices = []
    for calendar in old.of_kind(kinds.Calendar).values():
        for entry in calendar.changes:
            if entry.systems and not systems & set(entry.systems):
                continue
            if entry.areas and not areas & set(entry.areas):
                continue
            notice = _notice(calendar, entry, now, zones, refusable)
            if notice is not None:
                notices.append(notice)
    return sorted(notices, key=lambda notice: (notice.effect, notice.begins, notice.what))


def _notice(
    calendar: kinds.Calendar,
    entry: kinds.OutsideChange,
    now: datetime,
    zones: Mapping[str, str],
    refusable: bool,
) -> CalendarNotice | None:
    zone = _zone(zones.get(entry.legal_entity or "") or calendar.zone)
    begins = _begin_of(date.fromisoformat(entry.from_), zone)
    ends = _begin_of(date.fromisoformat(entry.to) + timedelta(days=1), zone) if entry.to else None
    if now < begins - timedelta(seconds=seconds(entry.notice)) or (ends is not None and now >= ends):
        return None
    days = f"{entry.from_} to {entry.to}" if entry.to else f"from {entry.from_} on"
    has_begun = now >= begins
    refuses = entry.effect == "refuse" and has_begun and refusable
    message = f"{entry.what}, {days} ({zone.key})" + ("" if has_begun else ": not yet")
    return CalendarNotice(
        calendar=calendar.name,
        what=entry.what,
        effect="refuse" if refuses else "warn",
        begins=begins,
        ends=ends,
        message=message,
    )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):  # OSError: a folder of zones, such as `Europe`
        return ZoneInfo("UTC")


def _begin_of(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


# ------------------------------------------------------------------ which systems a change touches


def systems_of(old: Model, new: Model, change: DocumentChange) -> set[str]:
    """Return the systems that a changed document concerns."""
    systems: set[str] = set()
    for model in (old, new):
        document = model.document(change.kind, change.name)
        if document is not None:
            systems |= set(_systems(model, document.value))
    return systems


def _systems(model: Model, value: kinds.Kind) -> Iterator[str]:
    match value:
        case kinds.System():
            yield value.name
        case kinds.Object() | kinds.Operation() | kinds.StateMap():
            yield value.system
        case kinds.Event():
            if value.object is not None and value.object in model.objects:
                yield model.objects[value.object].system
            yield from (m.from_.system for m in model.producers(value.name) if m.from_)
        case kinds.Mapping():
            if value.from_:
                yield value.from_.system
            if value.to:
                yield from _called(model, [value.to.operation])
        case kinds.Reconciliation():
            yield from (value.left, value.right)
        case kinds.Workflow():
            calls = [place.step.call for place in steps(value) if isinstance(place.step, kinds.Call)]
            yield from _called(model, [*calls, *(fact.read for fact in value.facts.values() if fact.read)])


def _called(model: Model, operations: Iterable[str]) -> Iterator[str]:
    yield from (model.operations[name].system for name in operations if name in model.operations)
