"""Documents of both sides, decisions of persons on them, and rebuilding, on all stores."""

from __future__ import annotations

from typing import Any

import apsw
import asyncpg
import pytest
from msgspec.structs import replace

from counterfoil.core.approval import ApprovalState
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.case import Case, CaseState
from counterfoil.core.effect import EffectState
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.foil_versions import Split, Withdrawal
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.remembered import paired_keys
from counterfoil.core.terms import Terms
from counterfoil.store.check import check
from counterfoil.store.memory import MemoryStore
from counterfoil.store.port.documents import OpenItemCases, PutMatchBasis, RebuildDocuments
from counterfoil.store.port.matches import DocumentVersion, row_of
from counterfoil.store.port.views import ItemFilter
from counterfoil.store.sql.sqlite import SqliteStore
from tests.contract.store import samples as s
from tests.contract.store.test_people import refused_leaf

NEAR = Terms(tolerance=100)


async def admitted(store: Any, name: str, when: Any = s.T0, **parts: Any) -> None:
    """One event with the documents that it brings; their cause is the event."""
    received = await store.apply(s.receive(s.receipt(name)))
    foils = tuple(replace(f, cause=name, known_from=when) for f in parts.pop("foils", ()))
    items = tuple(replace(o, event=name, at=when) for o in parts.pop("observations", ()))
    events = (s.event(name, name),)
    more = {"foils": foils, "observations": items, **parts}
    await store.apply(s.admit(received.numbers[0], events=events, when=when, **more))


async def foil(store: Any, id_: str = "foil_1") -> Foil:
    row: Foil | None = await store.foil(id_)
    assert row is not None
    return row


async def item(store: Any, id_: str = "obs_1") -> Observation:
    row: Observation | None = await store.observation(id_)
    assert row is not None
    return row


async def history(store: Any, document: str = "foil_1") -> list[DocumentVersion]:
    return [v for v in (await store.dump()).versions if v.document == document]


async def open_cases(store: Any) -> list[Case]:
    return [c for c in (await store.dump()).cases if c.state is CaseState.OPEN]


async def holds(store: Any) -> None:
    """What the store alone keeps is kept."""
    found = await check(store, s.at(100_000))
    assert [v for v in found if v[:2] in ("2:", "4:", "6:", "7:", "8:", "12")] == []


# ------------------------------------------------------------------ versions


async def test_a_version_closes_its_predecessor_and_overwrites_nothing(store: Any) -> None:
    await admitted(store, "e1", foils=(s.foil(version=1),))
    await admitted(store, "e2", s.at(60), foils=(s.foil(version=2, minor=9000),))
    first, second = await history(store)
    assert (first.version, first.known_from, first.known_to) == (1, s.T0, s.at(60))
    assert (second.version, second.known_from, second.known_to) == (2, s.at(60), None)
    assert row_of(first).legs == {"total": Money(12000, "USD")}
    assert row_of(second).legs == {"total": Money(9000, "USD")}
    assert len((await store.dump()).foils) == 1


@pytest.mark.parametrize("side", ["left", "right"])
async def test_a_late_older_version_is_recorded_and_changes_nothing(store: Any, side: str) -> None:
    def version(number: int, minor: int) -> dict[str, Any]:
        if side == "left":
            return {"foils": (s.foil(version=number, minor=minor),)}
        return {"observations": (s.observation(version=number, minor=minor),)}

    await admitted(store, "e2", **version(2, 9000))
    before = await store.dump()
    await admitted(store, "e1", s.at(60), **version(1, 12000))
    after = await store.dump()
    assert (after.foils, after.observations) == (before.foils, before.observations)
    name = "foil_1" if side == "left" else "erp:obs_1"
    closed = {v.version: v.known_to for v in await history(store, name)}
    assert closed == {2: None, 1: s.at(60)}


async def test_a_repeated_version_is_recorded_once(store: Any) -> None:
    for name in ("e1", "e2", "e3"):
        await admitted(store, name, foils=(s.foil(version=1),), observations=(s.observation(),))
    assert len((await store.dump()).versions) == 2


async def told_of_documents(store: Any) -> list[str]:
    return [i.run for i in (await store.dump()).inbox if i.kind == "foil"]


@pytest.mark.parametrize("version", [3, 2, 1], ids=["newer", "same", "older"])
async def test_a_run_that_asserts_the_document_of_another_run_reads_it_again(
    store: Any, version: int
) -> None:
    """The row stays with its first Run, whatever version the second one asserts. Each hears of a row that changed."""
    first, second = await s.born(store, "inv-1"), await s.born(store, "inv-2")
    await admitted(store, "e1", foils=(s.foil(run=first, version=2),))
    assert await told_of_documents(store) == []
    await admitted(store, "e2", s.at(60), foils=(s.foil(run=second, version=version),))
    assert (await foil(store)).run == first
    assert sorted(await told_of_documents(store)) == sorted([first, second] if version == 3 else [second])


async def test_a_run_that_calls_for_the_document_of_another_run_reads_it_again(store: Any) -> None:
    first, second = await s.born(store, "inv-1"), await s.born(store, "inv-2")
    await admitted(store, "e1", foils=(s.foil(run=first, version=2),))
    e = s.effect(run=second)
    intended = s.foil(run=second, effect=e.id, state=FoilState.PROVISIONAL)
    await store.apply(s.turn(second, plan=(e,), send=(s.send(e),), foils=(intended,)))
    assert (await foil(store)).run == first
    assert await told_of_documents(store) == [second]


