"""Rows of the entries of one camt.053 statement. An entry that stands for several transactions is a row for each of them.

The sign follows `CdtDbtInd` alone: of an entry that takes back another, it is already the side on which it is booked. The
reference is the bank's (`AcctSvcrRef`), or else a digest of the statement and of what the entry shows. Equal ones of a
statement are numbered in their order, and so are the transactions of an entry.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias, cast

from counterfoil.connectors.files.reader import FileRefused, SourceRow
from counterfoil.connectors.files.readers.bounded_xml import XmlNode
from counterfoil.core.wire import write_json

Side: TypeAlias = Literal["CRDT", "DBIT"]
_AMOUNT = re.compile(r"\d{1,18}(\.\d{1,5})?", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_NO_REFERENCE = {"NOTPROVIDED", "NONREF"}
_OTHER: dict[Side, Side] = {"CRDT": "DBIT", "DBIT": "CRDT"}
_PARTIES = {"CRDT": "Dbtr", "DBIT": "Cdtr"}
"""Counterparty of a credit and of a debit."""


def refusal(name: str, node: XmlNode, why: str) -> FileRefused:
    return FileRefused(f"{name}, line {node.line}: {why}")


def money_of(name: str, node: XmlNode, path: str = "Amt") -> tuple[Decimal, str]:
    """Return the amount and the currency of an element. Raises FileRefused unless it has exactly one, without a sign."""
    amounts = node.all(path)
    if len(amounts) != 1:
        raise refusal(name, node, f"`{node.tag}` has {len(amounts)} amounts `{path}`, and one is needed")
    text, currency = amounts[0].text.strip(), amounts[0].attributes.get("Ccy", "")
    if _AMOUNT.fullmatch(text) is None or _CURRENCY.fullmatch(currency) is None:
        raise refusal(name, amounts[0], f"`{text} {currency}` is no amount such as 12.50 EUR")
    return Decimal(text), currency


def side_of(name: str, node: XmlNode) -> Side:
    sides = [one.text.strip() for one in node.all("CdtDbtInd")]
    if sides not in (["CRDT"], ["DBIT"]):
        raise refusal(
            name, node, f"`{node.tag}` has `{', '.join(sides)}` as its side, and it is CRDT or DBIT"
        )
    return cast(Side, sides[0])


def day_of(name: str, node: XmlNode, path: str) -> date | None:
    """Return the day of a date or time, as the bank wrote it, or None."""
    text = node.value(f"{path}/Dt", f"{path}/DtTm")
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).date() if "T" in text else date.fromisoformat(text[:10])
    except ValueError:
        raise refusal(name, node, f"`{text}` is no date such as 2026-03-28") from None


class EntryReader:
    """Reads the booked entries of one statement, in their order."""

    def __init__(self, name: str, statement: str, account: str) -> None:
        self._name, self._statement, self._account = name, statement, account
        self._references: Counter[int] = Counter()

    def rows(self, entry: XmlNode, amount: Decimal, currency: str, side: Side) -> list[SourceRow]:
        """Return an entry with its amount as rows, which add up to it. Raises FileRefused."""
        booked = day_of(self._name, entry, "BookgDt")
        if booked is None:
            raise refusal(self._name, entry, "the entry has no booking date `BookgDt`")
        value_on = day_of(self._name, entry, "ValDt")
        parts = entry.all("NtryDtls/TxDtls")
        is_reversal = self._is_reversal(entry)
        details = [self._detail(part, currency, side, is_reversal=is_reversal) for part in parts]
        charges = self._charges(entry, currency)
        self._check_sum(entry, details, _signed(amount, side), charges)
        single = details[0] if len(details) == 1 else _NO_DETAIL
        row: dict[str, Any] = {
            "statement": self._statement,
            "account": self._account,
            "reference": "",
            "amount": f"{_signed(amount, side):f}",
            "currency": currency,
            "booked_on": booked.isoformat(),
            "value_on": None if value_on is None else value_on.isoformat(),
            "counterparty_name": single["counterparty"],
            "counterparty_iban": single["iban"],
            "remittance": single["remittance"] or entry.value("AddtlNtryInf"),
            "end_to_end_id": single["end_to_end_id"],
            "kind": _kind(entry) or (_kind(parts[0]) if len(parts) == 1 else None),
            "reversal": is_reversal,
            "charges": None if charges is None else f"{charges:f}",
            "details": [
                {key: detail[key] for key in _DETAIL_COLUMNS} for detail in details if len(details) > 1
            ],
        }
        row["reference"] = self._reference(entry, parts, row)
        if len(details) < 2 or any(detail["amount"] is None for detail in details):
            return [SourceRow(entry.line, row)]
        return _divided(entry.line, row, details, list(map(_kind, parts)))

    def _reference(self, entry: XmlNode, parts: list[XmlNode], row: dict[str, Any]) -> str:
        stated = entry.value("AcctSvcrRef")
        if stated is None and len(parts) == 1:
            stated = parts[0].value("Refs/AcctSvcrRef")
        reference = stated if stated not in {None, *_NO_REFERENCE} else None
        if reference is None:
            about = {key: value for key, value in row.items() if key not in ("kind", "reference")}
            reference = hashlib.blake2b(write_json(about), digest_size=12).hexdigest()
        key = int.from_bytes(hashlib.blake2b(reference.encode(), digest_size=8).digest())
        self._references[key] += 1
        return reference if self._references[key] == 1 else f"{reference}/{self._references[key]}"

    def _is_reversal(self, entry: XmlNode) -> bool:
        word = entry.value("RvslInd") or "false"
        if word not in ("true", "false", "1", "0"):
            raise refusal(self._name, entry, f"`{word}` in `RvslInd` is neither true nor false")
        return word in ("true", "1")

    def _detail(self, part: XmlNode, currency: str, side: Side, *, is_reversal: bool) -> dict[str, Any]:
        own = side_of(self._name, part) if part.all("CdtDbtInd") else side
        path = next(
            (path for path in ("Amt", "AmtDtls/TxAmt/Amt", "AmtDtls/InstdAmt/Amt") if part.all(path)), None
        )
        amount: Decimal | None = None
        if path is not None:
            amount, of_part = money_of(self._name, part, path)
            amount = _signed(amount, own) if of_part == currency else None
        # The parties of a line that takes back another one are those of the first one.
        party = _PARTIES[_OTHER[own] if is_reversal else own]
        return {
            "amount": None if amount is None else f"{amount:f}",
            "reference": _stated(part.value("Refs/AcctSvcrRef", "Refs/TxId", "Refs/InstrId")),
            "remittance": _remittance(part),
            "counterparty": part.value(f"RltdPties/{party}/Nm", f"RltdPties/{party}/Pty/Nm"),
            "iban": part.value(f"RltdPties/{party}Acct/Id/IBAN", f"RltdPties/{party}Acct/Id/Othr/Id"),
            "end_to_end_id": _stated(part.value("Refs/EndToEndId")),
            "charges": self._charges(part, currency, ("Chrgs",)),
        }

    def _charges(
        self, node: XmlNode, currency: str, places: tuple[str, ...] = ("Chrgs", "NtryDtls/TxDtls/Chrgs")
    ) -> Decimal | None:
        """Return the charges that are inside of the amount, negative where they lower it, or None without any."""
        groups = [
            [record for path in (f"{place}/Rcrd", place) for record in node.all(path) if record.all("Amt")]
            for place in places
        ]
        records = [
            record
            for record in next(filter(None, groups), [])
            if record.value("ChrgInclInd") in (None, "true", "1")
        ]
        amounts = []
        for record in records:
            amount, of_record = money_of(self._name, record)
            if of_record == currency:
                side = side_of(self._name, record) if record.all("CdtDbtInd") else "DBIT"
                amounts.append(_signed(amount, side))
        return sum(amounts, Decimal(0)) if amounts else None

    def _check_sum(
        self, entry: XmlNode, details: list[dict[str, Any]], amount: Decimal, charges: Decimal | None
    ) -> None:
        """Raise FileRefused where the bank states amounts of several parts that do not add up to the entry."""
        stated = [Decimal(detail["amount"]) for detail in details if detail["amount"] is not None]
        if len(details) < 2 or not stated:
            return
        parts = sum(stated, Decimal(0))
        if len(stated) != len(details) or amount not in (parts, parts + (charges or 0)):
            raise refusal(
                self._name,
                entry,
                f"the entry is {amount:f}, and {len(stated)} of its {len(details)} parts have amounts in its currency, together "
                f"{parts:f}; export the file again, or ask the bank",
            )


def _divided(
    line: int, row: dict[str, Any], details: list[dict[str, Any]], kinds: list[str | None]
) -> list[SourceRow]:
    """Return a row for each transaction of an entry. Charges of the entry that no transaction states are in the last one."""
    rest = Decimal(row["amount"]) - sum((Decimal(detail["amount"]) for detail in details), Decimal(0))
    own = [detail["charges"] or Decimal(0) for detail in details]
    if rest and sum(own) != rest:
        own = [*(Decimal(0) for _ in own[1:]), rest]
    rows = []
    for number, (detail, kind, charges) in enumerate(zip(details, kinds, own, strict=True), 1):
        part = {
            "reference": f"{row['reference']}#{number}",
            "amount": f"{Decimal(detail['amount']) + (charges if rest else 0):f}",
            "counterparty_name": detail["counterparty"],
            "counterparty_iban": detail["iban"],
            "remittance": detail["remittance"],
            "end_to_end_id": detail["end_to_end_id"],
            "kind": kind or row["kind"],
            "charges": f"{charges:f}" if charges else None,
            "details": [],
        }
        rows.append(SourceRow(line, {**row, **part}))
    return rows


_DETAIL_COLUMNS = ("amount", "reference", "remittance", "counterparty")
_NO_DETAIL: dict[str, Any] = dict.fromkeys((*_DETAIL_COLUMNS, "iban", "end_to_end_id", "charges"))


def _signed(amount: Decimal, side: Side) -> Decimal:
    return -amount if side == "DBIT" and amount else amount


def _stated(text: str | None) -> str | None:
    return None if text in _NO_REFERENCE else text


def _remittance(part: XmlNode) -> str | None:
    """Return the free text of a payer, its lines joined by spaces, then the structured references."""
    texts = [
        node.text.strip()
        for path in ("RmtInf/Ustrd", "RmtInf/Strd/CdtrRefInf/Ref", "RmtInf/Strd/RfrdDocInf/Nb")
        for node in part.all(path)
    ]
    return " ".join(text for text in texts if text) or part.value("AddtlTxInf")


def _kind(node: XmlNode) -> str | None:
    code = node.first("BkTxCd/Domn")
    if code is None:
        return node.value("BkTxCd/Prtry/Cd")
    words = [code.value("Cd"), code.value("Fmly/Cd"), code.value("Fmly/SubFmlyCd")]
    return "-".join(word for word in words if word)
