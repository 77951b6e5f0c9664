"""Movements of a bank account as the bank gets them, and the lines that it books."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal, TypeAlias, cast, get_args

MovementKind: TypeAlias = Literal["payout", "wire", "transfer", "fee", "return"]
MAX_TEXT_LENGTH = 140
"""Characters of a payer's text, as in the rules of SEPA."""


def _check_text(*texts: str | None) -> None:
    for text in texts:
        if text is not None and (
            not text.isprintable() or text != " ".join(text.split()) or len(text) > MAX_TEXT_LENGTH
        ):
            raise ValueError(
                f"{text!r} is no text of a payment: write one printable line without outer spaces"
            )


@dataclass(frozen=True, slots=True)
class MovementPart:
    """One transaction of a movement that the bank books as one line, such as a collection of direct debits."""

    amount: Decimal
    text: str
    counterparty: str
    reference: str

    def __post_init__(self) -> None:
        _check_text(self.text, self.counterparty, self.reference)


@dataclass(frozen=True, slots=True)
class Movement:
    """Money that reaches or leaves an account. `amount` is positive for money received, and is what the bank books.

    `charges` were deducted from a wire on its way: the customer sent `amount + charges`. A `return` takes back an earlier
    movement, so its amount has the opposite sign.
    """

    kind: MovementKind
    amount: Decimal
    text: str
    counterparty: str | None = None
    iban: str | None = None
    end_to_end_id: str | None = None
    charges: Decimal = Decimal(0)
    parts: tuple[MovementPart, ...] = ()

    def __post_init__(self) -> None:
        _check_text(self.text, self.counterparty, self.iban, self.end_to_end_id)
        if self.charges < 0:
            raise ValueError(f"charges of {self.charges} are negative")
        if self.parts and sum(part.amount for part in self.parts) != self.amount:
            raise ValueError(f"the parts do not add up to {self.amount}")
        if len(self.parts) == 1:
            raise ValueError("a movement has no parts, or several")


@dataclass(frozen=True, slots=True)
class BookedLine:
    """A movement with the bank's reference and the balance behind it."""

    movement: Movement
    reference: str
    balance: Decimal
    value_on: date


def movement_of(content: Mapping[str, Any]) -> Movement:
    """Return the movement of a JSON object whose amounts are texts. Raises ValueError, TypeError or KeyError for another one."""
    kind = content["kind"]
    if kind not in get_args(MovementKind):
        raise ValueError(f"`{kind}` is none of {', '.join(get_args(MovementKind))}")
    parts = tuple(
        MovementPart(**{**part, "amount": Decimal(part["amount"])}) for part in content.get("parts", ())
    )
    amounts = {"amount": Decimal(content["amount"]), "charges": Decimal(content.get("charges", 0))}
    return Movement(**{**content, **amounts, "kind": cast(MovementKind, kind), "parts": parts})
