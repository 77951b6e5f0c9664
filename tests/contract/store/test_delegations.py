"""Delegations on all stores: who may decide for whom, when, up to which amount, and what stays refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.money import Money
from counterfoil.store.port.delegations import EndDelegation
from tests.contract.store import samples as s

BY_ANN = "del_ann_bob"


async def office(store: Any, **more: Any) -> None:
    """Fill a store with persons and one open approval over 120.00 USD that finance decides and sam requested."""
    for person in (
        s.person("ann", ("finance",)),
        s.person("fin", ("finance",)),
        s.person("bob", ("support",)),
        s.person("eve", ("support",)),
        s.person("sam", ("finance",)),
        s.person("old", ("finance",), active=False),
    ):
        await store.apply(s.put_person(person))
    run = await s.born(store)
    await store.apply(s.turn(run, approvals=(s.approval(run=run, **more),)))


async def make(store: Any, giver: str = "ann", receiver: str = "bob", **more: Any) -> str:
    return str((await store.apply(s.delegate(giver, receiver, **more))).verdict)


async def vote(store: Any, who: str = "bob", delegation: str = BY_ANN, **more: Any) -> str:
    return str((await store.apply(s.vote(who=who, delegation=delegation, **more))).verdict)


async def leaves(store: Any, *kinds: str) -> list[tuple[str, dict[str, Any]]]:
    rows = [leaf for _, leaf in (await store.dump()).leaves if leaf.kind in kinds]
    return [(leaf.actor, wire.loads(leaf.body)) for leaf in rows]


async def test_a_person_decides_for_another_and_both_names_are_on_record(store: Any) -> None:
    await office(store)
    assert await make(store, up_to=Money(12_000, "USD"), reason="on leave") == "done"
    assert await vote(store) == "granted"
    (cast,) = (await store.votes(["apr_1"]))["apr_1"]
    assert (cast.person, cast.behalf) == ("bob", "ann")
    ((actor, body),) = await leaves(store, "decided")
    assert (actor, body["behalf"]) == ("person:bob", "ann")
    ((actor, body),) = await leaves(store, "delegation.made")
    assert (actor, body["receiver"], body["up_to"]) == ("person:ann", "bob", "120.00 USD")


@pytest.mark.parametrize(
    "more",
    [
        {"starts_at": s.at(5)},
        {"ends_at": s.at(1)},
        {"up_to": Money(11_999, "USD")},
        {"up_to": Money(99_999, "EUR")},
    ],
    ids=["early", "late", "amount", "currency"],
)
async def test_outside_of_its_time_and_amount_it_lets_no_one_decide(store: Any, more: dict[str, Any]) -> None:
    await office(store)
    assert await make(store, **more) == "done"
    assert await vote(store, at=s.at(2)) == "delegation"
    assert (await store.approval("apr_1")).state is ApprovalState.OPEN
    assert await leaves(store, "decided") == []


async def test_a_limit_covers_no_approval_without_an_amount(store: Any) -> None:
    await office(store, amount=None)
    await make(store, up_to=Money(10**9, "USD"))
    assert await vote(store) == "delegation"


async def test_the_request_of_the_giver_is_not_decided_by_a_receiver(store: Any) -> None:
    await office(store)
    await make(store, "sam", "bob")
    assert await vote(store, delegation="del_sam_bob") == "delegation"


async def test_a_requester_does_not_decide_for_another(store: Any) -> None:
    await office(store, requester="bob")
    await make(store)
    assert await vote(store) == "requester"


async def test_what_the_giver_sent_is_not_decided_by_a_receiver(store: Any) -> None:
    await office(store, senders=("ann",))
    await make(store)
    assert await vote(store) == "delegation"


async def test_another_person_cannot_use_a_delegation(store: Any) -> None:
    await office(store)
    await make(store)
    assert await vote(store, "eve") == "delegation"


async def test_a_delegation_is_not_passed_on(store: Any) -> None:
    await office(store)
    await make(store)
    await make(store, "bob", "eve")
    assert await vote(store, "eve", "del_bob_eve") == "role"


async def test_one_voice_counts_once_whoever_casts_it(store: Any) -> None:
    await office(store, quorum=2)
    await make(store)
    await make(store, "ann", "eve")
    assert await vote(store) == "counted"
    assert await vote(store, "eve", "del_ann_eve") == "voted"
    assert await vote(store, "ann", "") == "voted"
    assert await vote(store, "fin", "") == "granted"


async def test_a_person_who_voted_is_not_voted_for(store: Any) -> None:
    await office(store, quorum=2)
    await make(store)
    assert await vote(store, "ann", "") == "counted"
    assert await vote(store) == "voted"


async def test_two_who_vote_for_one_person_at_once_count_once(store: Any) -> None:
    await office(store, quorum=2)
    await make(store)
    await make(store, "ann", "eve")
    verdicts = await asyncio.gather(vote(store), vote(store, "eve", "del_ann_eve"))
    assert sorted(verdicts) == ["counted", "voted"]


async def test_it_ends_when_the_giver_takes_it_back(store: Any) -> None:
    await office(store)
    await make(store)
    other = await store.apply(EndDelegation(delegation=BY_ANN, giver="bob", at=s.at(1)))
    assert other.verdict == "not_found"
    ends = [await store.apply(EndDelegation(delegation=BY_ANN, giver="ann", at=s.at(1))) for _ in range(2)]
    assert [e.verdict for e in ends] == ["done", "ended"]
    assert await vote(store, at=s.at(2)) == "delegation"
    assert [actor for actor, _ in await leaves(store, "delegation.ended")] == ["person:ann"]


async def test_a_giver_who_left_lets_no_one_decide(store: Any) -> None:
    await office(store)
    await make(store)
    await store.apply(s.put_person(s.person("ann", ("finance",), active=False)))
    assert await vote(store) == "delegation"


@pytest.mark.parametrize(
    ("giver", "receiver", "more", "verdict"),
    [
        ("ann", "ann", {}, "self"),
        ("ann", "nobody", {}, "receiver"),
        ("ann", "old", {}, "receiver"),
        ("old", "ann", {}, "inactive"),
        ("ann", "bob", {"ends_at": s.T0}, "past"),
        ("ann", "bob", {"starts_at": s.at(9), "ends_at": s.at(9)}, "time"),
        ("ann", "bob", {"ends_at": s.T0 + 400 * s.DAY}, "long"),
    ],
)
async def test_a_delegation_that_makes_no_sense_is_refused(
    store: Any, giver: str, receiver: str, more: dict[str, Any], verdict: str
) -> None:
    await office(store)
    assert await make(store, giver, receiver, **more) == verdict
    assert await store.delegations() == []
    assert [body["verdict"] for _, body in await leaves(store, "decision.refused")] == [verdict]


async def test_the_same_two_persons_have_one_delegation_at_a_time(store: Any) -> None:
    await office(store)
    verdicts = await asyncio.gather(make(store, id="del_1"), make(store, id="del_2", ends_at=s.at(60)))
    assert sorted(verdicts) == ["done", "overlap"]
    after = s.T0 + s.DAY
    assert await make(store, id="del_3", starts_at=after, ends_at=after + s.DAY) == "done"
    assert [d.id for d in await store.delegations("bob")][1:] == ["del_3"]
    assert await store.delegations("eve") == []
