"""Steps after the posting of an entry, each of which may be done already.

- An entry that takes another one back: open what holds the lines of the other entry, link the new lines to the same documents,
  and reconcile each new line with the line that it takes back. So an invoice is open again.
- A document without an open amount is reconciled, which makes it `paid`.
- Money on account of a customer, once applied or refunded in full, is reconciled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from counterfoil.connectors.http import Deadline
from counterfoil.core.errors import Refused

from .document_body import MODEL
from .documents import warning_key
from .entry_documents import PaidDocuments
from .entry_reversals import EntryLine, is_opposite, originals_of
from .moves import LINE, LINE_FIELDS, RECONCILIATION, LedgerMoves, is_settled, nominal, total
from .refusals import WRITE_OFF_WARNING
from .rest import Record, Rest


@dataclass(frozen=True, slots=True)
class BookedEntry:
    """Entry in the ERP: its record, its lines, the lines of the entry that it takes back, and the documents that it pays."""

    record: Record
    lines: Sequence[Record]
    originals: Sequence[Record]
    documents: Sequence[int]

    def linked(self) -> list[int]:
        """Return the ids of its documents: those of its request, and those of its lines."""
        of_lines = [line["invoice_payment"] for line in self.lines if line["invoice_payment"]]
        return sorted({*self.documents, *of_lines})


@dataclass(frozen=True, slots=True)
class OnAccount:
    """Open lines of one party without a document: money on account is negative."""

    lines: Sequence[Record]

    @property
    def amount(self) -> Decimal:
        return sum(map(nominal, self.lines), Decimal(0))

    @property
    def functional(self) -> Decimal:
        return total(self.lines)


class EntrySettlement:
    def __init__(self, rest: Rest, moves: LedgerMoves, documents: PaidDocuments, company: int) -> None:
        self._rest = rest
        self._moves = moves
        self._documents = documents
        self._company = company

    async def is_complete(self, entry: BookedEntry, by: Deadline) -> bool:
        """Return whether an entry is posted and no step is left. Raises TryAgain or Refused."""
        if entry.record["state"] != "posted" or _take_backs(entry):
            return False
        documents = await self._documents.read(entry.linked(), by)
        if any(is_settled(document.lines) for document in documents.values()):
            return False
        pools = await self._pools(entry, by)
        return not any(is_settled(pool.lines) for pool in pools)

    async def complete(self, entry: BookedEntry, by: Deadline) -> list[int]:
        """Do the steps that are left, and return the ids of its documents. Raises TryAgain, Refused or Uncertain."""
        linked = {*entry.linked()}
        for line, original in _take_backs(entry):
            await self._take_back(line, original, by)
            if original["invoice_payment"]:
                linked.add(original["invoice_payment"])
        for document in (await self._documents.read(sorted(linked), by)).values():
            if is_settled(document.lines):
                await self._moves.reconcile(document.lines, by)
        for pool in await self._pools(entry, by):
            if is_settled(pool.lines):
                await self._moves.reconcile(pool.lines, by)
        return sorted(linked)

    async def on_account(self, account: int, party: int, currency: int | None, by: Deadline) -> OnAccount:
        """Return the open lines of a party without a document, in one currency (None: that of the company).

        Raises TryAgain or Refused.
        """
        domain: list[Any] = [
            ["account", "=", account],
            ["party", "=", party],
            ["second_currency", "=", currency],
            ["reconciliation", "=", None],
            ["move.state", "=", "posted"],
            ["move.company", "=", self._company],
        ]
        lines = await self._rest.search_all(LINE, domain, (*LINE_FIELDS, "move_origin"), by)
        # An invoice is the origin of its own entry, and of the entries that apply credit memos to it.
        return OnAccount(
            [
                line
                for line in lines
                if not line["invoice_payment"] and not (line["move_origin"] or "").startswith(f"{MODEL},")
            ]
        )

    async def _pools(self, entry: BookedEntry, by: Deadline) -> list[OnAccount]:
        keys = {
            (line["account"]["id"], line["party"], line["second_currency"])
            for line in entry.lines
            if line["party"] and not line["invoice_payment"] and not line["reconciliation"]
        }
        return [await self.on_account(*key, by) for key in sorted(keys, key=repr)]

    async def _take_back(self, line: Record, original: Record, by: Deadline) -> None:
        for number in _reconciliations((line, original)):
            await self._open(number, by)
        document = original["invoice_payment"]
        if document and line["invoice_payment"] != document:
            await self._rest.write(LINE, line["id"], {"invoice_payment": document}, by)
        if is_opposite(line, original):
            pair = await self._moves.lines([line["id"], original["id"]], by)
            await self._moves.reconcile([each for each in pair if not each["reconciliation"]], by)

    async def _open(self, reconciliation: int, by: Deadline) -> None:
        """Delete a reconciliation, which opens its lines. The ERP warns if one of them is of a write-off."""
        try:
            await self._rest.delete(RECONCILIATION, reconciliation, by)
        except Refused as error:
            if error.code != WRITE_OFF_WARNING:
                raise
            key = warning_key(WRITE_OFF_WARNING, reconciliation, RECONCILIATION)
            await self._rest.call("res.user.warning", "skip", {"name": key}, by)
            await self._rest.delete(RECONCILIATION, reconciliation, by)


def _take_backs(entry: BookedEntry) -> list[tuple[Record, Record]]:
    """Return each line that has not yet taken back its original, with the original.

    A line of the same amount is reconciled with its original. A smaller one only pays the same document.
    """
    matches = originals_of([EntryLine.of(line) for line in entry.lines], entry.originals)
    pending = []
    for line, original in zip(entry.lines, matches, strict=True):
        if original is None or not line["account"]["reconcile"]:
            continue
        if is_opposite(line, original):
            done = line["reconciliation"] and line["reconciliation"] == original["reconciliation"]
        else:
            document = original["invoice_payment"]
            done = not document or line["reconciliation"] or line["invoice_payment"] == document
        if not done:
            pending.append((line, original))
    return pending


def _reconciliations(lines: Iterable[Record]) -> list[int]:
    return sorted({line["reconciliation"] for line in lines if line["reconciliation"]})
