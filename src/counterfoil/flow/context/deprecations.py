"""Use of deprecated versions: counted by user, shown before the sunset, and a Case after it.

Counts are collected in memory and flushed to the store every few seconds, so counting does not slow a delivery. A process
that dies loses a few seconds of counts. Only deprecated versions are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from counterfoil.contracts.versions import family
from counterfoil.core import ids
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.case import Case
from counterfoil.core.cases import open_case
from counterfoil.core.errors import TryAgain
from counterfoil.core.plural import counted
from counterfoil.model import Model, kinds
from counterfoil.rules.versions import DeprecationNotice, dated
from counterfoil.store.port.intake import Admit
from counterfoil.store.port.maintenance import OpenCases
from counterfoil.store.port.store import Store
from counterfoil.store.port.versions import CountUse, UseCount, VersionUsage, WaitingRuns

FLUSH_INTERVAL = timedelta(seconds=5)
"""Minimum interval between flushes to the store."""
RECENT_USE = timedelta(days=30)
VERBS = {"sends": "sends", "takes": "takes", "calls": "calls", "waits": "waits for"}


class DeprecationUsage:
    """Counts of deprecated versions that are not flushed yet. `present` returns the active model."""

    def __init__(self, store: Store, present: Callable[[], Model]) -> None:
        self._store = store
        self._present = present
        self._notices: tuple[Model, object, Mapping[str, DeprecationNotice]] | None = None
        self._counts: dict[tuple[str, str, str, object], UseCount] = {}
        self._flushed_at: datetime | None = None

    def deprecated(self, now: datetime) -> Mapping[str, DeprecationNotice]:
        """Return the versions deprecated by now, by name."""
        model, day = self._present(), now.date()
        if self._notices is None or self._notices[0] is not model or self._notices[1] != day:
            self._notices = (model, day, dated(model, now))
        return self._notices[2]

    def note(self, name: str, side: str, who: str, now: datetime, count: int = 1) -> DeprecationNotice | None:
        """Count a use if the version is deprecated. Return its notice then, else None."""
        notice = self.deprecated(now).get(name)
        if notice is not None:
            self._add(UseCount(name=name, side=side, who=who, count=count, first_at=now, last_at=now))
        return notice

    def note_admission(
        self, model: Model, admit: Admit, new: Sequence[str], door: str, now: datetime
    ) -> None:
        """Count the senders and consumers of deprecated versions in an admission.

        The endpoint for CloudEvents counts its own senders, by person.
        """
        deprecated = self.deprecated(now)
        if not deprecated:
            return
        families = {family(name) for name in deprecated}
        events = [e for e in admit.events if e.id in new and family(e.type) in families]
        for event in events:
            if door != "events":
                self.note(event.type, "sends", f"system:{event.system}", now)
            for name, who in _takers(model, admit, event):
                if family(name) == family(event.type):
                    self.note(name, "takes", who, now)

    async def settle(self, now: datetime) -> None:
        """Flush the counts, unless they were flushed a moment ago."""
        if self._counts and (self._flushed_at is None or now - self._flushed_at >= FLUSH_INTERVAL):
            self._flushed_at = now
            await self.flush()

    async def flush(self) -> None:
        """Flush the counts to the store. They stay for the next time if the store is away."""
        if not self._counts:
            return
        counts, self._counts = self._counts, {}
        try:
            await self._store.apply(CountUse(uses=tuple(counts.values())))
        except TryAgain:
            for use in counts.values():
                self._add(use)

    def _add(self, use: UseCount) -> None:
        key = (use.name, use.side, use.who, use.last_at.date())
        other = self._counts.get(key)
        if other is not None:
            first_at, last_at = min(use.first_at, other.first_at), max(use.last_at, other.last_at)
            count = use.count + other.count
            use = msgspec.structs.replace(use, count=count, first_at=first_at, last_at=last_at)
        self._counts[key] = use


def _takers(model: Model, admit: Admit, event: CanonicalEvent) -> list[tuple[str, str]]:
    """Return the versions in which an event was consumed, with the consumers."""
    users = []
    for start in admit.starts:
        if start.stimulus.ref == event.id:
            begins = model.workflows[start.workflow].start
            names = [begins.event]
            if isinstance(begins.generation, kinds.GenerationEvent):
                names.append(begins.generation.event)
            users += [(name, f"workflow:{start.workflow}") for name in names if name is not None]
    for foil in admit.foils:
        if foil.cause == event.id:
            users += _reconciled(model, foil.rule, event.type)
    for observation in admit.observations:
        if observation.event == event.id:
            users += _reconciled(model, observation.rule, event.type)
    return users


def _reconciled(model: Model, rule: str, type_: str) -> list[tuple[str, str]]:
    """Return the versions of an event that a reconciliation reads."""
    entries = model.reconciliations[rule].entries
    same = {e.event for _, e in entries if e.event is not None and family(e.event) == family(type_)}
    return [(name, f"reconciliation:{rule}") for name in sorted(same)]


# ------------------------------------------------------------------ users of deprecated versions


class DeprecatedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A deprecated version and its users."""

    notice: DeprecationNotice
    used: tuple[VersionUsage, ...]
    waiting: tuple[WaitingRuns, ...]

    def users(self, since: datetime) -> list[str]:
        """Return its users since then, and the workflows whose Runs wait for it now."""
        users = {use.who for use in self.used if use.last_at >= since}
        return sorted(users | {f"workflow:{runs.workflow}" for runs in self.waiting})

    def health(self, now: datetime) -> dict[str, Any]:
        """Return the entry for health: recent users before the sunset, users since the sunset after it."""
        notice = self.notice
        since = notice.sunset if notice.past_sunset and notice.sunset is not None else now - RECENT_USE
        return {
            "name": notice.name,
            "since": notice.since.date().isoformat(),
            "sunset": None if notice.sunset is None else notice.sunset.date().isoformat(),
            "use": notice.use,
            "past_sunset": notice.past_sunset,
            "users": self.users(since),
        }


