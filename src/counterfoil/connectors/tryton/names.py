"""Turns the names that people write (codes of accounts, journals, currencies, ...) into the ERP's ids.

Ids never change, names hardly: found ids are remembered until a refusal casts doubt on them.
"""

from __future__ import annotations

from typing import Any

from counterfoil.core.errors import ErrorClass, Refused
from counterfoil.core.wire import Json

from .rest import Deadline, Rest

# model, field that holds the name, whether the record belongs to one company, further fields
_KINDS: dict[str, tuple[str, str, bool, tuple[str, ...]]] = {
    "account": ("account.account", "code", True, ()),
    "country": ("country.country", "code", False, ()),
    "currency": ("currency.currency", "code", False, ()),
    "journal": ("account.journal", "code", False, ()),
    "payment term": ("account.invoice.payment_term", "name", False, ()),
    "product": ("product.product", "code", False, ("template.default_uom",)),
    "tax": ("account.tax", "name", True, ()),
}


class Names:
    """The ids of named records of one company."""

    def __init__(self, rest: Rest, company: int) -> None:
        self._rest = rest
        self._company = company
        self._known: dict[tuple[str, str], dict[str, Json]] = {}

    async def id_of(self, kind: str, name: str, by: Deadline) -> int:
        """The id of the one `kind` of that name. Raises Refused(INVALID) for none or several, and TryAgain."""
        return int((await self.record(kind, name, by))["id"])

    async def record(self, kind: str, name: str, by: Deadline) -> dict[str, Json]:
        """As `id_of`, with the further fields of the kind."""
        if known := self._known.get((kind, name)):
            return known
        model, field, owned, further = _KINDS[kind]
        domain: list[Any] = [[field, "=", name]]
        if owned:
            domain.append(["company", "=", self._company])
        found = await self._rest.search(model, domain, [field, *further], by, limit=2)
        if len(found) != 1:
            count = "no" if not found else "more than one"
            raise Refused(f"the ERP has {count} {kind} {name!r}", ErrorClass.INVALID, f"unknown_{kind}")
        self._known[kind, name] = found[0]
        return found[0]

    def forget(self) -> None:
        """Look every name up anew."""
        self._known.clear()
