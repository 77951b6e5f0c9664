"""Answers to the look-ups of formulas: from the store and the model's tables, one batch at a time.

What is not there is None; what cannot exist raises Misconfigured. Ids that the system of record mints are
collected, so that the admission which first speaks of them writes their Links.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from counterfoil.core import ids
from counterfoil.core.errors import Misconfigured
from counterfoil.core.money import Money, Rounding
from counterfoil.model import Model
from counterfoil.rules.posting import POSTABLE
from counterfoil.rules.values import head_names
from counterfoil.store.port.store import Store

Question = tuple[str, tuple[Any, ...]]


class Lookups:
    """One decision's or admission's answers. `speaks` is the system whose delivery is admitted; `minted` holds
    (object, canonical, external id, system)."""

    def __init__(self, store: Store, model: Model, now: datetime, *, speaks: str = "") -> None:
        self._store = store
        self._model = model
        self._now = now
        self._speaks = speaks
        self.answers: dict[Question, Any] = {}
        self.minted: dict[tuple[str, str, str, str], None] = {}

    async def answer(self, questions: Iterable[Question]) -> dict[Question, Any]:
        """All answers so far, these questions' included."""
        for name, args in questions:
            if (name, args) not in self.answers:
                self.answers[name, args] = await self._one(name, args)
        return self.answers

    async def _one(self, name: str, args: tuple[Any, ...]) -> Any:
        match name, args:
            case "head", (object_, key):
                head = await self._store.head(str(object_), str(key))
                return None if head is None else head_names(head)
            case "xref", (object_, canonical, system):
                link = await self._store.link_by_canonical(str(object_), str(canonical), str(system))
                return None if link is None else link.ext_id
            case "xref", (object_, canonical):
                return await self._anywhere(str(object_), str(canonical))
            case "canon", (object_, ext_id, system):
                return await self._canon(str(object_), str(ext_id), str(system))
            case "table", (table, *keys):
                return self._table(str(table), keys)
            case "guard", (scope, key):
                return await self._store.guard_used(str(scope), str(key))
            case "periods", (object_,):
                return [head_names(h) for h in await self._store.heads(str(object_))]
            case "period", (_, day):
                return await self._period(day)
            case "cutoff", _:
                return await self._cutoff()
            case "fx", (money, currency, *_):
                return self._fx(money, str(currency))
        raise Misconfigured(f"no look-up {name}{args!r}")

    async def _anywhere(self, object_: str, canonical: str) -> str | None:
        """The first external id outside the object's own system of record: where no system is named, the one
        that it was carried to is meant."""
        own = self._model.objects[object_].system if object_ in self._model.objects else ""
        for system in sorted(self._model.systems, key=lambda name: (name == own, name)):
            link = await self._store.link_by_canonical(object_, canonical, system)
            if link is not None:
                return link.ext_id
        return None

    def account(self, system: str) -> str:
        kind = self._model.systems.get(system)
        return kind.account if kind is not None else ""

    async def _canon(self, object_: str, ext_id: str, system: str) -> str | None:
        account = self.account(system)
        link = await self._store.link_by_ext(object_, system, ext_id, account)
        if link is not None:
            return link.canonical
        kind = self._model.objects.get(object_)
        if kind is None or kind.system != system or self._speaks != system:
            return None  # only the system of record mints, and only when it speaks itself
        canonical = ids.canonical_id(object_, system, account, ext_id)
        self.minted[object_, canonical, ext_id, system] = None
        return canonical

    def _table(self, name: str, keys: list[Any]) -> Any:
        try:
            return self._model.lookup_table(name, keys, self._now.date())
        except KeyError:
            raise Misconfigured(f"no table {name}") from None

    async def _period(self, day: Any) -> Any:
        for head in await self._store.heads("period"):
            if head.state["start"] <= day <= head.state["end"]:
                return head_names(head)
        return None

    async def _cutoff(self) -> datetime | None:
        """The end of the first postable period: midnight after its last day, UTC."""
        ends = [h.state["end"] for h in await self._store.heads("period") if h.state["state"] in POSTABLE]
        return datetime.combine(min(ends) + timedelta(days=1), time(), tzinfo=UTC) if ends else None

    def _fx(self, money: Money, currency: str) -> Money | None:
        if money.currency == currency:
            return money
        rate = self._table("fx", [f"{money.currency}/{currency}"])
        if rate is None:
            return None
        return Money.from_major(money.major() * Decimal(rate), currency, Rounding.HALF_EVEN)
