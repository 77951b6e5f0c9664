"""Names of documents for people: number, customer, ticket and reason, from heads and events that the store has.

For lists and pages. Reads are cached for one request, and a name that the store does not have is empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

from counterfoil.application import Application
from counterfoil.core.approval import Approval
from counterfoil.core.canonical import NAME_FIELDS, CanonicalEvent, Head
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.money import Money
from counterfoil.core.release import is_of_plan
from counterfoil.model import Model, kinds
from counterfoil.store.port.documents import decision_of, foils_of

CUSTOMER = "customer"
_ID = re.compile(r"\b[a-z][a-z0-9-]{0,3}_[0-9a-hjkmnp-tv-z]{26}\b", re.ASCII)
"""Id of an object: the beginning of its type, and 26 characters of `core.ids`."""
_Object: TypeAlias = tuple[str, str]
"""Type and key of an object."""
COUNTED_WITH_EARLIER = ", counted with earlier ones"
_TEXT_FIELDS = ("ticket", "title", "reason")
"""Fields of a request that tell an approver why it was made."""


class DocumentName(NamedTuple):
    """Names of the object that a Run is about; empty where the store has none."""

    name: str = ""
    """Its number or name."""
    customer: str = ""


class NameReader:
    """Reads the names of objects for one request; each head is read once, and those of a page in a few statements."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._by_prefix: dict[str, str] = {}
        for object_ in app.model.objects:
            self._by_prefix.setdefault(object_[:4], object_)
        self._heads: dict[_Object, Head | None] = {}

    async def documents(self, keys: Iterable[str | None]) -> dict[str, DocumentName]:
        """Return the names of objects by their keys. A key begins with its object, as in `invo_7f3c`."""
        objects = {key: self._object_of(key) for key in dict.fromkeys(keys) if key}
        await self._load_with_customers([object_ for object_ in objects.values() if object_ is not None])
        return {key: self._document(object_) for key, object_ in objects.items()}

    async def foils(self, foils: Iterable[Foil]) -> dict[str, DocumentName]:
        """Return the names of the documents of counterfoils, by the counterfoils' ids."""
        foils = list(foils)
        names = await self.documents(text for foil in foils for text in (foil.number, foil.key))
        return {foil.id: _first(names.get(foil.number), names.get(foil.key)) for foil in foils}

    async def items(self, items: Iterable[Observation]) -> dict[str, DocumentName]:
        """Return the names of items of the right side, by the items' ids.

        An item has the number of its own system. Its customer is that of the event that shows it.
        """
        items = list(items)
        keys = [text for item in items for text in (item.number, item.key, item.own_key)]
        names = await self.documents(keys)
        events = {e.id: e for e in await self._app.views.events_of(sorted({item.event for item in items}))}
        await self._load_with_customers([(event.object, event.key) for event in events.values()])
        await self._load_with_customers(
            [one for event in events.values() for one in self._named_by(event.data)]
        )
        return {item.id: self._item(item, names, events.get(item.event)) for item in items}

    def _item(
        self, item: Observation, names: Mapping[str, DocumentName], event: CanonicalEvent | None
    ) -> DocumentName:
        name = names.get(item.number, DocumentName()).name
        others = (names.get(item.number), names.get(item.key), names.get(item.own_key))
        customer = _first(*others).customer
        if not customer and event is not None:
            customer = self._document((event.object, event.key)).customer or self._customer(
                event.data, steps=2
            )
        return DocumentName(name, customer)

    async def events(self, events: Iterable[CanonicalEvent]) -> dict[str, DocumentName]:
        """Return the names of the objects that events are about, or those of the documents in them, by the events' ids."""
        events = list(events)
        await self._load_with_customers([(event.object, event.key) for event in events])
        named = {event.id: self._named_by(event.data) for event in events}
        await self._load_with_customers([one for objects in named.values() for one in objects])
        return {
            event.id: _first(*(self._document(one) for one in ((event.object, event.key), *named[event.id])))
            for event in events
        }

    async def data(self, data: Mapping[str, Any]) -> None:
        """Read the objects that a value names, and their customers."""
        await self._load_with_customers(self._named_by(data))

    async def request(self, approval: Approval) -> dict[str, str]:
        """Return what an approval is about: customer, documents, ticket and reason of the event that started its Run.

        A decision on a match is about the document of its counterfoil, and a change about its plan.
        """
        if is_of_plan(approval.run):
            return {"plan": approval.run[:12]}
        if not approval.run:
            foils = [await self._app.store.foil(id_) for id_ in foils_of(decision_of(approval))]
            names = await self.foils(foil for foil in foils if foil is not None)
            first = _first(*names.values())
            return {
                name: text for name, text in ((CUSTOMER, first.customer), ("document", first.name)) if text
            }
        inbox = await self._app.views.inbox(approval.run)
        refs = [item.ref for item in inbox if item.kind == "start"]
        events = await self._app.views.events_of(refs[:1])
        return await self._about(events[0].data) if events else {}

    async def in_text(self, texts: Iterable[str]) -> dict[str, str]:
        """Return the names of the objects whose ids stand in texts, by id; ids without a name are left out."""
        ids = {id_ for text in texts for id_ in _ID.findall(text)}
        return {id_: named.name for id_, named in (await self.documents(sorted(ids))).items() if named.name}

    async def _about(self, data: Mapping[str, Any]) -> dict[str, str]:
        about: dict[str, str] = {}
        await self._load(self._named_by(data))
        for field, value in data.items():
            object_ = field.removesuffix("_id")
            if isinstance(value, str) and object_ != field and object_ in self._app.model.objects:
                name = name_of(self._heads[object_, value])
                about |= {object_: name or value} if name or object_ != CUSTOMER else {}
        about |= {f: data[f] for f in _TEXT_FIELDS if isinstance(data.get(f), str) and data[f]}
        return {name: about[name] for name in sorted(about, key=lambda name: name != CUSTOMER)}

    def _object_of(self, key: str) -> _Object | None:
        object_ = self._by_prefix.get(key.partition("_")[0])
        return None if object_ is None else (object_, key)

    def _document(self, object_: _Object | None) -> DocumentName:
        head = None if object_ is None else self._heads.get(object_)
        if head is None:
            return DocumentName()
        name = name_of(head)
        return DocumentName(name, name if head.object == CUSTOMER else self._customer(head.state, steps=2))

    def _customer(self, state: Mapping[str, Any], steps: int) -> str:
        """Return the name of the customer whom a document names, itself or by a document that it names."""
        named = self._named_by(state)
        for object_ in named:
            if object_[0] == CUSTOMER:
                return name_of(self._heads.get(object_))
        for object_ in named if steps > 1 else ():
            other = self._heads.get(object_)
            if other is not None and (name := self._customer(other.state, steps - 1)):
                return name
        return ""

    def _named_by(self, state: Mapping[str, Any]) -> list[_Object]:
        """Return the objects that fields such as `invoice_id` name. A text that no store can hold names none."""
        fields = [
            (field.removesuffix("_id"), value) for field, value in state.items() if field.endswith("_id")
        ]
        objects = self._app.model.objects
        return [(o, v) for o, v in fields if isinstance(v, str) and v.isprintable() and o in objects]

    async def _load_with_customers(self, objects: Iterable[_Object]) -> None:
        """Read heads, and those that lead from them to customers: the document, what it names, and what that names."""
        for _ in range(3):
            objects = list(objects)
            await self._load(objects)
            heads = [self._heads[object_] for object_ in objects]
            objects = {one for head in heads if head is not None for one in self._named_by(head.state)}

    async def _load(self, objects: Iterable[_Object]) -> None:
        missing: dict[str, list[str]] = {}
        for object_, key in dict.fromkeys(objects):
            if (object_, key) not in self._heads:
                missing.setdefault(object_, []).append(key)
        for object_, keys in missing.items():
            self._heads.update(dict.fromkeys((object_, key) for key in keys))
            heads = await self._app.store.heads_of(object_, keys)
            self._heads.update({(object_, head.key): head for head in heads})


