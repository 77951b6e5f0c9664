"""Inputs of the operations. Money and quantities are Decimals, in JSON numbers or strings."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Literal, TypeVar

import msgspec

from counterfoil.core.errors import ErrorClass, Refused
from counterfoil.core.fault_text import fault_text
from counterfoil.core.wire import loads

_T = TypeVar("_T")


class _Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class PartyInput(_Input, frozen=True):
    """Customer. `code` is our canonical id and unique in the ERP; `country` is an ISO 3166 alpha-2 code."""

    code: str
    name: str
    street: str | None = None
    city: str | None = None
    postal_code: str | None = None
    country: str | None = None
    tax_id: str | None = None


class TaxInput(_Input, frozen=True):
    """Tax of the ERP, by its name (`code`) or its id."""

    code: str | None = None
    id: int | None = None


class LineInput(_Input, frozen=True):
    """Line of a document. `unit_price` has at most four decimals (limit of the ERP): for finer prices send quantity 1 and
    the net amount. `takes_back` is the ERP id of the line of another document."""

    description: str
    quantity: Decimal
    unit_price: Decimal
    account: str
    product: str | None = None
    taxes: tuple[TaxInput, ...] = ()
    takes_back: int | None = None


class ManualTaxInput(_Input, frozen=True):
    """Tax row with the exact amount of the billing system, in the sign of the document.

    `code` is the name of a tax of the ERP: base and amount then count in the boxes of the tax return. The ERP books no entry
    for an amount of zero, so a tax of zero counts there only as a tax of lines.
    """

    account: str
    base: Decimal
    amount: Decimal
    description: str = "Tax"
    code: str | None = None


class DocumentInput(_Input, frozen=True):
    """Invoice, credit memo or debit memo. A credit memo has negative quantities, bases and amounts.

    `reference` is the canonical id. `total` is the expected total, tax included: if it differs, the ERP refuses the
    posting. `accept_warnings` names the warnings that the posting may ignore.
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


class VoidInput(_Input, frozen=True):
    """Cancellation in place of an invoice of the ERP over `total`."""

    invoice: int
    total: Decimal


class CancellationInput(_Input, frozen=True):
    """Credit memo that takes back an invoice of the ERP over `total` (positive). `reference` is the canonical id of the memo."""

    reference: str
    invoice: int
    total: Decimal
    invoice_date: date
    accounting_date: date | None = None
    description: str | None = None


class ApplicationInput(_Input, frozen=True):
    """Application of `amount` (positive, document currency) of a posted credit memo to a posted invoice, both by ERP id."""

    credit: int
    invoice: int
    amount: Decimal
    date: date


class EntryTaxInput(_Input, frozen=True):
    """Change of the tax return by a line of an entry, in the currency of the entry: a negative amount lowers it.

    `part` is the base of a tax of the ERP, or the tax itself.
    """

    tax: str
    part: Literal["base", "tax"]
    amount: Decimal


class EntryLineInput(_Input, frozen=True):
    """Line of an entry. `amount` is in the currency of the entry: positive is a debit, negative a credit.

    `document` is the ERP id of the invoice or memo that this line of the receivable account pays, or pays back. `text` is for
    lines without a document. A line that takes back another one has the text of that line.
    """

    account: str
    amount: Decimal
    party: int | None = None
    document: int | None = None
    text: str | None = None
    taxes: tuple[EntryTaxInput, ...] = ()


class EntryInput(_Input, frozen=True):
    """Entry of a payment, a refund, a dispute, a payout or a write-off.

    `reference` is our canonical id, without `]`. The amounts of the lines add up to zero; lines of zero are left out.
    `reverses` is the reference of an earlier entry that this one takes back, in full or in part.
    """

    reference: str
    date: date
    currency: str
    lines: tuple[EntryLineInput, ...]
    description: str = ""
    reverses: str | None = None


def read(kind: type[_T], body: bytes) -> _T:
    """Return the input in the body of a request. Raises Refused(INVALID) with the name of the field."""
    try:
        return msgspec.convert(loads(body), kind)
    except msgspec.ValidationError as error:
        raise Refused(f"the input does not fit: {fault_text(error)}", ErrorClass.INVALID, "input") from error
    except ValueError as error:
        raise Refused("the input cannot be read", ErrorClass.INVALID, "input") from error
