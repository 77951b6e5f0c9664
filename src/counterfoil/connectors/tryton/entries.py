"""Entries of payments, refunds, disputes, payouts, write-offs and accruals: plain entries of the general ledger with our reference.

The description of an entry begins with `[reference]`, and no person can change that of a posted entry. A look-up finds an entry
by it. All checks that the ERP makes late or not at all come before the posting: the ERP on SQLite posts entries that do not
balance.

Two processes may enter the same reference at once. Both read again after they entered, and only the first entry stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Literal, TypeAlias

from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import Absent, Confirmed, Finding, Rejected
from counterfoil.core.errors import ErrorClass, Refused, TryAgain, Uncertain

from .entry_body import FIELDS, described, entry_bodies, reference_of
from .entry_documents import PaidDocuments
from .entry_draft import EntryDrafts
from .entry_settlement import BookedEntry, EntrySettlement
from .inputs import EntryInput
from .moves import MOVE, LedgerMoves, nominal
from .names import Names
from .rest import Record, Rest
from .settings import TrytonSettings

Journal: TypeAlias = Literal["cash_journal", "write_off_journal", "applications_journal", "accruals_journal"]
ENTRIES: dict[str, tuple[Journal, str]] = {
    "erp.receipt.post": ("cash_journal", "Post a receipt of a customer."),
    "erp.receipt.return": ("cash_journal", "Take back a receipt whose payment was returned."),
    "erp.refund.post": ("cash_journal", "Post a refund to a customer."),
    "erp.refund.return": ("cash_journal", "Take back a refund that failed."),
    "erp.dispute.post": ("cash_journal", "Post a disputed payment that the processor holds back."),
    "erp.dispute.release": ("cash_journal", "Take back a dispute that is won."),
    "erp.dispute.lose": ("cash_journal", "Post the loss of a dispute."),
    "erp.dispute_fee.post": (
        "cash_journal",
        "Post a fee of a dispute that was charged after its withdrawal.",
    ),
    "erp.payout.post": ("cash_journal", "Post a payout of the processor to the bank."),
    "erp.payout.return": ("cash_journal", "Take back a payout that failed."),
    "erp.write_off.post": ("write_off_journal", "Write off what a customer owes."),
    "erp.write_off.recover": ("write_off_journal", "Take back a write-off."),
    "erp.bank_fee.post": ("cash_journal", "Post a fee of the bank."),
    "erp.accrual.post": ("accruals_journal", "Accrue an amount at the end of a period."),
    "erp.accrual.reverse": ("accruals_journal", "Take back an accrual at the beginning of the next period."),
    "erp.balance.apply": ("applications_journal", "Apply credit memos or money on account to documents."),
    "erp.balance.release": ("applications_journal", "Take back an application."),
}
"""Operations of entries, with the setting of their journal. Input and checks are the same for all."""

_RESULT = (
    "id", "number", "reference", "date", "period", "currency", "lines", "exchange_difference", "reverses",
)  # fmt: skip


class Entries:
    def __init__(self, rest: Rest, names: Names, settings: TrytonSettings) -> None:
        self._rest = rest
        self._names = names
        self._company = settings.company
        self._settings = settings
        self._moves = LedgerMoves(rest, settings.company)
        self._documents = PaidDocuments(rest, self._moves, settings.company)
        self._settlement = EntrySettlement(rest, self._moves, self._documents, settings.company)
        self._drafts = EntryDrafts(rest, names, self._moves, self._documents, self._settlement, settings)

    async def post(self, entry: EntryInput, journal: Journal, by: Deadline) -> Record:
        """Enter, post and settle an entry, or finish that of an earlier attempt. Raises Refused, TryAgain or Uncertain."""
        record = await self._by_reference(entry.reference, by)
        if record is None:
            number = await self._enter(entry, getattr(self._settings, journal), by)
            posted = False
        else:
            booked = await self._booked(entry, record, by)
            if await self._settlement.is_complete(booked, by):
                message = f"{entry.reference} is posted already, as entry {record['number']}"
                raise Refused(message, ErrorClass.ALREADY_DONE, "posted")
            number, posted = int(record["id"]), record["state"] == "posted"
        # From here on the entry is in the ERP: after a failure only a look-up shows its state. A refused posting is the
        # exception: it deletes the entry.
        if not posted:
            try:
                await self._moves.post(number, by)
            except TryAgain as error:
                raise Uncertain(f"{entry.reference} is entered but not posted: {error}") from error
        try:
            record = await self._rest.get(MOVE, number, FIELDS, by)
            booked = await self._booked(entry, record, by)
            documents = await self._settlement.complete(booked, by)
            return await self._result(record, documents, by)
        except (TryAgain, Refused) as error:
            raise Uncertain(f"{entry.reference} is posted, but not known to be complete: {error}") from error

    async def find(self, entry: EntryInput, by: Deadline) -> Finding:
        """Return the outcome of an entry, by its reference. Raises TryAgain or Refused if the look-up fails."""
        record = await self._by_reference(entry.reference, by)
        if record is None:
            return Absent()
        try:
            booked = await self._booked(entry, record, by)
        except Refused as error:
            if error.code != "other_content":
                raise
            return Rejected(error.error_class, str(error), error.code)
        if not await self._settlement.is_complete(booked, by):
            message = f"{entry.reference} is entered as move {record['id']} but not finished"
            return Rejected(ErrorClass.TRANSIENT, message, "unfinished")
        return Confirmed(await self._result(record, booked.linked(), by))

    async def open_credits(self, party: int, currency: str, by: Deadline) -> list[Record]:
        """Return the open credit memos of a party, oldest first. Raises TryAgain or Refused."""
        return await self._documents.open_credits(party, currency, by)

    async def _enter(self, entry: EntryInput, journal: str, by: Deadline) -> int:
        """Create the draft of an entry and return its id. Raises Refused, TryAgain or Uncertain."""
        reversed_entry = None
        if entry.reverses is not None:
            reversed_entry = await self._by_reference(entry.reverses, by)
            if reversed_entry is None:
                message = f"there is no entry {entry.reverses!r} to reverse"
                raise Refused(message, ErrorClass.NOT_FOUND, "unknown_entry")
            if reversed_entry["state"] != "posted":
                raise TryAgain(f"the entry {entry.reverses!r} to reverse is not posted yet")
        try:
            values = await self._drafts.values(entry, journal, reversed_entry, by)
            number = await self._rest.create(MOVE, values, by)
        except Refused as error:
            if await self._by_reference(entry.reference, by) is not None:
                raise TryAgain(f"{entry.reference} was entered meanwhile: {error}") from error
            raise
        try:
            first = await self._by_reference(entry.reference, by)
        except (TryAgain, Refused) as error:
            raise Uncertain(f"{entry.reference} is entered but not posted: {error}") from error
        if first is None or first["id"] != number:
            await self._drop(number, by)
            raise TryAgain(f"{entry.reference} was entered meanwhile")
        return number

    async def _drop(self, number: int, by: Deadline) -> None:
        try:
            await self._rest.delete(MOVE, number, by)
        except (Refused, TryAgain) as error:
            if isinstance(error, Refused) and error.error_class is ErrorClass.NOT_FOUND:
                return
            message = f"the second entry {number} of the same reference could not be deleted: {error}"
            raise Uncertain(message) from error

    async def _by_reference(self, reference: str, by: Deadline) -> Record | None:
        """Return the entry of a reference: the posted one, else the first draft. Raises Refused(CONFLICT) or TryAgain."""
        mark = described(reference, "")
        escaped = mark.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        domain = [["description", "like", f"{escaped}%"], ["company", "=", self._company]]
        rows = await self._rest.search(MOVE, domain, FIELDS, by)
        records = [row for row in rows if reference_of(row["description"]) == reference]
        # The ERP's own cancellation copies the description of the entry that it cancels.
        origins = {f"{MOVE},{record['id']}" for record in records}
        records = [record for record in records if record["origin"] not in origins]
        posted = [record for record in records if record["state"] == "posted"]
        if len(posted) > 1:
            numbers = ", ".join(record["number"] for record in posted)
            message = f"several entries have the reference {reference!r}: {numbers}"
            raise Refused(message, ErrorClass.CONFLICT, "duplicate_reference")
        return next(iter(posted or records), None)

    async def _booked(self, entry: EntryInput, record: Record, by: Deadline) -> BookedEntry:
        """Return the entry with its lines. Raises Refused(CONFLICT) if it has other content than the request."""
        number = record["id"]
        reversed_number = _origin(record)
        moves = [number] if reversed_number is None else [number, reversed_number]
        lines = await self._moves.lines_of(moves, by)
        own = [line for line in lines if line["move"] == number]
        originals = [line for line in lines if line["move"] != number]
        await self._compare(entry, record, own, by)
        documents = sorted({line.document for line in entry.lines if line.document is not None})
        return BookedEntry(record, own, originals, documents)

    async def _compare(self, entry: EntryInput, record: Record, lines: list[Record], by: Deadline) -> None:
        currency = await self._names.id_of("currency", entry.currency, by)
        own = entry.currency == record["company"]["currency"]["code"]
        booked = [
            (line["account"]["code"], line["party"], nominal(line))
            for line in lines
            if line["second_currency"] == (None if own else currency)
        ]
        requested = [(line.account, line.party, line.amount) for line in entry.lines if line.amount]
        reverses = None
        if (number := _origin(record)) is not None:
            original = await self._rest.get(MOVE, number, ["description"], by)
            reverses = reference_of(original["description"])
        if entry.reverses is None:
            is_same = Counter(booked) == Counter(requested)
        else:  # its lines are divided as those that they take back
            is_same = _sums(booked) == _sums(requested)
        # A posted entry stays in the period in which it is, although that is closed meanwhile and a new request has
        # another date.
        is_dated = record["state"] == "posted" or record["date"] == entry.date
        if not is_same or not is_dated or reverses != entry.reverses:
            message = f"{entry.reference} is entered as move {record['id']} with other content"
            raise Refused(message, ErrorClass.CONFLICT, "other_content")

    async def _result(self, record: Record, documents: Sequence[int], by: Deadline) -> Record:
        (body,) = await entry_bodies(self._rest, self._company, [record], by)
        paid = await self._documents.read(documents, by)
        return {
            **{name: body[name] for name in _RESULT},
            "documents": [document.body() for document in paid.values()],
        }


def _sums(lines: Iterable[tuple[str, int | None, Decimal]]) -> dict[tuple[str, int | None, bool], Decimal]:
    """Return the amounts by account, party and side."""
    sums: dict[tuple[str, int | None, bool], Decimal] = {}
    for account, party, amount in lines:
        key = account, party, amount > 0
        sums[key] = sums.get(key, Decimal(0)) + amount
    return sums


def _origin(record: Record) -> int | None:
    """Return the id of the entry that an entry takes back."""
    model, _, number = (record["origin"] or "").partition(",")
    return int(number) if model == MOVE else None
