"""Reading of a book page by page, so that changes between two pages hide no row.

A page by cursor goes on where the API says. Pages by number or offset are counted from the beginning, so that a deleted row
moves all rows after it. Each page therefore begins at the last rows that were returned, and looks for them where they are now.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from counterfoil.connectors.openapi import answers
from counterfoil.connectors.openapi.render import MISSING, value_at
from counterfoil.connectors.openapi.settings import ListingSettings
from counterfoil.connectors.sdk import Json, Page
from counterfoil.core.errors import Misconfigured

KEPT_IDS = 200
"""Rows last returned that a place remembers: it is lost only if all of them are deleted between two pages."""

ReadDocument = Callable[[Mapping[str, Json]], Awaitable[Json]]
"""Returns the answer to a call with these parameters. Raises TryAgain, Refused, Uncertain or Misconfigured."""


class ListingPlace(msgspec.Struct, frozen=True):
    """Place in a book. `at` is the API's cursor, the number of a page from 0, or an offset; `last` the rows last returned."""

    at: str | int = 0
    last: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: str | None) -> ListingPlace:
        """Return the place of a text from `write`. Raises Misconfigured for another text."""
        try:
            return cls() if text is None else msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as error:
            raise Misconfigured(f"the stored cursor cannot be read: {error}") from error

    def write(self) -> str:
        return msgspec.json.encode(self).decode()


async def read_page(
    name: str, call: ListingSettings, read: ReadDocument, cursor: str | None, limit: int
) -> Page:
    """Return the next deliveries, at most `limit`. Raises what `read` raises, Refused and Misconfigured."""
    place = ListingPlace.read(cursor)
    reading = _Reading(name, call, read, place, limit)
    return await (reading.by_cursor() if call.cursor is not None else reading.by_position())


@dataclass(frozen=True, slots=True)
class _Reading:
    name: str
    call: ListingSettings
    read: ReadDocument
    place: ListingPlace
    limit: int

    async def by_cursor(self) -> Page:
        call, at = self.call, self.place.at
        parameters: dict[str, Json] = {str(call.cursor): at} if at else {}
        if call.limit is not None:
            parameters[call.limit] = min(self.limit, call.size)
        document = await self.read(parameters)
        items = self._items(document)
        fresh = self._without(items, self.place.last)
        if len(fresh) > self.limit:
            returned = (*self.place.last, *map(self._id, fresh[: self.limit]))
            return self._page(fresh[: self.limit], ListingPlace(at, returned))
        following = _following(call, document, items)
        if following is None:
            return self._page(fresh, self.place, more=False)
        if following == at:
            raise Misconfigured(f"listing {self.name}: the page after {at!r} has the same cursor")
        return self._page(fresh, ListingPlace(following))

    async def by_position(self) -> Page:
        at, last = self.place.at, self.place.last
        if isinstance(at, str):
            raise Misconfigured(f"the stored cursor cannot be read: {at!r} is no position")
        items = await self._window(at)
        start = -1
        if last:
            at, items, start = await self._find_last(at, items)
        while items and self._has_pages and not self._without(items[start + 1 :], last):
            at, start = self._next(at, items), -1
            items = await self._window(at)
        fresh = self._without(items[start + 1 :], last)[: self.limit]
        if not fresh:
            return self._page((), self.place, more=False)
        ids = list(map(self._id, fresh))
        if self.call.offset is not None:
            at += list(map(self._id, items)).index(ids[-1])
        return self._page(fresh, ListingPlace(at, (*last, *ids)[-KEPT_IDS:]))

    async def _find_last(self, at: int, items: Sequence[Json]) -> tuple[int, Sequence[Json], int]:
        """Return the window with the last row that was returned, and its index: here, else before, else after.

        The beginning of the book and -1, if none of the kept rows is in it any more.
        """
        if (index := self._index(items)) >= 0 or not self._has_pages:
            return at, items, index
        before = at
        while before > 0:
            before = max(0, before - (1 if self.call.offset is None else self.call.size))
            window = await self._window(before)
            if (index := self._index(window)) >= 0:
                return before, window, index
        while items:
            at = self._next(at, items)
            items = await self._window(at)
            if (index := self._index(items)) >= 0:
                return at, items, index
        return 0, await self._window(0), -1

    @property
    def _has_pages(self) -> bool:
        return self.call.page is not None or self.call.offset is not None

    async def _window(self, at: int) -> Sequence[Json]:
        """Return a page by its number from 0, or the rows from an offset; the whole book if it has no pages."""
        call = self.call
        parameters: dict[str, Json] = {}
        if call.page is not None:
            parameters[call.page] = call.first_page + at
        elif call.offset is not None:
            parameters[call.offset] = at
        if call.limit is not None:
            parameters[call.limit] = call.size
        return self._items(await self.read(parameters))

    def _next(self, at: int, items: Sequence[Json]) -> int:
        return at + (1 if self.call.offset is None else len(items))

    def _index(self, items: Sequence[Json]) -> int:
        return max((n for n, item in enumerate(items) if self._id(item) in self.place.last), default=-1)

    def _items(self, document: Json) -> Sequence[Json]:
        return answers.items_of(self.call, document)

    def _id(self, item: Json) -> str:
        return answers.required_text(item, self.call.id)

    def _without(self, items: Sequence[Json], ids: Collection[str]) -> list[Json]:
        return [item for item in items if self._id(item) not in ids]

    def _page(self, items: Sequence[Json], place: ListingPlace, more: bool = True) -> Page:
        deliveries = [answers.delivery_of(self.name, self.call, item) for item in items]
        return Page(deliveries, place.write(), more)


def _following(call: ListingSettings, document: Json, items: Sequence[Json]) -> str | None:
    """Return the cursor of the next page, or None after the last page."""
    if call.next is not None:
        value = value_at(document, call.next)
        return None if value is MISSING or value in (None, "", False) else str(value)
    return answers.required_text(items[-1], call.next_item or "") if items else None
