"""Answers to the look-ups of a replay: the recorded answers, changed by the earlier differences of the replayed side.

A side is one of the two models with its differences so far. No system or store is asked. A question without a recorded
answer raises NotRecorded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from counterfoil.core.canonical import CanonicalEvent, Head
from counterfoil.core.people import Person
from counterfoil.model import Model
from counterfoil.rules import admission, lookup
from counterfoil.rules.json_values import head_names
from counterfoil.rules.lookup import (
    CanonicalIdRead,
    ExternalIdRead,
    GuardRead,
    HeadRead,
    HeadsRead,
    LinkAnswer,
    MintedId,
    PersonRead,
    Question,
    RateRead,
    Read,
    TableRead,
)
from counterfoil.rules.routing import Forms, waited_fields
from counterfoil.store.port.recorded import RecordedDelivery, RecordedRun, spoken

UNSET = object()
"""Marks a recorded field that a side does not assert."""
MINTED_IDS = "new ids for objects without a recorded Link"
PERSONS_ON_FILE = "requesters who are not on file today"
UNLINKED_IDS = "objects without a recorded Link, which a Run reads as absent"
COUNTED_LIMITS = "limits counted from the replayed Runs only"


class NotRecorded(Exception):
    """A look-up has no recorded answer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ReplaySide:
    """One model, with its differences from the recording so far."""

    def __init__(self, model: Model, persons: Sequence[Person] = ()) -> None:
        self.model = model
        self.persons = persons
        """Persons on file today; empty: not known."""
        self.waited = waited_fields(model)
        self.heads: dict[str, dict[str, dict[str, Any]]] = {}
        """Fields of heads that differ from the recording, by object and key."""
        self.links: dict[tuple[str, str, str], str | None] = {}
        """(object, system, external id) -> canonical id, if it differs. None: not linked."""
        self.linked: dict[tuple[str, str, str], str] = {}
        """(object, system, canonical id) -> external id, of the differing Links."""
        self.unknown: set[tuple[str, str]] = set()
        """(object, key) of unknown heads: a delivery that changes them was not comparable."""
        self.reserved: dict[tuple[str, str], int] = {}
        """(scope, key) -> reserved amount beyond the recorded one."""
        self.assumed: Counter[str] = Counter()
        self.moves = 0
        """Number of changes that may affect `diverged`."""
        self._linked_objects: set[str] = set()
        self._forms: tuple[CanonicalEvent, Forms] | None = None
        self._periods: tuple[tuple[Head, ...], list[dict[str, Any]]] | None = None

    def forms(self, event: CanonicalEvent) -> Forms:
        """Return an event in each version that something takes; cached for the last one. Raises HeldDelivery."""
        if self._forms is None or self._forms[0] is not event:
            self._forms = (event, admission.forms_of(self.model, event, self.waited))
        return self._forms[1]

    def diverged(self) -> tuple[set[str], set[str], set[str]]:
        """Return the objects with differing heads, the objects with differing Links, and the differing limits."""
        heads = {*self.heads, *(object_ for object_, _ in self.unknown)}
        return heads, self._linked_objects, {scope for scope, _ in self.reserved}

    def record_fact(
        self,
        object_: str,
        key: str,
        fact: Mapping[str, Any],
        recorded: Mapping[str, Any],
        before: Mapping[str, Any],
    ) -> None:
        """Record a fact that differs on this side. `before`: the object's recorded state before the fact."""
        delta = self.heads.get(object_, {}).get(key, {})
        delta.update(fact)
        for field in recorded:
            if field not in fact and field not in delta:
                delta[field] = before.get(field, UNSET)
        if delta:
            self.heads.setdefault(object_, {})[key] = delta
            self.moves += 1

    def settle_fact(self, object_: str, key: str, fields: Iterable[str]) -> None:
        """Apply a fact as recorded: the fields that it asserts no longer differ."""
        of_object = self.heads.get(object_)
        delta = of_object.get(key) if of_object is not None else None
        if of_object is None or delta is None:
            return
        for field in fields:
            delta.pop(field, None)
        if not delta:
            del of_object[key]
        if not of_object:
            del self.heads[object_]
            self.moves += 1

    def record_reserved(self, key: tuple[str, str], more: int) -> None:
        """Record how much more than recorded a Run reserves of a limit."""
        self.reserved[key] = self.reserved.get(key, 0) + more
        self.moves += 1

    def mark_unknown(self, heads: Iterable[tuple[str, str]]) -> None:
        """Mark heads, by object and key, as unknown from now on."""
        self.unknown |= set(heads)
        self.moves += 1

    def periods(self, heads: tuple[Head, ...]) -> list[dict[str, Any]]:
        """Return the periods as formulas read them. Cached while the heads stay the same."""
        if self._periods is None or self._periods[0] is not heads:
            self._periods = (heads, [head_names(head) for head in heads])
        return self._periods[1]

    def record_link(self, object_: str, system: str, ext_id: str, canonical: str | None) -> None:
        """Record a Link that differs on this side. None: this side does not establish it."""
        self.links[object_, system, ext_id] = canonical
        self._linked_objects.add(object_)
        self.moves += 1
        if canonical is not None:
            self.linked[object_, system, canonical] = ext_id


