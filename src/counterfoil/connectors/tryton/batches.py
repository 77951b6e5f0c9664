"""Posting of several documents in one call, which takes the ERP much less time than one call for each.

The ERP posts a batch in one transaction: one refused document makes all fail. Then nothing is posted, and the halves are
tried, down to single documents, which get the answer of a single posting.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from counterfoil.connectors.http import Deadline
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain, Uncertain, log_text

from .document_body import FIELDS, MODEL, bodies_of
from .documents import ErpDocuments, check, draft_of
from .inputs import DocumentInput
from .rest import Record, Rest
from .rpc import Rpc

log = logging.getLogger(__name__)

MAX_BATCH_DOCUMENTS = 10
"""Maximum number of documents in one call. A larger batch saves little: on Tryton 8.0 with SQLite a document takes 540 ms
alone, 205 ms in a batch of ten and 185 ms in a batch of twenty-five, and the ERP serves no other caller meanwhile."""

Failure: TypeAlias = Refused | TryAgain | Uncertain | Misconfigured
PostResult: TypeAlias = Record | Failure
"""Result for one document; errors as `ErpDocuments.post` raises them."""


@dataclass(slots=True, eq=False)
class _Item:
    document: DocumentInput
    negative: bool
    values: dict[str, Any] = field(default_factory=dict)
    number: int = 0
    result: PostResult | None = None


class Batches:
    def __init__(self, rest: Rest, rpc: Rpc, documents: ErpDocuments, company: int) -> None:
        self._rest = rest
        self._company = company
        self._rpc = rpc
        self._documents = documents

    async def post(self, documents: Sequence[tuple[DocumentInput, bool]], by: Deadline) -> list[PostResult]:
        """Post documents, each with a flag for negative amounts. Return one result each, in order."""
        items = [_Item(document, negative) for document, negative in documents]
        first = {item.document.reference: item for item in reversed(items)}
        firsts = list(first.values())
        try:
            existing = await self._documents.by_references(list(first), by)
        except (Refused, TryAgain, Misconfigured) as error:
            _all(firsts, error)
        else:
            if existing is not None:
                await self._create(await self._missing(firsts, existing, by), by)
        for item in items:
            leader = first[item.document.reference]
            if leader is not item and isinstance(leader.result, TryAgain | Uncertain):
                message = f"the outcome of an earlier request for {item.document.reference} is unknown"
                item.result = TryAgain(message)
            elif item.result is None:
                item.result = await self._alone(item, by)
        return [item.result for item in items if item.result is not None]

    async def _missing(
        self, items: Sequence[_Item], existing: Mapping[str, Sequence[Record]], by: Deadline
    ) -> list[_Item]:
        """Return the items to create. A draft of an earlier attempt is updated alone, later."""
        missing = []
        for item in items:
            try:
                check(item.document, item.negative)
                if draft_of(item.document, existing[item.document.reference]) is None:
                    item.values = await self._documents.values(item.document, by)
                    missing.append(item)
            except (Refused, TryAgain, Misconfigured) as error:
                item.result = error
        return missing

    async def _create(self, items: list[_Item], by: Deadline) -> None:
        if len(items) < 2 or not self._rpc.usable:
            return  # `post` then posts them alone
        try:
            numbers = await self._rest.create_many(MODEL, [item.values for item in items], by)
        except Refused:
            for half in _halves(items):
                await self._create(half, by)
        except (TryAgain, Uncertain, Misconfigured) as error:
            _all(items, error)
        else:
            for item, number in zip(items, numbers, strict=True):
                item.number = number
            await self._post(items, by)

    async def _post(self, items: list[_Item], by: Deadline) -> None:
        if len(items) == 1:
            items[0].result = await self._alone(items[0], by)
            return
        try:
            await self._rpc.press(MODEL, "post", [item.number for item in items], by)
        except Refused as error:
            # Without the right to post, a half would fail as well.
            unauthorized = error.error_class is ErrorClass.UNAUTHORIZED
            if unauthorized:
                log.warning("documents are posted one at a time: %s", log_text(error))
            for part in [[item] for item in items] if unauthorized else _halves(items):
                await self._post(part, by)
        except (TryAgain, Uncertain, Misconfigured) as error:
            _all(items, error)
        else:
            await self._read_back(items, by)

    async def _read_back(self, items: list[_Item], by: Deadline) -> None:
        domain = [["id", "in", [item.number for item in items]], ["company", "=", self._company]]
        try:
            rows = await self._rest.search(MODEL, domain, FIELDS, by, limit=len(items) + 1)
            bodies = await bodies_of(self._rest, self._company, rows, by)
        except (TryAgain, Refused, Misconfigured) as error:
            _all(items, Uncertain(f"{len(items)} documents are posted but could not be read back: {error}"))
            return
        documents = {body["id"]: body for body in bodies}
        for item in items:
            body = documents.get(item.number)
            if body is None or body["reference"] != item.document.reference:
                item.result = Uncertain(f"{item.document.reference} is posted but could not be read back")
            else:
                item.result = body

    async def _alone(self, item: _Item, by: Deadline) -> PostResult:
        try:
            if item.number:
                return await self._documents.finish(item.number, item.document, item.values, by)
            return await self._documents.post(item.document, item.negative, by)
        except (Refused, TryAgain, Uncertain, Misconfigured) as error:
            return error


def _halves(items: list[_Item]) -> tuple[list[_Item], list[_Item]]:
    middle = len(items) // 2
    return items[:middle], items[middle:]


def _all(items: Sequence[_Item], error: Failure) -> None:
    for item in items:
        item.result = error
