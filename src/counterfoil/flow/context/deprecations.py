"""Versions on their way out: who still uses them is counted, shown before the sunset, and a Case after it.

Counts are gathered in memory and told to the store every few seconds: a delivery is not slower for being counted, and
a process that dies takes a few seconds of a figure with it. Nothing that is not deprecated is counted at all.
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
from counterfoil.model import Model, kinds
from counterfoil.rules.versions import DeprecationNotice, dated
from counterfoil.store.port.intake import Admit
from counterfoil.store.port.maintenance import OpenCases
from counterfoil.store.port.store import (
    Store,
)
from counterfoil.store.port.versions import CountUse, VersionUsage, VersionUse, WaitingRuns

EVERY = timedelta(seconds=5)
"""Between two tellings."""
WITHIN = timedelta(days=5)
RECENT = timedelta(days=30)
VERBS = {"sends": "sends", "takes": "takes", "calls": "calls", "waits": "waits for"}


class DeprecationUsage:
    """What this process has seen of deprecated versions and not told yet. `present` is the model in force."""

    def __init__(self, store: Store, present: Callable[[], Model]) -> None:
        self._store = store
        self._present = present
        self._known: tuple[Model, object, Mapping[str, DeprecationNotice]] | None = None
        self._counts: dict[tuple[str, str, str, object], VersionUse] = {}
        self._told: datetime | None = None

    def deprecated(self, now: datetime) -> Mapping[str, DeprecationNotice]:
        """What is deprecated by now, by name."""
        model, day = self._present(), now.date()
        if self._known is None or self._known[0] is not model or self._known[1] != day:
            self._known = (model, day, dated(model, now))
        return self._known[2]

    def note(self, name: str, side: str, who: str, now: datetime, count: int = 1) -> DeprecationNotice | None:
        """Count a use, where the version is deprecated."""
        found = self.deprecated(now).get(name)
        if found is not None:
            key = (name, side, who, now.date())
            held = self._counts.get(key)
            use = VersionUse(name=name, side=side, who=who, count=count, first_at=now, last_at=now)
            if held is not None:
                use = msgspec.structs.replace(use, count=held.count + count, first_at=held.first_at)
            self._counts[key] = use
        return found

    def admitted(self, model: Model, admit: Admit, new: Sequence[str], door: str, now: datetime) -> None:
        """Count what an admission has shown: who sent a deprecated version, and who took one. Over the door for
        CloudEvents the person who sends is counted there."""
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
        """Tell the store, unless it was told a moment ago."""
        if self._counts and (self._told is None or now - self._told >= EVERY):
            self._told = now
            await self.flush()

    async def flush(self) -> None:
        """Tell the store. What it does not take is told the next time."""
        if not self._counts:
            return
        telling, self._counts = self._counts, {}
        try:
            await self._store.apply(CountUse(uses=tuple(telling.values())))
        except TryAgain:
            for use in telling.values():
                self._keep(use)

    def _keep(self, use: VersionUse) -> None:
        key = (use.name, use.side, use.who, use.last_at.date())
        held = self._counts.get(key)
        if held is not None:
            use = msgspec.structs.replace(held, count=held.count + use.count, first_at=use.first_at)
        self._counts[key] = use


def _takers(model: Model, admit: Admit, event: CanonicalEvent) -> list[tuple[str, str]]:
    """The versions in which an event was taken, and by whom."""
    found = []
    for start in admit.starts:
        if start.stimulus.ref == event.id:
            begins = model.workflows[start.workflow].start
            later = begins.generation if isinstance(begins.generation, kinds.GenerationEvent) else None
            names = [begins.event, later.event if later is not None else None]
            found += [(name, f"workflow:{start.workflow}") for name in names if name is not None]
    for foil in admit.foils:
        if foil.cause == event.id:
            name = model.reconciliations[foil.rule].foil.event
            found += [(name, f"reconciliation:{foil.rule}")] if name is not None else []
    for seen in admit.observations:
        if seen.event == event.id:
            found.append((model.reconciliations[seen.rule].observe.event, f"reconciliation:{seen.rule}"))
    return found


# ------------------------------------------------------------------ who uses what


class DeprecatedInUse(msgspec.Struct, frozen=True, kw_only=True):
    """A deprecated version and who uses it."""

    lifecycle: DeprecationNotice
    used: tuple[VersionUsage, ...]
    waiting: tuple[WaitingRuns, ...]

    def users(self, since: datetime) -> list[str]:
        """Who has used it since then, and whose Runs wait for it now."""
        found = {each.who for each in self.used if each.last_at >= since}
        return sorted(found | {f"workflow:{each.workflow}" for each in self.waiting})

    def told(self, now: datetime) -> dict[str, Any]:
        """For health: before the sunset who has used it lately, after it who has since."""
        found = self.lifecycle
        since = found.sunset if found.past_sunset and found.sunset is not None else now - RECENT
        return {
            "name": found.name,
            "since": found.since.date().isoformat(),
            "sunset": None if found.sunset is None else found.sunset.date().isoformat(),
            "use": found.use,
            "past_sunset": found.past_sunset,
            "users": self.users(since),
        }


async def in_use(store: Store, model: Model, now: datetime) -> list[DeprecatedInUse]:
    """Every deprecated version with its users, by name. Reads nothing where nothing is deprecated."""
    lifecycles = dated(model, now)
    if not lifecycles:
        return []
    used = await store.used(now)
    waiting = await store.waiting([name for name in lifecycles if name in model.events])
    return [
        DeprecatedInUse(
            lifecycle=found,
            used=tuple(each for each in used if each.name == name),
            waiting=tuple(each for each in waiting if each.name == name),
        )
        for name, found in sorted(lifecycles.items())
    ]


async def overdue(store: Store, model: Model, now: datetime, told: set[str]) -> int:
    """A version in use after its sunset is a Case for its owner, once for each user; how many were opened. `told`
    are those that this process has opened: the store would refuse them as well."""
    if not any(found.past_sunset for found in dated(model, now).values()):
        return 0
    cases = [
        case
        for held in await in_use(store, model, now)
        if held.lifecycle.past_sunset
        for case in _cases(model, held, now)
        if case.id not in told
    ]
    if cases:
        await store.apply(OpenCases(cases=tuple(cases), at=now, actor="watch"))
        told.update(case.id for case in cases)
    return len(cases)


def _cases(model: Model, held: DeprecatedInUse, now: datetime) -> list[Case]:
    found, sunset = held.lifecycle, held.lifecycle.sunset
    assert sunset is not None
    said: dict[str, list[str]] = {}
    for each in held.used:
        if each.last_at >= sunset:
            last = each.last_at.isoformat(timespec="seconds")
            said.setdefault(each.who, []).append(
                f"{VERBS[each.side]} it, last {last}, {each.count} times in all"
            )
    for wait in held.waiting:
        said.setdefault(f"workflow:{wait.workflow}", []).append(f"has {wait.count} runs that wait for it")
    kind = model.events.get(found.name) or model.operations[found.name]
    to = f"to {found.use}" if found.use else "off it"
    return [
        open_case(
            "sunset_in_use",
            id=ids.derive("case", "sunset", found.name, sunset.date().isoformat(), who),
            message=f"{found.name} had its sunset on {sunset.date()}; {who} {', and '.join(how)}",
            owners=model.owners_of(kind),
            at=now,
            names={"user": who, "successor": to},
        )
        for who, how in sorted(said.items())
    ]
