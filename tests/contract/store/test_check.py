"""The invariant checker: no finding in stores as written, and one for each planted violation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from counterfoil.core.approval import ApprovalState
from counterfoil.core.audit import Checkpoint
from counterfoil.core.case import CaseState
from counterfoil.core.effect import EffectState
from counterfoil.core.foil import ItemState
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.run import RunStatus
from counterfoil.store.check import check, violations
from counterfoil.store.dump import Dump
from counterfoil.store.memory import MemoryStore
from counterfoil.store.port import views
from counterfoil.store.port.maintenance import PutCheckpoint, Seal
from counterfoil.store.port.turns import Reserve
from counterfoil.store.port.workers import Heartbeat, QuotaRequest
from tests.contract.store import samples as s
from tests.contract.store.test_same_answers import Story

NOW = s.at(100)


async def lived(store: Any) -> None:
    """A Run that asked, sent, matched and ended; one that waits; one delivery set aside; a sealed log."""
    await store.apply(s.put_person(s.person("ann")))
    run = await s.born(store, "inv-1")
    e = s.effect(run=run, approvals=("apr_1",))
    await store.apply(s.turn(run, approvals=(s.approval(run=run),), due=s.at(900)))
    await store.apply(s.vote())
    owed = s.foil(run=run, effect=e.id, state=FoilState.PROVISIONAL)
    want = Reserve(scope="credits", key="acme", path="p", amount=30, limit=100)
    sends = {"plan": (e,), "foils": (owed,), "reserve": (want,), "hold": ("acct",)}
    await store.apply(s.turn(run, 1, consumed=2, due=s.at(900), **sends))
    await store.apply(s.intent(e))
    await store.apply(s.conclude(e))
    await store.apply(s.receive(s.receipt("seen")))
    seen = s.observation()
    await store.apply(s.admit(2, events=(s.event("evt_2", "x"),), observations=(seen,)))
    await store.apply(s.turn(run, 2, consumed=4, status=RunStatus.DONE, unhold=("acct",)))
    waiting = await s.born(store, "inv-2")
    undo = s.effect("undo", waiting)
    await store.apply(s.turn(waiting, due=s.at(900), plan=(undo,), send=(s.send(undo),)))
    await store.apply(s.receive(s.receipt("odd")))
    await store.apply(s.admit(4, park=True, cases=(s.case(receipt=4),)))
    wants = (QuotaRequest(account="erp", cap=4, slots_wanted=3, in_use=0),)
    await store.apply(Heartbeat(worker="a", until=s.at(900), wants=wants, at=s.T0))
    sealed = await store.apply(Seal(at=s.T0, limit=8))
    mark = Checkpoint(size=sealed.size, root=sealed.root, at=s.T0, text="signed")
    await store.apply(PutCheckpoint(checkpoint=mark))


async def test_the_stores_write_no_violation(store: Any) -> None:
    await lived(store)
    assert await check(store, NOW) == []


@pytest.mark.parametrize("seed", range(30))
async def test_no_story_breaks_what_the_store_alone_keeps(seed: int) -> None:
    """Turns made up at random may end a Run with effects on their way; the rest holds whatever is asked."""
    store, story = MemoryStore(), Story(seed)
    for _ in range(50):
        try:
            await store.apply(story.next(await store.dump()))
        except Exception:
            continue  # a refusal is as good as an answer here
    numbers = {v.partition(":")[0] for v in violations(await store.dump(), story.now)}
    assert not numbers & {"2", "4", "6", "7", "8", "12"}, violations(await store.dump(), story.now)


# ------------------------------------------------------------------ planted violations

Plant = Callable[[Dump], Dump]


def change(table: str, index: int = 0, **fields: Any) -> Plant:
    """Another value in one row."""

    def plant(dump: Dump) -> Dump:
        rows = list(getattr(dump, table))
        rows[index] = msgspec.structs.replace(rows[index], **fields)
        return msgspec.structs.replace(dump, **{table: rows})

    return plant


def drop(table: str, index: int = 0) -> Plant:
    def plant(dump: Dump) -> Dump:
        rows = list(getattr(dump, table))
        del rows[index]
        return msgspec.structs.replace(dump, **{table: rows})

    return plant


def add(table: str, *more: Any) -> Plant:
    return lambda dump: msgspec.structs.replace(dump, **{table: [*getattr(dump, table), *more]})


def of_match(**fields: Any) -> Plant:
    return change("matches", **fields)


def foil_is(state: FoilState, **fields: Any) -> Plant:
    def plant(dump: Dump) -> Dump:
        foil = msgspec.structs.replace(dump.matches[0].foils[0], state=state, **fields)
        return of_match(foils=(foil,))(dump)

    return plant


def item_is(state: ItemState, **fields: Any) -> Plant:
    def plant(dump: Dump) -> Dump:
        item = msgspec.structs.replace(dump.matches[0].observations[0], state=state, **fields)
        return of_match(observations=(item,))(dump)

    return plant


def split_match(dump: Dump) -> Dump:
    """The observation was moved away, and its foil's match was not settled again."""
    match = dump.matches[0]
    items = tuple(msgspec.structs.replace(o, key="cm-8") for o in match.observations)
    apart = msgspec.structs.replace(match, key="cm-8", foils=(), observations=items, allocations=())
    return add("matches", apart)(of_match(observations=(), allocations=())(dump))