def _first(*names: DocumentName | None) -> DocumentName:
    return next((name for name in names if name is not None and any(name)), DocumentName())


def tier_text(model: Model, approval: Approval) -> str:
    """Return why these roles decide: the tier of the policy that is active now; empty without one that fits.

    `model` is that of the approval's legal entity.
    """
    policy = model.of_kind(kinds.Policy).get(approval.policy)
    if policy is None or policy.approval is None or approval.amount is None:
        return ""
    rules, lower = policy.approval, None
    for tier in rules.matrix:
        if tuple(tier.roles) == approval.roles and tier.quorum == approval.quorum:
            return _bounds(rules.currency, lower, tier.up_to, approval.amount)
        lower = tier.up_to
    return ""


def _bounds(currency: str, lower: int | None, upper: int | None, amount: Money) -> str:
    over = "" if lower is None else f"over {lower:,} {currency}"
    text = (
        " ".join(filter(None, (over, "" if upper is None else f"up to {upper:,} {currency}")))
        or "every amount"
    )
    if amount.currency == currency and lower is not None and abs(amount.major()) <= Decimal(lower):
        return f"{text}{COUNTED_WITH_EARLIER}"
    return text


def name_of(head: Head | None) -> str:
    values = [] if head is None else [head.state.get(field) for field in NAME_FIELDS]
    return next((value for value in values if isinstance(value, str) and value), "")