class RecordedAnswers(Mapping[Question, Any]):
    """Look-up answers of one side while a delivery is replayed.

    Contains every question. An answer may be None, as in the engine. Raises NotRecorded if no answer is recorded.
    """

    def __init__(
        self, side: ReplaySide, recorded: RecordedDelivery, recorded_limits: Mapping[tuple[str, str], int]
    ) -> None:
        self._side = side
        self._recorded = recorded
        self._recorded_limits = recorded_limits
        self._answers: dict[Question, Any] = {}
        self.run: RecordedRun | None = None
        self.facts: dict[tuple[str, str], Any] = {}
        """Heads as the Run read them, by object and key."""
        self.now = recorded.receipt.received_at
        self.system = recorded.receipt.system
        self.granted: dict[tuple[str, str, str], str] = {}
        """Links that the replayed calls establish: (object, canonical, system) -> external id."""
        self.model = side.model
        """The model of the side; while a Run is replayed, that of its legal entity."""

    def of_run(
        self, run: RecordedRun | None, facts: dict[tuple[str, str], Any], now: datetime, model: Model
    ) -> None:
        """Answer the look-ups of a Run from now on. `model` has the overlays of its legal entity."""
        self._answers.clear()
        self.run, self.facts, self.now, self.system = run, facts, now, ""
        self.model = model
        self.granted = {}

    def __contains__(self, question: object) -> bool:
        return True

    def __getitem__(self, question: Question) -> Any:
        answers = self._answers
        if question in answers:
            return answers[question]
        read = lookup.single_read(*lookup.at_entity(self.model, *question))
        if read is not None:
            answer = _SOURCES[type(read)](self, read)
        elif (link := self._linked(*question)) is not None:
            answer = link.canonical
        else:
            work = lookup.resolve(self.model, self.system, *question)
            answer = lookup.run_sync(work, self._read)
        answers[question] = answer
        return answer

    def __iter__(self) -> Iterator[Question]:
        return iter(self._answers)

    def __len__(self) -> int:
        return len(self._answers)

    def forget(self, *names: str) -> None:
        """Forget answers that may change with time, by kind of look-up."""
        for question in [q for q in self._answers if q[0] in names]:
            del self._answers[question]

    # ------------------------------------------------------------------ reads

    def _linked(self, name: str, args: tuple[Any, ...]) -> LinkAnswer | None:
        """Answer `canon` without the resolver if there is a Link: it is the most frequent look-up of mappings."""
        return self._link(*map(str, args)) if name == "canon" and len(args) == 3 else None

    def _link(self, object_: str, ext_id: str, system: str) -> LinkAnswer | None:
        link = (object_, system, ext_id)
        if link in self._side.links:
            return LinkAnswer(self._side.links[link])
        for recorded in self._recorded.links:
            if (recorded.object, recorded.system, recorded.ext_id) == link and (
                recorded.account == lookup.account_of(self._side.model, system)
            ):
                return LinkAnswer(recorded.canonical)
        return None

    def _read(self, read: Read[Any]) -> Any:
        return _SOURCES[type(read)](self, read)

    def _minted(self, read: MintedId) -> None:
        self._side.assumed[MINTED_IDS] += 1

    def _table(self, read: TableRead) -> Any:
        return lookup.table_value(self.model, read.table, read.keys, self.now.date())

    def _rate(self, read: RateRead) -> Any:
        return lookup.table_value(self.model, "fx", (read.pair,), self.now.date())

    def _heads(self, read: HeadsRead) -> Any:
        return self._side.periods(self._periods(read.object))

    def _head(self, read: HeadRead) -> Any:
        object_, key = read.object, read.key
        state = self.facts.get((object_, key))
        if state is None:
            heads = self.run.heads if self.run is not None else self._recorded.heads
            head = next((h for h in heads if (h.object, h.key) == (object_, key)), None)
            if head is None and object_ in self._recorded.calendars.objects:
                head = next((h for h in self._periods(object_) if h.key == key), None)
            state = None if head is None else head_names(head)
        delta = self._side.heads.get(object_, {}).get(key)
        if (object_, key) in self._side.unknown:
            raise NotRecorded(f"the {object_} after a delivery that is not comparable")
        if state is None and delta is None and (object_, key) not in spoken(self._recorded.events):
            raise NotRecorded(f"the {object_} at that time")
        if delta is None:
            return state
        merged = {"id": key, **(state or {}), **delta}
        return {field: value for field, value in merged.items() if value is not UNSET}

    def _xref(self, read: ExternalIdRead) -> str | None:
        object_, canonical, system = read.object, read.canonical, read.system
        granted = self.granted.get((object_, canonical, system))
        if granted is not None:
            return granted
        linked = self._side.linked.get((object_, system, canonical))
        if linked is not None:
            return linked
        for link in self._recorded.links:
            if (link.object, link.canonical, link.system) == (object_, canonical, system) and (
                self._side.links.get((object_, system, link.ext_id), canonical) == canonical
            ):
                return link.ext_id
        if (object_, canonical) not in spoken(self._recorded.events):
            raise NotRecorded(f"the Link of a {object_} to {system}")
        return None

    def _canon(self, read: CanonicalIdRead) -> LinkAnswer | None:
        link = self._link(read.object, read.ext_id, read.system)
        if link is None and not lookup.mints(self._side.model, read.object, read.system, self.system):
            if self.run is None:
                raise NotRecorded(f"the {read.object} with an id of {read.system}")
            # A Run went on without the object, or with one that none of its delivery's events names.
            self._side.assumed[UNLINKED_IDS] += 1
        return link

    def _guard(self, read: GuardRead) -> int:
        scope, key = read.scope, read.key
        more = self._side.reserved.get((scope, key), 0)
        for guard in self.run.guards if self.run is not None else ():
            if (guard.scope, guard.key) == (scope, key):
                return guard.before + more
        self._side.assumed[COUNTED_LIMITS] += 1
        return self._recorded_limits.get((scope, key), 0) + more

    def _person(self, read: PersonRead) -> dict[str, Any] | None:
        """Return the requester as the persons on file are today. One who left still counts for Runs that asked before."""
        person = lookup.person_named(self._side.persons, read.system, read.name)
        if person is None and (self.run is None or self.run.approvals or not self._side.persons):
            if self._side.persons:
                self._side.assumed[PERSONS_ON_FILE] += 1
            return {"id": read.name, "roles": list(self._side.model.roles)}
        return person

    def _periods(self, object_: str) -> tuple[Head, ...]:
        return self._recorded.calendars.at(object_, self.now)


_SOURCES: dict[type, Callable[[RecordedAnswers, Any], Any]] = {
    HeadRead: RecordedAnswers._head,
    HeadsRead: RecordedAnswers._heads,
    ExternalIdRead: RecordedAnswers._xref,
    CanonicalIdRead: RecordedAnswers._canon,
    MintedId: RecordedAnswers._minted,
    TableRead: RecordedAnswers._table,
    RateRead: RecordedAnswers._rate,
    GuardRead: RecordedAnswers._guard,
    PersonRead: RecordedAnswers._person,
}
"""Every kind of read with the method that answers it. Replays make many reads: a table is faster than a match."""
