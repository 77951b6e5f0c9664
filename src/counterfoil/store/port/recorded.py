"""Recorded traffic: one delivery with everything it led to, which a replay reads instead of outside systems.

Self-contained: the look-up results that formulas used come with the rows, as of the time of the look-up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from counterfoil.core.approval import Approval
from counterfoil.core.call import DOOR
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.effect import Effect
from counterfoil.core.link import Link
from counterfoil.core.run import InboxItem, Run

PAGE_DELIVERIES = 500
"""Deliveries that are read at a time."""


class GuardUse(msgspec.Struct, frozen=True, kw_only=True):
    """Use of a limit by a Run: amounts still reserved by earlier Runs, and by the Run itself."""

    scope: str
    key: str
    before: int
    own: int


class RecordedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A Run that a delivery's events started. `run.ctx` holds the facts that it used."""

    run: Run
    event: str
    """Id of the event that started it."""
    inbox: tuple[InboxItem, ...] = ()
    """Further events of its inbox, in order."""
    effects: tuple[Effect, ...] = ()
    approvals: tuple[Approval, ...] = ()
    guards: tuple[GuardUse, ...] = ()
    cases: int = 0
    """Number of Cases that it ever had."""
    heads: tuple[Head, ...] = ()
    """Objects that the delivery's events name, as they were when the Run started."""


class AccountingPeriods:
    """Accounting periods, as they were at any time."""

    def __init__(self, history: Iterable[Head] = ()) -> None:
        self._history: dict[str, list[Head]] = defaultdict(list)
        for head in sorted(history, key=lambda h: h.recorded_at):
            self._history[head.object].append(head)
        self._states: dict[tuple[str, int], tuple[Head, ...]] = {}

    @property
    def objects(self) -> Iterable[str]:
        return self._history.keys()

    def at(self, object_: str, moment: datetime | None = None) -> tuple[Head, ...]:
        """Return the periods of a calendar in order of key; None: the latest. Equal times may share a tuple."""
        history = self._history.get(object_, [])
        n = len(history) if moment is None else bisect_right(history, moment, key=lambda h: h.recorded_at)
        if (object_, n) not in self._states:
            latest = {head.key: head for head in history[:n]}
            self._states[object_, n] = tuple(latest[key] for key in sorted(latest))
        return self._states[object_, n]


class RecordedDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery or declared event."""

    receipt: Receipt
    fetched: dict[str, bytes] = {}
    """Bodies that its admission fetched, by operation."""
    events: tuple[CanonicalEvent, ...] = ()
    runs: tuple[RecordedRun, ...] = ()
    links: tuple[Link, ...] = ()
    """Confirmed Links of the ids that its events name, in their latest state."""
    heads: tuple[Head, ...] = ()
    """Objects that its events name, as they were before the admission."""
    calendars: AccountingPeriods = AccountingPeriods()


NO_DELIVERY = ("fetch", DOOR)
"""Doors of receipts that are not admitted."""


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Selection of deliveries: received from `since` on and before `until`, after receipt `after`.

    Consumers' requests are left out: no mapping reads them.
    """

    since: datetime
    until: datetime
    fetches: tuple[str, ...] = ()
    """Operations by which admissions fetch."""
    calendars: tuple[str, ...] = ()
    """Objects that hold accounting periods."""
    after: int | None = None
    limit: int = PAGE_DELIVERIES


class RecordedPage(msgspec.Struct, kw_only=True):
    """Rows of one page, as a store returns them."""

    receipts: Sequence[Receipt] = ()
    fetched: Sequence[Receipt] = ()
    events: Sequence[CanonicalEvent] = ()
    births: Mapping[str, str] = {}
    """Run -> event that started it."""
    runs: Sequence[Run] = ()
    inbox: Sequence[InboxItem] = ()
    effects: Sequence[Effect] = ()
    approvals: Sequence[Approval] = ()
    reserved: Sequence[tuple[str, str, str, int, int]] = ()
    """scope, key, Run, its arrival, amount: live reservations on the limits that the page's Runs use."""
    cases: Mapping[str, int] = {}
    """Number of Cases per Run."""
    links: Sequence[Link] = ()
    history: Sequence[Head] = ()
    """Of the heads that the events name, in order of recording."""
    calendars: Sequence[Head] = ()


def spoken(events: Iterable[CanonicalEvent]) -> set[tuple[str, str]]:
    """Return (object, id) of everything that events name: their object, each `<object>_id`, the legal entity."""
    names = set()
    for event in events:
        if event.object:
            names.add((event.object, event.key))
        if event.legal_entity:
            names.add(("legal_entity", event.legal_entity))
        for field, value in event.data.items():
            if field.endswith("_id") and isinstance(value, str):
                names.add((field.removesuffix("_id"), value))
    return names


