"""Values of a new entry: every check before the ERP is written to, and the amounts in the currency of the company."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from counterfoil.connectors.http import Deadline
from counterfoil.core.errors import ErrorClass, Refused

from .entry_amounts import BookedAmount, functional_amounts, sides
from .entry_body import described, exchange_account
from .entry_documents import PaidDocument, PaidDocuments
from .entry_reversals import EntryLine, check_left, divided, originals_of
from .entry_settlement import EntrySettlement, OnAccount
from .inputs import EntryInput, EntryLineInput, EntryTaxInput
from .moves import MOVE, LedgerMoves, functional, nominal
from .names import Names
from .rates import recorded_rates
from .rest import Record, Rest
from .settings import TrytonSettings


@dataclass(frozen=True, slots=True)
class _Plan:
    """Lines of an entry with what they take from the books. `originals` has the original that each line takes back."""

    entry: EntryInput
    inputs: Sequence[EntryLineInput]
    lines: Sequence[EntryLine]
    originals: Sequence[Record | None]
    exchange: Record | None
    """Account of the exchange difference of the entry that this one takes back."""


class EntryDrafts:
    def __init__(
        self,
        rest: Rest,
        names: Names,
        moves: LedgerMoves,
        documents: PaidDocuments,
        settlement: EntrySettlement,
        settings: TrytonSettings,
    ) -> None:
        self._rest = rest
        self._names = names
        self._moves = moves
        self._documents = documents
        self._settlement = settlement
        self._company = settings.company

    async def values(
        self, entry: EntryInput, journal: str, reversed_entry: Record | None, by: Deadline
    ) -> dict[str, Any]:
        """Return the values of an entry for the ERP. Raises Refused or TryAgain."""
        inputs = [line for line in entry.lines if line.amount]
        _check(entry, inputs)
        accounts = [await self._account(line, by) for line in inputs]
        period = await self._moves.period(entry.date, by)
        plan = await self._plan(entry, inputs, accounts, reversed_entry, by)
        documents = await self._paid(plan, by)
        booked = await self._booked(plan, accounts, documents, by)
        lines = await self._lines(plan, booked, documents, by)
        return {
            "company": self._company,
            "journal": await self._names.id_of("journal", journal, by),
            "period": period,
            "date": entry.date,
            "origin": f"{MOVE},{reversed_entry['id']}" if reversed_entry else None,
            "description": described(entry.reference, entry.description),
            "lines": [["create", lines]],
        }

    async def _account(self, line: EntryLineInput, by: Deadline) -> Record:
        account = await self._names.record("account", line.account, by)
        if bool(account["party_required"]) != (line.party is not None):
            needs = "needs a" if account["party_required"] else "takes no"
            raise Refused(f"account {line.account} {needs} party", ErrorClass.INVALID, "party")
        return account

    async def _plan(
        self,
        entry: EntryInput,
        inputs: Sequence[EntryLineInput],
        accounts: Sequence[Record],
        reversed_entry: Record | None,
        by: Deadline,
    ) -> _Plan:
        lines = [
            EntryLine(account["id"], line.party, line.amount, line.document)
            for line, account in zip(inputs, accounts, strict=True)
        ]
        if reversed_entry is None:
            return _Plan(entry, inputs, lines, [None] * len(lines), None)
        currency = await self._names.id_of("currency", entry.currency, by)
        own = entry.currency == reversed_entry["company"]["currency"]["code"]
        origin = f"{MOVE},{reversed_entry['id']}"
        domain = [["origin", "=", origin], ["company", "=", self._company]]
        earlier = [move["id"] for move in await self._rest.search(MOVE, domain, ["number"], by)]
        every = await self._moves.lines_of([reversed_entry["id"], *earlier], by)
        in_currency = [line for line in every if line["second_currency"] == (None if own else currency)]
        originals = [line for line in in_currency if line["move"] == reversed_entry["id"]]
        others = [line for line in in_currency if line["move"] != reversed_entry["id"]]
        check_left(lines, originals, others, str(entry.reverses))
        parts = divided(lines, originals, others)
        lines = [line for _, line in parts]
        inputs = [
            msgspec.structs.replace(
                inputs[place],
                amount=line.amount,
                document=line.document,
                taxes=_shares(inputs[place], line.amount),
            )
            for place, line in parts
        ]
        exchange = next(
            (line for line in every if line["move"] == reversed_entry["id"] and not line["second_currency"]),
            None,
        )
        return _Plan(entry, inputs, lines, originals_of(lines, originals), None if own else exchange)

    async def _paid(self, plan: _Plan, by: Deadline) -> dict[int, PaidDocument]:
        """Return the documents that the lines pay, each covered by its open amount. Raises Refused or TryAgain."""
        paying: dict[int, list[EntryLineInput]] = {}
        for line, original in zip(plan.inputs, plan.originals, strict=True):
            if line.document is not None and original is None:
                paying.setdefault(line.document, []).append(line)
        documents = await self._documents.read(sorted(paying), by)
        for number, lines in paying.items():
            amount = sum((line.amount for line in lines), Decimal(0))
            for line in lines:
                documents[number].check(amount, line.party, line.account, plan.entry.currency)
        return documents

    async def _booked(
        self,
        plan: _Plan,
        accounts: Sequence[Record],
        documents: dict[int, PaidDocument],
        by: Deadline,
    ) -> list[tuple[Hashable, BookedAmount] | None]:
        """Return for each line what it takes, with its amounts in the books; None for a line at the rate of the day."""
        # Only an application moves money from an account of a customer; a receipt or a refund is new money.
        applies = all(account["type"] and account["type"]["receivable"] for account in accounts)
        pools: dict[tuple[int, int], OnAccount] = {}
        booked: list[tuple[Hashable, BookedAmount] | None] = []
        for line, original in zip(plan.lines, plan.originals, strict=True):
            if original is not None:
                amount = BookedAmount(nominal(original), functional(original))
                booked.append((("line", original["id"]), amount))
            elif line.document is not None:
                document = documents[line.document]
                booked.append((("document", line.document), BookedAmount(document.open, document.functional)))
            elif applies and line.party is not None and line.amount > 0:
                key = (line.account, line.party)
                if key not in pools:
                    pools[key] = await self._on_account(plan, key, by)
                booked.append((("party", *key), BookedAmount(pools[key].amount, pools[key].functional)))
            else:
                booked.append(None)
        return booked

    async def _on_account(self, plan: _Plan, key: tuple[int, int], by: Deadline) -> OnAccount:
        own, _ = await self._currency(by)
        currency = await self._names.id_of("currency", plan.entry.currency, by)
        pool = await self._settlement.on_account(*key, None if plan.entry.currency == own else currency, by)
        amount = sum(
            (
                line.amount
                for line in plan.lines
                if (line.account, line.party) == key and line.document is None and line.amount > 0
            ),
            Decimal(0),
        )
        if amount > -pool.amount:
            message = f"party {key[1]} has {-pool.amount} on account, not {amount}"
            raise Refused(message, ErrorClass.CONFLICT, "amount_exceeds_open")
        return pool

    async def _lines(
        self,
        plan: _Plan,
        booked: Sequence[tuple[Hashable, BookedAmount] | None],
        documents: dict[int, PaidDocument],
        by: Deadline,
    ) -> list[dict[str, Any]]:
        own, rounding = await self._currency(by)
        foreign: int | None = None
        amounts = [line.amount for line in plan.lines]
        if plan.entry.currency != own:
            foreign = await self._names.id_of("currency", plan.entry.currency, by)
            rate = await self._rate(plan.entry, foreign, own, by)
            amounts = functional_amounts(
                [(line.amount, each and each[0]) for line, each in zip(plan.lines, booked, strict=True)],
                dict(each for each in booked if each is not None),
                rate,
                rounding,
            )
        values = [
            _line_values(
                line,
                original,
                amount,
                foreign,
                documents.get(line.document or 0) if original is None else None,
            )
            | ({"description": input.text} if input.text and original is None else {})
            | await self._tax_lines(input, amount, rounding, by)
            for input, line, original, amount in zip(
                plan.inputs, plan.lines, plan.originals, amounts, strict=True
            )
        ]
        if difference := -sum(amounts, Decimal(0)):
            account = await self._exchange_account(plan, difference, by)
            values.append({"account": account, **sides(difference)})
        return values

    async def _tax_lines(
        self, line: EntryLineInput, functional_amount: Decimal, rounding: Decimal, by: Deadline
    ) -> dict[str, Any]:
        """Return what a line changes in the tax return, which is in the currency of the company."""
        if not line.taxes:
            return {}
        rows = []
        for each in line.taxes:
            amount = (each.amount * functional_amount / line.amount).quantize(rounding)
            tax = await self._names.id_of("tax", each.tax, by)
            rows.append({"tax": tax, "type": each.part, "amount": amount})
        return {"tax_lines": [["create", rows]]}

    async def _exchange_account(self, plan: _Plan, difference: Decimal, by: Deadline) -> int:
        if plan.exchange is not None and functional(plan.exchange) * difference < 0:
            return int(plan.exchange["account"]["id"])
        return await exchange_account(self._rest, difference, by)

    async def _currency(self, by: Deadline) -> tuple[str, Decimal]:
        """Return the code and the smallest unit of the currency of the company."""
        company = await self._names.record("company", self._company, by)
        return company["currency"]["code"], company["currency"]["rounding"]

    async def _rate(self, entry: EntryInput, foreign: int, own: str, by: Deadline) -> Decimal:
        into = await self._names.id_of("currency", own, by)
        rates = await recorded_rates(self._rest, {foreign, into}, entry.date, entry.date, by)
        rate = rates.between(foreign, into, entry.date)
        if rate is None:
            message = f"the ERP has no rate of {entry.currency} for {entry.date}"
            raise Refused(message, ErrorClass.INVALID, "no_rate")
        value: Decimal = rate["value"]
        return value


def _shares(line: EntryLineInput, amount: Decimal) -> tuple[EntryTaxInput, ...]:
    """Return what a part of a line changes in the tax return."""
    if amount == line.amount:
        return line.taxes
    return tuple(
        msgspec.structs.replace(each, amount=each.amount * amount / line.amount) for each in line.taxes
    )


def _line_values(
    line: EntryLine,
    original: Record | None,
    amount: Decimal,
    foreign: int | None,
    document: PaidDocument | None,
) -> dict[str, Any]:
    values: dict[str, Any] = {"account": line.account, "party": line.party}
    if original is None:
        values |= sides(amount)
    else:
        # A negative amount on the side of the original, as the ERP's own cancellations have. It links no other line to
        # the document of the original.
        side, other = ("debit", "credit") if functional(original) > 0 else ("credit", "debit")
        values |= {side: -abs(amount), other: Decimal(0), "description": original["description"]}
    if foreign is not None:
        values |= {"second_currency": foreign, "amount_second_currency": line.amount}
    if document is not None:
        # The link does not outlive a later payment of the document, the description does.
        values |= {"invoice_payment": line.document, "description": document.name}
    return values


def _check(entry: EntryInput, lines: Sequence[EntryLineInput]) -> None:
    """Raise Refused(INVALID) for an entry that no ERP may post. The ERP on SQLite posts entries that do not balance."""
    if not entry.reference or "]" in entry.reference or entry.reference != entry.reference.strip():
        raise Refused(f"{entry.reference!r} cannot be a reference", ErrorClass.INVALID, "input")
    if entry.reverses == entry.reference:
        raise Refused("an entry cannot reverse itself", ErrorClass.INVALID, "input")
    if not lines:
        raise Refused("an entry needs lines with amounts", ErrorClass.INVALID, "input")
    if balance := sum((line.amount for line in lines), Decimal(0)):
        raise Refused(f"the lines do not balance: {balance}", ErrorClass.INVALID, "unbalanced")