async def test_intent_outcome_and_event_of_a_document_are_one_row(store: Any) -> None:
    run = await s.born(store)
    e = s.effect(run=run)
    intended = s.foil(run=run, effect=e.id, state=FoilState.PROVISIONAL)
    await store.apply(s.turn(run, plan=(e,), send=(s.send(e),), foils=(intended,)))
    assert (await foil(store)).state is FoilState.PROVISIONAL
    await store.apply(s.conclude(e, when=s.at(5)))
    assert (await foil(store)).state is FoilState.OPEN
    await admitted(store, "evt_posted", s.at(9), foils=(s.foil("foil_other", document="foil_1", version=7),))
    row = await foil(store)
    assert (row.version, row.run, row.effect, row.cause) == (7, run, e.id, "evt_posted")
    assert row.due == intended.due
    assert len((await store.dump()).foils) == 1
    assert [v.known_to for v in await history(store)] == [s.at(5), s.at(9), None]


async def test_an_event_before_the_outcome_is_the_document(store: Any) -> None:
    run = await s.born(store)
    e = s.effect(run=run)
    intended = s.foil(run=run, effect=e.id, state=FoilState.PROVISIONAL)
    await store.apply(s.turn(run, plan=(e,), send=(s.send(e),), foils=(intended,)))
    await admitted(store, "evt_posted", s.at(3), foils=(s.foil(version=7),))
    assert (await foil(store)).state is FoilState.OPEN
    await store.apply(s.conclude(e, EffectState.UNKNOWN, look_at=s.at(9)))
    assert (await store.apply(s.conclude(e, EffectState.ABSENT, when=s.at(5)))).verdict == "won"
    assert (await foil(store)).state is FoilState.OPEN


async def test_a_second_call_of_a_document_that_stood_is_reversed_when_it_did_nothing(store: Any) -> None:
    """What stood once is never void, whatever becomes of a later call."""
    run = await s.born(store)
    first, second = s.effect(run=run), s.effect("again", run)
    intended = s.foil(run=run, effect=first.id, state=FoilState.PROVISIONAL)
    await store.apply(s.turn(run, plan=(first,), send=(s.send(first),), foils=(intended,)))
    await store.apply(s.conclude(first))
    await admitted(store, "gone", s.at(6), withdrawals=(withdrawal(1),))
    assert (await foil(store)).state is FoilState.REVERSED
    again = replace(intended, effect=second.id)
    await store.apply(s.turn(run, 1, plan=(second,), send=(s.send(second),), foils=(again,)))
    assert (await foil(store)).state is FoilState.PROVISIONAL
    await store.apply(s.conclude(second, EffectState.UNKNOWN, look_at=s.at(9)))
    await store.apply(s.conclude(second, EffectState.ABSENT))
    assert (await foil(store)).state is FoilState.REVERSED


# ------------------------------------------------------------------ moves between matches


async def test_a_version_with_another_key_moves_the_document_and_both_matches_are_settled(store: Any) -> None:
    other = s.foil("foil_2", "cm-2")
    await admitted(store, "e1", foils=(s.foil(), other), observations=(s.observation(),))
    assert (await foil(store)).state is FoilState.MATCHED
    await admitted(store, "e2", s.at(9), observations=(s.observation(key="cm-2", version=2),))
    assert (await foil(store)).state is FoilState.OPEN
    assert (await foil(store, "foil_2")).state is FoilState.MATCHED
    found = {m.key: [(a.foil, a.observation) for a in m.allocations] for m in (await store.dump()).matches}
    assert found == {"cm-1": [], "cm-2": [("foil_2", "obs_1")]}
    await holds(store)


async def test_a_match_that_both_documents_left_keeps_no_allocations(store: Any) -> None:
    await admitted(store, "e1", foils=(s.foil(),), observations=(s.observation(),))
    moved = {
        "foils": (s.foil(key="cm-2", version=1),),
        "observations": (s.observation(key="cm-2", version=2),),
    }
    await admitted(store, "e2", s.at(9), **moved)
    (match,) = (await store.dump()).matches
    assert (match.key, len(match.allocations)) == ("cm-2", 1)
    await holds(store)


def withdrawal(version: int, side: Any = "left", document: str = "foil_1") -> Withdrawal:
    return Withdrawal(side=side, rule="credits", document=document, version=version, cause="gone")


async def test_a_withdrawal_reverses_a_foil_and_keeps_what_it_asserted(store: Any) -> None:
    await admitted(store, "e1", foils=(s.foil(version=1),))
    await admitted(store, "gone", s.at(9), withdrawals=(withdrawal(2), withdrawal(2, document="foil_none")))
    row = await foil(store)
    assert (row.state, row.stands, row.legs) == (FoilState.REVERSED, False, {"total": Money(12000, "USD")})
    assert len(await history(store)) == 2
    await admitted(store, "older", s.at(10), withdrawals=(withdrawal(1),))
    assert (await foil(store)).version == 2


@pytest.mark.parametrize("side", ["left", "right"])
async def test_a_split_withdraws_what_other_versions_of_its_object_showed(store: Any, side: str) -> None:
    row: Any = s.foil if side == "left" else s.observation
    name = "foils" if side == "left" else "observations"

    async def admit(event: CanonicalEvent, *documents: str, **parts: Any) -> None:
        (no,) = (await store.apply(s.receive(s.receipt(event.id)))).numbers
        cause = {"cause" if side == "left" else "event": event.id}
        rows = tuple(row(d, document=d, version=event.version, **cause) for d in documents)
        event = replace(event, receipt=no)
        await store.apply(s.admit(no, events=(event,), **{name: rows}, **parts))

    async def standing() -> list[str]:
        dump = await store.dump()
        return sorted(r.document for r in (dump.foils if side == "left" else dump.observations) if r.stands)

    await admit(s.event("e1"), "a", "b", "c")
    await admit(s.event("other-type", type="invoice.voided.v1"), "d")
    await admit(s.event("other-object", key="inv-2"), "e")
    split = Split(object="invoice", key="inv-1", types=("invoice.finalized.v1",), documents=("a",))
    gone: Any = Withdrawal(
        side=side,
        rule="credits",
        document="",
        version=2,
        cause="e2",
        split=split,  # type: ignore[arg-type]
    )
    await admit(s.event("e2", version=2), "a", withdrawals=(gone,))
    assert await standing() == ["a", "d", "e"]
    await admit(s.event("e0", version=0), "b")
    assert await standing() == ["a", "d", "e"]
    await holds(store)


