"""Books of an account as deliveries: each object as the events that would bring about its present state.

A listing has no ids of events, so an event from here is named after the object and what it says: `invoice/in_1/paid/1700000000`.
Milestones (finalized, paid, voided, ...) have the time that the object shows. Objects have no time of their last change, so an
`updated` event is named after a digest of the object, and has the time of the account's newest event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import Delivery, Json, Page
from counterfoil.connectors.stripe.client import StripeClient
from counterfoil.connectors.stripe.documents import moment
from counterfoil.connectors.stripe.milestones import BillingBook
from counterfoil.core.errors import ErrorClass, Refused
from counterfoil.core.wire import dumps

MAX_ROWS = 100
"""Maximum number of objects in one answer."""


class BookCursor(msgspec.Struct, frozen=True):
    """Place in a book, which is listed newest first.

    `after` is the last object that was returned whole, `created` its second, and `passed` all objects of that second so far.
    `returned` are the events of the next object that were returned already.
    """

    after: str = ""
    created: int = 0
    passed: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: str | None) -> BookCursor:
        """Return the cursor of a text from `write`. Raises ValueError for another text."""
        return cls() if text is None else msgspec.json.decode(text, type=cls)

    def write(self) -> str:
        return msgspec.json.encode(self).decode()

    def past(self, row: Json) -> BookCursor:
        same = self.passed if row["created"] == self.created else ()
        return BookCursor(row["id"], row["created"], (*same, row["id"]))


async def read_page(
    client: StripeClient, book: BillingBook, account: str, cursor: BookCursor, limit: int, by: Deadline
) -> Page:
    """Return at most `limit` deliveries of the next objects, at most one answer of them.

    Raises TryAgain, Refused or Misconfigured.
    """
    # Read before the list, so that what changes later has a later event.
    present = await _newest_event(client, by) if book.has_states else 0
    rows, more = await _rows_after(client, book, cursor, min(limit, MAX_ROWS), by)
    deliveries: list[Delivery] = []
    for row in rows:
        fresh = [
            delivery
            for delivery in deliveries_of(book, row, present, account)
            if delivery.ext_id not in cursor.returned
        ]
        room = limit - len(deliveries)
        deliveries += fresh[:room]
        if len(fresh) > room:
            returned = (*cursor.returned, *(delivery.ext_id for delivery in fresh[:room]))
            cursor = BookCursor(cursor.after, cursor.created, cursor.passed, returned)
            return Page(deliveries, cursor.write(), more=True)
        cursor = cursor.past(row)
    return Page(deliveries, cursor.write(), more)


def deliveries_of(book: BillingBook, row: Json, present: int, account: str) -> list[Delivery]:
    """Return an object as deliveries. `present` is the time of a present state in seconds since 1970."""
    deliveries = []
    milestones = list(book.milestones(row))
    if book.expanded and isinstance(part := row.get(book.expanded), dict):
        row = {**row, book.expanded: part["id"]}
    for milestone in milestones:
        type, name, at = milestone
        created = max(present, row["created"]) if at is None else at
        mark = _digest(row, book.volatile) if at is None else str(at)
        ext_id = f"{row['object']}/{row['id']}/{name}/{mark}"
        event = {
            "id": ext_id, "object": "event", "type": type, "created": created, "livemode": row.get("livemode"),
            "data": {"object": row}, **({"account": account} if account else {}),
        }  # fmt: skip
        # The object goes on changing after a milestone: no content, so that the same milestone is a repeat.
        identity = f"{ext_id}\n{type}\n{row['id']}".encode()
        deliveries.append(Delivery(ext_id, type, identity, event, moment(created)))
    return deliveries


def _digest(row: Mapping[str, Json], volatile: frozenset[str]) -> str:
    state = {name: value for name, value in row.items() if name not in volatile}
    return hashlib.sha256(dumps(state)).hexdigest()[:20]


async def _newest_event(client: StripeClient, by: Deadline) -> int:
    """Return the time of the newest event by the vendor's clock, in seconds since 1970; 0 if it has none any more."""
    events: Sequence[Json] = (await client.get("/v1/events", "list", {"limit": "1"}, by))["data"]
    return int(events[0]["created"]) if events else 0


async def _rows_after(
    client: StripeClient, book: BillingBook, cursor: BookCursor, rows: int, by: Deadline
) -> tuple[list[Json], bool]:
    """Return the next objects, and whether there are more."""
    query = {**book.query, "limit": str(rows)}
    if not cursor.after:
        return await _list(client, book, query, by)
    try:
        return await _list(client, book, {**query, "starting_after": cursor.after}, by)
    except Refused as error:
        if error.error_class is not ErrorClass.NOT_FOUND or not book.deletes:
            raise
    # The last object was deleted: go on at its second, without what was returned.
    query = {**query, "created[lte]": str(cursor.created)}
    while True:
        page, more = await _list(client, book, query, by)
        fresh = [row for row in page if row["id"] not in cursor.passed]
        if fresh or not more:
            return fresh, more
        query["starting_after"] = page[-1]["id"]


async def _list(
    client: StripeClient, book: BillingBook, query: Mapping[str, str], by: Deadline
) -> tuple[list[Json], bool]:
    page = await client.get(book.path, "list", query, by)
    return page["data"], bool(page.get("has_more")) and bool(page["data"])
