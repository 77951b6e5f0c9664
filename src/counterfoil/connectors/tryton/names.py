"""Translation of names in files (codes of accounts, journals, currencies, ...) into the ids of the ERP.

Ids never change and names rarely do: ids are cached until a refusal makes them doubtful.
"""

from __future__ import annotations

from typing import Any

from counterfoil.connectors.http import Deadline
from counterfoil.core.errors import ErrorClass, Refused

from .rest import Record, Rest

# model, field that holds the name, whether the record belongs to one company, further fields
_KINDS: dict[str, tuple[str, str, bool, tuple[str, ...]]] = {
    "account": ("account.account", "code", True, ("party_required", "type.receivable")),
    "company": ("company.company", "id", False, ("currency.code", "currency.rounding")),
    "country": ("country.country", "code", False, ()),
    "currency": ("currency.currency", "code", False, ("rounding",)),
    "journal": ("account.journal", "code", False, ()),
    "payment term": ("account.invoice.payment_term", "name", False, ()),
    "product": ("product.product", "code", False, ("template.default_uom",)),
    "tax": ("account.tax", "name", True, ()),
}


class Names:
    """Ids of the named records of one company."""

    def __init__(self, rest: Rest, company: int) -> None:
        self._rest = rest
        self._company = company
        self._cache: dict[tuple[str, str | int], Record] = {}

    async def id_of(self, kind: str, name: str, by: Deadline) -> int:
        """Return the id of the only `kind` with that name. Raises Refused(INVALID) for none or several, and TryAgain."""
        return int((await self.record(kind, name, by))["id"])

    async def record(self, kind: str, name: str | int, by: Deadline) -> Record:
        """Return the record: its id and the further fields of its kind. Raises as `id_of` does."""
        if cached := self._cache.get((kind, name)):
            return cached
        model, field, owned, further = _KINDS[kind]
        domain: list[Any] = [[field, "=", name]]
        if owned:
            domain.append(["company", "=", self._company])
        records = await self._rest.search(model, domain, [field, *further], by, limit=2)
        if len(records) != 1:
            count = "no" if not records else "more than one"
            raise Refused(f"the ERP has {count} {kind} {name!r}", ErrorClass.INVALID, f"unknown_{kind}")
        self._cache[kind, name] = records[0]
        return records[0]

    def forget(self) -> None:
        self._cache.clear()