async def test_a_withdrawn_observation_leaves_its_foil_open_and_may_stand_again(store: Any) -> None:
    await admitted(store, "e1", foils=(s.foil(),), observations=(s.observation(),))
    await admitted(store, "gone", s.at(9), withdrawals=(withdrawal(2, "right", "erp:obs_1"),))
    assert ((await foil(store)).state, (await item(store)).state) == (FoilState.OPEN, "gone")
    assert [m.allocations for m in (await store.dump()).matches] == [()]
    await admitted(store, "e3", s.at(12), observations=(s.observation(version=3),))
    assert ((await foil(store)).state, (await item(store)).state) == (FoilState.MATCHED, "paired")
    await holds(store)


async def test_a_late_older_version_ends_the_pair_of_a_draft(store: Any) -> None:
    draft = s.observation(key="cm-9", version=2, legs={}, stands=False, stood=False, state="gone")
    await admitted(store, "e2", foils=(s.foil(),), observations=(draft,))
    assert await store.apply(s.decide(s.pair(await foil(store), await item(store)))) == "done"
    assert ((await item(store)).key, (await item(store)).own_key) == ("cm-1", "cm-9")
    await admitted(store, "e1", s.at(9), observations=(s.observation(key="cm-8"),))
    row = await item(store)
    assert (row.key, row.own_key, row.stood, row.stands) == ("cm-8", "", True, False)
    assert [pairing.ended_by for pairing in (await store.dump()).pairings] == ["matching"]
    assert [case.reason for case in await open_cases(store)] == ["pairing_ended"]
    await holds(store)


async def test_a_late_document_has_the_newest_event_of_its_object_read_again(store: Any) -> None:
    """The newest event withdrew it before it was known; events that a Run emitted are not admitted twice."""

    async def admit(name: str, version: int, **parts: Any) -> None:
        receipts = await store.apply(s.receive(s.receipt(name)))
        (no,) = receipts.numbers
        event = s.event(name, version=version, receipt=no)
        await store.apply(s.admit(no, events=(event,), heads=(s.head(event),), **parts))

    await admit("e2", 2, withdrawals=(withdrawal(2),))
    assert await store.todos(10) == []
    await admit("e1", 1, foils=(s.foil(version=1, cause="e1"),))
    (todo,) = await store.todos(10)
    assert (todo.kind, todo.ref, todo.event.version) == ("event", "e2", 2)
    await store.apply(s.admit("e2", kind="event", withdrawals=(replace(withdrawal(2), cause="e2"),)))
    row = await foil(store)
    assert (row.version, row.state, row.cause) == (2, FoilState.REVERSED, "e2")
    assert await store.todos(10) == []
    await admit("e0", 0, foils=(s.foil(version=0, cause="e0"),))
    await store.apply(s.admit("e2", kind="event", withdrawals=(replace(withdrawal(2), cause="e2"),)))
    assert await foil(store) == row
    await holds(store)


# ------------------------------------------------------------------ unmatched items


async def test_an_unmatched_item_has_a_case_after_its_grace_until_its_assertion_comes(store: Any) -> None:
    await admitted(store, "e1", observations=(s.observation(case_at=s.at(60), owner="finance"),))
    assert await store.items_past_grace(s.at(59), 10) == []
    assert await store.apply(OpenItemCases(items=("obs_1",), at=s.at(59))) == 0
    assert [o.id for o in await store.items_past_grace(s.at(60), 10)] == ["obs_1"]
    assert await store.apply(OpenItemCases(items=("obs_1", "obs_none"), at=s.at(60))) == 1
    assert await store.apply(OpenItemCases(items=("obs_1",), at=s.at(61))) == 0
    (case,) = await open_cases(store)
    assert (case.reason, case.observation, case.exposure) == ("unmatched", "obs_1", (Money(12000, "USD"),))
    await admitted(store, "e2", s.at(99), foils=(s.foil(),))
    (case,) = (await store.dump()).cases
    assert (case.state, case.resolved_by) == (CaseState.RESOLVED, "matching")


async def test_an_item_that_is_unmatched_again_has_another_case(store: Any) -> None:
    await admitted(store, "e1", observations=(s.observation(case_at=s.at(60), owner="finance"),))
    await admitted(store, "e2", foils=(s.foil(key="cm-2"),))
    assert await store.apply(OpenItemCases(items=("obs_1",), at=s.at(60))) == 1
    assert await store.apply(s.decide(s.pair(await foil(store), await item(store)), when=s.at(70))) == "done"
    assert await open_cases(store) == []
    assert (
        await store.apply(s.decide(s.unpair(await foil(store), await item(store)), when=s.at(80))) == "done"
    )
    again = await item(store)
    assert (again.state, again.key, again.case_at) == ("unmatched", "cm-1", s.at(80) + s.DAY)
    assert await store.apply(OpenItemCases(items=("obs_1",), at=s.at(80) + s.DAY)) == 1
    assert len(await open_cases(store)) == 1


async def test_surplus_that_no_foil_shows_keeps_its_case(store: Any) -> None:
    """It is no longer unmatched, but nothing accounts for it either."""
    shown = s.observation(entity="de", case_at=s.at(60), owner="finance")
    await admitted(store, "e1", observations=(shown, s.observation("obs_2", entity="fr")))
    assert await store.apply(OpenItemCases(items=("obs_1",), at=s.at(60))) == 1
    await admitted(store, "e2", s.at(70), foils=(s.foil(entity="fr"),))
    row = await item(store)
    assert (row.state, row.foil) == ("over", None)
    assert len(await open_cases(store)) == 1


