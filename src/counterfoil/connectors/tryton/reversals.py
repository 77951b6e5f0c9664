"""Invoices that a credit memo takes back, in full or in part.

Tryton's own "Credit" copies the lines of the invoice and names them as their origin. A memo that a person enters by hand
takes back the invoice with the same reference. Our own credit memos have references of their own, so they take back none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from counterfoil.connectors.http import Deadline

from .document_body import MODEL, POSTED
from .rest import Record, Rest

_LINE = "account.invoice.line"
_MAX_LINES = 10_000
"""Lines of the memos of one page."""


async def with_reversals(
    rest: Rest, company: int, documents: Sequence[Record], by: Deadline
) -> Sequence[Record]:
    """Return the documents, credit memos with `reverses`: id, number and reference of an invoice, or None.

    An invoice whose cancelling entry is that of a document has `reversed_by`, the number of this document. Raises TryAgain
    or Refused.
    """
    documents = await _with_reversing(rest, company, documents, by)
    memos = [document for document in documents if document["type"] == "credit_memo"]
    if not memos:
        return documents
    originals = await _by_lines(rest, company, memos, by)
    rest_of_them = [memo for memo in memos if memo["id"] not in originals and memo["reference"]]
    if rest_of_them:
        originals |= await _by_reference(rest, company, rest_of_them, by)
    return [
        document | {"reverses": originals.get(document["id"])}
        if document["type"] == "credit_memo"
        else document
        for document in documents
    ]


async def _with_reversing(
    rest: Rest, company: int, documents: Sequence[Record], by: Deadline
) -> Sequence[Record]:
    """Return the documents, those that another document cancels with its number. An entry alone is no document."""
    moves = sorted({document["cancel_move"] for document in documents if document["cancel_move"]})
    if not moves:
        return documents
    domain = [["company", "=", company], ["type", "=", "out"], ["move.number", "in", moves]]
    rows = await rest.search(MODEL, domain, ["number", "move.number"], by)
    numbers = {row["move"]["number"]: row["number"] for row in rows}
    return [
        document | {"reversed_by": numbers[document["cancel_move"]]}
        if document["cancel_move"] in numbers
        else document
        for document in documents
    ]


async def _by_lines(rest: Rest, company: int, memos: Sequence[Record], by: Deadline) -> dict[int, Record]:
    of_company = ["company", "=", company]
    domain = [["invoice", "in", [memo["id"] for memo in memos]], ["origin", "like", f"{_LINE},%"], of_company]
    lines = await rest.search(_LINE, domain, ["invoice", "origin"], by, limit=_MAX_LINES)
    if not lines:
        return {}
    origins = {line["invoice"]: int(line["origin"].rpartition(",")[2]) for line in lines}
    sources = await rest.search(
        _LINE,
        [["id", "in", sorted(set(origins.values()))], of_company],
        ["invoice.number", "invoice.reference"],
        by,
        limit=_MAX_LINES,
    )
    invoices = {line["id"]: line["invoice"] for line in sources}
    return {memo: _named(invoices[line]) for memo, line in origins.items() if invoices.get(line)}


async def _by_reference(rest: Rest, company: int, memos: Sequence[Record], by: Deadline) -> dict[int, Record]:
    domain = [
        ["reference", "in", sorted({memo["reference"] for memo in memos})],
        ["company", "=", company],
        ["type", "=", "out"],
        ["state", "in", list(POSTED)],
        ["move", "!=", None],
    ]
    candidates = await rest.search(MODEL, domain, ["number", "reference", "total_amount"], by)
    originals = {}
    for memo in memos:
        invoices = [
            record
            for record in candidates
            if record["reference"] == memo["reference"] and record["total_amount"] > Decimal(0)
        ]
        if invoices:
            originals[memo["id"]] = _named(
                max(invoices, key=lambda r: (r["total_amount"] == -memo["total"], r["id"]))
            )
    return originals


def _named(invoice: Mapping[str, Record]) -> Record:
    return {name: invoice[name] for name in ("id", "number", "reference")}
