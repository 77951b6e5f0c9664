"""impact: recorded traffic through the old and the new model, and what differs. Pure; asks nobody.

What the models ask is answered by what was recorded with each delivery. Where nothing was recorded the delivery is
not comparable, which is counted and never guessed. What runs through the same documents in both models is not run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

import msgspec

from counterfoil.core import wire
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.clock import micros
from counterfoil.core.link import Link
from counterfoil.model import Model
from counterfoil.replay.aggregation import DeliveryDifference, DifferenceTotals
from counterfoil.replay.event_builder import DeliveryBodies, EventBuilder, MappedDelivery
from counterfoil.replay.incremental_mapping import IncrementalMapping
from counterfoil.replay.paths import DivergedKeys, Paths
from counterfoil.replay.recorded_answers import NotRecorded, RecordedAnswers, ReplaySide
from counterfoil.replay.recorded_runs import RecordedRuns
from counterfoil.replay.report import Impact
from counterfoil.replay.run_replayer import OwedFoil, ReplayedRun, RunReplayer
from counterfoil.rules import admission, routing
from counterfoil.rules.admission import HeldDelivery
from counterfoil.rules.lookup import lookup_in
from counterfoil.rules.routing import RoutedStart
from counterfoil.rules.values import event_names
from counterfoil.rules.versions import CastFailed
from counterfoil.store.port.recorded import Recorded, RecordedRun, TimeRange
from counterfoil.store.port.store import (
    Store,
)

OLD, NEW = 0, 1
DEPTH = 5
"""Runs that begin with an event of a Run that begins with an event ... are followed so far."""
T = TypeVar("T")
Pair = tuple[CanonicalEvent | None, CanonicalEvent | None]


class Routed(msgspec.Struct, frozen=True, kw_only=True):
    """What one side lets follow from an event at once."""

    starts: Mapping[str, RoutedStart] = {}
    foils: Mapping[str, OwedFoil] = {}


class ReplayJob(msgspec.Struct, kw_only=True):
    """A Run to be played, once the events that it was told are replayed."""

    recorded: Recorded
    told: DeliveryDifference
    run: str
    pair: Pair
    starts: tuple[RoutedStart | None, RoutedStart | None]
    of: RecordedRun | None
    left: int = 0
    """Events that it waits for."""
    depth: int = 0


class Replay:
    """Takes deliveries in the order of their receipts; `result` ends it and says what differs. With `every`, also
    what the documents tell is run."""

    def __init__(self, old: Model, new: Model, every: bool = False) -> None:
        self._every = every
        self.paths = Paths(old, new)
        self._sides = (ReplaySide(old), ReplaySide(new))
        trusted = () if every else self.paths.trusted
        self._makers = (EventBuilder(self._sides[OLD], trusted), EventBuilder(self._sides[NEW], trusted))
        self._players = (RunReplayer(self._sides[OLD]), RunReplayer(self._sides[NEW]))
        self._totals = DifferenceTotals(old, new)
        self._counted: dict[tuple[str, str], int] = {}
        """What recorded Runs took of limits."""
        self._waiting: dict[str, list[ReplayJob]] = {}
        """Runs that were told an event which is replayed later, by its id."""
        self._retold: dict[str, Pair] = {}
        """Events that are made otherwise and that Runs may have been told."""
        self._waited = {t for side in self._sides for t in side.waited}
        self._kept = cache(lambda workflow: RecordedRuns(old.workflow(workflow)))
        self._remaking = cache(lambda system, type_: IncrementalMapping.of(old, new, system, type_))
        self._moves = 0
        self._now_touched = DivergedKeys()

    def take(self, recorded: Recorded) -> None:
        """One delivery with all that was recorded of it."""
        self._totals.add_delivery(recorded)
        if not self._waiting and self._alike(recorded):
            self._totals.add_same(len(recorded.runs))
            self._count_limits(recorded)
            return
        told = DeliveryDifference(self._totals, recorded)
        self._guarded(told, recorded, lambda: self._deliver(recorded, told))
        self._count_limits(recorded)
        told.done()
        if self._waiting:
            for event in recorded.events:
                for job in self._waiting.pop(event.id, ()):
                    job.left -= 1
                    if not job.left:
                        self._play_later(job)

    def _alike(self, recorded: Recorded) -> bool:
        """Whether the documents tell that all of it comes out alike."""
        if self._every or not self._as_recorded(recorded):
            return False
        touched = self._touched()
        for event in recorded.events:
            path = self.paths.event(event.type)
            if not path.same or not path.is_untouched(touched):
                return False
        if any(self._later(recorded, run) for run in recorded.runs):
            return False
        self._settle_all(recorded)
        return True

    def _settle_all(self, recorded: Recorded) -> None:
        for side in self._sides:
            for event in recorded.events if side.heads else ():
                if event.object in side.heads:
                    self._settle(side, event)

    def _count_limits(self, recorded: Recorded) -> None:
        for run in recorded.runs:
            for seen in run.guards:
                key = (seen.scope, seen.key)
                self._counted[key] = self._counted.get(key, 0) + seen.taken

    def result(self) -> Impact:
        """What differs. Runs that still wait for an event are played on what they were told."""
        for jobs in list(self._waiting.values()):
            for job in jobs:
                if job.left:
                    job.left = 0
                    self._play_later(job)
        self._waiting.clear()
        return self._totals.impact(self._sides)

    def _guarded(self, told: DeliveryDifference, recorded: Recorded, work: Callable[[], None]) -> None:
        """What a delivery that is not comparable would have moved is known to nobody from here on."""
        try:
            work()
        except NotRecorded as missing:
            told.not_comparable(missing.reason)
            for side in self._sides:
                side.forgets((e.object, e.key) for e in recorded.events if e.object)

    # ------------------------------------------------------------------ one delivery

    def _deliver(self, recorded: Recorded, told: DeliveryDifference) -> None:
        if self._as_recorded(recorded):
            pairs: list[Pair] = [(event, event) for event in recorded.events]
            if any(not self.paths.event(e.type).same for e in recorded.events):
                made = self._taken((MappedDelivery(events=recorded.events),) * 2)
                told.add_mapped(*made)
                pairs = _pairs(made)
            self._settle_all(recorded)
        else:
            told.ran = True
            old, new = self._made(recorded)
            if old.events is not recorded.events:  # what was admitted was taken
                old = self._taken_by(self._sides[OLD], old)
            made = (old, self._taken_by(self._sides[NEW], new))
            told.add_mapped(*made)
            pairs = _pairs(made)
            self._diverge(recorded, made)
        for pair in pairs:
            self._follow(recorded, told, pair)

    def _touched(self) -> DivergedKeys:
        """Of what something differs by now, on either side."""
        a, b = self._sides
        moves = a.moves + b.moves
        if moves != self._moves:
            self._moves = moves
            heads, links, limits = (frozenset(x | y) for x, y in zip(a.touched(), b.touched(), strict=True))
            self._now_touched = DivergedKeys(heads=heads, links=links, limits=limits)
        return self._now_touched

    def _as_recorded(self, recorded: Recorded) -> bool:
        """Whether both sides make of it what was made then: they read it by the same documents, which read nothing
        that differs."""
        receipt = recorded.receipt
        if self._every:
            return False
        if receipt.door == "events":
            types = {event.type for event in recorded.events}
            return bool(types) and types.isdisjoint(self.paths.differing_events)
        path = self.paths.delivery(receipt.system, receipt.type)
        return path.same and path.is_untouched(self._touched())

    def _made(self, recorded: Recorded) -> tuple[MappedDelivery, MappedDelivery]:
        old, new = self._makers
        if recorded.receipt.door == "events":
            return old.declared(recorded), new.declared(recorded)
        bodies = DeliveryBodies(recorded)
        then = self._then(recorded)
        remaking = (
            self._remaking(recorded.receipt.system, recorded.receipt.type) if then is not None else None
        )
        return (
            then or old.make(recorded, bodies, RecordedAnswers(self._sides[OLD], recorded, self._counted)),
            new.make(
                recorded, bodies, RecordedAnswers(self._sides[NEW], recorded, self._counted), then, remaking
            ),
        )

    def _by_old(self, run: RecordedRun) -> bool:
        """Whether the Run was begun under the very model that is the old one, whose world is as it was."""
        side = self._sides[OLD]
        return not self._every and not side.moves and run.run.pin == side.model.digest

    def _then(self, recorded: Recorded) -> MappedDelivery | None:
        """What the old model made of it, where it was that model which admitted it."""
        if not any(self._by_old(run) for run in recorded.runs):
            return None
        return MappedDelivery(events=recorded.events, links=_links_of_events(recorded))

    def _taken(self, made: tuple[MappedDelivery, MappedDelivery]) -> tuple[MappedDelivery, MappedDelivery]:
        """The events, unless nothing takes one of them: then the delivery is held."""
        return self._taken_by(self._sides[OLD], made[OLD]), self._taken_by(self._sides[NEW], made[NEW])

    def _taken_by(self, side: ReplaySide, made: MappedDelivery) -> MappedDelivery:
        model, waited = side.model, side.waited
        try:
            all_forms = [admission.forms_of(model, event, waited) for event in made.events]
            for event, forms in zip(made.events, all_forms, strict=True):
                admission.check_taken(model, event, forms, waited)
        except HeldDelivery as held:
            return MappedDelivery(held=held.reason, message=held.message)
        return made

    # ------------------------------------------------------------------ how far the sides go apart

    def _state(self, side: ReplaySide, event: CanonicalEvent) -> Mapping[str, Any]:
        """What the fact asserts of its object."""
        try:
            forms = routing.forms(side.model, event, side.waited)
            return admission.asserted(side.model, event, forms) or {}
        except CastFailed:
            return {}

    def _settle(self, side: ReplaySide, event: CanonicalEvent) -> None:
        if event.key in side.heads.get(event.object, ()):
            side.settled(event.object, event.key, self._state(side, event))

    def _diverge(self, recorded: Recorded, made: tuple[MappedDelivery, MappedDelivery]) -> None:
        """Where the events of a side are not those recorded, what they move is not either."""
        then = {event.id: event for event in recorded.events}
        for side, of in zip(self._sides, made, strict=True):
            if of.events is recorded.events:  # taken from the rows, with its Links
                for kept in of.events:
                    self._settle(side, kept)
                continue
            now = {event.id: event for event in of.events}
            for id_ in dict.fromkeys((*then, *now)):
                was, is_ = then.get(id_), now.get(id_)
                if was == is_:
                    if was is not None:
                        self._settle(side, was)
                    continue
                self._move(side, recorded, was, is_)
            self._link(side, recorded, of)
        for pair in _pairs(made):
            event = pair[NEW] or pair[OLD]
            if event is not None and pair[OLD] != pair[NEW] and event.type in self._waited:
                self._retold[event.id] = pair

    def _move(
        self, side: ReplaySide, recorded: Recorded, was: CanonicalEvent | None, is_: CanonicalEvent | None
    ) -> None:
        for event in (was, is_):
            if event is None or not event.object:
                continue
            name = (event.object, event.key)
            there = [e for e in (was, is_) if e is not None and (e.object, e.key) == name]
            if event is not there[0]:
                continue  # told with the other
            before = next((h.state for h in recorded.heads if (h.object, h.key) == name), {})
            then = self._state(side, was) if was in there and was is not None else {}
            made = self._state(side, is_) if is_ in there and is_ is not None else {}
            side.moved(*name, made, then, before)

    def _link(self, side: ReplaySide, recorded: Recorded, made: MappedDelivery) -> None:
        then, mine = (
            {(link.object, link.system, link.ext_id): link.canonical for link in links}
            for links in (_links_of_events(recorded), made.links)
        )
        for key in {*then, *mine}:
            if then.get(key) != mine.get(key):
                side.link(*key, mine.get(key))

    # ------------------------------------------------------------------ what follows from an event

    def _follow(self, recorded: Recorded, told: DeliveryDifference, pair: Pair, depth: int = 0) -> None:
        """Foils and Runs, unless both sides let the same follow from the same event by the same documents."""
        of = pair[NEW] or pair[OLD]
        assert of is not None
        path = self.paths.event(of.type)
        runs = {run.run.id: run for run in recorded.runs if run.event == of.id}
        later = {id_: self._later(recorded, run) for id_, run in runs.items()} if runs else {}
        alike = not self._every and path.same and pair[OLD] == pair[NEW]
        if alike and path.is_untouched(self._touched()) and not any(later.values()):
            told.runs += len(runs)
            return
        told.ran = True
        routed = tuple(
            self._route(n, recorded, event) if event is not None else Routed() for n, event in enumerate(pair)
        )
        for rule in dict.fromkeys((*routed[OLD].foils, *routed[NEW].foils)):
            told.add_foil(routed[OLD].foils.get(rule), routed[NEW].foils.get(rule), of)
        for run in dict.fromkeys((*routed[OLD].starts, *routed[NEW].starts)):
            starts = (routed[OLD].starts.get(run), routed[NEW].starts.get(run))
            job = ReplayJob(
                recorded=recorded, told=told, run=run, pair=pair, starts=starts, of=runs.get(run), depth=depth
            )
            waits = later.get(run, ())
            if waits:
                self._wait(job, waits)
            else:
                self._play(job)

    def _route(self, n: int, recorded: Recorded, event: CanonicalEvent) -> Routed:
        """What begins and is owed. A formula that fails holds the delivery: nothing follows."""
        side = self._sides[n]
        answers = RecordedAnswers(side, recorded, self._counted)
        lookup = lookup_in(answers, recorded.receipt.system)
        try:
            forms = admission.forms_of(side.model, event, side.waited)
            follows = admission.consequences(side.model, event, forms, event.received_at, lookup)
        except HeldDelivery:
            return Routed()
        foils = {f.rule: OwedFoil(rule=f.rule, key=f.key, legs=f.legs) for f in follows.foils}
        return Routed(starts={s.run: s for s in follows.starts}, foils=foils)

    # ------------------------------------------------------------------ Runs

    def _later(self, recorded: Recorded, run: RecordedRun) -> tuple[str, ...]:
        """Events that the Run was told, that the models may make otherwise, and that are not replayed yet."""
        if not run.inbox or self.paths.differing_events.isdisjoint(self._waited):
            return ()
        found = []
        for item in run.inbox:
            if item.kind != "event" or item.ref.startswith("link:"):
                continue
            body = wire.loads(item.body)
            comes_later = body["received_at"] > recorded.receipt.received_at
            if body["type"] in self.paths.differing_events and comes_later:
                found.append(item.ref)
        return tuple(dict.fromkeys(found))

    def _wait(self, job: ReplayJob, events: Iterable[str]) -> None:
        job.told.pending += 1
        for event in events:
            job.left += 1
            self._waiting.setdefault(event, []).append(job)

    def _play_later(self, job: ReplayJob) -> None:
        self._guarded(job.told, job.recorded, lambda: self._play(job))
        job.told.done()

    def _play(self, job: ReplayJob) -> None:
        event = job.pair[NEW] or job.pair[OLD]
        assert event is not None
        played: list[ReplayedRun | None] = [None, None]
        for n, start in enumerate(job.starts):
            if start is None:
                continue
            answers = RecordedAnswers(self._sides[n], job.recorded, self._counted)
            if n == OLD and job.of is not None and self._by_old(job.of):
                played[n] = self._kept(start.workflow).result(job.of, start.names, answers)
                if played[n] is not None:
                    continue
            of = job.of if job.of is None or not self._retold else self._told_by(n, job.of)
            played[n] = self._players[n].play(start, event.id, event.received_at, of, answers)
        for side, made in zip(self._sides, played, strict=True):
            _reserve(side, job.of, made)
        job.told.add_run(job.run, event, played[OLD], played[NEW])
        self._emitted(job, played)

    def _told_by(self, n: int, run: RecordedRun) -> RecordedRun:
        """The Run with what it was told as this side would have told it."""
        inbox = []
        for item in run.inbox:
            if item.ref in self._retold:
                event = self._retold[item.ref][n]
                if event is None:
                    continue
                item = msgspec.structs.replace(item, body=wire.dumps(self._telling(n, event)))
            inbox.append(item)
        return msgspec.structs.replace(run, inbox=tuple(inbox))

    def _telling(self, n: int, event: CanonicalEvent) -> dict[str, Any]:
        """What Runs that wait for the event are told under this side's model."""
        model = self._sides[n].model
        waited = self._sides[n].waited
        try:
            return routing.told(event, routing.forms(model, event, waited), waited)
        except CastFailed:
            return event_names(event)

    def _emitted(self, job: ReplayJob, played: list[ReplayedRun | None]) -> None:
        """Events that the Run emits, and what follows from them."""
        if job.depth >= DEPTH or not any(made.events for made in played if made is not None):
            return
        of = [
            {id_: self._event(n, job, id_, *what) for id_, what in made.events.items()} if made else {}
            for n, made in enumerate(played)
        ]
        for id_ in dict.fromkeys((*of[OLD], *of[NEW])):
            pair = (of[OLD].get(id_), of[NEW].get(id_))
            if pair[OLD] != pair[NEW]:
                job.told.add_emitted(*pair)
            self._follow(job.recorded, job.told, pair, job.depth + 1)

    def _event(self, n: int, job: ReplayJob, id_: str, type_: str, data: Mapping[str, Any]) -> CanonicalEvent:
        kind = self._sides[n].model.events[type_]
        start = job.starts[n]
        assert start is not None
        key = str(data.get(kind.key or f"{kind.object}_id", start.key)) if kind.object else start.key
        at = job.recorded.receipt.received_at
        return CanonicalEvent(
            id=id_,
            type=type_,
            system="counterfoil",
            object=kind.object or "",
            key=key,
            version=micros(at),
            data=dict(data),
            occurred_at=at,
            effective_at=at,
            received_at=at,
            cause=job.run,
            correlation=job.run,
        )