# ------------------------------------------------------------------ pairs of persons


async def apart(store: Any, **more: Any) -> None:
    """A foil and an observation of one payment, under two keys."""
    await admitted(store, "e1", foils=(s.foil(version=1),), observations=(s.observation(key="cm-2", **more),))


async def paired(store: Any, when: Any = s.T0) -> None:
    decision = s.pair(await foil(store), await item(store))
    assert await store.apply(s.decide(decision, when=when)) == "done"


async def test_a_pair_overrides_the_key(store: Any) -> None:
    await apart(store)
    await paired(store)
    row, shown = await foil(store), await item(store)
    assert (row.state, row.partners) == (FoilState.MATCHED, ("obs_1",))
    assert (shown.state, shown.key, shown.own_key) == ("paired", "cm-1", "cm-2")
    assert [leaf.kind for _, leaf in (await store.dump()).leaves][-2:] == ["match.pair", "foil.matched"]
    await holds(store)


async def test_an_item_is_listed_whatever_another_document_of_its_event_answers(store: Any) -> None:
    """A remittance shows one document for each line and one for the rest."""
    rest = s.observation(id="obs_2", document="NC/rest", key="on account", case_at=s.at(60), owner="finance")
    await admitted(store, "e1", foils=(s.foil(version=1),), observations=(s.observation(), rest))
    assert ((await foil(store)).state, (await item(store, "obs_2")).state) == (FoilState.MATCHED, "unmatched")
    assert [o.id for o in await store.items_past_grace(s.at(60), 10)] == ["obs_2"]
    await store.apply(OpenItemCases(items=("obs_2",), at=s.at(60)))
    assert [case.observation for case in await open_cases(store)] == ["obs_2"]
    if not isinstance(store, MemoryStore):
        assert [row.item.id for row in (await store.unmatched(ItemFilter()))[0]] == ["obs_2"]


async def test_pairs_of_persons_are_read_by_the_keys_of_their_items(store: Any) -> None:
    if isinstance(store, MemoryStore):
        pytest.skip("the store in memory has no lists for pages")
    await apart(store)
    rule = (await foil(store)).rule
    assert (await store.person_pairs(rule)).pairings == []
    await paired(store)
    rows = await store.person_pairs(rule, ["cm-2", "cm-9"])
    assert rows == await store.person_pairs(rule)
    assert ([f.id for f in rows.foils], [o.id for o in rows.observations]) == (["foil_1"], ["obs_1"])
    assert [(pair.right, pair.left, pair.count) for pair in paired_keys(rows)] == [("cm-2", "cm-1", 1)]
    for other, keys in ((rule, ["cm-1"]), (rule, []), ("another", None)):
        assert (await store.person_pairs(other, keys)).pairings == []
    ended = s.decide(s.unpair(await foil(store), await item(store)), when=s.at(9))
    assert await store.apply(ended) == "done"
    assert (await store.person_pairs(rule)).pairings == []


async def test_a_key_that_is_the_document_itself_is_not_remembered(store: Any) -> None:
    """A line of the bank that names no invoice has a key of its own, which comes with no other line."""
    if isinstance(store, MemoryStore):
        pytest.skip("the store in memory has no lists for pages")
    await admitted(
        store, "e1", foils=(s.foil(version=1),), observations=(s.observation(document="cm-2", key="cm-2"),)
    )
    await paired(store)
    rows = await store.person_pairs((await foil(store)).rule)
    assert len(rows.pairings) == 1
    assert paired_keys(rows) == []


async def test_a_pair_survives_versions_with_equal_legs(store: Any) -> None:
    await apart(store)
    await paired(store)
    later = {"foils": (s.foil(version=2),), "observations": (s.observation(key="cm-3", version=2),)}
    await admitted(store, "e2", s.at(9), **later)
    shown = await item(store)
    assert (shown.version, shown.key, shown.own_key) == (2, "cm-1", "cm-3")
    assert (await foil(store)).state is FoilState.MATCHED
    assert await open_cases(store) == []


async def test_a_paired_observation_follows_its_foil_to_another_match(store: Any) -> None:
    await apart(store)
    await paired(store)
    await admitted(store, "e2", s.at(9), foils=(s.foil(version=2, key="cm-9"),))
    shown = await item(store)
    assert ((await foil(store)).state, shown.key, shown.own_key) == (FoilState.MATCHED, "cm-9", "cm-2")
    (match,) = (await store.dump()).matches
    assert (match.key, len(match.allocations)) == ("cm-9", 1)
    await holds(store)


@pytest.mark.parametrize("side", ["left", "right"])
async def test_a_pair_ends_with_other_legs_and_a_case_says_so(store: Any, side: str) -> None:
    await apart(store)
    await paired(store)
    change: dict[str, Any] = {"foils": (s.foil(version=2, minor=9000),)}
    if side == "right":
        change = {"observations": (s.observation(key="cm-2", version=2, minor=9000),)}
    await admitted(store, "e2", s.at(9), **change)
    shown = await item(store)
    assert (shown.key, shown.own_key, shown.state) == ("cm-2", "", "unmatched")
    row = await foil(store)
    assert (row.state, row.partners) == (FoilState.OPEN, ())
    assert [c.reason for c in await open_cases(store)] == ["pairing_ended"]
    (pairing,) = (await store.dump()).pairings
    assert (pairing.ended_at, pairing.ended_by) == (s.at(9), "matching")
    await holds(store)


