"""Answers to the look-ups of a replay: what was recorded, changed by what the replayed side made otherwise before.

A side is one of the two models with what it has made of the traffic so far. Nothing is asked of anybody: a question
that nobody recorded an answer to raises NotRecorded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from counterfoil.core.canonical import Head
from counterfoil.model import Model
from counterfoil.rules import lookup
from counterfoil.rules.lookup import (
    CanonicalIdRead,
    ExternalIdRead,
    GuardRead,
    HeadRead,
    HeadsRead,
    LinkedId,
    MintedId,
    Question,
    RateRead,
    Read,
    TableRead,
)
from counterfoil.rules.routing import waited_fields
from counterfoil.rules.values import head_names
from counterfoil.store.port.recorded import Recorded, RecordedRun, spoken

GONE = object()
"""A field that a side does not assert although it was asserted."""
FIRST_SIGHT = "ids minted as at first sight"
FROM_NOTHING = "limits counted from what the replayed Runs took"


class NotRecorded(Exception):
    """Something was asked that nobody recorded."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ReplaySide:
    """One model, and how far its world has gone apart from the recorded one."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.waited = waited_fields(model)
        self.accounts = {name: system.account for name, system in model.systems.items()}
        self.heads: dict[str, dict[str, dict[str, Any]]] = {}
        """Fields of heads that differ from what was recorded, by object and key."""
        self.links: dict[tuple[str, str, str], str | None] = {}
        """(object, system, external id) -> canonical id, where it differs; None: not linked."""
        self.linked: dict[tuple[str, str, str], str] = {}
        """(object, system, canonical id) -> external id, of those."""
        self.unknown: set[tuple[str, str]] = set()
        """(object, key) of heads that nobody can tell: what would have moved them was not comparable."""
        self.taken: dict[tuple[str, str], int] = {}
        """(scope, key) -> how much more than recorded its Runs hold of a limit."""
        self.assumed: Counter[str] = Counter()
        self.moves = 0
        """Counts what may have changed `touched`."""
        self._linked_objects: set[str] = set()
        self._periods: tuple[tuple[Head, ...], list[dict[str, Any]]] | None = None

    def touched(self) -> tuple[set[str], set[str], set[str]]:
        """Objects by their heads and by their Links, and limits, of which something differs."""
        heads = {*self.heads, *(object_ for object_, _ in self.unknown)}
        return heads, self._linked_objects, {scope for scope, _ in self.taken}

    def moved(
        self,
        object_: str,
        key: str,
        made: Mapping[str, Any],
        was: Mapping[str, Any],
        before: Mapping[str, Any],
    ) -> None:
        """What a fact asserts of an object on this side, where it was recorded otherwise; `before` is what the
        object was then before it."""
        delta = self.heads.get(object_, {}).get(key, {})
        delta.update(made)
        for field in was:
            if field not in made and field not in delta:
                delta[field] = before.get(field, GONE)
        if delta:
            self.heads.setdefault(object_, {})[key] = delta
            self.moves += 1

    def settled(self, object_: str, key: str, made: Iterable[str]) -> None:
        """A fact that is as it was recorded: what it asserts differs no more."""
        of_object = self.heads.get(object_)
        delta = of_object.get(key) if of_object is not None else None
        if of_object is None or delta is None:
            return
        for field in made:
            delta.pop(field, None)
        if not delta:
            del of_object[key]
        if not of_object:
            del self.heads[object_]
            self.moves += 1

    def took(self, key: tuple[str, str], more: int) -> None:
        """Its Runs hold so much more than recorded of a limit."""
        self.taken[key] = self.taken.get(key, 0) + more
        self.moves += 1

    def forgets(self, heads: Iterable[tuple[str, str]]) -> None:
        """Nobody can tell what these are from here on."""
        self.unknown |= set(heads)
        self.moves += 1

    def periods(self, heads: tuple[Head, ...]) -> list[dict[str, Any]]:
        """The same periods as formulas read them, made once for as long as they stay the same."""
        if self._periods is None or self._periods[0] is not heads:
            self._periods = (heads, [head_names(head) for head in heads])
        return self._periods[1]

    def link(self, object_: str, system: str, ext_id: str, canonical: str | None) -> None:
        """A Link as this side establishes it, where it was recorded otherwise; None: it establishes none."""
        self.links[object_, system, ext_id] = canonical
        self._linked_objects.add(object_)
        self.moves += 1
        if canonical is not None:
            self.linked[object_, system, canonical] = ext_id


class RecordedAnswers(Mapping[Question, Any]):
    """What one side's formulas are answered while one delivery is replayed. Every question is in it; an answer may
    be None as the engine's own look-ups may, and NotRecorded is raised where nobody knows."""

    def __init__(self, side: ReplaySide, recorded: Recorded, counted: Mapping[tuple[str, str], int]) -> None:
        self._side = side
        self._recorded = recorded
        self._counted = counted
        self._known: dict[Question, Any] = {}
        self.run: RecordedRun | None = None
        self.facts: dict[tuple[str, str], Any] = {}
        """Heads as the Run found them, by object and key."""
        self.now = recorded.receipt.received_at
        self.speaks = recorded.receipt.system
        self.granted: dict[tuple[str, str, str], str] = {}
        """Links that the replayed calls establish: (object, canonical, system) -> external id."""

    def of_run(self, run: RecordedRun | None, facts: dict[tuple[str, str], Any], now: datetime) -> None:
        """From here on a Run asks."""
        self._known.clear()
        self.run, self.facts, self.now, self.speaks = run, facts, now, ""
        self.granted = {}

    def __contains__(self, question: object) -> bool:
        return True

    def __getitem__(self, question: Question) -> Any:
        if question not in self._known:
            work = lookup.resolve(self._side.model, self.speaks, *question)
            self._known[question] = lookup.run_sync(work, self._read)
        return self._known[question]

    def __iter__(self) -> Iterator[Question]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def forget(self, *names: str) -> None:
        """Time has passed: answers of these kinds may be others now."""
        for question in [q for q in self._known if q[0] in names]:
            del self._known[question]

    # ------------------------------------------------------------------ reads

    def _read(self, read: Read[Any]) -> Any:
        """Answer one read. Raises NotRecorded."""
        match read:
            case HeadRead(object_, key):
                return self._head(object_, key)
            case HeadsRead(object_):
                return self._side.periods(self._periods(object_))
            case ExternalIdRead(object_, canonical, system):
                return self._xref(object_, canonical, system)
            case CanonicalIdRead():
                return self._canon(read)
            case MintedId():
                self._side.assumed[FIRST_SIGHT] += 1
                return None
            case TableRead(table, keys):
                return lookup.table_value(self._side.model, table, keys, self.now.date())
            case RateRead(pair):
                return lookup.table_value(self._side.model, "fx", (pair,), self.now.date())
            case GuardRead(scope, key):
                return self._guard(scope, key)
        raise AssertionError(f"no answer to {read!r}")

    def _head(self, object_: str, key: str) -> Any:
        found = self.facts.get((object_, key))
        if found is None:
            heads = self.run.heads if self.run is not None else self._recorded.heads
            head = next((h for h in heads if (h.object, h.key) == (object_, key)), None)
            if head is None and object_ in self._recorded.calendars.objects:
                head = next((h for h in self._periods(object_) if h.key == key), None)
            found = None if head is None else head_names(head)
        delta = self._side.heads.get(object_, {}).get(key)
        if (object_, key) in self._side.unknown:
            raise NotRecorded(f"the {object_} that an incomparable delivery left")
        if found is None and delta is None and (object_, key) not in spoken(self._recorded.events):
            raise NotRecorded(f"the {object_} of then")
        if delta is None:
            return found
        merged = {"id": key, **(found or {}), **delta}
        return {field: value for field, value in merged.items() if value is not GONE}

    def _xref(self, object_: str, canonical: str, system: str) -> str | None:
        granted = self.granted.get((object_, canonical, system))
        if granted is not None:
            return granted
        made = self._side.linked.get((object_, system, canonical))
        if made is not None:
            return made
        for link in self._recorded.links:
            if (link.object, link.canonical, link.system) == (object_, canonical, system) and (
                self._side.links.get((object_, system, link.ext_id), canonical) == canonical
            ):
                return link.ext_id
        if (object_, canonical) not in spoken(self._recorded.events):
            raise NotRecorded(f"the link of a {object_} to {system}")
        return None

    def _canon(self, read: CanonicalIdRead) -> LinkedId | None:
        link = (read.object, read.system, read.ext_id)
        if link in self._side.links:
            return LinkedId(self._side.links[link])
        for recorded in self._recorded.links:
            if (recorded.account, recorded.object, recorded.system, recorded.ext_id) == (read.account, *link):
                return LinkedId(recorded.canonical)
        if not lookup.mints(self._side.model, read.object, read.system, self.speaks):
            raise NotRecorded(f"the {read.object} of an id of {read.system}")
        return None

    def _guard(self, scope: str, key: str) -> int:
        more = self._side.taken.get((scope, key), 0)
        for seen in self.run.guards if self.run is not None else ():
            if (seen.scope, seen.key) == (scope, key):
                return seen.before + more
        self._side.assumed[FROM_NOTHING] += 1
        return self._counted.get((scope, key), 0) + more

    def _periods(self, object_: str) -> tuple[Head, ...]:
        return self._recorded.calendars.at(object_, self.now)
