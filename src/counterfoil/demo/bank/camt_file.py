"""Statement of a day in the form camt.053 of ISO 20022, as a bank in Germany delivers it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, TypeAlias
from xml.etree import ElementTree as ET

from counterfoil.demo.bank.day import ClosedDay
from counterfoil.demo.bank.movements import BookedLine, MovementKind, MovementPart

CamtVersion: TypeAlias = Literal["02", "04", "08", "10"]
_CODES: Mapping[MovementKind, tuple[str, str, str]] = {
    "payout": ("PMNT", "RCDT", "ESCT"),
    "wire": ("PMNT", "RCDT", "XBCT"),
    "transfer": ("PMNT", "ICDT", "ESCT"),
    "fee": ("ACMT", "MDOP", "CHRG"),
    "return": ("PMNT", "RCDT", "RRTN"),
}


def camt_file(day: ClosedDay, version: CamtVersion = "08") -> bytes:
    """Return the statement. Versions from 08 on have the status as a code and the party in an element of its own."""
    root = ET.Element("Document", {"xmlns": f"urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}"})
    message = _add(root, "BkToCstmrStmt")
    header = _add(message, "GrpHdr")
    _add(header, "MsgId", f"{day.day:%Y%m%d}-{day.number}")
    _add(header, "CreDtTm", f"{day.day}T23:00:00Z")
    statement = _add(message, "Stmt")
    _add(statement, "Id", f"{day.account}-{day.day.year}-{day.number_of_year}")
    _add(statement, "ElctrncSeqNb", str(day.number))
    _add(statement, "LglSeqNb", str(day.number_of_year))
    _add(statement, "CreDtTm", f"{day.day}T23:00:00Z")
    account = _add(statement, "Acct")
    _add(_add(account, "Id"), "IBAN", day.account)
    _add(account, "Ccy", day.currency)
    for code, balance in (("OPBD", day.opening), ("CLBD", day.closing)):
        element = _add(statement, "Bal")
        _add(_add(_add(element, "Tp"), "CdOrPrtry"), "Cd", code)
        _add_amount(element, day, balance)
        _add_side(element, balance)
        _add(_add(element, "Dt"), "Dt", str(day.day))
    _add_summary(statement, day)
    for line in day.lines:
        _add_entry(statement, day, line, version)
    ET.indent(root)
    text: bytes = ET.tostring(root, "utf-8", xml_declaration=True)
    return text + b"\n"


def _add_summary(statement: ET.Element, day: ClosedDay) -> None:
    summary = _add(statement, "TxsSummry")
    credits = [line.movement.amount for line in day.lines if line.movement.amount >= 0]
    debits = [line.movement.amount for line in day.lines if line.movement.amount < 0]
    for name, amounts in (("TtlNtries", credits + [-one for one in debits]), ("TtlCdtNtries", credits), ("TtlDbtNtries", debits)):  # fmt: skip
        total = _add(summary, name)
        _add(total, "NbOfNtries", str(len(amounts)))
        _add(total, "Sum", day.text(sum(amounts, Decimal(0))))


def _add_entry(statement: ET.Element, day: ClosedDay, line: BookedLine, version: CamtVersion) -> None:
    movement = line.movement
    entry = _add(statement, "Ntry")
    _add(entry, "NtryRef", line.reference[-5:])
    _add_amount(entry, day, movement.amount)
    _add_side(entry, movement.amount)
    if movement.kind == "return":
        _add(entry, "RvslInd", "true")
    status = _add(entry, "Sts")
    if version in ("08", "10"):
        _add(status, "Cd", "BOOK")
    else:
        status.text = "BOOK"
    _add(_add(entry, "BookgDt"), "Dt", str(day.day))
    _add(_add(entry, "ValDt"), "Dt", str(line.value_on))
    _add(entry, "AcctSvcrRef", line.reference)
    domain = _add(_add(entry, "BkTxCd"), "Domn")
    code, family, subfamily = _CODES[movement.kind]
    _add(domain, "Cd", code)
    element = _add(domain, "Fmly")
    _add(element, "Cd", family)
    _add(element, "SubFmlyCd", subfamily)
    details = _add(entry, "NtryDtls")
    if movement.parts:
        _add(_add(details, "Btch"), "NbOfTxs", str(len(movement.parts)))
        for part in movement.parts:
            _add_part(details, day, part, version)
    else:
        _add_transaction(details, day, line, version)


def _add_transaction(details: ET.Element, day: ClosedDay, line: BookedLine, version: CamtVersion) -> None:
    movement = line.movement
    transaction = _add(details, "TxDtls")
    _add(_add(transaction, "Refs"), "EndToEndId", movement.end_to_end_id or "NOTPROVIDED")
    _add_transaction_amount(transaction, day, movement.amount + movement.charges, version)
    if movement.charges:
        charges = _add(transaction, "Chrgs")
        record = charges if version == "02" else _add(charges, "Rcrd")
        _add_amount(record, day, movement.charges)
        _add_side(record, -movement.charges)
        if version != "02":
            _add(record, "ChrgInclInd", "true")
    # The parties of a line that takes back another one are those of the first one.
    is_payer = (movement.amount >= 0) != (movement.kind == "return")
    _add_party(transaction, "Dbtr" if is_payer else "Cdtr", movement.counterparty, movement.iban, version)
    _add(_add(transaction, "RmtInf"), "Ustrd", movement.text)


def _add_part(details: ET.Element, day: ClosedDay, part: MovementPart, version: CamtVersion) -> None:
    transaction = _add(details, "TxDtls")
    references = _add(transaction, "Refs")
    _add(references, "EndToEndId", part.reference)
    _add(references, "TxId", part.reference)
    _add_transaction_amount(transaction, day, part.amount, version)
    _add_party(transaction, "Dbtr" if part.amount >= 0 else "Cdtr", part.counterparty, None, version)
    _add(_add(transaction, "RmtInf"), "Ustrd", part.text)


def _add_transaction_amount(
    transaction: ET.Element, day: ClosedDay, amount: Decimal, version: CamtVersion
) -> None:
    if version == "02":
        _add_amount(_add(_add(transaction, "AmtDtls"), "TxAmt"), day, amount)
    else:
        _add_amount(transaction, day, amount)
        _add_side(transaction, amount)


def _add_party(
    transaction: ET.Element, role: str, name: str | None, iban: str | None, version: CamtVersion
) -> None:
    if name is None and iban is None:
        return
    parties = _add(transaction, "RltdPties")
    if name is not None:
        party = _add(parties, role)
        _add(_add(party, "Pty") if version in ("08", "10") else party, "Nm", name)
    if iban is not None:
        _add(_add(_add(parties, f"{role}Acct"), "Id"), "IBAN", iban)


def _add(parent: ET.Element, tag: str, text: str | None = None) -> ET.Element:
    element = ET.SubElement(parent, tag)
    element.text = text
    return element


def _add_amount(parent: ET.Element, day: ClosedDay, amount: Decimal) -> None:
    _add(parent, "Amt", day.text(amount)).set("Ccy", day.currency)


def _add_side(parent: ET.Element, amount: Decimal) -> None:
    _add(parent, "CdtDbtInd", "CRDT" if amount >= 0 else "DBIT")