def _links_of_events(recorded: Recorded) -> tuple[Link, ...]:
    """Return the recorded Links that the delivery's events established."""
    established_by = {f"event:{event.id}" for event in recorded.events}
    return tuple(link for link in recorded.links if link.established_by in established_by)


def _reserve(side: ReplaySide, of: RecordedRun | None, made: ReplayedRun | None) -> None:
    """What this side's Run holds of limits beyond, or short of, what was recorded."""
    recorded = {(seen.scope, seen.key): seen.taken for seen in of.guards} if of is not None else {}
    mine = made.reserved if made is not None else {}
    for key in {*recorded, *mine}:
        more = mine.get(key, 0) - recorded.get(key, 0)
        if more:
            side.took(key, more)


def _pairs(made: tuple[MappedDelivery, MappedDelivery]) -> list[Pair]:
    old, new = ({event.id: event for event in of.events} for of in made)
    return [(old.get(id_), new.get(id_)) for id_ in dict.fromkeys((*old, *new))]


def impact(old: Model, new: Model, traffic: Iterable[Recorded], every: bool = False) -> Impact:
    """The difference that the new model would have made to the traffic."""
    replay = Replay(old, new, every)
    for recorded in traffic:
        replay.take(recorded)
    return replay.result()


async def recorded(store: Store, paths: Paths, since: datetime, until: datetime) -> AsyncIterator[Recorded]:
    """What was received from `since` on and before `until`, in the order of receipts, read page by page."""
    stretch: TimeRange | None = TimeRange(
        since=since, until=until, fetches=paths.fetches, calendars=paths.calendars
    )
    while stretch is not None:
        page, after = await store.traffic(stretch)
        for one in page:
            yield one
        stretch = None if after is None else msgspec.structs.replace(stretch, after=after)


async def impact_on(store: Store, old: Model, new: Model, since: datetime, until: datetime) -> Impact:
    """The difference that the new model would have made to what this store recorded in a stretch of time."""
    replay = Replay(old, new)
    async for one in recorded(store, replay.paths, since, until):
        replay.take(one)
    return replay.result()
