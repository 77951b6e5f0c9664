"""Listings of the http connector: pages of every kind over a book that changes between them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterfoil.connectors.openapi.listings import KEPT_IDS, read_page
from counterfoil.connectors.openapi.settings import ListingSettings
from counterfoil.connectors.sdk import Page
from counterfoil.core.errors import Misconfigured, Refused

KINDS: dict[str, dict[str, Any]] = {
    "whole": {},
    "page": {"page": "number", "limit": "size"},
    "offset": {"offset": "skip", "limit": "size"},
    "token": {"cursor": "after", "next": "/next", "limit": "size"},
    "item": {"cursor": "after", "next_item": "/id", "limit": "size"},
    "item without a size": {"cursor": "after", "next_item": "/id"},
}
DEFAULT_ROWS = 3


class FakeApi:
    """An API with one book. `capped` is the largest number of rows in one answer."""

    def __init__(self, rows: int, capped: int = 1000, newest_first: bool = False) -> None:
        self.rows: list[dict[str, Any]] = [{"id": f"{n:04d}", "version": 1} for n in range(1, rows + 1)]
        self.capped, self.newest_first = capped, newest_first
        self.calls = 0
        self._number = rows

    def add(self) -> str:
        self._number += 1
        self.rows.append({"id": f"{self._number:04d}", "version": 1})
        return f"{self._number:04d}"

    async def read(self, parameters: Mapping[str, Any]) -> Any:
        self.calls += 1
        rows = self.rows[::-1] if self.newest_first else self.rows
        size = min(self.capped, parameters.get("size", DEFAULT_ROWS))
        if "after" in parameters:
            rows = [row for row in rows if row["id"] > parameters["after"]]
        elif "number" in parameters:
            rows = rows[(parameters["number"] - 1) * size :]
        elif "skip" in parameters:
            rows = rows[parameters["skip"] :]
        elif "size" not in parameters and not self.paged:
            size = len(rows)
        more = len(rows) > size
        return {
            "data": [dict(row) for row in rows[:size]],
            "next": rows[:size][-1]["id"] if more else None,
        }

    paged = False


def call_of(kind: str, size: int = 100) -> ListingSettings:
    pointers = {"items": "/data", "id": "/id", "version": "/version", "type": "row"}
    return ListingSettings.model_validate({"operationId": "list", "size": size, **pointers, **KINDS[kind]})


def api_of(kind: str, *args: Any, **named: Any) -> FakeApi:
    api = FakeApi(*args, **named)
    api.paged = kind == "item without a size"
    return api


async def page_of(api: FakeApi, kind: str, cursor: str | None, limit: int, size: int) -> Page:
    return await read_page("rows", call_of(kind, size), api.read, cursor, limit)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_changes_between_pages_hide_and_repeat_nothing(kind: str, data: st.DataObject) -> None:
    newest_first = kind in ("whole", "page", "offset") and data.draw(st.booleans())
    api = api_of(kind, data.draw(st.integers(0, 12)), data.draw(st.sampled_from([2, 3, 1000])), newest_first)
    size = data.draw(st.integers(1, 5))
    steady = {row["id"] for row in api.rows}
    changed: set[str] = set()

    async def sweep() -> list[str]:
        found: list[str] = []
        cursor, more = None, True
        while more:
            limit = data.draw(st.integers(1, 4))
            page = await page_of(api, kind, cursor, limit, size)
            assert len(page.deliveries) <= limit
            assert not page.more or page.cursor != cursor
            found += [each.ext_id.split("/")[1] for each in page.deliveries]
            cursor, more = page.cursor, page.more
            for change in data.draw(st.lists(st.sampled_from(["add", "drop", "edit"]), max_size=2)):
                if change == "add" and len(api.rows) < 16:
                    changed.add(api.add())
                elif change == "drop" and len(api.rows) > 1:
                    # The last rows stay: a place from which every kept row is gone starts again.
                    gone = api.rows.pop(data.draw(st.integers(0, len(api.rows) - 1)))["id"]
                    steady.discard(gone)
                elif change == "edit" and api.rows:
                    row = data.draw(st.sampled_from(api.rows))
                    row["version"] += 1
                    changed.add(row["id"])
        return found

    found = asyncio.run(sweep())
    assert steady <= set(found)
    if not _lost_place(found, api):
        assert {id for id, count in Counter(found).items() if count > 1} <= changed


def _lost_place(found: list[str], api: FakeApi) -> bool:
    """Return True if a prefix of the sweep has no row left: it then began again, which repeats rows."""
    alive = {row["id"] for row in api.rows}
    return any(not alive & set(found[:end]) for end in range(1, len(found) + 1))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_book_is_read_once_whole(kind: str) -> None:
    api = api_of(kind, 250)
    found: list[str] = []
    cursor, more = None, True
    while more:
        page = await page_of(api, kind, cursor, 40, 50)
        found += [each.ext_id for each in page.deliveries]
        cursor, more = page.cursor, page.more
    assert found == [f"rows/{n:04d}/1" for n in range(1, 251)]


async def test_a_place_remembers_a_limited_number_of_rows() -> None:
    api = FakeApi(1000)
    cursor: str | None = None
    for _ in range(5):
        cursor = (await page_of(api, "offset", cursor, 100, 100)).cursor
    assert cursor is not None
    assert cursor.count('"') == 2 * (KEPT_IDS + 2)


async def test_a_place_without_any_of_its_rows_starts_again() -> None:
    api = FakeApi(10)
    page = await page_of(api, "page", None, 4, 4)
    del api.rows[:4]
    again = await page_of(api, "page", page.cursor, 4, 4)
    assert [each.ext_id for each in again.deliveries] == [f"rows/{n:04d}/1" for n in range(5, 9)]


async def test_a_cursor_that_does_not_move_or_cannot_be_read_is_misconfigured() -> None:
    async def stuck(parameters: Mapping[str, Any]) -> Any:
        return {"data": [{"id": "1", "version": 1}], "next": "x"}

    first = await read_page("rows", call_of("token"), stuck, None, 5)
    for cursor in (first.cursor, "nonsense", '{"at": []}'):
        with pytest.raises(Misconfigured):
            await read_page("rows", call_of("token"), stuck, cursor, 5)

    with pytest.raises(Misconfigured):
        await page_of(FakeApi(3), "offset", '{"at": "x"}', 5, 5)


@pytest.mark.parametrize("rows", [None, [{"version": 1}]])
async def test_an_answer_without_list_or_id_is_refused(rows: Any) -> None:
    async def other(parameters: Mapping[str, Any]) -> Any:
        return {"data": rows}

    with pytest.raises(Refused):
        await read_page("rows", call_of("whole"), other, None, 5)
