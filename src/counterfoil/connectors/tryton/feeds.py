"""What changed in the ERP, by polling: Tryton tells nobody.

A record's version is the moment of its last change, to the microsecond. That is the moment at which the changing
transaction *began*, so a change may become visible after later ones: each poll therefore reads the last minute
anew, and the cursor remembers which versions of that minute have been delivered, so that none comes twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from counterfoil.connectors.sdk import Delivery, Page
from counterfoil.core.errors import Misconfigured
from counterfoil.core.wire import Json, dumps

from . import books, documents, parties
from .rest import Deadline, Rest

OVERLAP = timedelta(seconds=60)
"""The longest transaction whose late commit a poll still sees; as long as the operations' horizon."""
_BATCH = 100
"""Records read at once at least: most of those read anew are known and fill no page."""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PolledModel:
    """One polled model: its records in `domain`, as `shown` tells them; `kind` is the deliveries' type."""

    model: str
    fields: tuple[str, ...]
    domain: Callable[[int], list[Any]]
    shown: Callable[[dict[str, Json]], dict[str, Json]]
    kind: Callable[[dict[str, Json]], str]


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
    """`latest` is the newest version seen; `after` is the last record of the page before, within a sweep; `seen`
    are the versions delivered within the overlap."""

    latest: datetime = _BEGINNING
    after: tuple[datetime, int] | None = None
    seen: dict[str, datetime] = {}


async def poll(
    rest: Rest, company: int, feed: PolledModel, cursor: str | None, limit: int, by: Deadline
) -> Page:
    """The next at most `limit` changes, oldest first. Raises TryAgain, Refused or Misconfigured."""
    at = _read_cursor(cursor)
    order = [["last_modified_at", "ASC"], ["id", "ASC"]]
    domain = [*feed.domain(company), _from(at)]
    batch = max(limit, _BATCH)
    records = await rest.search(feed.model, domain, feed.fields, by, order, batch)
    fresh: list[dict[str, Json]] = []
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
    moved = _Cursor(
        latest,
        (last["last_modified_at"], last["id"]) if last else None,
        {number: version for number, version in versions.items() if version >= latest - OVERLAP},
    )
    return Page([_delivery(feed, record) for record in fresh], msgspec.json.encode(moved).decode(), more)


def _from(at: _Cursor) -> list[Any]:
    if at.after is None:
        return ["last_modified_at", ">=", max(at.latest - OVERLAP, _BEGINNING)]
    version, number = at.after
    return [
        "OR",
        ["last_modified_at", ">", version],
        [["last_modified_at", "=", version], ["id", ">", number]],
    ]


def _read_cursor(cursor: str | None) -> _Cursor:
    if cursor is None:
        return _Cursor()
    try:
        return msgspec.json.decode(cursor, type=_Cursor)
    except msgspec.MsgspecError as error:
        raise Misconfigured(f"the stored cursor is not one of this feed: {error}") from error


def _delivery(feed: PolledModel, record: dict[str, Json]) -> Delivery:
    body = feed.shown(record)
    identity = dumps({"model": feed.model, "id": record["id"], "version": body["version"]})
    ext_id = f"{feed.model},{record['id']}@{body['version']}"
    return Delivery(ext_id, feed.kind(body), identity, body, record["last_modified_at"])
