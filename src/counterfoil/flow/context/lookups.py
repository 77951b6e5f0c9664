"""Answers to the look-ups of formulas, read from the store and the model's tables.

Ids that the system of record mints are collected in `minted`; the admission that first uses them writes their Links.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar

from counterfoil.core.canonical import Head
from counterfoil.expr import LookupNeeded
from counterfoil.model import Model
from counterfoil.rules import lookup
from counterfoil.rules.json_values import head_names
from counterfoil.store.port.store import Store

T = TypeVar("T")


class Lookups:
    """Answers for one decision or admission. `speaks` is the system whose delivery is admitted."""

    def __init__(self, store: Store, model: Model, now: datetime, *, speaks: str = "") -> None:
        self._store = store
        self._model = model
        self._now = now
        self._speaks = speaks
        self.answers: dict[lookup.Question, Any] = {}
        self.minted: dict[lookup.MintedId, None] = {}

    async def complete(self, work: Callable[[], T]) -> T:
        """Run `work` until every look-up that it needs is in `answers`, and return its value."""
        while True:
            try:
                return work()
            except LookupNeeded as needed:
                questions = lookup.questions_of(needed)
            await self.answer(questions)

    async def answer(self, questions: Iterable[lookup.Question]) -> None:
        """Add the answers to these questions to `answers`."""
        for question in questions:
            if question not in self.answers:
                work = lookup.resolve(self._model, self._speaks, *question)
                self.answers[question] = await lookup.run_async(work, self._read)

    def _names(self, head: Head) -> dict[str, Any]:
        """Return the names of a head. One from before legal entities were declared belongs to the default one."""
        names = head_names(head)
        return names if names["legal_entity"] else names | {"legal_entity": self._model.default_entity}

    async def _read(self, read: lookup.Read[Any]) -> Any:
        match read:
            case lookup.HeadRead(object_, key):
                head = await self._store.head(object_, key)
                return None if head is None else self._names(head)
            case lookup.HeadsRead(object_):
                return [self._names(head) for head in await self._store.heads(object_)]
            case lookup.ExternalIdRead(object_, canonical, system):
                link = await self._store.link_by_canonical(object_, canonical, system)
                return None if link is None else link.ext_id
            case lookup.CanonicalIdRead(object_, ext_id, system, account):
                link = await self._store.link_by_ext(object_, system, ext_id, account)
                return None if link is None else lookup.LinkAnswer(link.canonical)
            case lookup.MintedId():
                self.minted[read] = None
                return None
            case lookup.TableRead(table, keys):
                return lookup.table_value(self._model, table, keys, self._now.date())
            case lookup.RateRead(pair):
                return lookup.table_value(self._model, "fx", (pair,), self._now.date())
            case lookup.GuardRead(scope, key):
                return await self._store.guard_used(scope, key)
            case lookup.PersonRead(system, name):
                return lookup.person_named(await self._store.persons(), system, name)
        raise AssertionError(f"no answer to {read!r}")
