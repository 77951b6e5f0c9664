"""Invoices and memos as results of operations and as deliveries: amounts, lines and taxes as they are booked.

The amounts of a document in a foreign currency are also shown as its entry has them, in the currency of the company, with
the rate that the ERP records for its date. Only such documents need further reads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from counterfoil.connectors.http import Deadline

from .rates import recorded_rates
from .rest import Record, Rest, day, version

MODEL = "account.invoice"
POSTED = ("posted", "paid", "cancelled")

FIELDS = (
    "number", "reference", "description", "state", "type", "company.currency.code", "currency.code", "currency.rounding",
    "untaxed_amount", "tax_amount", "total_amount", "amount_to_pay", "invoice_date", "journal.code", "account",
    "move.number", "move.date", "move.period.name", "party.code", "last_modified_at", "cancel_move.number", "reconciled",
    "payment_lines.debit", "payment_lines.credit", "payment_lines.amount_second_currency",
    "payment_lines.second_currency.code", "payment_lines.move.number", "payment_lines.move.description",
)  # fmt: skip


_LINE = "account.invoice.line"
_TAX = "account.invoice.tax"


async def bodies_of(rest: Rest, company: int, records: Sequence[Record], by: Deadline) -> list[Record]:
    """Return the documents of one company as results of operations, in order. Raises TryAgain or Refused."""
    if not records:
        return []
    lines = await _lines(rest, company, records, by)
    taxes = await _taxes(rest, company, records, by)
    further = await _in_company_currency(rest, company, records, by)
    return [
        _body(record)
        | {"lines": lines[record["id"]], "taxes": taxes[record["id"]]}
        | further.get(record["id"], {"functional": None, "rate": None})
        for record in records
    ]


def _body(record: Record) -> Record:
    """Return a document as the result of operations. Amounts have the sign of the document: negative for a credit memo."""
    move = record["move"] or {}
    total = record["total_amount"]
    state = _state(record)
    allocations = [_allocation(line) for line in record["payment_lines"]]
    open_amount = record["amount_to_pay"] if state == "posted" else Decimal(0)
    if state == "posted" != record["state"]:
        # The ERP computes no open amount for a state that was written by hand.
        open_amount = total - sum((allocation["amount"] for allocation in allocations), Decimal(0))
    return {
        "id": record["id"],
        "company": record["company"]["id"],
        "type": "credit_memo" if total < 0 else "invoice",
        "number": record["number"],
        "reference": record["reference"],
        "description": record["description"],
        "state": state,
        "currency": record["currency"]["code"],
        "untaxed": record["untaxed_amount"],
        "tax": record["tax_amount"],
        "total": total,
        "amount_to_pay": open_amount,
        "applied": total - open_amount if state in ("posted", "paid") else Decimal(0),
        "invoice_date": day(record["invoice_date"]),
        "posting_date": day(move.get("date")),
        "period": (move.get("period") or {}).get("name"),
        "party": record["party"]["id"],
        "party_code": record["party"]["code"],
        "journal": (record["journal"] or {}).get("code"),
        "move": move.get("number"),
        "cancel_move": (record["cancel_move"] or {}).get("number"),
        "allocations": allocations,
        "version": version(record),
    }


def _state(record: Record) -> str:
    """Return the state by the lines: the REST interface lets an accountant write it without a change of the ledger."""
    state = str(record["state"])
    if not record["move"] or state not in POSTED or (state == "cancelled" and record["cancel_move"]):
        return state
    return "paid" if record["reconciled"] else "posted"


def _allocation(line: Record) -> Record:
    """Return a payment or an applied credit. A positive `amount` reduces an invoice, a negative one a credit memo."""
    if line["second_currency"]:
        amount = -line["amount_second_currency"]
    else:
        amount = line["credit"] - line["debit"]
    return {"move": line["move"]["number"], "text": line["move"]["description"], "amount": amount}


async def _lines(
    rest: Rest, company: int, documents: Sequence[Record], by: Deadline
) -> Mapping[int, list[Record]]:
    """Return the lines of each document by its id: account, net amount and description.

    The ERP computes the amount of a line when it is read, which takes it longer than all other fields together. So the
    net is computed here as there. Where the nets are not the ERP's untaxed amount, its own amounts are read.
    """
    rounding = {document["id"]: document["currency"]["rounding"] for document in documents}
    domain = [["invoice", "in", list(rounding)], ["type", "=", "line"], ["company", "=", company]]
    fields = ["invoice", "account.code", "quantity", "unit_price", "description"]
    lines: dict[int, list[Record]] = defaultdict(list)
    for line in await rest.search_all(_LINE, domain, fields, by):
        net = line_amount(line["quantity"], line["unit_price"], rounding[line["invoice"]])
        lines[line["invoice"]].append(
            {
                "id": line["id"],
                "account": (line["account"] or {}).get("code"),
                "net": net,
                "description": line["description"],
            }
        )
    other = [
        line["id"]
        for document in documents
        if sum((line["net"] for line in lines[document["id"]]), Decimal(0)) != document["untaxed_amount"]
        for line in lines[document["id"]]
    ]
    amounts: dict[int, Decimal] = {}
    if other:
        of_lines = [["id", "in", other], ["company", "=", company]]
        amounts = {
            line["id"]: line["amount"] for line in await rest.search_all(_LINE, of_lines, ["amount"], by)
        }
    for of_document in lines.values():
        for line in of_document:
            line["net"] = amounts.get(line.pop("id"), line["net"])
    return lines


def line_amount(quantity: Decimal | int | None, unit_price: Decimal | None, rounding: Decimal) -> Decimal:
    """Return the amount of a customer's line as Tryton computes it, rounded half to even to its currency."""
    amount = Decimal(quantity or 0) * (unit_price or Decimal(0))
    return (amount / rounding).quantize(Decimal(1), ROUND_HALF_EVEN) * rounding


