"""A reversal stands on the match of what it reverses: on all stores, on both sides, whichever is known first."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import permutations
from random import Random
from typing import Any

import apsw
import asyncpg
import pytest
from msgspec.structs import replace

from counterfoil.core.document import Side
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.foil_versions import Withdrawal
from counterfoil.core.matching import FoilState
from counterfoil.rules.match_history import _read, _versions, judge_history
from counterfoil.store.port.documents import RebuildDocuments
from counterfoil.store.sql.migrate import migrations
from counterfoil.store.sql.sqlite import SqliteStore
from tests.contract.store import samples as s
from tests.contract.store.test_documents import admitted, foil, holds, item
from tests.contract.store.test_histories import RULE, Player, rules_of

SIDES: tuple[Side, ...] = ("left", "right")
GROUPS = 8
"""Histories that share no name, played at once."""
TIMES = 10
DUE = "2030-01-01T00:00:00Z"


def document(side: Side, name: str, key: str, minor: int = 2000, **more: Any) -> Foil | Observation:
    if side == "left":
        return s.foil(name, key, minor, **more)
    return s.observation(name, key, minor, document=name, **more)


async def known(store: Any, *rows: Foil | Observation, when: int = 0) -> None:
    """Admit each document by an event of its own, in this order."""
    for n, row in enumerate(rows):
        side = "foils" if isinstance(row, Foil) else "observations"
        await admitted(store, f"{row.document}-{row.version}-{when}", s.at(when + n), **{side: (row,)})


async def keys(store: Any, side: Side) -> dict[str, tuple[str, str]]:
    """Return the match of each document, and its own key where that is another one."""
    dump = await store.dump()
    rows = dump.foils if side == "left" else dump.observations
    return {row.document: (row.key, row.own_key) for row in rows}


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)], ids=str)
async def test_a_document_reversed_and_posted_again_is_matched(store: Any, order: tuple[int, ...]) -> None:
    rows = [
        s.foil(minor=2000),
        document("right", "posted", "cm-1"),
        document("right", "reversal", "zzz", -2000, reverses="posted"),
        document("right", "again", "cm-1"),
    ]
    await known(store, *(rows[n] for n in order))
    assert (await foil(store)).state is FoilState.MATCHED
    assert {row.state for row in (await store.dump()).observations} == {"paired"}
    assert (await keys(store, "right"))["reversal"] == ("cm-1", "zzz")
    await holds(store)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=str)
async def test_an_assertion_that_a_document_reverses_owes_nothing(store: Any, order: tuple[int, ...]) -> None:
    reversal = document("left", "foil_2", "zzz", -2000, reverses="foil_1")
    rows = [document("left", "foil_1", "cm-1"), reversal]
    await known(store, *(rows[n] for n in order))
    assert {f.state for f in (await store.dump()).foils} == {FoilState.REVERSED}
    # Nothing was asserted under the key of the reversal, by no version of it.
    await known(store, replace(reversal, version=2), document("right", "x", "zzz"), when=9)
    assert (await item(store, "x")).state == "unmatched"
    await holds(store)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
async def test_a_reversal_of_a_reversal_follows_the_first_original(
    store: Any, side: Side, order: tuple[int, ...]
) -> None:
    rows = [
        document(side, "first", "cm-1"),
        document(side, "second", "b", -2000, reverses="first"),
        document(side, "third", "c", reverses="second"),
    ]
    await known(store, *(rows[n] for n in order))
    assert await keys(store, side) == {"first": ("cm-1", ""), "second": ("cm-1", "b"), "third": ("cm-1", "c")}
    await known(store, document(side, "first", "cm-9", version=2), when=9)
    assert await keys(store, side) == {"first": ("cm-9", ""), "second": ("cm-9", "b"), "third": ("cm-9", "c")}
    await holds(store)


@pytest.mark.parametrize("side", SIDES)
async def test_a_newer_version_changes_and_drops_what_it_reverses(store: Any, side: Side) -> None:
    await known(
        store,
        document(side, "first", "cm-1"),
        document(side, "other", "cm-2"),
        document(side, "reversal", "zzz", -2000, reverses="first"),
    )
    changed = document(side, "reversal", "yyy", -2000, reverses="other", version=2)
    await known(store, changed, when=9)
    assert (await keys(store, side))["reversal"] == ("cm-2", "yyy")
    await known(store, replace(changed, reverses="", version=3), when=19)
    assert (await keys(store, side))["reversal"] == ("yyy", "")
    await holds(store)


@pytest.mark.parametrize("side", SIDES)
async def test_a_withdrawn_reversal_stays_and_moves_with_its_original(store: Any, side: Side) -> None:
    reversal = document(side, "reversal", "zzz", -2000, reverses="first")
    await known(store, reversal, document(side, "first", "cm-1"))
    gone = Withdrawal(side=side, rule="credits", document="reversal", version=2, cause="gone")
    await admitted(store, "gone", s.at(9), withdrawals=(gone,))
    assert (await keys(store, side))["reversal"] == ("cm-1", "zzz")
    await known(store, document(side, "first", "cm-9", version=2), when=19)
    assert (await keys(store, side))["reversal"] == ("cm-9", "zzz")
    await holds(store)


@pytest.mark.parametrize("side", SIDES)
async def test_documents_that_reverse_themselves_or_one_another_do_not_hang(store: Any, side: Side) -> None:
    await known(
        store,
        document(side, "self", "k", reverses="self"),
        document(side, "a", "k", reverses="b"),
        document(side, "b", "k", -2000, reverses="a"),
    )
    assert await keys(store, side) == dict.fromkeys(("self", "a", "b"), ("k", ""))
    await holds(store)


async def test_a_reversal_follows_a_pair_of_its_original_and_its_end(store: Any) -> None:
    await known(
        store,
        s.foil(minor=2000),
        document("right", "reversal", "zzz", -2000, reverses="posted"),
        document("right", "posted", "cm-2"),
    )
    pair = s.pair(await foil(store), await item(store, "posted"))
    assert await store.apply(s.decide(pair, when=s.at(9))) == "done"
    assert await keys(store, "right") == {"posted": ("cm-1", "cm-2"), "reversal": ("cm-1", "zzz")}
    await holds(store)
    end = s.unpair(await foil(store), await item(store, "posted"))
    assert await store.apply(s.decide(end, when=s.at(19))) == "done"
    assert await keys(store, "right") == {"posted": ("cm-2", ""), "reversal": ("cm-2", "zzz")}
    await holds(store)


async def test_a_pair_of_a_reversal_overrides_what_it_reverses(store: Any) -> None:
    await known(
        store,
        s.foil(minor=-2000),
        document("right", "posted", "cm-2"),
        document("right", "reversal", "zzz", -2000, reverses="posted"),
    )
    pair = s.pair(await foil(store), await item(store, "reversal"))
    assert await store.apply(s.decide(pair, when=s.at(9))) == "done"
    assert (await keys(store, "right"))["reversal"] == ("cm-1", "zzz")
    await known(store, document("right", "posted", "cm-3", version=2), when=19)
    assert (await keys(store, "right"))["reversal"] == ("cm-1", "zzz")
    end = s.unpair(await foil(store), await item(store, "reversal"))
    assert await store.apply(s.decide(end, when=s.at(29))) == "done"
    assert (await keys(store, "right"))["reversal"] == ("cm-3", "zzz")
    await holds(store)


async def test_a_paired_observation_follows_a_reversal_of_the_left_side(store: Any) -> None:
    await known(
        store,
        document("left", "reversal", "zzz", -2000, reverses="first"),
        document("right", "shown", "cm-7", -2000),
    )
    pair = s.pair(await foil(store, "reversal"), await item(store, "shown"))
    assert await store.apply(s.decide(pair, when=s.at(9))) == "done"
    await known(store, document("left", "first", "cm-1"), when=19)
    assert (await keys(store, "left"))["reversal"] == ("cm-1", "zzz")
    assert await keys(store, "right") == {"shown": ("cm-1", "cm-7")}
    await holds(store)


@pytest.mark.parametrize("side", SIDES)
async def test_a_reversal_finds_its_original_by_its_new_name(store: Any, side: Side) -> None:
    reversal = document(side, "reversal", "zzz", -2000, reverses="new")
    original = document(side, "old", "cm-1")
    await known(store, reversal, original)
    assert (await keys(store, side))["reversal"] == ("zzz", "")
    if side == "left":
        cause = (await foil(store, "old")).cause
        again = RebuildDocuments(foils=(replace(original, document="new", cause=cause),), at=s.at(9))
    else:
        cause = (await item(store, "old")).event
        again = RebuildDocuments(observations=(replace(original, document="new", event=cause),), at=s.at(9))
    await store.apply(again)
    assert await keys(store, side) == {"new": ("cm-1", ""), "reversal": ("cm-1", "zzz")}
    await holds(store)


async def run(store: Any, statement: str) -> None:
    if isinstance(store, SqliteStore):
        apsw.Connection(str(store.path)).execute(statement)
        return
    connection = await asyncpg.connect(store._dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_the_upgrade_reads_from_former_versions_what_they_reverse(places: s.Places, kind: Any) -> None:
    store = await places(kind)
    await known(
        store,
        document("left", "first", "cm-1"),
        document("left", "second", "zzz", -2000, reverses='fir"st'),
        document("right", "third", "zzz", reverses="first"),
    )
    before = (await store.dump()).versions
    await run(store, "update document_version set reverses = ''")
    (upgrade,) = (file for file in migrations(kind) if file.number == 20)
    await run(store, upgrade.statements[-1])
    assert (await store.dump()).versions == before
    assert {v.reverses for v in before} == {"", 'fir"st', "first"}


# ------------------------------------------------------------------ any history


def any_history(pick: Random) -> dict[str, Any]:
    """Return documents of both sides that reverse one another in every way, their versions in any order of arrival."""
    documents: list[dict[str, Any]] = []
    pairings = []
    for group in range(GROUPS):
        for side in SIDES:
            names = [f"{side[0]}{group}-{n}" for n in range(pick.randint(1, 4))]
            for n, name in enumerate(names):
                amount = pick.choice((10, 10, 20))
                for version in range(1, pick.choice((2, 2, 3))):
                    others = names[:n] if pick.random() < 0.8 else [*names, f"gone{group}"]
                    original = pick.choice(["", *others])
                    documents.append({
                        "side": side, "document": name, "version": version, "currency": "USD",
                        "key": f"k{group}-{pick.randint(1, 3)}", "reverses": original or None,
                        "legs": {"total": amount * (-1 if n % 2 else 1)}, "due": DUE,
                    })  # fmt: skip
        if pick.random() < 0.5:
            pairings.append((f"l{group}-0", f"r{group}-0"))
    pick.shuffle(documents)
    for n, row in enumerate(documents):
        row["at"] = (s.T0 + timedelta(minutes=n)).isoformat()
    shape = pick.choice(("1:1", "n:m"))
    history = {"legs": {"total": {"kind": "sum", "total": True}}, "shape": shape, "documents": documents}
    return history | {"pairings": [list(pair) for pair in pairings]}


@pytest.mark.parametrize("ends_pairs", [False, True], ids=["pairs", "unpaired"])
@pytest.mark.parametrize("seed", [0, 100, 109])
async def test_any_history_ends_as_without_a_store(store: Any, seed: int, ends_pairs: bool) -> None:
    history = any_history(Random(seed))
    file = _read(history)
    now = max(d.at for d in file.documents)
    await (player := Player(store, history)).play(now, _versions(rules_of(history), file.documents))
    if ends_pairs:
        dump = await store.dump()
        for pairing in dump.pairings:
            parts = await store.foil(pairing.foil), await store.observation(pairing.observation)
            now += timedelta(minutes=1)
            assert await store.apply(s.decide(s.unpair(*parts), when=now)) == "done"
        history |= {"pairings": [], "now": now.isoformat()}
    expected = judge_history(history)
    foils = {f["document"]: (f["key"], f["state"]) for f in expected["foils"]}
    items = {o["document"]: (o["key"], o["state"]) for o in expected["unmatched"]}
    dump = await store.dump()
    assert {f.document: (f.key, str(f.state)) for f in dump.foils} == foils
    surplus = [o for o in dump.observations if o.state in ("over", "unmatched")]
    assert {o.document: (o.key, o.state) for o in surplus} == items
    assert {row.rule for row in dump.foils} <= {RULE}
    # The same from the history that the store keeps.
    then = await player.states(now)
    assert {name: state for name, (state, _) in then["foils"].items()} == {
        n: st for n, (_, st) in foils.items()
    }
    assert then["unmatched"] == {name: state for name, (_, state) in items.items()}
    await holds(store)


# ------------------------------------------------------------------ at once


@pytest.mark.parametrize("side", SIDES)
async def test_a_reversal_and_its_original_at_once(two: tuple[Any, Any], side: Side) -> None:
    """Neither transaction sees the row of the other; chains of three, from two processes and in batches."""
    a, b = two
    works = []
    for i in range(TIMES):
        rows = [
            document(side, f"first{i}", f"a{i}"),
            document(side, f"second{i}", f"b{i}", -2000, reverses=f"first{i}"),
            document(side, f"third{i}", f"c{i}", reverses=f"second{i}"),
        ]
        works += [known((a, b)[(n + i) % 2], row) for n, row in enumerate(rows)]
    await asyncio.gather(*works)
    found = await keys(a, side)
    assert {found[f"{name}{i}"][0] for i in range(TIMES) for name in ("first", "second", "third")} == {
        f"a{i}" for i in range(TIMES)
    }
    await holds(a)
