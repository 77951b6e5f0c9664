"""Inputs and results of operations: strict inputs, and results read from the vendor's objects.

Amounts are integer minor units of `currency`; `created` is RFC 3339 UTC, `issued_on` a date in the system's zone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeAlias, TypeVar

import msgspec

from counterfoil.connectors.sdk import Json, Rejected
from counterfoil.core.errors import ErrorClass
from counterfoil.core.fault_text import fault_text

KEY = "counterfoil_key"
"""Metadata field for the key of the request. A look-up finds the created object by it."""

_ID = re.compile(r"[A-Za-z0-9_]{1,255}\Z")
AnyInput = TypeVar("AnyInput", bound="Input")
Result: TypeAlias = Callable[[Mapping[str, Json], tzinfo], dict[str, Json]]


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Input of an operation. Ids in it are checked before they become part of a path."""


class CreditMemo(Input, frozen=True, forbid_unknown_fields=True):
    invoice: str
    amount: int
    currency: str
    taxed: bool = False
    reason: str | None = None
    memo: str | None = None
    credit_amount: int | None = None
    refund_amount: int | None = None
    out_of_band_amount: int | None = None
    metadata: dict[str, str] = {}


class VoidCreditMemo(Input, frozen=True, forbid_unknown_fields=True):
    credit_memo: str


class DebitMemo(Input, frozen=True, forbid_unknown_fields=True):
    customer: str
    amount: int
    currency: str
    description: str | None = None
    metadata: dict[str, str] = {}


def is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.match(value) is not None


def read_input(body: bytes, kind: type[AnyInput]) -> AnyInput | Rejected:
    """Return the input, or the refusal if nothing may be sent for it."""
    try:
        value = msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return Rejected(
            ErrorClass.INVALID, f"the body of the request cannot be read: {fault_text(error)}", "body"
        )
    for name in ("invoice", "credit_memo", "customer", "subscription", "payment_method"):
        if not is_id(getattr(value, name, "x")):
            return Rejected(ErrorClass.INVALID, f"{getattr(value, name)!r} is not an id", name)
    if getattr(value, "amount", 1) < 1:
        return Rejected(ErrorClass.INVALID, "the amount must be positive", "amount")
    if KEY in getattr(value, "metadata", {}):
        return Rejected(ErrorClass.INVALID, f"metadata {KEY} is reserved for the connector", "metadata")
    return value


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def time_text(seconds: int) -> str:
    return moment(seconds).isoformat().replace("+00:00", "Z")


def credit_memo(note: Mapping[str, Json], zone: tzinfo) -> dict[str, Json]:
    """Return a credit note as the result of operations. `tax` is the tax in `total`, included or added; `taxes` is it by rate.

    Raises KeyError, TypeError or ValueError if the object is not a credit note as documented.
    """
    # Newer versions of the API have `total_taxes` instead of `tax_amounts`.
    amounts = note.get("tax_amounts") if note.get("tax_amounts") is not None else note.get("total_taxes")
    taxes = [_tax(tax) for tax in amounts or ()]
    created = _whole(note["created"])
    return {
        "id": _text(note["id"]),
        "number": _text(note["number"]),
        "status": _text(note["status"]),
        "type": _text(note["type"]),
        "invoice": _reference(note["invoice"]),
        "customer": _reference(note["customer"]),
        "amount": _whole(note["amount"]),
        "currency": _text(note["currency"]),
        "total": _whole(note["total"]),
        "subtotal": _whole(note["subtotal"]),
        "tax": sum(_whole(tax["amount"]) for tax in taxes),
        "reason": note.get("reason"),
        "memo": note.get("memo"),
        "out_of_band_amount": note.get("out_of_band_amount"),
        "issued_on": _date(note.get("effective_at") or created, zone),
        "created": time_text(created),
        "metadata": dict(note.get("metadata") or {}),
        "taxes": taxes,
    }


def _tax(tax: Mapping[str, Json]) -> dict[str, Json]:
    """Return a tax of a credit note. `treatment` is the vendor's word for a tax of zero, None if it has none."""
    base = tax.get("taxable_amount")
    return {
        "tax_rate": _reference(tax["tax_rate"] if "tax_rate" in tax else tax["tax_rate_details"]["tax_rate"]),
        "base": None if base is None else _whole(base),
        "amount": _whole(tax["amount"]),
        "treatment": tax.get("taxability_reason"),
    }


def balance_debit(transaction: Mapping[str, Json], zone: tzinfo) -> dict[str, Json]:
    """Return a customer balance transaction as the result of `billing.debit_memo.issue`. Raises as `credit_memo` does."""
    created = _whole(transaction["created"])
    return {
        "id": _text(transaction["id"]),
        "customer": _reference(transaction["customer"]),
        "amount": _whole(transaction["amount"]),
        "currency": _text(transaction["currency"]),
        "ending_balance": _whole(transaction["ending_balance"]),
        "issued_on": _date(created, zone),
        "created": time_text(created),
        "metadata": dict(transaction.get("metadata") or {}),
    }


def _date(seconds: Any, zone: tzinfo) -> str:
    return moment(_whole(seconds)).astimezone(zone).date().isoformat()


def _whole(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _reference(value: Json) -> str:
    """Return an id: the value itself, or the id of the expanded object."""
    return _text(value["id"] if isinstance(value, dict) else value)
