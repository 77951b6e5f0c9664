"""Several documents that a person pairs by one decision, all at once or none, on all stores."""

from __future__ import annotations

from typing import Any

import pytest

from counterfoil.core.approval import ApprovalState
from counterfoil.core.matching import FoilState
from counterfoil.core.terms import Shape, Terms
from counterfoil.store.port.documents import PairGroup, pair_group
from tests.contract.store import samples as s
from tests.contract.store.test_documents import admitted, foil, holds, item

PARTS = (5000, 4000, 3000)


async def apart(store: Any, shape: Shape = "1:n", foils: int = 1) -> None:
    """One foil over 120.00, or several that come to it, and three items that come to it, each under a key of its own."""
    terms = Terms(shape=shape)
    minors = (12000,) if foils == 1 else (9000, 3000)
    lefts = tuple(
        s.foil(f"foil_{n}", minor=minor, version=1, terms=terms) for n, minor in enumerate(minors, 1)
    )
    rights = tuple(
        s.observation(f"obs_{n}", f"cm-{n + 1}", minor, terms=terms) for n, minor in enumerate(PARTS, 1)
    )
    await admitted(store, "e1", foils=lefts, observations=rights)


async def group(store: Any, foils: int = 1, items: int = 3) -> PairGroup:
    lefts = [await foil(store, f"foil_{n}") for n in range(1, foils + 1)]
    rights = [await item(store, f"obs_{n}") for n in range(1, items + 1)]
    return pair_group(reversed(lefts), reversed(rights), "one payment in parts", "ann")


async def test_several_items_answer_one_foil_at_once(store: Any) -> None:
    await apart(store)
    assert await store.apply(s.decide(await group(store))) == "done"
    dump = await store.dump()
    assert (await foil(store)).state is FoilState.MATCHED
    assert {(o.state, o.key) for o in dump.observations} == {("paired", "cm-1")}
    assert [leaf.kind for _, leaf in dump.leaves].count("match.pair") == 3
    assert (len(dump.pairings), len(dump.approvals)) == (3, 1)
    await holds(store)


async def test_several_items_answer_several_foils_of_one_key(store: Any) -> None:
    await apart(store, "n:m", foils=2)
    assert await store.apply(s.decide(await group(store, foils=2))) == "done"
    dump = await store.dump()
    assert {f.state for f in dump.foils} == {FoilState.MATCHED}
    assert len(dump.pairings) == 6
    await holds(store)


async def test_a_document_that_changed_refuses_the_whole_group(store: Any) -> None:
    await apart(store)
    decision = await group(store)
    changed = s.observation("obs_3", "cm-4", 2999, version=2, terms=Terms(shape="1:n"))
    await admitted(store, "e2", s.at(1), observations=(changed,))
    assert await store.apply(s.decide(decision, when=s.at(2))) == "changed"
    dump = await store.dump()
    assert (dump.pairings, dump.approvals) == ([], [])
    assert {o.state for o in dump.observations} == {"unmatched"}
    (refused,) = [leaf for _, leaf in dump.leaves if leaf.kind == "decision.refused"]
    assert b'"pair_group"' in refused.body


async def test_a_pair_that_holds_already_refuses_the_whole_group(store: Any) -> None:
    await apart(store)
    await store.apply(s.decide(s.pair(await foil(store), await item(store))))
    assert await store.apply(s.decide(await group(store), when=s.at(1))) == "settled"
    assert len((await store.dump()).pairings) == 1


@pytest.mark.parametrize(
    ("shape", "foils", "items"), [("1:1", 1, 2), ("1:1", 2, 1), ("1:n", 2, 1), ("n:1", 1, 2), ("n:1", 2, 2)]
)
async def test_the_shape_refuses_groups_that_it_does_not_pair(
    store: Any, shape: Shape, foils: int, items: int
) -> None:
    await apart(store, shape, foils)
    assert await store.apply(s.decide(await group(store, foils, items))) == "shape"
    assert (await store.dump()).pairings == []


async def test_foils_of_several_matches_are_no_group(store: Any) -> None:
    terms = Terms(shape="n:1")
    foils = (s.foil(minor=5000, terms=terms), s.foil("foil_2", "cm-9", 7000, terms=terms))
    await admitted(store, "e1", foils=foils, observations=(s.observation(key="cm-2", terms=terms),))
    assert await store.apply(s.decide(await group(store, 2, 1))) == "keys"
    assert (await store.dump()).pairings == []


async def test_one_approval_decides_about_all_of_them(store: Any) -> None:
    await apart(store)
    await store.apply(s.put_person(s.person("bob")))
    request = s.decide(await group(store), automatic=False, expires=s.at(90_000))
    assert await store.apply(request) == "requested"
    single = s.decide(s.pair(await foil(store), await item(store, "obs_2")), "apr_single", automatic=False)
    assert await store.apply(single) == "requested"
    assert (await foil(store)).state is FoilState.OPEN
    row = request.approval
    vote = await store.apply(s.vote(row.id, "bob", True, subject=row.subject, at=s.at(1)))
    assert vote.verdict == "granted"
    assert (await foil(store)).state is FoilState.MATCHED
    states = {a.id: a.state for a in (await store.dump()).approvals}
    assert states == {row.id: ApprovalState.GRANTED, "apr_single": ApprovalState.STALE}
    await holds(store)
