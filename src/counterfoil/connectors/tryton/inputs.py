"""What the operations take. Money and quantities are Decimals, written in JSON as numbers or as strings."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TypeVar

import msgspec

from counterfoil.core.errors import ErrorClass, Refused
from counterfoil.core.wire import loads

_T = TypeVar("_T")


class _Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class PartyInput(_Input, frozen=True):
    """A customer; `code` is our canonical id and unique in the ERP. Countries by their ISO 3166 alpha-2 code."""

    code: str
    name: str
    street: str | None = None
    city: str | None = None
    postal_code: str | None = None
    country: str | None = None
    tax_id: str | None = None


class TaxInput(_Input, frozen=True):
    """A tax of the ERP by its name (`code`) or its id."""

    code: str | None = None
    id: int | None = None


class LineInput(_Input, frozen=True):
    """`unit_price` takes four decimals at most (the ERP's limit): send quantity 1 and the net for finer prices."""

    description: str
    quantity: Decimal
    unit_price: Decimal
    account: str
    product: str | None = None
    taxes: tuple[TaxInput, ...] = ()


class ManualTaxInput(_Input, frozen=True):
    """A tax row with an amount of billing's own, so that its cents are kept. Signed as the document."""

    account: str
    base: Decimal
    amount: Decimal
    description: str = "Tax"


class DocumentInput(_Input, frozen=True):
    """An invoice, credit memo or debit memo. A credit memo's quantities, bases and amounts are negative.

    `reference` is the canonical id. `total` is what the document must come to, tax included: otherwise the ERP
    refuses to post it. `accept_warnings` names the warnings that posting may pass over.
    """

    reference: str
    party: int
    currency: str
    invoice_date: date
    lines: tuple[LineInput, ...]
    accounting_date: date | None = None
    description: str | None = None
    manual_taxes: tuple[ManualTaxInput, ...] = ()
    total: Decimal | None = None
    accept_warnings: tuple[str, ...] = ()


class ApplicationInput(_Input, frozen=True):
    """Use `amount` (positive, document currency) of a posted credit memo for a posted invoice, both by ERP id."""

    credit: int
    invoice: int
    amount: Decimal
    date: date


def read(kind: type[_T], body: bytes) -> _T:
    """The input in a request's body. Raises Refused(INVALID) that names the field."""
    try:
        return msgspec.convert(loads(body), kind)
    except (msgspec.ValidationError, ValueError) as error:
        raise Refused(f"the input cannot be read: {error}", ErrorClass.INVALID, "input") from error
