"""Lists in the order of a column, page by page: no row is left out or listed twice, whatever comes in between."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from counterfoil.core.money import Money
from counterfoil.store.port.views import ItemFilter, ListFilter, ListSort
from tests.contract.store import samples as s
from tests.contract.store.test_documents import admitted

AMOUNTS = (500, -900, 500, 0, 100, 500)
DAYS = (3, 1, 2, 2, 9, 2)


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, places: s.Places) -> Any:
    """Memory has no lists."""
    return await places(request.param)


async def _documents(store: Any) -> None:
    for number, (minor, days) in enumerate(zip(AMOUNTS, DAYS, strict=True)):
        legs: dict[str, Any] = {"gross": Money(minor, "USD")} if minor else {"units": 3}
        foil = s.foil(f"foil-{number}", f"k-{number}")
        foil = replace(foil, legs=legs, due=foil.due + timedelta(days=days))
        item = replace(s.observation(f"obs-{number}", f"x-{number}"), legs=legs)
        await admitted(store, str(number), foils=(foil,), observations=(item,))


async def _pages(read: Any, page: Any, between: Any = None) -> list[str]:
    """Return the ids of all pages."""
    ids: list[str] = []
    while True:
        rows, cursor = await read(page)
        ids += [getattr(row, "item", row).id for row in rows]
        if cursor is None:
            return ids
        if between is not None:
            await between()
            between = None
        page = replace(page, cursor=cursor)


@pytest.mark.parametrize("limit", [1, 2, 4, 50])
async def test_pages_of_every_order_have_each_row_once(store: Any, limit: int) -> None:
    await _documents(store)
    sizes = {f"foil-{n}": abs(minor) for n, minor in enumerate(AMOUNTS)}
    days = {f"foil-{n}": day for n, day in enumerate(DAYS)}
    expected: dict[ListSort, list[str]] = {
        "amount": sorted(sizes, key=lambda id_: (sizes[id_], id_)),
        "-amount": sorted(sizes, key=lambda id_: (sizes[id_], id_), reverse=True),
        "due": sorted(days, key=lambda id_: (days[id_], id_)),
        "-due": sorted(days, key=lambda id_: (days[id_], id_), reverse=True),
    }
    for sort, ids in expected.items():
        assert await _pages(store.foils, ListFilter(limit=limit, sort=sort)) == ids, sort
    newest = await _pages(store.foils, ListFilter(limit=limit))
    assert await _pages(store.foils, ListFilter(limit=limit, sort="created")) == newest[::-1]
    largest = [id_.replace("foil", "obs") for id_ in expected["-amount"]]
    assert await _pages(store.unmatched, ItemFilter(limit=limit, sort="-amount")) == largest


async def test_a_row_that_comes_between_two_pages_moves_no_other(store: Any) -> None:
    await _documents(store)

    async def come() -> None:
        foil = replace(s.foil("foil-new", "k-new"), legs={"gross": Money(10_000, "USD")})
        await admitted(store, "new", foils=(foil,))

    ids = await _pages(store.foils, ListFilter(limit=2, sort="-amount"), come)
    assert sorted(ids) == [f"foil-{n}" for n in range(len(AMOUNTS))]


async def test_a_cursor_of_another_order_is_refused(store: Any) -> None:
    await _documents(store)
    _, cursor = await store.foils(ListFilter(limit=2, sort="due"))
    with pytest.raises(ValueError, match="another order"):
        await store.foils(ListFilter(limit=2, sort="-due", cursor=cursor))
