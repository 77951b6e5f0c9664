"""Names of documents for people: number, customer, ticket and reason, from heads and events that the store has.

For lists and pages. Reads are cached for one request, and a name that the store does not have is empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from counterfoil.application import Application
from counterfoil.core.approval import Approval
from counterfoil.core.canonical import NAME_FIELDS, Head
from counterfoil.core.money import Money
from counterfoil.model import kinds

CUSTOMER = "customer"
COUNTED_WITH_EARLIER = ", counted with earlier ones"
_TEXT_FIELDS = ("ticket", "title", "reason")
"""Fields of a request that tell an approver why it was made."""


class DocumentName(NamedTuple):
    """Names of the object that a Run is about; empty where the store has none."""

    name: str = ""
    """Its number or name."""
    customer: str = ""


class NameReader:
    """Reads the names of objects for one request; each head is read once."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._by_prefix: dict[str, str] = {}
        for object_ in app.model.objects:
            self._by_prefix.setdefault(object_[:4], object_)
        self._heads: dict[tuple[str, str], Head | None] = {}

    async def documents(self, keys: Iterable[str | None]) -> dict[str, DocumentName]:
        """Return the names of objects by their keys. A key begins with its object, as in `invo_7f3c`."""
        return {key: await self._document(key) for key in dict.fromkeys(keys) if key}

    async def request(self, approval: Approval) -> dict[str, str]:
        """Return what an approval is about: customer, documents, ticket and reason of the event that started its Run."""
        if not approval.run.startswith("run_"):
            return {}
        inbox = await self._app.views.inbox(approval.run)
        refs = [item.ref for item in inbox if item.kind == "start"]
        events = await self._app.views.events_of(refs[:1])
        return await self._about(events[0].data) if events else {}

    async def _about(self, data: Mapping[str, Any]) -> dict[str, str]:
        about: dict[str, str] = {}
        for field, value in data.items():
            object_ = field.removesuffix("_id")
            if isinstance(value, str) and object_ != field and object_ in self._app.model.objects:
                name = _name_of(await self._head(object_, value))
                about |= {object_: name or value} if name or object_ != CUSTOMER else {}
        about |= {f: data[f] for f in _TEXT_FIELDS if isinstance(data.get(f), str) and data[f]}
        return {name: about[name] for name in sorted(about, key=lambda name: name != CUSTOMER)}

    async def _document(self, key: str) -> DocumentName:
        object_ = self._by_prefix.get(key.partition("_")[0])
        head = None if object_ is None else await self._head(object_, key)
        if head is None:
            return DocumentName()
        name = _name_of(head)
        return DocumentName(name, name if object_ == CUSTOMER else await self._customer(head, steps=2))

    async def _customer(self, head: Head, steps: int) -> str:
        """Return the name of the customer whom a document names, itself or by a document that it names."""
        direct = head.state.get(f"{CUSTOMER}_id")
        if isinstance(direct, str):
            return _name_of(await self._head(CUSTOMER, direct))
        for field, value in head.state.items() if steps > 1 else ():
            object_ = field.removesuffix("_id")
            if object_ != field and isinstance(value, str) and object_ in self._app.model.objects:
                other = await self._head(object_, value)
                if other is not None and (name := await self._customer(other, steps - 1)):
                    return name
        return ""

    async def _head(self, object_: str, key: str) -> Head | None:
        if (object_, key) not in self._heads:
            self._heads[object_, key] = await self._app.store.head(object_, key)
        return self._heads[object_, key]


def tier_text(app: Application, approval: Approval) -> str:
    """Return why these roles decide: the tier of the policy that is active now; empty without one that fits."""
    policy = app.model.of_kind(kinds.Policy).get(approval.policy)
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


def _name_of(head: Head | None) -> str:
    values = [] if head is None else [head.state.get(field) for field in NAME_FIELDS]
    return next((value for value in values if isinstance(value, str) and value), "")
