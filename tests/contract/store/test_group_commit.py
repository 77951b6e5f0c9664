"""Group commit: many transitions at once have the same result as one after another."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from counterfoil.core import wire
from counterfoil.core.effect import EffectState
from counterfoil.core.matching import FoilState
from counterfoil.core.run import RunStatus
from counterfoil.store.check import check
from counterfoil.store.memory import MemoryStore
from counterfoil.store.port.maintenance import ExpireFoils
from counterfoil.store.port.records import TopicPost
from counterfoil.store.port.transition import Transition
from counterfoil.store.port.turns import WaitOn
from counterfoil.store.sql.set_based import over_arrays, waves
from tests.contract.store import samples as s
from tests.contract.store.test_same_answers import plain

LIVES = 40


async def phases(apply: Callable[[list[Transition[Any]]], Awaitable[list[Any]]]) -> None:
    """Forty Runs live their lives side by side; one of them hears of every event, two share each match."""
    count = range(LIVES)
    numbers = [r.numbers[0] for r in await apply([s.receive(s.receipt(f"a{i}")) for i in count])]
    events = [s.event(f"evt_{i}", f"k{i}") for i in count]
    runs = [s.start(f"k{i}").run for i in count]
    await apply(
        [
            s.admit(no, events=(e,), heads=(s.head(e),), starts=(s.start(e.key, e.id),))
            for no, e in zip(numbers, events, strict=True)
        ]
    )
    effects = [s.effect(run=run) for run in runs]
    turns: list[Transition[Any]] = []
    for i in count:
        owed = s.foil(
            f"foil_{i}", f"m{i // 2}", run=runs[i], effect=effects[i].id, state=FoilState.PROVISIONAL
        )
        waits = (WaitOn(topic="news"),) if i == 0 else (WaitOn(topic=f"own{i}"),)
        sends = (s.send(effects[i]),) if i % 3 else ()
        turns.append(s.turn(runs[i], plan=(effects[i],), foils=(owed,), send=sends, waits=waits))
    assert {t.verdict for t in await apply(turns)} == {"done"}
    await apply([s.intent(e) for i, e in enumerate(effects) if i % 3 == 0])
    numbers = [r.numbers[0] for r in await apply([s.receive(s.receipt(f"b{i}")) for i in count])]
    mixed: list[Transition[Any]] = []
    for i in count:
        seen = s.observation(f"obs_{i}", f"m{i // 2}", event=f"evt_b{i}", document=f"erp:{i}", version=1)
        post = TopicPost(event=f"evt_b{i}", topics=("news" if i % 2 else f"own{i}",), body=b"{}")
        e = s.event(f"evt_b{i}", f"b{i}")
        mixed += [
            s.admit(numbers[i], events=(e,), observations=(seen,), posts=(post,)),
            s.conclude(effects[i], EffectState.CONFIRMED if i % 4 else EffectState.REFUSED),
            s.receive(s.receipt(f"c{i % 10}")),
        ]
    await apply(mixed)


def settled(dump: Any) -> Any:
    """A dump without the order in which what came at once was taken."""
    rows = plain(dump)
    # An outcome before its observation makes a foil open in between.
    leaves = [row for row in rows["leaves"] if row[1] != "foil.open"]
    rows["pending"] -= len(rows["leaves"]) - len(leaves)
    rows["leaves"] = Counter((kind, subject) for _, kind, subject, *_ in leaves if kind != "received")
    rows["inbox"] = sorted((i.run, i.kind, i.ref.rpartition(":")[0] or i.ref) for i in dump.inbox)
    rows["versions"] = sorted((v.side, v.document, v.key, v.version, v.stood) for v in dump.versions)
    rows["receipts"] = sorted(r.ext_id for r in dump.receipts)
    rows["todos"] = len(dump.todos)
    return rows


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_runs_in_parallel_end_as_runs_one_by_one(places: s.Places, kind: str) -> None:
    single, store = MemoryStore(), await places(kind)

    async def one_by_one(transitions: list[Transition[Any]]) -> list[Any]:
        return [await single.apply(t) for t in transitions]

    async def at_once(transitions: list[Transition[Any]]) -> list[Any]:
        return list(await asyncio.gather(*(store.apply(t) for t in transitions)))

    await phases(one_by_one)
    await phases(at_once)
    expected, found = settled(await single.dump()), settled(await store.dump())
    numbered = ("leaves", "cases")  # leaves name receipts by number, which depends on who came first
    for table in expected:
        if table not in numbered:
            assert found[table] == expected[table], table
    assert found["leaves"].total() == expected["leaves"].total()
    assert [v for v in await check(store, s.at(1)) if not v.startswith("11")] == []


async def test_a_batch_on_postgres_is_not_split(places: s.Places, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await places("postgres")
    singly: list[str] = []
    alone = store._singly

    async def seen(transition: Transition[Any]) -> Any:
        singly.append(type(transition).__name__)
        return await alone(transition)

    monkeypatch.setattr(store, "_singly", seen)

    async def at_once(transitions: list[Transition[Any]]) -> list[Any]:
        return list(await asyncio.gather(*(store.apply(t) for t in transitions)))

    await phases(at_once)
    # The first of a burst goes alone, as it came; whole batches of forty falling apart would show here.
    assert len(singly) < LIVES, Counter(singly)


def test_transitions_that_share_a_key_are_in_two_waves() -> None:
    run = "run_1"
    e = s.effect(run=run)
    batch: list[Transition[Any]] = [
        s.conclude(e),
        s.turn(run),
        s.receive(s.receipt("a")),
        ExpireFoils(foils=("f",), at=s.T0),
        s.receive(s.receipt("a")),
    ]
    found = [[number for number, _ in wave] for wave in waves(batch, {e.id: {run}})]
    assert found == [[0, 2], [1], [3], [4]]


@pytest.mark.parametrize(
    ("sql", "types", "merged"),
    [
        (
            "select a from t where id = $1",
            ("text",),
            (
                "select q.n, found.* from unnest($1::text[]) with ordinality as q (p1, n) "
                "cross join lateral (select a from t where id = q.p1) as found"
            ),
        ),
        (
            "update t set a = $2 where id = $1 returning b",
            ("text", "int8"),
            (
                "update t set a = q.p2 from unnest($1::text[], $2::int8[]) with ordinality as q (p1, p2, n) "
                "where id = q.p1 returning q.n, b"
            ),
        ),
        (
            "delete from t where id = $1",
            ("text",),
            "delete from t using unnest($1::text[]) with ordinality as q (p1, n) where id = q.p1 returning q.n",
        ),
        ("select a from t where id = any($1::text[])", ("text[]",), None),
        ("select a from t order by a limit $1", ("int8",), None),
        ("insert into t (a) values ($1)", ("text",), None),
    ],
)
def test_a_statement_over_many_sets_of_parameters(
    sql: str, types: tuple[str, ...], merged: str | None
) -> None:
    found = over_arrays(sql, types)
    assert (found and " ".join(found.split())) == merged


async def test_runs_that_end_at_once_leave_nothing_in_flight(places: s.Places) -> None:
    store = await places("postgres")
    runs = [await s.born(store, f"k{i}") for i in range(10)]
    asked = [store.apply(s.turn(run, status=RunStatus.DONE, ctx=wire.dumps({}))) for run in runs]
    assert {t.verdict for t in await asyncio.gather(*asked)} == {"done"}
    assert await check(store, s.at(1)) == []