def the(table: str, wanted: Callable[[Any], bool], **fields: Any) -> Plant:
    """Another value in the first row that is wanted."""

    def plant(dump: Dump) -> Dump:
        index = next(i for i, row in enumerate(getattr(dump, table)) if wanted(row))
        return change(table, index, **fields)(dump)

    return plant


def both(*plants: Plant) -> Plant:
    def plant(dump: Dump) -> Dump:
        for each in plants:
            dump = each(dump)
        return dump

    return plant


def done(run: Any) -> bool:
    return run.status is RunStatus.DONE


def waits(run: Any) -> bool:
    return run.status is RunStatus.WAITING


def sending(effect: Any) -> bool:
    return effect.state is EffectState.SENDING


def tamper_leaf(dump: Dump) -> Dump:
    index = next(i for i, (place, _) in enumerate(dump.leaves) if place == 3)
    place, leaf = dump.leaves[index]
    rows = list(dump.leaves)
    rows[index] = (place, msgspec.structs.replace(leaf, body=b"{}"))
    return msgspec.structs.replace(dump, leaves=rows)


def lose_leaf_of_turn(dump: Dump) -> Dump:
    index = next(i for i, (_, leaf) in enumerate(dump.leaves) if leaf.version == 1)
    return drop("leaves", index)(dump)


TWIN = s.effect(gen=1, state=EffectState.CONFIRMED)
GHOST = s.observation("obs_9", "cm-9", rule="credits", document="erp:9")
UNJOINED = views.MatchRow(
    rule="credits", key="cm-9", foils=(s.foil("foil_9", "cm-9"),), observations=(GHOST,), allocations=()
)
BROKEN = views.MatchRow(
    rule="credits",
    key="cm-9",
    foils=(s.foil("foil_9", "cm-9", state=FoilState.BROKEN),),
    observations=(),
    allocations=(),
)

