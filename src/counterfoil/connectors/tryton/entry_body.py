"""Entries of the general ledger as results of operations and as deliveries."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

from counterfoil.connectors.http import Deadline
from counterfoil.core.errors import ErrorClass, Refused

from .moves import LINE, MOVE, functional, nominal, total
from .rest import Record, Rest, day, version

FIELDS = (
    "number", "state", "date", "description", "origin", "period.name", "company.currency.code", "last_modified_at",
)  # fmt: skip
_LINE_FIELDS = (
    "move", "account.code", "party.code", "debit", "credit", "amount_second_currency", "second_currency.code",
    "invoice_payment.reference", "invoice_payment.number", "description",
)  # fmt: skip
_MARK = re.compile(r"\[([^\]]+)\](?: |$)")
EXCHANGE_FIELDS = ("currency_exchange_debit_account", "currency_exchange_credit_account")
"""Accounts of the ERP's configuration for exchange differences: losses, then gains."""


def described(reference: str, description: str) -> str:
    """Return the description of an entry with our reference. It cannot change after the posting."""
    return f"[{reference}] {description}".strip()


def reference_of(description: str | None) -> str | None:
    """Return our reference in a description, or None."""
    match = _MARK.match(description or "")
    return match[1] if match else None


async def exchange_accounts(rest: Rest, by: Deadline) -> tuple[Record | None, Record | None]:
    """Return id and code of the accounts for exchange losses and gains. Raises TryAgain or Refused."""
    fields = [f"{name}.code" for name in EXCHANGE_FIELDS]
    (configuration,) = await rest.search("account.configuration", [], fields, by, limit=1)
    losses, gains = (configuration[name] for name in EXCHANGE_FIELDS)
    return losses, gains


async def exchange_account(rest: Rest, difference: Decimal, by: Deadline) -> int:
    """Return the account of a loss (positive) or gain. Raises Refused(INVALID) if the ERP has none, or TryAgain."""
    losses, gains = await exchange_accounts(rest, by)
    account = losses if difference > 0 else gains
    if account is None:
        message = "the ERP has no account for exchange differences in its configuration"
        raise Refused(message, ErrorClass.INVALID, "no_exchange_account")
    return int(account["id"])


async def entry_bodies(rest: Rest, company: int, records: Sequence[Record], by: Deadline) -> list[Record]:
    """Return entries of one company as results of operations, in order. Raises TryAgain or Refused."""
    if not records:
        return []
    of_company = ["move.company", "=", company]
    domain = [["move", "in", [record["id"] for record in records]], of_company]
    lines: dict[int, list[Record]] = defaultdict(list)
    for line in await rest.search_all(LINE, domain, _LINE_FIELDS, by):
        lines[line["move"]].append(line)
    reversed_entries = await _reversed(rest, company, records, by)
    exchange: set[str] = set()
    if any(_foreign(of_move) for of_move in lines.values()):
        exchange = {account["code"] for account in await exchange_accounts(rest, by) if account}
    return [_body(record, lines[record["id"]], reversed_entries, exchange) for record in records]


async def _reversed(rest: Rest, company: int, records: Sequence[Record], by: Deadline) -> dict[str, Record]:
    """Return the entries that the records take back, by the text of the origin."""
    origins = {record["origin"] for record in records if (record["origin"] or "").startswith(f"{MOVE},")}
    if not origins:
        return {}
    numbers = sorted(int(origin.rpartition(",")[2]) for origin in origins)
    domain = [["id", "in", numbers], ["company", "=", company]]
    entries = await rest.search_all(MOVE, domain, ["number", "description"], by)
    return {f"{MOVE},{entry['id']}": entry for entry in entries}


def _body(
    record: Record, lines: Sequence[Record], reversed_entries: dict[str, Record], exchange: set[str]
) -> Record:
    own = record["company"]["currency"]["code"]
    foreign = _foreign(lines)
    differences = [
        line for line in lines if not line["second_currency"] and line["account"]["code"] in exchange
    ]
    reference = reference_of(record["description"])
    is_marked = reference is not None
    origin = reversed_entries.get(record["origin"] or "")
    reverses = None
    if origin is not None:
        reverses = reference_of(origin["description"]) or origin["number"]
        if reverses == reference:
            # The ERP's own cancellation copies the description of the entry.
            reference = None
    return {
        "id": record["id"],
        "type": "entry",
        "number": record["number"],
        "state": record["state"],
        "date": day(record["date"]),
        "period": record["period"]["name"],
        "reference": reference,
        "description": _text(record["description"] or ""),
        "origin": None if origin is not None else record["origin"],
        "reverses": reverses,
        "reversed_number": None if origin is None else origin["number"],
        "currency": next(iter(foreign)) if len(foreign) == 1 else own,
        "lines": [_line(line, own, is_marked) for line in lines],
        "exchange_difference": total(differences) if foreign else Decimal(0),
        "version": version(record),
    }


def _text(description: str) -> str:
    match = _MARK.match(description)
    return description[match.end() :] if match else description


def _line(line: Record, own: str, ours: bool) -> Record:
    link = line["invoice_payment"] or {}
    # A later payment of the invoice removes the links to payments that were returned, and a person may change its
    # reference. The text of our lines stays.
    text = line["description"] if ours and line["party"] else None
    return {
        "account": line["account"]["code"],
        "amount": nominal(line),
        "currency": line["second_currency"]["code"] if line["second_currency"] else own,
        "functional": functional(line),
        "party": (line["party"] or {}).get("code"),
        "document": text or link.get("reference") or link.get("number"),
        "text": line["description"] if ours and not line["party"] else None,
    }


def _foreign(lines: Sequence[Record]) -> set[str]:
    return {line["second_currency"]["code"] for line in lines if line["second_currency"]}
