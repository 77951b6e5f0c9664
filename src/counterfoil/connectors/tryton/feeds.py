"""Feeds of the ERP, by polling: Tryton sends no webhooks.

The version of a record is the time of its last change, to the microsecond: the *start* of the changing transaction. So a
change may become visible after later ones. Each poll therefore reads the last minute again, and the cursor holds the
versions of that minute that were delivered, so that none is delivered twice.

A poll first reads ids and versions only, because most records of the last minute were delivered before.

Each feed is a book too, listed by ascending id. Ids are never used again, so a page continues after the last id.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import msgspec

from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import Delivery, Page
from counterfoil.core.clock import EPOCH
from counterfoil.core.errors import Misconfigured
from counterfoil.core.wire import dumps

from . import books, entry_body, parties
from .document_body import FIELDS, MODEL, POSTED, bodies_of
from .moves import MOVE
from .rest import Record, Rest
from .reversals import with_reversals
from .settings import TrytonSettings

OVERLAP = timedelta(seconds=60)
"""Longest transaction whose late commit a poll still finds: the horizon of the operations."""
_HEAD = ("last_modified_at",)
_BATCH_ROWS = 100
"""Minimum number of records per read: most records of the last minute were delivered and do not fill a page."""


Bodies: TypeAlias = Callable[[Rest, int, Sequence[Record], Deadline], Awaitable[Sequence[Record]]]
"""Function that returns the bodies of a page of records, in order. It may read what other records say about them."""


@dataclass(frozen=True, slots=True)
class PolledModel:
    """Polled model of Tryton: records in `domain`, in the form of `bodies`. `kind` is the type of a delivery, one of `types`."""

    model: str
    fields: tuple[str, ...]
    domain: Callable[[TrytonSettings], list[Any]]
    bodies: Bodies
    kind: Callable[[Record], str]
    types: tuple[str, ...]


async def _documents(rest: Rest, company: int, records: Sequence[Record], by: Deadline) -> Sequence[Record]:
    return await with_reversals(rest, company, await bodies_of(rest, company, records, by), by)


def _each(body_of: Callable[[Record], Record]) -> Bodies:
    """Return the bodies of records that need no other records."""

    async def bodies(
        _rest: Rest, _company: int, records: Sequence[Record], _by: Deadline
    ) -> Sequence[Record]:
        return [body_of(record) for record in records]

    return bodies


FEEDS = {
    "invoices": PolledModel(
        MODEL,
        FIELDS,
        lambda settings: [
            ["company", "=", settings.company],
            ["type", "=", "out"],
            ["state", "in", list(POSTED)],
            ["move", "!=", None],
        ],
        _documents,
        lambda body: str(body["type"]),
        ("invoice", "credit_memo"),
    ),
    "parties": PolledModel(
        "party.party",
        parties.FIELDS,
        lambda settings: [["active", "in", [True, False]]],
        _each(parties.party_of),
        lambda body: "party",
        ("party",),
    ),
    "periods": PolledModel(
        "account.period",
        books.PERIOD_FIELDS,
        lambda settings: [["company", "=", settings.company]],
        _each(books.period_of),
        lambda body: "period",
        ("period",),
    ),
    "entries": PolledModel(
        MOVE,
        entry_body.FIELDS,
        lambda settings: [
            ["company", "=", settings.company],
            ["state", "=", "posted"],
            [
                "OR",
                ["lines.account.code", "in", list(settings.cash_accounts)],
                # Entries by hand on receivables, and what takes them back. Those of documents have a document as origin.
                [
                    ["lines.account.code", "=", settings.receivable],
                    ["OR", ["origin", "=", None], ["origin.origin", "=", None, MOVE]],
                ],
                # Entries with a reference of ours, which begins their description.
                ["description", "like", "[%]%"],
            ],
        ],
        entry_body.entry_bodies,
        lambda body: "entry",
        ("entry",),
    ),
}


class _Cursor(msgspec.Struct, frozen=True):
    """Cursor of a feed. `latest` is the newest version; `after` is the last record of the previous page in a sweep; `seen`
    holds the versions delivered within the overlap."""

    latest: datetime = EPOCH
    after: tuple[datetime, int] | None = None
    seen: dict[str, datetime] = {}


async def poll(
    rest: Rest, settings: TrytonSettings, feed: PolledModel, cursor: str | None, limit: int, by: Deadline
) -> Page:
    """Return the next changes, at most `limit`, oldest first. Raises TryAgain, Refused or Misconfigured."""
    at = _read_cursor(cursor)
    order = [["last_modified_at", "ASC"], ["id", "ASC"]]
    domain = [*feed.domain(settings), _from(at)]
    batch = max(limit, _BATCH_ROWS)
    heads = await rest.search(feed.model, domain, _HEAD, by, order, batch)
    numbers: list[int] = []
    passed = 0
    for head in heads:
        if len(numbers) == limit:
            break
        passed += 1
        if at.seen.get(str(head["id"])) != head["last_modified_at"]:
            numbers.append(head["id"])
    fresh = await _records(rest, settings, feed, numbers, by)
    versions = at.seen | {str(record["id"]): record["last_modified_at"] for record in fresh}
    latest = max([at.latest, *versions.values()])
    more = passed < len(heads) or len(heads) >= batch
    last = heads[passed - 1] if more else None
    next_cursor = _Cursor(
        latest,
        (last["last_modified_at"], last["id"]) if last else None,
        {number: version for number, version in versions.items() if version >= latest - OVERLAP},
    )
    bodies = await feed.bodies(rest, settings.company, fresh, by)
    deliveries = [_delivery(feed, record, body) for record, body in zip(fresh, bodies, strict=True)]
    return Page(deliveries, msgspec.json.encode(next_cursor).decode(), more)


async def list_book(
    rest: Rest, settings: TrytonSettings, feed: PolledModel, cursor: str | None, limit: int, by: Deadline
) -> Page:
    """Return the next records, at most `limit`, by ascending id, as `poll` delivers their present versions.

    Raises TryAgain, Refused or Misconfigured.
    """
    try:
        after = 0 if cursor is None else int(cursor)
    except ValueError as error:
        raise Misconfigured(f"the stored cursor of this listing cannot be read: {error}") from error
    records = await rest.search(
        feed.model, [*feed.domain(settings), ["id", ">", after]], feed.fields, by, limit=limit
    )
    bodies = await feed.bodies(rest, settings.company, records, by)
    deliveries = [_delivery(feed, record, body) for record, body in zip(records, bodies, strict=True)]
    return Page(deliveries, str(records[-1]["id"] if records else after), len(records) == limit)


async def _records(
    rest: Rest, settings: TrytonSettings, feed: PolledModel, numbers: Sequence[int], by: Deadline
) -> list[Record]:
    """Return the records of a page in the order of `numbers`. A record that was removed meanwhile is left out."""
    if not numbers:
        return []
    domain = [*feed.domain(settings), ["id", "in", list(numbers)]]
    records = await rest.search(feed.model, domain, feed.fields, by, limit=len(numbers))
    by_number = {record["id"]: record for record in records}
    return [by_number[number] for number in numbers if number in by_number]


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