async def test_a_second_pair_of_the_same_documents_is_a_row_and_a_case_of_its_own(store: Any) -> None:
    await apart(store)
    for n in (0, 2):
        await paired(store, s.at(n * 10))
        await admitted(store, f"x{n}", s.at(n * 10 + 5), foils=(s.foil(version=n + 2, minor=9000),))
        await admitted(store, f"y{n}", s.at(n * 10 + 8), foils=(s.foil(version=n + 3),))
    assert len((await store.dump()).pairings) == 2
    assert [c.reason for c in await open_cases(store)] == ["pairing_ended"] * 2


async def test_unpair_gives_the_observation_back_to_its_own_match(store: Any) -> None:
    await apart(store)
    await paired(store)
    assert await store.apply(s.decide(s.pair(await foil(store), await item(store)))) == "settled"
    assert await store.apply(s.decide(s.unpair(await foil(store), await item(store)), when=s.at(4))) == "done"
    row, shown = await foil(store), await item(store)
    assert (row.state, shown.state, shown.key, shown.own_key) == (FoilState.OPEN, "unmatched", "cm-2", "")
    assert await store.apply(s.decide(s.unpair(row, shown), "apr_other")) == "settled"
    assert await open_cases(store) == []
    await holds(store)


async def test_a_pair_may_be_made_again_by_the_same_decision(store: Any) -> None:
    await apart(store)
    decision = s.decide(s.pair(await foil(store), await item(store)))
    assert await store.apply(decision) == "done"
    before = await store.dump()
    assert await store.apply(decision) == "done"
    assert await store.dump() == before
    await store.apply(s.decide(s.unpair(await foil(store), await item(store))))
    assert await store.apply(replace(decision, at=s.at(20))) == "done"
    assert (await foil(store)).state is FoilState.MATCHED


async def test_one_observation_paired_with_two_foils_stays_until_both_pairs_end(store: Any) -> None:
    many = Terms(shape="n:1")
    foils = (s.foil(minor=5000, terms=many), s.foil("foil_2", minor=7000, terms=many))
    await admitted(store, "e1", foils=foils, observations=(s.observation(key="cm-2", terms=many),))
    for id_ in ("foil_1", "foil_2"):
        assert await store.apply(s.decide(s.pair(await foil(store, id_), await item(store)))) == "done"
    assert {f.state for f in (await store.dump()).foils} == {FoilState.MATCHED}
    await store.apply(s.decide(s.unpair(await foil(store), await item(store))))
    assert (await item(store)).key == "cm-1"
    await store.apply(s.decide(s.unpair(await foil(store, "foil_2"), await item(store))))
    assert (await item(store)).key == "cm-2"
    await holds(store)


async def test_a_pair_with_a_foil_of_another_match_ends_the_former_pair(store: Any) -> None:
    await apart(store)
    await admitted(store, "e2", foils=(s.foil("foil_2", "cm-3"),))
    await paired(store)
    decision = s.pair(await foil(store, "foil_2"), await item(store))
    assert await store.apply(s.decide(decision, when=s.at(5))) == "done"
    states = [(await foil(store, id_)).state for id_ in ("foil_1", "foil_2")]
    assert states == [FoilState.OPEN, FoilState.MATCHED]
    ended = {p.foil: p.ended_by for p in (await store.dump()).pairings}
    assert ended == {"foil_1": "ann", "foil_2": ""}
    await store.apply(s.decide(s.unpair(await foil(store, "foil_2"), await item(store))))
    assert (await item(store)).key == "cm-2"
    await holds(store)


@pytest.mark.parametrize("change", ["version", "legs", "rule", "foil"])
async def test_a_decision_on_other_documents_than_the_person_saw_is_refused(store: Any, change: str) -> None:
    await apart(store, rule="other" if change == "rule" else "credits")
    decision = s.pair(await foil(store), await item(store))
    if change == "version":
        await admitted(store, "e2", observations=(s.observation(key="cm-2", version=2),))
    elif change == "legs":
        await admitted(
            store, "e2", foils=(s.foil(version=1, minor=90_000),)
        )  # larger: the content of this version
    elif change == "foil":
        decision = replace(decision, foil="foil_none")
    expected = "changed" if change in ("version", "legs") else "missing"
    for automatic in (True, False):
        before = await store.dump()
        assert await store.apply(s.decide(decision, automatic=automatic)) == expected
        leaf = None if expected == "missing" else ("foil_1", "ann", "changed")
        assert await refused_leaf(store, before) == leaf


# ------------------------------------------------------------------ approval of decisions


async def persons(store: Any) -> None:
    for name in ("ann", "bob", "eve"):
        await store.apply(s.put_person(s.person(name)))


async def test_a_requested_pair_is_made_by_the_last_vote_in_one_transaction(store: Any) -> None:
    await persons(store)
    await apart(store)
    decision = s.pair(await foil(store), await item(store))
    requested = s.decide(decision, "apr_m", automatic=False, quorum=2)
    assert await store.apply(requested) == "requested"
    assert await store.apply(requested) == "requested"
    subject = requested.approval.subject
    assert (await store.apply(s.vote("apr_m", "ann", subject=subject))).verdict == "requester"
    assert (await store.apply(s.vote("apr_m", "bob", subject=subject))).verdict == "counted"
    assert (await foil(store)).state is FoilState.OPEN
    assert (await store.apply(s.vote("apr_m", "eve", subject=subject))).verdict == "granted"
    assert (await foil(store)).state is FoilState.MATCHED
    assert (await store.dump()).pairings[0].person == "ann"
    assert (await store.approval("apr_m")).state is ApprovalState.GRANTED
    assert await store.apply(requested) == "done"
    await holds(store)


async def test_a_rejected_decision_does_nothing(store: Any) -> None:
    await persons(store)
    await apart(store)
    requested = s.decide(s.pair(await foil(store), await item(store)), "apr_m", automatic=False)
    await store.apply(requested)
    vote = s.vote("apr_m", "bob", False, subject=requested.approval.subject)
    assert (await store.apply(vote)).verdict == "rejected"
    assert (await foil(store)).state is FoilState.OPEN
    assert await store.apply(requested) == "settled"


