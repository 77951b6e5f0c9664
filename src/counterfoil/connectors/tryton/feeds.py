"""Feeds of the ERP, by polling: Tryton sends no webhooks.

The version of a record is the time of its last change, to the microsecond: the *start* of the changing transaction. So a
change may become visible after later ones. Each poll therefore reads the last minute again, and the cursor holds the
versions of that minute that were delivered, so that none is delivered twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import Delivery, Page
from counterfoil.core.clock import EPOCH
from counterfoil.core.errors import Misconfigured
from counterfoil.core.wire import dumps

from . import books, documents, parties, reversals
from .rest import Record, Rest

OVERLAP = timedelta(seconds=60)
"""Longest transaction whose late commit a poll still finds: the horizon of the operations."""
_BATCH_ROWS = 100
"""Minimum number of records per read: most records of the last minute were delivered and do not fill a page."""


async def _complete(rest: Rest, company: int, bodies: Sequence[Record], by: Deadline) -> Sequence[Record]:
    return bodies


@dataclass(frozen=True, slots=True)
class PolledModel:
    """Polled model of Tryton: records in `domain`, in the form of `shown`. `kind` is the type of their deliveries."""

    model: str
    fields: tuple[str, ...]
    domain: Callable[[int], list[Any]]
    shown: Callable[[Record], Record]
    kind: Callable[[Record], str]
    completed: Callable[[Rest, int, Sequence[Record], Deadline], Awaitable[Sequence[Record]]] = _complete
    """Adds what other records say about those of a page."""


FEEDS = {
    "invoices": PolledModel(
        documents.MODEL,
        documents.FIELDS,
        lambda company: [
            ["company", "=", company],
            ["type", "=", "out"],
            ["state", "in", list(documents.POSTED)],
            ["move", "!=", None],
        ],
        documents.document_of,
        lambda body: str(body["type"]),
        reversals.with_reversals,
    ),
    "parties": PolledModel(
        "party.party",
        parties.FIELDS,
        lambda company: [["active", "in", [True, False]]],
        parties.party_of,
        lambda body: "party",
    ),
    "periods": PolledModel(
        "account.period",
        books.PERIOD_FIELDS,
        lambda company: [["company", "=", company]],
        books.period_of,
        lambda body: "period",
    ),
}


class _Cursor(msgspec.Struct, frozen=True):
    """Cursor of a feed. `latest` is the newest version; `after` is the last record of the previous page in a sweep; `seen`
    holds the versions delivered within the overlap."""

    latest: datetime = EPOCH
    after: tuple[datetime, int] | None = None
    seen: dict[str, datetime] = {}


async def poll(
    rest: Rest, company: int, feed: PolledModel, cursor: str | None, limit: int, by: Deadline
) -> Page:
    """Return the next changes, at most `limit`, oldest first. Raises TryAgain, Refused or Misconfigured."""
    at = _read_cursor(cursor)
    order = [["last_modified_at", "ASC"], ["id", "ASC"]]
    domain = [*feed.domain(company), _from(at)]
    batch = max(limit, _BATCH_ROWS)
    records = await rest.search(feed.model, domain, feed.fields, by, order, batch)
    fresh: list[Record] = []
    passed = 0
    for record in records:
        if len(fresh) == limit:
            break
        passed += 1
        if at.seen.get(str(record["id"])) != record["last_modified_at"]:
            fresh.append(record)
    versions = at.seen | {str(record["id"]): record["last_modified_at"] for record in fresh}
    latest = max([at.latest, *versions.values()])
    more = passed < len(records) or len(records) >= batch
    last = records[passed - 1] if more else None
    next_cursor = _Cursor(
        latest,
        (last["last_modified_at"], last["id"]) if last else None,
        {number: version for number, version in versions.items() if version >= latest - OVERLAP},
    )
    bodies = await feed.completed(rest, company, [feed.shown(record) for record in fresh], by)
    deliveries = [_delivery(feed, record, body) for record, body in zip(fresh, bodies, strict=True)]
    return Page(deliveries, msgspec.json.encode(next_cursor).decode(), more)


def _from(at: _Cursor) -> list[Any]:
    if at.after is None:
        return ["last_modified_at", ">=", max(at.latest - OVERLAP, EPOCH)]
    version, number = at.after
    same_time = [["last_modified_at", "=", version], ["id", ">", number]]
    return ["OR", ["last_modified_at", ">", version], same_time]


def _read_cursor(cursor: str | None) -> _Cursor:
    if cursor is None:
        return _Cursor()
    try:
        return msgspec.json.decode(cursor, type=_Cursor)
    except msgspec.MsgspecError as error:
        raise Misconfigured(f"the stored cursor of this feed cannot be read: {error}") from error


def _delivery(feed: PolledModel, record: Record, body: Record) -> Delivery:
    identity = dumps({"model": feed.model, "id": record["id"], "version": body["version"]})
    ext_id = f"{feed.model},{record['id']}@{body['version']}"
    return Delivery(ext_id, feed.kind(body), identity, body, record["last_modified_at"])