async def in_use(store: Store, model: Model, now: datetime) -> list[DeprecatedVersion]:
    """Return every deprecated version with its users, by name. Reads nothing if no version is deprecated."""
    notices = dated(model, now)
    if not notices:
        return []
    used = await store.version_usage(now)
    waiting = await store.waiting_runs([name for name in notices if name in model.events])
    return [
        DeprecatedVersion(
            notice=notice,
            used=tuple(use for use in used if use.name == name),
            waiting=tuple(runs for runs in waiting if runs.name == name),
        )
        for name, notice in sorted(notices.items())
    ]


async def open_overdue_cases(store: Store, model: Model, now: datetime, opened: set[str]) -> int:
    """Open a Case for each user of a version that is past its sunset. Return their number.

    `opened` holds the Cases that this process has opened; the store would ignore a repeat as well.
    """
    if not any(notice.past_sunset for notice in dated(model, now).values()):
        return 0
    cases = [
        case
        for version in await in_use(store, model, now)
        if version.notice.past_sunset
        for case in _cases(model, version, now)
        if case.id not in opened
    ]
    if cases:
        await store.apply(OpenCases(cases=tuple(cases), at=now, actor="watch"))
        opened.update(case.id for case in cases)
    return len(cases)


def _cases(model: Model, version: DeprecatedVersion, now: datetime) -> list[Case]:
    notice, sunset = version.notice, version.notice.sunset
    assert sunset is not None
    uses: dict[str, list[str]] = {}
    for use in version.used:
        if use.last_at >= sunset:
            last = use.last_at.isoformat(timespec="seconds")
            text = f"{VERBS[use.side]} it ({counted(use.count, 'time')} in all, last at {last})"
            uses.setdefault(use.who, []).append(text)
    for runs in version.waiting:
        uses.setdefault(f"workflow:{runs.workflow}", []).append(
            f"has {counted(runs.count, 'run that waits', 'runs that wait')} for it"
        )
    kind = model.events.get(notice.name) or model.operations[notice.name]
    successor = f"to {notice.use or 'another version'}"
    return [
        open_case(
            "sunset_in_use",
            id=ids.derive("case", "sunset", notice.name, sunset.date().isoformat(), user),
            message=f"{notice.name} reached its sunset on {sunset.date()}, but {user} still {' and '.join(texts)}",
            owners=model.owners_of(kind),
            at=now,
            names={"user": user, "successor": successor},
        )
        for user, texts in sorted(uses.items())
    ]