def assemble(rows: RecordedPage) -> list[RecordedDelivery]:
    """Return one value for each delivery of a page."""
    events: dict[int, list[CanonicalEvent]] = defaultdict(list)
    for event in rows.events:
        if event.receipt is not None:
            events[event.receipt].append(event)
    fetched: dict[int, dict[str, bytes]] = defaultdict(dict)
    for receipt in sorted(rows.fetched, key=lambda r: r.no):  # fetched again while held: the last counts
        operation, _, no = receipt.type.rpartition(":")
        fetched[int(no)][operation] = receipt.body
    links: dict[tuple[str, str], list[Link]] = defaultdict(list)
    for link in rows.links:
        links[link.object, link.canonical].append(link)
    history: dict[tuple[str, str], list[Head]] = defaultdict(list)
    for head in rows.history:
        if head.versions:  # a late one moved nothing
            history[head.object, head.key].append(head)
    runs = _runs(rows)
    calendars = AccountingPeriods(h for h in rows.calendars if h.versions)
    return [
        _delivery(r, events[r.no], fetched.get(r.no, {}), runs, links, history, calendars)
        for r in rows.receipts
    ]


def _delivery(
    receipt: Receipt,
    events: Sequence[CanonicalEvent],
    fetched: dict[str, bytes],
    runs: Mapping[str, Sequence[RecordedRun]],
    links: Mapping[tuple[str, str], Sequence[Link]],
    history: Mapping[tuple[str, str], Sequence[Head]],
    calendars: AccountingPeriods,
) -> RecordedDelivery:
    names = sorted(spoken(events))
    own = {event.id for event in events}
    return RecordedDelivery(
        receipt=receipt,
        fetched=fetched,
        events=tuple(events),
        runs=tuple(
            replace(run, heads=_heads_at(history, names, run.run.created_at))
            for event in events
            for run in runs.get(event.id, ())
        ),
        links=tuple(link for name in names for link in links.get(name, ())),
        heads=_heads_before(history, names, own, receipt.received_at),
        calendars=calendars,
    )


def _heads_before(
    history: Mapping[tuple[str, str], Sequence[Head]],
    names: Sequence[tuple[str, str]],
    own: set[str],
    received: datetime,
) -> tuple[Head, ...]:
    """Return heads as the admission read them: before its own events, else as of the receipt."""
    heads: list[Head] = []
    for name in names:
        rows = history.get(name, ())
        at = next((n for n, head in enumerate(rows) if head.event in own), None)
        earlier = rows[:at] if at is not None else [h for h in rows if h.recorded_at <= received]
        heads += earlier[-1:]
    return tuple(heads)


def _heads_at(
    history: Mapping[tuple[str, str], Sequence[Head]], names: Sequence[tuple[str, str]], at: datetime
) -> tuple[Head, ...]:
    earlier = [[h for h in history.get(name, ()) if h.recorded_at <= at] for name in names]
    return tuple(heads[-1] for heads in earlier if heads)


def _runs(rows: RecordedPage) -> dict[str, list[RecordedRun]]:
    """Return Runs by the event that started them."""
    inbox: dict[str, list[InboxItem]] = defaultdict(list)
    effects: dict[str, list[Effect]] = defaultdict(list)
    approvals: dict[str, list[Approval]] = defaultdict(list)
    for item in rows.inbox:
        inbox[item.run].append(item)
    for effect in rows.effects:
        effects[effect.run].append(effect)
    for approval in rows.approvals:
        approvals[approval.run].append(approval)
    limits: dict[tuple[str, str], list[tuple[str, int, int]]] = defaultdict(list)
    mine: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for scope, key, run, arrival, amount in rows.reserved:
        limits[scope, key].append((run, arrival, amount))
        mine[run].add((scope, key))
    by_event: dict[str, list[RecordedRun]] = defaultdict(list)
    for r in sorted(rows.runs, key=lambda r: r.arrival):
        guards = tuple(
            GuardUse(
                scope=name[0],
                key=name[1],
                before=sum(amount for _, arrival, amount in limits[name] if arrival < r.arrival),
                own=sum(amount for run, _, amount in limits[name] if run == r.id),
            )
            for name in sorted(mine[r.id])
        )
        event = rows.births[r.id]
        by_event[event].append(
            RecordedRun(
                run=r,
                event=event,
                inbox=tuple(inbox[r.id]),
                effects=tuple(effects[r.id]),
                approvals=tuple(approvals[r.id]),
                guards=guards,
                cases=rows.cases.get(r.id, 0),
            )
        )
    return by_event