async def test_a_decision_is_stale_when_the_documents_change_before_the_last_vote(store: Any) -> None:
    await persons(store)
    await apart(store)
    requested = s.decide(s.waive(await foil(store)), "apr_m", automatic=False)
    assert await store.apply(requested) == "requested"
    await admitted(store, "e2", s.at(9), foils=(s.foil(version=2, minor=13_000),))
    await store.apply(s.vote("apr_m", "bob", subject=requested.approval.subject))
    assert (await store.approval("apr_m")).state is ApprovalState.STALE
    assert (await foil(store)).state is FoilState.OPEN
    assert (await store.dump()).waivers == []
    assert await store.apply(requested) == "changed"


async def test_requests_that_can_no_longer_be_carried_out_are_closed_with_the_decision(store: Any) -> None:
    """Two waivers of one difference, as an earlier version could request, and a pair of another item."""
    await persons(store)
    await apart(store)
    row, shown = await foil(store), await item(store)
    first = s.decide(s.waive(row), "apr_1", automatic=False)
    twin = s.decide(replace(s.waive(row), note="again"), "apr_2", automatic=False)
    pair = s.decide(s.pair(row, shown), "apr_3", automatic=False)
    for request in (first, twin, pair):
        assert await store.apply(request) == "requested"
    await store.apply(s.vote("apr_1", "bob", subject=first.approval.subject))
    assert (await foil(store)).state is FoilState.WAIVED
    states = {a.id: a.state for a in (await store.dump()).approvals}
    assert states == {
        "apr_1": ApprovalState.GRANTED, "apr_2": ApprovalState.STALE, "apr_3": ApprovalState.OPEN,
    }  # fmt: skip
    await holds(store)


# ------------------------------------------------------------------ waivers


async def test_a_waiver_holds_for_one_residual_and_one_content(store: Any) -> None:
    await admitted(store, "e1", foils=(s.foil(version=1),), observations=(s.observation(minor=9000),))
    assert await store.apply(s.decide(s.waive(await foil(store)))) == "done"
    assert (await foil(store)).state is FoilState.WAIVED
    assert await open_cases(store) == []
    (waiver,) = (await store.dump()).waivers
    assert (waiver.residual, waiver.money, waiver.person) == ({"total": 3000}, Money(3000, "USD"), "ann")
    await admitted(store, "e2", foils=(s.foil(version=2, names=("x",)),))  # equal legs
    assert (await foil(store)).state is FoilState.WAIVED
    # The same residual of another content.
    other = {
        "foils": (s.foil(version=3, minor=13_000),),
        "observations": (s.observation(minor=10_000, version=2),),
    }
    await admitted(store, "e3", s.at(9), **other)
    row = await foil(store)
    assert (row.state, row.residual) == (FoilState.BROKEN, {"total": 3000})
    assert len(await open_cases(store)) == 1
    await holds(store)


async def test_a_late_document_after_a_waiver_is_over_and_leaves_the_waiver(store: Any) -> None:
    await admitted(store, "e1", foils=(s.foil(),), observations=(s.observation(minor=9000),))
    await store.apply(s.decide(s.waive(await foil(store))))
    await admitted(store, "e2", observations=(s.observation("obs_2", minor=3000, case_at=s.at(60)),))
    row = await foil(store)
    assert (row.state, row.residual) == (FoilState.WAIVED, {"total": 3000})
    late = await store.observation("obs_2")
    assert (late.state, late.foil, late.case_at) == ("over", None, s.T0)
    assert await store.apply(OpenItemCases(items=("obs_2",), at=s.T0)) == 1
    assert [case.observation for case in await open_cases(store)] == ["obs_2"]
    await holds(store)


async def test_a_waiver_accepts_no_other_value(store: Any) -> None:
    asserted, shown = (
        {"total": Money(n, "USD"), "code": code} for n, code in ((12_000, "V19"), (9000, "V07"))
    )
    await admitted(store, "e1", foils=(s.foil(legs=asserted),), observations=(s.observation(legs=shown),))
    row = await foil(store)
    assert (row.state, row.residual, row.reason.partition(":")[0]) == (
        FoilState.BROKEN,
        {"total": 3000},
        "code",
    )
    assert await store.apply(s.decide(s.waive(row))) == "differs"
    assert (await foil(store)).state is FoilState.BROKEN
    assert (await store.dump()).waivers == []


async def test_what_needs_no_acceptance_is_not_waived(store: Any) -> None:
    near = s.foil("foil_2", "cm-2", terms=NEAR)
    items = (s.observation(minor=9000), s.observation("obs_2", "cm-2", 11_950, terms=NEAR))
    await admitted(store, "e1", foils=(s.foil(), near), observations=items)
    absorbed = await foil(store, "foil_2")
    assert (absorbed.state, absorbed.residual) == (FoilState.MATCHED, {"total": 50})
    assert await store.apply(s.decide(s.waive(absorbed))) == "settled"
    await store.apply(s.decide(s.waive(await foil(store))))
    before = await store.dump()
    assert await store.apply(s.decide(s.waive(await foil(store), "bob"))) == "settled"
    assert await refused_leaf(store, before) == ("foil_1", "bob", "settled")


