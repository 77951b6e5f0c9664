"""Match rows as known at a time: the SQL reads give what the pure assembly needs, on both databases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from counterfoil.core.approval import Approval
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.money import Money
from counterfoil.store.port.as_of import AsOf, KnownMatches, settle_as_of
from counterfoil.store.port.documents import DecideMatch, Pair, RebuildDocuments, Unpair, covers_of, seen_of
from counterfoil.store.port.views import ItemFilter, ListFilter
from tests.contract.store import samples as s

Open = Callable[[str], Awaitable[Any]]


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, places: Open) -> Any:
    return await places(request.param)


FOIL = Foil(
    id="foil_1", rule="r", key="K", document="INV", version=1, object="invoice", left="billing", right="erp",
    legs={"gross": Money(100, "USD")}, due=s.T0 + timedelta(days=9), cause="e1", created_at=s.T0, known_from=s.T0,
)  # fmt: skip
ITEM = Observation(
    id="obs_1", rule="r", key="X", document="BILL", version=1, system="erp", legs={"gross": Money(100, "USD")},
    event="e2", since=s.T0, at=s.T0,
)  # fmt: skip


def hour(number: int) -> Any:
    return s.T0 + timedelta(hours=number)


async def write(store: Any, at: int, *rows: Foil | Observation) -> None:
    foils = tuple(replace(r, known_from=hour(at)) for r in rows if isinstance(r, Foil))
    items = tuple(replace(r, at=hour(at)) for r in rows if isinstance(r, Observation))
    await store.apply(RebuildDocuments(foils=foils, observations=items, at=hour(at)))


async def decide(store: Any, at: int, kind: type[Pair] | type[Unpair]) -> None:
    foil, item = await store.foil("foil_1"), await store.observation("obs_1")
    decision = kind(foil=foil.id, observation=item.id, seen=seen_of(foil, item), note="", person="fay")
    approval = Approval(
        id=f"appr_{at}", run="", path="pair", policy="", subject=str(at), covers=covers_of(decision), amount=None,
        roles=(), quorum=1, requester="fay", expires=hour(99), created_at=hour(at), automatic=True,
    )  # fmt: skip
    assert await store.apply(DecideMatch(decision=decision, approval=approval, at=hour(at))) == "done"


async def states(store: Any, at: int, **which: Any) -> dict[str, str]:
    rows = await store.matches_known(KnownMatches(known=hour(at), **which))
    settled = [settle_as_of(row, AsOf(hour(at))) for row in rows]
    return {r.document: str(r.state) for match in settled for r in (*match.foils, *match.observations)}


LEFT = {"side": "left", "documents": (("r", "INV"),)}
RIGHT = {"side": "right", "documents": (("r", "BILL"),)}


async def test_versions_are_those_of_the_time(store: Any) -> None:
    await write(store, 1, FOIL)
    await write(store, 3, replace(FOIL, version=2, key="L", cause="e3"))
    await write(store, 4, replace(ITEM, key="K"))
    assert await states(store, 0, **LEFT) == {}
    assert await states(store, 2, **LEFT) == {"INV": "open"}
    assert await states(store, 2, side="left", key="K") == {"INV": "open"}
    assert await states(store, 3, side="left", key="K") == {}
    assert await states(store, 3, side="left", key="L") == {"INV": "open"}
    assert await states(store, 4, **RIGHT) == {"BILL": "over"}  # an assertion that left the match stood on it
    assert (await store.observation("obs_1")).state == "over"


async def test_a_pair_of_a_person_joins_two_matches_while_it_holds(store: Any) -> None:
    await write(store, 1, FOIL, ITEM)
    await decide(store, 3, Pair)
    await decide(store, 5, Unpair)
    for which in (LEFT, RIGHT):
        assert (await states(store, 4, **which)) == {"INV": "matched", "BILL": "paired"}
    for at in (2, 5):
        assert await states(store, at, **LEFT) == {"INV": "open"}
        assert await states(store, at, **RIGHT) == {"BILL": "unmatched"}
    assert await states(store, 4, side="right", key="X") == {}


async def test_lists_select_by_reconciliation_and_in_every_state(store: Any) -> None:
    await write(store, 1, FOIL, replace(ITEM, key="K"))
    assert [f.id for f in (await store.foils(ListFilter(rule="r")))[0]] == ["foil_1"]
    assert (await store.foils(ListFilter(rule="other")))[0] == []
    assert (await store.unmatched(ItemFilter()))[0] == []
    assert [o.id for o in (await store.observations(ItemFilter(system="erp")))[0]] == ["obs_1"]
    assert await store.item_cases(["obs_1"], hour(9)) == {}