async def _taxes(
    rest: Rest, company: int, documents: Sequence[Record], by: Deadline
) -> Mapping[int, list[Record]]:
    """Return the tax rows of each document by its id. `code` is the name of the ERP's tax; a row without a tax has none."""
    numbers = [document["id"] for document in documents]
    domain = [["invoice", "in", numbers], ["invoice.company", "=", company]]
    fields = ["invoice", "tax.name", "account.code", "base", "amount", "description"]
    rows: dict[int, list[Record]] = defaultdict(list)
    for row in await rest.search_all(_TAX, domain, fields, by):
        rows[row["invoice"]].append(
            {
                "code": (row["tax"] or {}).get("name"),
                "description": row["description"],
                "account": row["account"]["code"],
                "base": row["base"],
                "amount": row["amount"],
            }
        )
    return rows


async def _in_company_currency(
    rest: Rest, company: int, documents: Sequence[Record], by: Deadline
) -> Mapping[int, Record]:
    """Return `functional` and `rate` of each posted document in a foreign currency, by its id."""
    foreign = [
        document
        for document in documents
        if document["move"] and document["currency"]["id"] != document["company"]["currency"]["id"]
    ]
    if not foreign:
        return {}
    functional = await _functional(rest, company, foreign, by)
    currencies = {document["currency"]["id"] for document in foreign}
    own = foreign[0]["company"]["currency"]["id"]
    days = [document["invoice_date"] for document in foreign]
    rates = await recorded_rates(rest, {*currencies, own}, min(days), max(days), by)
    return {
        document["id"]: {
            "functional": functional[document["id"]],
            "rate": rates.between(document["currency"]["id"], own, document["invoice_date"]),
        }
        for document in foreign
    }


async def _functional(
    rest: Rest, company: int, documents: Sequence[Record], by: Deadline
) -> Mapping[int, Record]:
    """Return the amounts of each document in company currency by its id, from its entry in the ledger.

    Each line of an entry is converted and rounded alone. `rounding` is what the total then exceeds its parts by, which
    the ERP books on the account for exchange differences.
    """
    moves = [document["move"]["id"] for document in documents]
    domain = [["move", "in", moves], ["move.company", "=", company]]
    lines: dict[int, list[Record]] = defaultdict(list)
    for line in await rest.search_all(
        "account.move.line", domain, ["move", "account", "origin", "debit", "credit"], by
    ):
        lines[line["move"]].append(line)
    amounts = {}
    for document in documents:
        entry = lines[document["move"]["id"]]
        untaxed = _credited(entry, f"{_LINE},")
        tax = _credited(entry, f"{_TAX},")
        receivable = [line for line in entry if line["account"] == document["account"] and not line["origin"]]
        total = sum((line["debit"] - line["credit"] for line in receivable), Decimal(0))
        amounts[document["id"]] = {
            "currency": document["company"]["currency"]["code"],
            "untaxed": untaxed,
            "tax": tax,
            "total": total,
            "rounding": total - untaxed - tax,
        }
    return amounts


def _credited(entry: Sequence[Record], origin: str) -> Decimal:
    """Return credit less debit of the lines of an entry that come from records of one model."""
    return sum(
        (line["credit"] - line["debit"] for line in entry if (line["origin"] or "").startswith(origin)),
        Decimal(0),
    )
