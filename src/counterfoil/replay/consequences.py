"""Replays the consequences of an event on both sides: foils, and the Runs that it starts.

A Run may have received events of later deliveries. If the models differ in such events, the Run is replayed after them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from counterfoil.core import wire
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.clock import micros
from counterfoil.replay.aggregation import DeliveryDifference
from counterfoil.replay.divergence import NEW, OLD, Divergence, EventPair
from counterfoil.replay.paths import Paths
from counterfoil.replay.recorded_answers import ReplaySide
from counterfoil.replay.recorded_runs import RecordedRuns
from counterfoil.replay.replayed_run import ReplayedFoil, ReplayedRun
from counterfoil.replay.run_replayer import RunReplayer
from counterfoil.rules import admission, routing
from counterfoil.rules.admission import HeldDelivery
from counterfoil.rules.json_values import event_names
from counterfoil.rules.lookup import lookup_in
from counterfoil.rules.routing import RoutedStart
from counterfoil.rules.versions import CastFailed
from counterfoil.store.port.recorded import RecordedDelivery, RecordedRun

MAX_DEPTH = 5
"""Length of chains that are followed: a Run emits an event, which starts a Run, which emits an event, and so on."""


class EventConsequences(msgspec.Struct, frozen=True, kw_only=True):
    """Runs and foils that follow directly from an event, on one side."""

    starts: Mapping[str, RoutedStart] = {}
    foils: Mapping[str, ReplayedFoil] = {}


class ReplayJob(msgspec.Struct, kw_only=True):
    """A Run to replay on both sides."""

    recorded: RecordedDelivery
    difference: DeliveryDifference
    run: str
    pair: EventPair
    starts: tuple[RoutedStart | None, RoutedStart | None]
    recorded_run: RecordedRun | None
    pending_events: int = 0
    """Number of later events that must be replayed first."""
    depth: int = 0


class ConsequenceReplayer:
    """Replays foils and Runs. `every`: also where the documents show that nothing differs."""

    def __init__(self, paths: Paths, divergence: Divergence, every: bool) -> None:
        self._paths = paths
        self._divergence = divergence
        self._every = every
        self._replayers = (RunReplayer(divergence.sides[OLD]), RunReplayer(divergence.sides[NEW]))
        self.waiting: dict[str, list[ReplayJob]] = {}
        """Jobs by the id of a later event that they need."""
        self._recorded_runs = cache(lambda workflow: RecordedRuns(paths.old.workflow(workflow)))

    def replay(
        self, recorded: RecordedDelivery, difference: DeliveryDifference, pair: EventPair, depth: int = 0
    ) -> None:
        """Replay the consequences of an event, unless equal documents on both sides exclude a difference."""
        event = pair[NEW] or pair[OLD]
        assert event is not None
        path = self._paths.event(event.type)
        runs = {run.run.id: run for run in recorded.runs if run.event == event.id}
        later = {id_: self.later_events(recorded, run) for id_, run in runs.items()} if runs else {}
        is_same = not self._every and path.same and pair[OLD] == pair[NEW]
        if is_same and path.is_untouched(self._divergence.keys()) and not any(later.values()):
            difference.runs += len(runs)
            return
        difference.ran = True
        old, new = (
            self._consequences(n, recorded, side_event) if side_event is not None else EventConsequences()
            for n, side_event in enumerate(pair)
        )
        for rule in dict.fromkeys((*old.foils, *new.foils)):
            difference.add_foil(old.foils.get(rule), new.foils.get(rule), event)
        for run in dict.fromkeys((*old.starts, *new.starts)):
            job = ReplayJob(
                recorded=recorded,
                difference=difference,
                run=run,
                pair=pair,
                starts=(old.starts.get(run), new.starts.get(run)),
                recorded_run=runs.get(run),
                depth=depth,
            )
            waits = later.get(run, ())
            if waits:
                self._wait(job, waits)
            else:
                self._replay_run(job)

    def _consequences(self, n: int, recorded: RecordedDelivery, event: CanonicalEvent) -> EventConsequences:
        """Return the consequences on one side. If a formula fails, the delivery is held: there are none."""
        side = self._divergence.sides[n]
        lookup = lookup_in(self._divergence.answers(n, recorded), recorded.receipt.system)
        try:
            forms = side.forms(event)
            follows = admission.consequences(
                side.model, event, forms, event.received_at, lookup, with_head=False
            )
        except HeldDelivery:
            return EventConsequences()
        foils = {f.rule.name: ReplayedFoil(rule=f.rule.name, key=f.key, legs=f.legs) for f in follows.owed}
        return EventConsequences(starts={s.run: s for s in follows.starts}, foils=foils)

    # ------------------------------------------------------------------ waiting for later events

    def later_events(self, recorded: RecordedDelivery, run: RecordedRun) -> tuple[str, ...]:
        """Return the ids of later events that the Run received and that the models may create differently."""
        differing = self._paths.differing_events
        if not run.inbox or differing.isdisjoint(self._divergence.waited_types):
            return ()
        events = []
        for item in run.inbox:
            if item.kind != "event" or item.ref.startswith("link:"):
                continue
            body = wire.loads(item.body)
            if body["type"] in differing and body["received_at"] > recorded.receipt.received_at:
                events.append(item.ref)
        return tuple(dict.fromkeys(events))

    def events_replayed(self, recorded: RecordedDelivery) -> None:
        """Replay the Runs that waited for this delivery's events only."""
        for event in recorded.events:
            for job in self.waiting.pop(event.id, ()):
                job.pending_events -= 1
                if not job.pending_events:
                    self._replay_waiting(job)

    def finish(self) -> None:
        """Replay all waiting Runs with the events as recorded."""
        for jobs in list(self.waiting.values()):
            for job in jobs:
                if job.pending_events:
                    job.pending_events = 0
                    self._replay_waiting(job)
        self.waiting.clear()

    def _wait(self, job: ReplayJob, events: Iterable[str]) -> None:
        job.difference.pending += 1
        for event in events:
            job.pending_events += 1
            self.waiting.setdefault(event, []).append(job)

    def _replay_waiting(self, job: ReplayJob) -> None:
        self._divergence.guarded(job.difference, job.recorded, lambda: self._replay_run(job))
        job.difference.done()

    # ------------------------------------------------------------------ Runs

    def _replay_run(self, job: ReplayJob) -> None:
        event = job.pair[NEW] or job.pair[OLD]
        assert event is not None
        results = [
            None if start is None else self._run_result(n, job, start, event)
            for n, start in enumerate(job.starts)
        ]
        for side, result in zip(self._divergence.sides, results, strict=True):
            _record_reserved(side, job.recorded_run, result)
        if not job.depth:  # a Run of an emitted event is a consequence of a Run that counts
            job.difference.runs += 1
        job.difference.add_run(job.run, event, results[OLD], results[NEW])
        self._replay_emitted(job, results)

    def _run_result(
        self, n: int, job: ReplayJob, start: RoutedStart, event: CanonicalEvent
    ) -> ReplayedRun | None:
        divergence, run = self._divergence, job.recorded_run
        answers = divergence.answers(n, job.recorded)
        if n == OLD and run is not None and not self._every and divergence.is_recorded_by_old(run):
            result = self._recorded_runs(start.workflow).result(run, start.names, answers)
            if result is not None:
                return result
        if run is not None and divergence.changed_events:
            run = self._with_changed_events(n, run)
        return self._replayers[n].replay(start, event.id, event.received_at, run, answers)

    def _with_changed_events(self, n: int, run: RecordedRun) -> RecordedRun:
        """Return the Run with its inbox as this side's model would have written it."""
        inbox = []
        for item in run.inbox:
            if item.ref in self._divergence.changed_events:
                event = self._divergence.changed_events[item.ref][n]
                if event is None:
                    continue
                item = msgspec.structs.replace(item, body=wire.dumps(self._inbox_body(n, event)))
            inbox.append(item)
        return msgspec.structs.replace(run, inbox=tuple(inbox))

    def _inbox_body(self, n: int, event: CanonicalEvent) -> dict[str, Any]:
        """Return the body that waiting Runs receive for the event under this side's model."""
        side = self._divergence.sides[n]
        try:
            return routing.event_body(event, routing.forms(side.model, event, side.waited), side.waited)
        except CastFailed:
            return event_names(event)

    # ------------------------------------------------------------------ emitted events

    def _replay_emitted(self, job: ReplayJob, results: Sequence[ReplayedRun | None]) -> None:
        if job.depth >= MAX_DEPTH or not any(result.events for result in results if result is not None):
            return
        old, new = (
            {id_: self._emitted_event(n, job, id_, *emit) for id_, emit in result.events.items()}
            if result
            else {}
            for n, result in enumerate(results)
        )
        for id_ in dict.fromkeys((*old, *new)):
            pair = (old.get(id_), new.get(id_))
            if pair[OLD] != pair[NEW]:
                job.difference.add_emitted(*pair)
            self.replay(job.recorded, job.difference, pair, job.depth + 1)

    def _emitted_event(
        self, n: int, job: ReplayJob, id_: str, type_: str, data: Mapping[str, Any]
    ) -> CanonicalEvent:
        kind = self._divergence.sides[n].model.events[type_]
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


def _record_reserved(side: ReplaySide, run: RecordedRun | None, result: ReplayedRun | None) -> None:
    """Record how much more or less than recorded the Run reserves of limits on this side."""
    recorded = {(guard.scope, guard.key): guard.own for guard in run.guards} if run is not None else {}
    reserved = result.reserved if result is not None else {}
    for key in {*recorded, *reserved}:
        more = reserved.get(key, 0) - recorded.get(key, 0)
        if more:
            side.record_reserved(key, more)
