"""Lines of a credit note that reduce the lines of its invoice together with their tax.

An amount, tax included, is spread over the lines in proportion to what each has left. The vendor computes the tax of a
part from the tax of the invoice's line, and the last part takes what is left of base and tax. Explicit taxes are no way
out: the vendor takes them only for rates that it made itself.

So not every amount can be one part of a line: with 8.25 %, 23.09 and its tax are 24.99, and 23.10 and its tax are 25.01.
Then a few cents of the line, whose tax rounds to zero, are a part of their own.

Amounts are integer minor units. All functions are pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

from counterfoil.connectors.sdk import Json, Rejected
from counterfoil.core.errors import ErrorClass

_MAX_CENTS = 50
"""Largest part that only serves the rounding."""
_MAX_MOVED_CENTS = 5
"""Most that one line takes for another, beyond its share, so that the parts add up."""


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """Line of an invoice with what earlier notes left of it. `taxes` are the taxes that are added to `amount`."""

    id: str
    amount: int
    taxes: tuple[int, ...]
    left: int
    left_taxes: tuple[int, ...]

    @property
    def total(self) -> int:
        """Amount that may still be credited, tax included."""
        return self.left + sum(self.left_taxes)

    def with_tax(self, part: int) -> int:
        """Return a part together with the tax that the vendor adds to it."""
        if part == self.left:
            return self.total
        return part + sum(tax_share(tax, part, self.amount) for tax in self.taxes)


def invoice_lines(
    lines: Sequence[Mapping[str, Any]], notes: Sequence[Mapping[str, Any]]
) -> list[InvoiceLine]:
    """Return the lines of an invoice. `notes` are the lines of its credit notes that are not void.

    Raises KeyError or TypeError if an object does not have the documented form.
    """
    return [
        _line(line, [note for note in notes if note.get("invoice_line_item") == line["id"]]) for line in lines
    ]


def _line(line: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> InvoiceLine:
    taxes = _added(line)
    credited = [sum(figures) for figures in zip(*map(_added, parts), strict=True)] or [0] * len(taxes)
    return InvoiceLine(
        id=line["id"],
        amount=line["amount"],
        taxes=taxes,
        left=line["amount"] - sum(part["amount"] for part in parts),
        left_taxes=tuple(tax - former for tax, former in zip(taxes, credited, strict=True)),
    )


def _added(line: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the taxes that come on top of the amount. Newer versions of the API have `taxes` instead of `tax_amounts`."""
    if (amounts := line.get("tax_amounts")) is not None:
        return tuple(tax["amount"] for tax in amounts if not tax["inclusive"])
    return tuple(tax["amount"] for tax in line.get("taxes") or () if tax["tax_behavior"] != "inclusive")


def spread(amount: int, lines: Sequence[InvoiceLine]) -> list[tuple[str, int]] | Rejected:
    """Return the parts of a note over `amount`, tax included: the invoice's line and the amount that the vendor expects.

    A line below zero has nothing to credit. Where one lowers the invoice, the whole invoice cannot be credited by lines.
    """
    open_lines = [line for line in lines if line.left > 0 and line.total > 0]
    left = sum(line.total for line in open_lines)
    if amount > left:
        message = f"the lines of the invoice have {left} left to credit, tax included, not {amount}"
        return Rejected(ErrorClass.REFUSED, message, "amount_exceeds_lines")
    shares: list[_LineShare] = []
    passed = done = 0
    for line in open_lines:
        passed += line.total
        shares.append(_most(line, amount * passed // left - done))
        done += shares[-1].amount
    if (exact := _with_rest(shares, amount - done)) is None:
        message = f"{amount} cannot be split into amounts and their taxes on the lines of the invoice"
        return Rejected(ErrorClass.INVALID, message, "no_split")
    return [(line.id, base) for line, _, bases in exact for base in bases]


class _LineShare(NamedTuple):
    """Amount of a note for one line, tax included, and the bases that make it."""

    line: InvoiceLine
    amount: int
    bases: tuple[int, ...]


def _most(line: InvoiceLine, share: int) -> _LineShare:
    """Return what a line can take of its share. A base of one cent with a tax of one has no half."""
    bases = _parts(line, share)
    if bases is not None:
        return _LineShare(line, share, bases)
    base = _base(line, share)
    return _LineShare(line, line.with_tax(base) if base else 0, (base,) if base else ())


def _with_rest(shares: Sequence[_LineShare], rest: int) -> Sequence[_LineShare] | None:
    """Return the shares with the rest on one line, or on one that takes some cents more than another gives up."""
    if rest == 0:
        return shares
    for cents in range(_MAX_MOVED_CENTS + 1):
        larger = [nth for nth, each in enumerate(shares) if _grow(each, rest + cents) is not None]
        smaller = [nth for nth, each in enumerate(shares) if _grow(each, -cents) is not None]
        for more, less in product(larger, smaller):
            if cents == 0 or more != less:
                by = {less: -cents} | {more: rest + cents}
                return [_grow(each, by.get(nth, 0)) or each for nth, each in enumerate(shares)]
    return None


def _grow(share: _LineShare, cents: int) -> _LineShare | None:
    amount = share.amount + cents
    bases = _parts(share.line, amount) if 0 <= amount <= share.line.total else None
    return None if bases is None else _LineShare(share.line, amount, bases)


def _parts(line: InvoiceLine, share: int) -> tuple[int, ...] | None:
    """Return the bases whose sum with tax is `share`: one, or two where rounding needs it. None if there are none."""
    if share == 0:
        return ()
    base = _base(line, share)
    if line.with_tax(base) == share:
        return (base,)
    for cents in range(1, min(_MAX_CENTS, share) + 1):
        rest = share - line.with_tax(cents)
        base = _base(line, rest) if rest > 0 else 0
        if base > 0 and base + cents < line.left and line.with_tax(base) == rest:
            return (base, cents)
    return None


def _base(line: InvoiceLine, share: int) -> int:
    """Return the largest part of a line that is at most `share` with its tax."""
    if share >= line.total:
        return line.left
    low, high = 0, min(share, line.left)
    while low < high:
        middle = (low + high + 1) // 2
        if line.with_tax(middle) <= share:
            low = middle
        else:
            high = middle - 1
    return low


def tax_share(tax: int, part: int, whole: int) -> int:
    """Return `tax * part / whole`, halves up, as the vendor rounds. All are above zero or zero."""
    return (2 * tax * part + whole) // (2 * whole)


def note_lines(parts: Sequence[tuple[str, int]]) -> list[Json]:
    """Return parts in the form of the vendor."""
    return [{"type": "invoice_line_item", "invoice_line_item": id, "amount": amount} for id, amount in parts]