PLANTED: list[tuple[str, str, Plant]] = [
    ("2", "two generations confirmed", add("effects", TWIN)),
    ("4", "a receipt that came to nothing", add("receipts", s.receipt("lost", no=99))),
    ("5", "a gap in the inbox", drop("inbox", 0)),
    ("5", "more consumed than came", the("runs", waits, consumed=9)),
    ("5", "unread and due in the future", the("runs", waits, consumed=0)),
    ("5", "unread and never due", the("runs", waits, consumed=0, due=None)),
    ("5", "a run lost with its inbox kept", drop("runs")),
    ("6", "an observation that nobody matched", add("matches", UNJOINED)),
    ("6", "a matched foil said to be open", foil_is(FoilState.OPEN)),
    (
        "7",
        "a foil that took more than it asserts",
        foil_is(FoilState.MATCHED, legs={"total": Money(1, "USD")}),
    ),
    ("6", "a void foil that is covered", foil_is(FoilState.VOID)),
    ("6", "a broken foil without a difference", foil_is(FoilState.BROKEN, reason="amount: total less by 1")),
    ("6", "a foil waived by no person", foil_is(FoilState.WAIVED)),
    ("6", "a residual that the documents do not give", foil_is(FoilState.MATCHED, residual={"total": 1})),
    ("6", "a paired document said to be unmatched", item_is("unmatched")),
    ("6", "a paired document said to be gone", item_is("gone")),
    ("6", "surplus of a foil that does not have it", item_is("over", foil="foil_1")),
    ("6", "an unmatched document beside its assertion", add("matches", UNJOINED)),
    ("6", "a document of another match left behind", split_match),
    ("7", "a residual larger than its documents", foil_is(FoilState.BROKEN, residual={"total": 5})),
    ("7", "a paired document that is not in the books", of_match(observations=())),
    (
        "7",
        "an absorbed difference without its amount",
        foil_is(FoilState.MATCHED, legs={"total": Money(12001, "USD")}, residual={"total": 0}),
    ),
    ("8", "a serial with two holders", add("holds", ("x", "r1"), ("x", "r2"))),
    ("8", "a guard that forgot a reservation", change("guards", used=0)),
    ("8", "a guard past its limit", both(change("guards", used=130), change("reservations", amount=130))),
    ("8", "a reservation without a guard", drop("guards")),
    ("8", "quotas over the cap", change("quotas", n=5)),
    ("8", "a quota of no account", drop("accounts")),
    ("8", "a cap in use above the cap", change("accounts", aim=5)),
    ("9", "an approval that is not granted", change("approvals", state=ApprovalState.OPEN)),
    ("9", "a vote that is missing", drop("votes")),
    ("9", "an approver who asked", change("approvals", requester="ann@acme.test")),
    ("9", "an approval that is missing", drop("approvals")),
    ("10", "an ended run with an effect on its way", the("runs", waits, status=RunStatus.DONE)),
    ("10", "an undone run with a confirmed effect", the("runs", done, status=RunStatus.UNDONE)),
    (
        "11",
        "a run that nothing will wake",
        both(the("runs", waits, due=None), drop("effects", 1), drop("effects")),
    ),
    ("11", "an effect that nobody looks for", the("effects", sending, call_until=None)),
    ("11", "a broken foil without a case", add("matches", BROKEN)),
    ("11", "a delivery set aside without a case", drop("cases")),
    ("11", "a case without an owner", change("cases", owner="")),
    ("12", "a turn without its leaf", lose_leaf_of_turn),
    ("12", "a leaf neither sealed nor pending", drop("pending")),
    ("12", "a leaf pending and sealed", lambda d: add("pending", d.leaves[0][1].id)(d)),
    ("12", "a pending leaf that does not exist", add("pending", "leaf_none")),
]


@pytest.mark.parametrize(("number", "plant"), [p[::2] for p in PLANTED], ids=[p[1] for p in PLANTED])
async def test_a_planted_violation_is_seen(number: str, plant: Plant) -> None:
    store = MemoryStore()
    await lived(store)
    found = violations(plant(await store.dump()), NOW)
    assert number in {v.partition(":")[0] for v in found}, found


async def test_a_changed_leaf_is_seen_by_the_signed_root() -> None:
    store = MemoryStore()
    await lived(store)
    changed = tamper_leaf(await store.dump())

    class Restored:
        async def dump(self) -> Dump:
            return changed

        async def checkpoint(self, size: int | None = None) -> Checkpoint | None:
            return await store.checkpoint(size)

    assert await check(Restored(), NOW) == ["12: the tree's root at 8 is not the signed one"]


async def test_a_store_behind_its_checkpoint_is_seen() -> None:
    store = MemoryStore()
    await lived(store)
    mark = Checkpoint(size=500, root=b"r", at=s.T0, text="signed")
    await store.apply(PutCheckpoint(checkpoint=mark))
    assert any("the tree has 8" in v for v in await check(store, NOW))


async def test_a_resolved_case_does_not_own_a_parked_todo() -> None:
    store = MemoryStore()
    await lived(store)
    dump = change("cases", state=CaseState.RESOLVED)(await store.dump())
    assert [v.partition(":")[0] for v in violations(dump, NOW)] == ["11"]


async def test_irreversible_operations_need_no_undo() -> None:
    store = MemoryStore()
    await lived(store)
    dump = the("runs", done, status=RunStatus.UNDONE)(await store.dump())
    assert violations(dump, NOW, {"erp.credit_memo.post"}) == []


async def test_a_confirmed_effect_stays_valid_when_its_approval_is_revoked() -> None:
    """An approver leaves after the call was confirmed: the next call is stale, the former one was approved."""
    store = MemoryStore()
    await lived(store)
    granted = await store.dump()
    confirmed = the("effects", lambda e: bool(e.approvals), state=EffectState.CONFIRMED)
    fallen = both(confirmed, change("approvals", state=ApprovalState.STALE))(granted)
    assert [v for v in violations(fallen, NOW, {"erp.credit_memo.post"}) if v.startswith("9")] == []
    refused = both(confirmed, change("approvals", state=ApprovalState.REJECTED))(granted)
    assert [v.partition(":")[0] for v in violations(refused, NOW) if v.startswith("9")] == ["9"]