async def test_the_cap_counts_what_was_waived_and_absorbed_in_the_month(store: Any) -> None:
    def both(n: int, minor: int, **more: Any) -> tuple[Foil, Observation]:
        entity = more.get("entity", "")
        terms = more.get("terms", Terms())
        return (
            s.foil(f"foil_{n}", f"cm-{n}", **more),
            s.observation(f"obs_{n}", f"cm-{n}", minor, entity=entity, terms=terms),
        )

    april = {"effective": "2026-04-03"}
    rows = [
        both(1, 11_000),
        both(2, 11_950, terms=NEAR, effective="2026-03-09"),  # absorbed: 50
        both(3, 11_400, effective="2026-03-31"),
        both(4, 11_400, **april),
        both(5, 11_400, entity="de"),
        both(6, 12_070, terms=NEAR),  # absorbed, too much: 70
    ]
    await admitted(store, "e1", foils=[f for f, _ in rows], observations=[o for _, o in rows])
    assert await store.apply(s.decide(s.waive(await foil(store), cap=1119))) == "cap"
    assert await store.apply(s.decide(s.waive(await foil(store), cap=1120))) == "done"
    third = await foil(store, "foil_3")
    assert await store.apply(s.decide(s.waive(third, cap=1719))) == "cap"
    for n in (4, 5):
        assert await store.apply(s.decide(s.waive(await foil(store, f"foil_{n}"), cap=600))) == "done"
    assert await store.apply(s.decide(s.waive(third, cap=1720))) == "done"


async def test_a_cap_is_checked_again_by_the_last_vote(store: Any) -> None:
    await persons(store)
    foils = (s.foil(), s.foil("foil_2", "cm-2"))
    await admitted(store, "e1", foils=foils)
    first = s.decide(s.waive(await foil(store), cap=20_000), "apr_m", automatic=False)
    assert await store.apply(first) == "requested"
    assert await store.apply(s.decide(s.waive(await foil(store, "foil_2"), cap=20_000))) == "done"
    await store.apply(s.vote("apr_m", "bob", subject=first.approval.subject))
    assert (await store.approval("apr_m")).state is ApprovalState.STALE
    assert (await foil(store)).state is FoilState.OPEN


async def test_the_exposure_of_a_case_is_the_difference(store: Any) -> None:
    await admitted(store, "e1", foils=(s.foil(),), observations=(s.observation(minor=12_500),))
    (case,) = await open_cases(store)
    assert case.exposure == (Money(500, "USD"),)


# ------------------------------------------------------------------ rebuilding


def rebuild(*rows: Any, when: Any = s.T0, **more: Any) -> RebuildDocuments:
    foils = tuple(row for row in rows if isinstance(row, Foil))
    items = tuple(row for row in rows if isinstance(row, Observation))
    return RebuildDocuments(foils=foils, observations=items, at=when, **more)


async def test_a_rebuild_opens_no_case_for_each_foil(store: Any) -> None:
    foils = [s.foil(f"foil_{n}", f"cm-{n}") for n in range(3)]
    await admitted(store, "e1", foils=foils)
    items = [s.observation(f"obs_{n}", f"cm-{n}", 9000, event="e1") for n in range(3)]
    moved = await store.apply(rebuild(*items, when=s.at(9)))
    assert moved == ("foil_0", "foil_1", "foil_2")
    assert {f.state for f in (await store.dump()).foils} == {FoilState.BROKEN}
    assert await open_cases(store) == []
    await holds(store)


@pytest.mark.parametrize(
    "change",
    [
        {"legs": {"total": Money(5000, "USD")}},
        {"key": "a-0"},
        {"entity": ""},
        {"names": ()},
        {"reverses": ""},
        {"effective": "2026-01-01"},
    ],
    ids=lambda change: next(iter(change)),
)
@pytest.mark.parametrize("side", ["left", "right"])
async def test_another_reading_of_an_event_replaces_its_former_one(
    store: Any, side: str, change: dict[str, Any]
) -> None:
    """Each change makes the content smaller: among different events it would not count."""
    fields = {"entity": "US01", "names": ("x",), "reverses": "y", "effective": "2026-02-01"}
    make, part = (s.foil, "foils") if side == "left" else (s.observation, "observations")
    await admitted(store, "e1", **{part: (make(**fields),)})
    other = make(**{**fields, **change})
    before = await foil(store) if side == "left" else await item(store)
    first = replace(other, cause="e1") if side == "left" else replace(other, event="e1")
    for moment in (60, 120):
        await store.apply(RebuildDocuments(**{part: (first,)}, at=s.at(moment)))
        after = await foil(store) if side == "left" else await item(store)
        (name,) = change
        assert (getattr(before, name), getattr(after, name)) == (
            fields.get(name, getattr(make(), name)),
            change[name],
        )
    assert [v.known_to for v in await history(store, before.document)] == [s.at(60), None]
    strange = replace(first, cause="e0") if side == "left" else replace(first, event="e0")
    changed = replace(strange, legs={"total": Money(1000, "USD")})
    await store.apply(RebuildDocuments(**{part: (changed,)}, at=s.at(180)))
    assert (await foil(store) if side == "left" else await item(store)) == after
    await holds(store)


async def test_a_rebuild_renames_the_row_of_the_same_event(store: Any) -> None:
    old, shown = s.foil("foil_old", document="cm-1"), s.observation("obs_old", document="1")
    await admitted(store, "e1", foils=(old,), observations=(shown,))
    new = (
        s.foil("foil_new", document="invoice:1", cause="e1"),
        s.observation("obs_new", document="erp:1", event="e1"),
    )
    assert await store.apply(rebuild(*new, when=s.at(9))) == ()
    (match,) = (await store.dump()).matches
    assert [(f.id, f.document, f.state) for f in match.foils] == [
        ("foil_old", "invoice:1", FoilState.MATCHED)
    ]
    assert [(o.id, o.document, o.state) for o in match.observations] == [("obs_old", "erp:1", "paired")]
    assert [v.known_to for v in await history(store, "cm-1")] == [s.at(9)]
    assert [v.known_to for v in await history(store, "invoice:1")] == [None]
    await holds(store)


