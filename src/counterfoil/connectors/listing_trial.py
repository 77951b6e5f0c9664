"""Checks of the conformance suite for connectors that list the books of their system.

They read each book several times, in pages of two and in one large page, with a change between two pages.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from counterfoil.connectors.sdk import Connector, Delivery, ListingConnector, Page
from counterfoil.connectors.single_trial import has_float
from counterfoil.connectors.trial import Trial
from counterfoil.core.errors import Misconfigured

SMALL_PAGE, LARGE_PAGE = 2, 200
_MAX_PAGES = 1000

ReadPage = Callable[[str | None, int], Awaitable[Page]]
"""Reads the page of a feed or of a listing, from its cursor and the number of deliveries in it."""


async def try_listing(trial: Trial, connector: ListingConnector, listing: str) -> None:
    """Check that a book is listed whole, once, resumably, and in the deliveries of the feed with its name."""

    def read(cursor: str | None, limit: int) -> Awaitable[Page]:
        return connector.list_book(listing, cursor, limit, trial.samples.timeout)

    try:
        if trial.samples.touch is not None:
            for _ in range(3):
                await trial.samples.touch()
        await _check_order(trial, listing, read)
        await _check_changes(trial, listing, read)
        if listing in trial.connector.feeds:
            await _check_feed(trial, trial.connector, listing, read)
    except Exception as error:
        trial.record("a book can be listed", listing, False, repr(error))
    await _check_unknown(trial, connector, listing)


async def _check_order(trial: Trial, listing: str, read: ReadPage) -> None:
    """Check that pages of any size show the same records in the same order, each once, also from an old cursor."""
    small, cursors = await _sweep(trial, listing, read, SMALL_PAGE)
    ids = _ids(small)
    trial.record("a book has records", listing, bool(ids), "the listing is empty")
    trial.record("a listing returns nothing twice", listing, len(set(ids)) == len(ids), ids)
    trial.record("a listing has no floats", listing, not has_float([each.body for each in small]))
    large, _ = await _sweep(trial, listing, read, LARGE_PAGE)
    trial.record("pages of any size list the same", listing, _ids(large) == ids, _ids(large))
    if len(cursors) > 1:
        again = await read(cursors[0], SMALL_PAGE)
        expected = await read(None, SMALL_PAGE)
        resumed, _ = await _sweep(trial, listing, read, SMALL_PAGE, cursors[0])
        rest = ids[len(expected.deliveries) :]
        trial.record("a cursor resumes a listing", listing, _ids(resumed) == rest, _ids(resumed))
        repeated = _ids(again.deliveries) == _ids(resumed)[: len(again.deliveries)]
        trial.record("the same cursor lists the same", listing, repeated, again)


async def _check_changes(trial: Trial, listing: str, read: ReadPage) -> None:
    """Check that a change between two pages hides no record that was unchanged, and repeats none."""
    if trial.samples.touch is None:
        trial.record("a listing can be tried", listing, False, "the samples have no touch")
        return
    before, _ = await _sweep(trial, listing, read, LARGE_PAGE)
    page = await read(None, SMALL_PAGE)
    await trial.samples.touch()
    during = list(page.deliveries)
    if page.more:
        during += (await _sweep(trial, listing, read, SMALL_PAGE, page.cursor))[0]
    after, _ = await _sweep(trial, listing, read, LARGE_PAGE)
    ids = _ids(during)
    hidden = set(_ids(before)) & set(_ids(after)) - set(ids)
    trial.record("a change between pages hides nothing", listing, not hidden, hidden)
    trial.record("a change between pages repeats nothing", listing, len(set(ids)) == len(ids), ids)


async def _check_feed(trial: Trial, connector: Connector, listing: str, read: ReadPage) -> None:
    """Check that a listing with the name of a feed makes that feed's deliveries, so that a known one is a repeat."""
    listed, _ = await _sweep(trial, listing, read, LARGE_PAGE)

    async def poll(cursor: str | None, limit: int) -> Page:
        return await connector.poll(listing, cursor, limit, trial.samples.timeout)

    polled = {each.ext_id: each for each in (await _sweep(trial, listing, poll, LARGE_PAGE))[0]}
    other = [each for each in listed if polled.get(each.ext_id) != each]
    trial.record("a listing makes the deliveries of its feed", listing, not other, other[:1])


async def _check_unknown(trial: Trial, connector: ListingConnector, listing: str) -> None:
    check = "an unknown listing or cursor is misconfigured"
    for name, cursor in ((f"{listing}?", None), (listing, "\x00")):
        try:
            page = await connector.list_book(name, cursor, SMALL_PAGE, trial.samples.timeout)
            trial.record(check, listing, False, f"answered {page}")
        except Misconfigured:
            trial.record(check, listing, True)
        except Exception as error:
            trial.record(check, listing, False, f"raised {error!r}")


async def _sweep(
    trial: Trial, where: str, read: ReadPage, limit: int, cursor: str | None = None
) -> tuple[list[Delivery], list[str]]:
    """Return all deliveries from a cursor, and the cursor after each page but the last. Raises ValueError if it does not end."""
    deliveries: list[Delivery] = []
    cursors: list[str] = []
    for _ in range(_MAX_PAGES):
        page = await read(cursor, limit)
        if len(page.deliveries) > limit:
            trial.record("a page respects its limit", where, False, f"{len(page.deliveries)} for {limit}")
        deliveries += page.deliveries
        if not page.more:
            return deliveries, cursors
        if page.cursor == cursor:
            raise ValueError("a page says that there is more, but its cursor did not move")
        cursor = page.cursor
        cursors.append(cursor)
    raise ValueError(f"a sweep did not end within {_MAX_PAGES} pages of {limit}")


def _ids(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.ext_id for delivery in deliveries]
