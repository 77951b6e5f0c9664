"""What operations take and give: strict inputs, and results read from the vendor's objects.

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

KEY = "counterfoil_key"
"""The metadata field that carries the request's key, by which a look-up finds what was made."""

_ID = re.compile(r"[A-Za-z0-9_]{1,255}\Z")
AnyInput = TypeVar("AnyInput", bound="Input")
Result: TypeAlias = Callable[[Mapping[str, Json], tzinfo], dict[str, Json]]


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operation's input. Names that end in an id are checked before they stand in a path."""


class CreditMemo(Input, frozen=True, forbid_unknown_fields=True):
    invoice: str
    amount: int
    currency: str
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
    """The input, or why nothing may be sent for it."""
    try:
        value = msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return Rejected(ErrorClass.INVALID, f"the request's body cannot be read: {error}", "body")
    for name in ("invoice", "credit_memo", "customer"):
        if not is_id(getattr(value, name, "x")):
            return Rejected(ErrorClass.INVALID, f"{getattr(value, name)!r} is not an id", name)
    if getattr(value, "amount", 1) < 1:
        return Rejected(ErrorClass.INVALID, "the amount must be positive", "amount")
    if KEY in getattr(value, "metadata", {}):
        return Rejected(ErrorClass.INVALID, f"metadata {KEY} belongs to the connector", "metadata")
    return value


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def time_text(seconds: int) -> str:
    return moment(seconds).isoformat().replace("+00:00", "Z")


def credit_memo(note: Mapping[str, Json], zone: tzinfo) -> dict[str, Json]:
    """A credit note as the operations give it. `tax` is the part of `total` that is tax, contained or added.

    Raises KeyError, TypeError or ValueError when the object is not a credit note as described.
    """
    # Newer versions of the API list `total_taxes` where older ones have `tax_amounts`.
    taxes = note.get("tax_amounts") if note.get("tax_amounts") is not None else note.get("total_taxes")
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
        "tax": sum(_whole(tax["amount"]) for tax in taxes or ()),
        "reason": note.get("reason"),
        "memo": note.get("memo"),
        "out_of_band_amount": note.get("out_of_band_amount"),
        "issued_on": _date(note.get("effective_at") or created, zone),
        "created": time_text(created),
        "metadata": dict(note.get("metadata") or {}),
    }


def balance_debit(moved: Mapping[str, Json], zone: tzinfo) -> dict[str, Json]:
    """A customer balance transaction as `billing.debit_memo.issue` gives it. Raises as `credit_memo` does."""
    created = _whole(moved["created"])
    return {
        "id": _text(moved["id"]),
        "customer": _reference(moved["customer"]),
        "amount": _whole(moved["amount"]),
        "currency": _text(moved["currency"]),
        "ending_balance": _whole(moved["ending_balance"]),
        "issued_on": _date(created, zone),
        "created": time_text(created),
        "metadata": dict(moved.get("metadata") or {}),
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
    """An id, also where the object itself stands in its place."""
    return _text(value["id"] if isinstance(value, dict) else value)
