"""Reads of a caller who may not read all personal data. Every page, list and API answer reads through them.

Records are masked by their type, whichever read returns them, so a new read is masked too. Decisions read the store
itself. Prose quotes values of any field: the personal data of the Runs and objects that it is about is read with it, so
that the answer can replace them.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from counterfoil.core.approval import Approval
from counterfoil.core.audit import Leaf
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.case import Case
from counterfoil.core.effect import Effect
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.link import Link
from counterfoil.core.people import Person
from counterfoil.core.release import is_of_plan
from counterfoil.core.run import InboxItem, Run
from counterfoil.core.search_words import begins_one
from counterfoil.core.sweep import Sweep
from counterfoil.store.port.store import LoadedRun, Store
from counterfoil.store.port.views import CaseRow, MatchRow, Views

_WITHOUT = (Foil, Observation, Link, Person, Run, MatchRow, str, bytes, int)
"""Records that have no field of a contract."""
MAX_NAMED_OBJECTS = 500
"""Objects of one search among which those are selected that a readable name has."""
_REFUSED = frozenset({"head_states", "dump", "audited", "traffic"})
"""Reads of whole states, which only decisions and operators need."""


class Mask(Protocol):
    """Rules of the masking; `rules.personal_mask` has them."""

    def event(self, event: CanonicalEvent) -> CanonicalEvent: ...
    def head(self, head: Head) -> Head: ...
    def effect(self, effect: Effect) -> Effect: ...
    def body(self, data: bytes) -> bytes: ...
    def receipt(self, receipt: Receipt) -> Receipt: ...
    def quoting(self, text: str, receipt: Receipt) -> str: ...
    def fault(self, text: str) -> str: ...
    def leaf(self, leaf: Leaf) -> Leaf: ...
    def words_of(self, head: Head) -> list[str]: ...
    def is_named_by(self, head: Head, texts: Iterable[str]) -> bool: ...
    def personal_objects(self, data: Mapping[str, Any]) -> Iterator[tuple[str, str]]: ...
    def hidden(self) -> frozenset[str]: ...


class MaskedReads:
    """Reads of a store, or of its views, as a mask leaves them. `store` and `views` are unmasked."""

    def __init__(self, reads: Store | Views, store: Store, views: Views, mask: Mask) -> None:
        self._reads, self._store, self._views, self._mask = reads, store, views, mask
        self._runs: set[str] = set()
        """Runs whose personal data the mask has seen."""

    def __getattr__(self, name: str) -> Any:
        if name in _REFUSED:
            raise AttributeError(f"{name} is no read of a caller with masked personal data")
        member = getattr(self._reads, name)
        if name == "apply" or not callable(member):
            return member

        def read(*args: Any, **kwargs: Any) -> Any:
            result = member(*args, **kwargs)
            return self._masked(result) if inspect.isawaitable(result) else result

        return read

    async def named(self, texts: Sequence[str], limit: int, *entities: Any) -> list[str]:
        """Return the objects that texts name, without those that only a hidden text names."""
        keys = await self._views.named(texts, limit, *entities)
        heads = await self._heads((object_, key) for object_ in self._mask.hidden() for key in keys)
        unnamed = {head.key for head in heads if not self._mask.is_named_by(head, texts)}
        return [key for key in keys if key not in unnamed]

    async def objects_with_words(
        self, words: Sequence[str], limit: int, *entities: Any
    ) -> list[tuple[str, str]]:
        """Return the objects of which each word begins a word of a name that the reader may read."""
        most = max(limit, MAX_NAMED_OBJECTS)
        objects = await self._views.objects_with_words(words, most, *entities)
        hidden = self._mask.hidden()
        heads = await self._heads(one for one in objects if one[0] in hidden)
        readable = {(head.object, head.key): self._mask.words_of(head) for head in heads}
        named = [
            one
            for one in objects
            if one[0] not in hidden or all(begins_one(word, readable.get(one, ())) for word in words)
        ]
        return named[:limit]

    async def near_words(self, word: str, limit: int, *entities: Any) -> list[str]:
        """Return near words that a readable name has whole."""
        near = await self._views.near_words(word, limit, *entities)
        return [other for other in near if await self._is_readable(other)]

    async def _is_readable(self, word: str) -> bool:
        objects = await self.objects_with_words([word], MAX_NAMED_OBJECTS)
        return any(word in self._mask.words_of(head) for head in await self._heads(objects))

    async def _masked(self, result: Awaitable[Any]) -> Any:
        value = await result
        await self._note(value)
        return await self._of(value)

    async def _of(self, value: Any) -> Any:
        if value is None or isinstance(value, _WITHOUT):
            return value
        if isinstance(value, list):
            return [await self._of(item) for item in value]
        if isinstance(value, tuple):
            items = [await self._of(item) for item in value]
            return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
        if isinstance(value, dict):
            return {key: await self._of(part) for key, part in value.items()}
        return await self._record(value) if isinstance(value, msgspec.Struct) else value

    async def _record(self, record: msgspec.Struct) -> Any:
        match record:
            case CanonicalEvent():
                return self._mask.event(record)
            case Head():
                return self._mask.head(record)
            case Effect():
                return self._mask.effect(record)
            case Receipt():
                return self._mask.receipt(record)
            case Leaf():
                return self._mask.leaf(record)
            case Approval():
                return replace(record, covers=self._mask.body(record.covers))
            case InboxItem():
                return replace(record, body=self._mask.body(record.body))
            case Sweep():
                return replace(record, error=self._mask.fault(record.error))
            case Case():
                return await self._case(record)
        parts = {name: getattr(record, name) for name in record.__struct_fields__}
        masked = {name: await self._of(part) for name, part in parts.items()}
        return replace(record, **{name: part for name, part in masked.items() if part is not parts[name]})

    async def _case(self, case: Case) -> Case:
        """Return a Case whose message quotes no value of its delivery, and nothing that a system answered."""
        if case.reason == "unreachable":
            system, colon, fault = case.message.partition(": ")
            return replace(case, message=f"{system}{colon}{self._mask.fault(fault)}")
        receipt = None if case.receipt is None else await self._store.receipt(case.receipt)
        return case if receipt is None else replace(case, message=self._mask.quoting(case.message, receipt))

    async def _note(self, value: Any) -> None:
        """Read the personal data of the Runs, events and objects that records are about, so that prose is masked."""
        records = list(_records(value))
        runs = {run for record in records if (run := _run_of(record)) and not is_of_plan(run)} - self._runs
        self._runs |= runs
        refs = {record.event for record in records if isinstance(record, Case) and record.event}
        for run in sorted(runs):
            refs |= {item.ref for item in await self._views.inbox(run) if item.kind in ("start", "event")}
        events = await self._views.events_of(sorted(refs)) if refs else []
        events += [record for record in records if isinstance(record, CanonicalEvent)]
        objects = [one for event in events for one in self._mask.personal_objects(event.data)]
        keys = [row.bkey for row in records if isinstance(row, CaseRow) and row.bkey]
        objects += [(object_, key) for object_ in self._mask.hidden() for key in keys]
        for event in events:
            self._mask.event(event)
        for head in await self._heads(objects):
            self._mask.head(head)

    async def _heads(self, objects: Iterable[tuple[str, str]]) -> list[Head]:
        keys: dict[str, set[str]] = {}
        for object_, key in objects:
            keys.setdefault(object_, set()).add(key)
        return [
            head for object_, of in keys.items() for head in await self._store.heads_of(object_, sorted(of))
        ]


def _records(value: Any) -> Iterator[Any]:
    """Yield the records in the answer of a read."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _records(item)
    elif isinstance(value, msgspec.Struct):
        yield value
        if isinstance(value, CaseRow):
            yield value.case


def _run_of(record: Any) -> str | None:
    """Return the Run that a record with prose or values of contracts belongs to."""
    if isinstance(record, Case | Approval | Effect | InboxItem):
        return record.run or None
    return record.run.id if isinstance(record, LoadedRun) else None
