"""One statement of camt.053: its balances and counters, which its entries must lead to, and its place among the others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from counterfoil.connectors.files.reader import FileRefused, SourceRow
from counterfoil.connectors.files.readers.bounded_xml import XmlNode
from counterfoil.connectors.files.readers.camt_entry import (
    EntryReader,
    Side,
    day_of,
    money_of,
    refusal,
    side_of,
)
from counterfoil.core.wire import write_json

_OPENING = ("OPBD", "PRCD", "ITBD")
_CLOSING = ("CLBD", "ITBD")
_PENDING = ("PDNG", "INFO", "FUTR")
_BOOKED = "BOOK"


class Balance(NamedTuple):
    amount: Decimal
    """Positive if the bank owes it to the company."""
    currency: str
    day: date


@dataclass(frozen=True, slots=True)
class StatementSummary:
    """A statement without its entries. Two deliveries of one statement have equal digests."""

    file: str
    line: int
    account: str
    id: str
    page: int
    electronic_number: int | None
    legal_number: int | None
    created: str
    opening: Balance
    closing: Balance
    pending: int
    """Entries that are left out, because the bank has not booked them."""
    digest: str


@dataclass(slots=True)
class _Tally:
    """Entries of a statement and their sums, without and with those that are not booked."""

    count: int = 0
    credits: int = 0
    credit_sum: Decimal = Decimal(0)
    debit_sum: Decimal = Decimal(0)

    def add(self, amount: Decimal, side: Side) -> None:
        self.count += 1
        if side == "CRDT":
            self.credits += 1
            self.credit_sum += amount
        else:
            self.debit_sum += amount

    @property
    def net(self) -> Decimal:
        return self.credit_sum - self.debit_sum


class OpenStatement:
    """A statement that is being read, part by part in the order of the form."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._heads: dict[str, XmlNode] = {}
        self._balances: dict[str, list[Balance]] = {}
        self._summaries: list[XmlNode] = []
        self._entries: EntryReader | None = None
        self._booked, self._all = _Tally(), _Tally()
        self._digest = hashlib.blake2b(digest_size=16)

    def add(self, part: XmlNode) -> list[SourceRow]:
        """Take a part into account; return the rows of a booked entry. Raises FileRefused."""
        if part.tag == "Bal":
            self._add_balance(part)
        elif part.tag == "TxsSummry":
            self._summaries.append(part)
        elif part.tag == "Ntry":
            return self._entry(part)
        elif part.tag in self._heads:
            if part.tag in ("Id", "Acct", "ElctrncSeqNb", "LglSeqNb"):
                raise refusal(self._name, part, f"the statement has `{part.tag}` twice")
        else:
            self._heads[part.tag] = part
        return []

    def _add_balance(self, part: XmlNode) -> None:
        code = part.value("Tp/CdOrPrtry/Cd")
        if code not in {*_OPENING, *_CLOSING}:
            return
        amount, currency = money_of(self._name, part)
        side = side_of(self._name, part)
        day = day_of(self._name, part, "Dt")
        if day is None:
            raise refusal(self._name, part, f"the balance `{code}` has no date")
        balance = Balance(amount if side == "CRDT" else -amount, currency, day)
        self._balances.setdefault(code, []).append(balance)
        if len(self._balances[code]) > 1 and code != "ITBD":
            raise refusal(self._name, part, f"the statement has a second balance `{code}`")

    def _entry(self, part: XmlNode) -> list[SourceRow]:
        status = part.value("Sts/Cd", "Sts")
        amount, currency = money_of(self._name, part)
        side = side_of(self._name, part)
        self._all.add(amount, side)
        if status in _PENDING:
            return []
        if status != _BOOKED:
            raise refusal(
                self._name,
                part,
                f"the entry has the status `{status or ''}`; `BOOK` is booked, {', '.join(_PENDING)} are not",
            )
        for balances in self._balances.values():
            if balances[0].currency != currency:
                raise refusal(
                    self._name, part, f"the entry is in {currency}, and the balance in {balances[0].currency}"
                )
        self._booked.add(amount, side)
        if self._entries is None:
            self._entries = EntryReader(self._name, self._id(part), self._account(part))
        rows = self._entries.rows(part, amount, currency, side)
        for row in rows:
            self._digest.update(write_json(row.values))
        return rows

    def _id(self, part: XmlNode | None = None) -> str:
        head = self._heads.get("Id")
        if head is None or not head.text.strip():
            raise FileRefused(f"{self._name}{_place(part)}: the statement has no `Id`, by which two differ")
        return head.text.strip()

    def _account(self, part: XmlNode | None = None) -> str:
        head = self._heads.get("Acct")
        account = None if head is None else head.value("Id/IBAN", "Id/Othr/Id")
        if account is None:
            raise FileRefused(f"{self._name}{_place(part)}: the statement names no account")
        return account

    # ------------------------------------------------------------------ end of the statement

    def summary(self, line: int) -> StatementSummary:
        """Return the summary of the statement that ended at a line. Raises FileRefused unless all its sums tie."""
        opening, closing = self._of(_OPENING, 0, line), self._of(_CLOSING, -1, line)
        where = f"{self._name}, line {line}: statement {self._id()}"
        if opening.amount + self._booked.net != closing.amount or opening.currency != closing.currency:
            raise FileRefused(
                f"{where} opens with {opening.amount:f} {opening.currency}, its entries are {self._booked.net:f}, and it closes "
                f"with {closing.amount:f} {closing.currency}; an entry is missing or wrong, so export the file again"
            )
        for node in self._summaries:
            self._check_counters(node)
        page = self._heads.get("StmtPgntn")
        created = self._heads.get("CreDtTm")
        for balance in (opening, closing):
            self._digest.update(f"{balance.amount.normalize():f}/{balance.currency}/{balance.day}".encode())
        return StatementSummary(
            self._name,
            line,
            self._account(),
            self._id(),
            self._number(page, "PgNb") or 0 if page is not None else 0,
            self._number(self._heads.get("ElctrncSeqNb")),
            self._number(self._heads.get("LglSeqNb")),
            "" if created is None else created.text.strip(),
            opening,
            closing,
            self._all.count - self._booked.count,
            self._digest.hexdigest(),
        )

    def _of(self, codes: tuple[str, ...], at: int, line: int) -> Balance:
        for code in codes:
            if code in self._balances:
                return self._balances[code][at]
        kind = "opening" if at == 0 else "closing"
        raise FileRefused(
            f"{self._name}, line {line}: statement {self._id()} has no {kind} balance `{codes[0]}`, without which it "
            "may be incomplete; ask the bank for a statement with balances"
        )

    def _number(self, node: XmlNode | None, path: str = "") -> int | None:
        text = None if node is None else (node.value(path) if path else node.text.strip())
        if not text:
            return None
        if node is not None and not (text.isascii() and text.isdecimal() and len(text) <= 18):
            raise refusal(self._name, node, f"`{text}` is no number of a statement")
        return int(text)

    def _check_counters(self, node: XmlNode) -> None:
        """Raise FileRefused for a counter that neither the booked entries nor all entries have."""
        for path, name in (
            ("TtlNtries/NbOfNtries", "count"),
            ("TtlCdtNtries/NbOfNtries", "credits"),
            ("TtlDbtNtries/NbOfNtries", "debits"),
            ("TtlNtries/Sum", "sum"),
            ("TtlCdtNtries/Sum", "credit sum"),
            ("TtlDbtNtries/Sum", "debit sum"),
            ("TtlNtries/TtlNetNtry/Amt", "net"),
            ("TtlNtries/TtlNetNtryAmt", "net"),
        ):
            counter = node.first(path)
            if counter is None:
                continue
            text = counter.text.strip()
            values = [_counters(tally)[name] for tally in (self._booked, self._all)]
            if not text.replace(".", "", 1).isdecimal() or Decimal(text) not in values:
                raise refusal(
                    self._name,
                    counter,
                    f"the counter `{path}` of the statement is {text}, and its entries give {values[0]:f}; "
                    "an entry is missing or wrong, so export the file again",
                )


def _counters(tally: _Tally) -> dict[str, Decimal]:
    return {
        "count": Decimal(tally.count),
        "credits": Decimal(tally.credits),
        "debits": Decimal(tally.count - tally.credits),
        "sum": tally.credit_sum + tally.debit_sum,
        "credit sum": tally.credit_sum,
        "debit sum": tally.debit_sum,
        "net": abs(tally.net),
    }


def _place(part: XmlNode | None) -> str:
    return "" if part is None else f", line {part.line}"