async def test_a_renamed_row_leaves_its_former_name_to_another_document(store: Any) -> None:
    await admitted(store, "e1", foils=(s.foil(document="a"),), observations=(s.observation(document="x"),))
    new = (s.foil("f2", document="b", cause="e1"), s.observation("o2", document="y", event="e1"))
    await store.apply(rebuild(*new))
    await admitted(store, "e2", foils=(s.foil("foil_1", "cm-2", document="a"),))
    await admitted(store, "e3", observations=(s.observation("obs_1", "cm-2", document="x"),))
    dump = await store.dump()
    assert {(f.document, f.state) for f in dump.foils} == {("a", FoilState.MATCHED), ("b", FoilState.MATCHED)}
    assert len({f.id for f in dump.foils}) == len({o.id for o in dump.observations}) == 2
    await holds(store)


async def test_an_event_with_two_documents_keeps_both(store: Any) -> None:
    foils = (s.foil("foil_1", document="a", minor=5000), s.foil("foil_2", document="b", minor=7000))
    items = (
        s.observation("obs_1", document="x", minor=5000),
        s.observation("obs_2", document="y", minor=7000),
    )
    await admitted(store, "e1", foils=foils, observations=items)
    before = await store.dump()
    again = [replace(f, cause="e1") for f in foils] + [replace(o, event="e1") for o in items]
    assert await store.apply(rebuild(*again, when=s.at(9))) == ()
    assert await store.dump() == before


async def test_two_rows_of_one_event_under_other_ids_are_withdrawn(store: Any) -> None:
    """Which of them is which document is not known, so both are written anew."""
    foils = (s.foil("foil_1", document="a", minor=5000), s.foil("foil_2", document="b", minor=7000))
    await admitted(store, "e1", foils=foils)
    new = [
        s.foil(f"new_{n}", document=f"invoice:{n}", minor=m, cause="e1") for n, m in ((1, 5000), (2, 7000))
    ]
    await store.apply(rebuild(*new, when=s.at(9)))
    states = {f.document: f.state for f in (await store.dump()).foils}
    assert states == {
        "a": FoilState.REVERSED,
        "b": FoilState.REVERSED,
        "invoice:1": FoilState.OPEN,
        "invoice:2": FoilState.OPEN,
    }


async def test_a_document_of_several_events_keeps_its_row_with_its_run(store: Any) -> None:
    """Rebuilding its first version writes a row; the row of its newest version takes the place of that one."""
    run = await s.born(store)
    await store.apply(s.turn(run, foils=(s.foil(run=run, document="cm-1"),)))
    await admitted(store, "e2", s.at(5), foils=(s.foil(document="cm-1", version=2),))
    versions = [s.foil("foil_new", document="invoice:1", version=n, cause=f"e{n}") for n in (1, 2)]
    await store.apply(rebuild(versions[0], when=s.at(9)))
    assert len((await store.dump()).foils) == 2
    await store.apply(rebuild(versions[1], when=s.at(9)))
    (row,) = (await store.dump()).foils
    assert (row.id, row.document, row.version, row.run) == ("foil_1", "invoice:1", 2, run)
    await holds(store)


async def test_a_second_rebuild_changes_nothing(store: Any) -> None:
    old = (s.foil("foil_old", document="cm-1", version=1), s.observation("obs_old", document="1"))
    await admitted(store, "e1", foils=old[:1], observations=old[1:])
    await admitted(store, "e2", s.at(5), foils=(s.foil("foil_2", "cm-2"),))
    again = rebuild(
        s.foil("foil_new", document="invoice:1", version=1, cause="e1"),
        s.foil("foil_new", document="invoice:1", version=2, minor=9000, cause="e3"),
        s.observation("obs_new", document="erp:1", event="e1"),
        when=s.at(9),
        withdrawals=(withdrawal(3, document="foil_2"),),
        matches=(("credits", "cm-1"), ("credits", "cm-2")),
    )
    assert set(await store.apply(again)) == {"foil_2", "foil_old"}
    before = await store.dump()
    assert await store.apply(again) == ()
    assert await store.dump() == before
    await holds(store)


async def waived_without_waiver(store: Any, id_: str) -> None:
    """Write the row as the version before residuals left it."""
    if isinstance(store, MemoryStore):
        row = store.tables.foils[id_]
        store.tables.foils[id_] = replace(row, state=FoilState.WAIVED, reason="", residual={})
        return
    statement = "update foil set state = 'waived', reason = '', residual = '{}' where id = "
    if isinstance(store, SqliteStore):
        apsw.Connection(str(store.path)).execute(statement + "?", (id_,))
        return
    connection = await asyncpg.connect(store._dsn)
    await connection.execute(statement + "$1", id_)
    await connection.close()


async def test_a_rebuild_keeps_what_was_waived_before_residuals_were_kept(store: Any) -> None:
    foils = (s.foil(), s.foil("foil_2"), s.foil("foil_3", "cm-3"))
    await admitted(store, "e1", foils=foils, observations=(s.observation(minor=9000),))
    for id_ in ("foil_1", "foil_2", "foil_3"):
        await waived_without_waiver(store, id_)
    leaves = len((await store.dump()).leaves)
    again = rebuild(when=s.at(9), matches=(("credits", "cm-1"), ("credits", "cm-3")))
    assert await store.apply(again) == ()
    dump = await store.dump()
    assert {f.state for f in dump.foils} == {FoilState.WAIVED}
    assert len(dump.waivers) == 3
    assert len(dump.leaves) == leaves
    assert await store.apply(again) == ()
    assert await store.dump() == dump
    await holds(store)


async def test_the_basis_of_a_reconciliation_is_its_last_digest(store: Any) -> None:
    for digest in ("a", "b"):
        assert await store.apply(PutMatchBasis(rule="credits", digest=digest, at=s.T0)) is True
    assert await store.match_basis() == {"credits": "b"}
