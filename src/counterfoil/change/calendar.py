"""Changes from outside that a plan is held against: releases of others, ends of versions, days around a close. Pure."""

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

AREAS_ALWAYS_LET = frozenset({"calendar"})
"""Kinds of document that may change on any day: else a calendar written wrongly could never be put right."""


class CalendarNotice(msgspec.Struct, frozen=True, kw_only=True):
    """One entry that concerns a plan at a time."""

    calendar: str
    what: str
    effect: Literal["refuse", "warn"]
    begins: datetime
    ends: datetime | None
    message: str


def told(
    old: Model, new: Model, differences: Sequence[DocumentChange], now: datetime, zones: Mapping[str, str]
) -> list[CalendarNotice]:
    """Entries of the calendars in force that hold now, or that are to be told of already. `zones`: time zones of
    legal entities by their id. Days are whole days of their zone: from the first moment of `from` to the last of
    `to`."""
    touched = {system for one in differences for system in systems_of(old, new, one)}
    areas: set[str] = {class_ for one in differences for class_ in one.classes}
    areas |= {"breaking"} if any(one.breaking for one in differences) else set()
    refusable = any(one.kind not in AREAS_ALWAYS_LET for one in differences)
    found = []
    for calendar in old.of_kind(kinds.Calendar).values():
        for entry in calendar.changes:
            if entry.systems and not touched & set(entry.systems):
                continue
            if entry.areas and not areas & set(entry.areas):
                continue
            one = _told(calendar, entry, now, zones, refusable)
            if one is not None:
                found.append(one)
    return sorted(found, key=lambda one: (one.effect, one.begins, one.what))


def _told(
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
    there = now >= begins
    refuses = entry.effect == "refuse" and there and refusable
    message = f"{entry.what}, {days} ({zone.key})" + ("" if there else ": not yet")
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
    except (ValueError, ZoneInfoNotFoundError):
        return ZoneInfo("UTC")


def _begin_of(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


# ------------------------------------------------------------------ which systems a change touches


def systems_of(old: Model, new: Model, one: DocumentChange) -> set[str]:
    """The systems whose part of the governance a difference is."""
    found: set[str] = set()
    for model in (old, new):
        document = model.document(one.kind, one.name)
        if document is not None:
            found |= set(_systems(model, document.value))
    return found


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
