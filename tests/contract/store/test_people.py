"""Votes, Cases, persons, releases and the log, on all stores."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.audit import Checkpoint, tree_root
from counterfoil.core.case import CaseState, Choice
from counterfoil.core.effect import EffectState
from counterfoil.core.matching import FoilState
from counterfoil.core.people import Token
from counterfoil.core.run import RunStatus
from counterfoil.store.dump import Dump
from counterfoil.store.port.maintenance import OpenCases, PutCheckpoint, Seal
from counterfoil.store.port.people import PutPerson, PutToken
from tests.contract.store import samples as s


async def asked(store: Any, **more: Any) -> str:
    run = await s.born(store)
    for p in (
        s.person("ann"),
        s.person("bob", ("controller",)),
        s.person("sam"),
        s.person("zoe", ("support",)),
        s.person("old", active=False),
    ):
        await store.apply(s.put_person(p))
    await store.apply(s.turn(run, approvals=(s.approval(**more),)))
    return run


async def test_the_quorum_grants_and_tells_the_run(store: Any) -> None:
    run = await asked(store, quorum=2)
    assert (await store.apply(s.vote(who="ann"))).verdict == "counted"
    assert (await store.load(run)).inbox == ()
    assert (await store.apply(s.vote(who="bob"))).verdict == "granted"
    loaded = await store.load(run)
    assert [(i.kind, i.ref) for i in loaded.inbox] == [("approval", "apr_1")]
    assert loaded.approvals[0].state is ApprovalState.GRANTED


async def test_one_rejection_rejects(store: Any) -> None:
    run = await asked(store, quorum=2)
    assert (await store.apply(s.vote(approve=False))).verdict == "rejected"
    assert (await store.load(run)).approvals[0].state is ApprovalState.REJECTED
    assert (await store.apply(s.vote(who="bob"))).verdict == "closed"


@pytest.mark.parametrize(
    ("verdict", "change"),
    [
        ("not_found", {"id_": "apr_none"}),
        ("expired", {"at": s.T0 + s.DAY}),
        ("subject", {"subject": "another"}),
        ("inactive", {"who": "old"}),
        ("inactive", {"who": "nobody"}),
        ("requester", {"who": "sam"}),
        ("sender", {"who": "bob"}),
        ("role", {"who": "zoe"}),
        ("voted", {}),
    ],
)
async def test_a_vote_that_may_not_count_leaves_a_leaf_only(store: Any, verdict: str, change: Any) -> None:
    await asked(store, quorum=2, senders=("bob",))
    if verdict == "voted":
        await store.apply(s.vote())
    before = await store.dump()
    assert (await store.apply(s.vote(**change))).verdict == verdict
    who = change.get("who", "ann")
    assert await refused_leaf(store, before) == (None if verdict == "not_found" else ("apr_1", who, verdict))


async def refused_leaf(store: Any, before: Dump) -> tuple[str, str, str] | None:
    """Return subject, person and verdict of the only leaf that a refused decision added; it changed nothing else."""
    after = await store.dump()
    if after == before:
        return None
    known = {leaf.id for _, leaf in before.leaves}
    ((_, leaf),) = [(index, leaf) for index, leaf in after.leaves if leaf.id not in known]
    rows = replace(after, leaves=before.leaves, pending=before.pending)
    assert rows == before
    assert leaf.kind == "decision.refused"
    return leaf.subject, leaf.actor.removeprefix("person:"), wire.loads(leaf.body)["verdict"]


@pytest.mark.parametrize(
    "name", ["ann@acme.test", "ANN", " ann ", "Ann@ACME.test", "\uff41nn", "u17", "ANN.SMITH"]
)
async def test_every_name_of_the_requester_is_the_same_person(store: Any, name: str) -> None:
    """A store of an earlier version holds the requester as the event named them."""
    await asked(store, requester=name)
    await store.apply(s.put_person(s.person("ann", aliases={"support": ("u17", "Ann.Smith")})))
    assert (await store.apply(s.vote(who="ann"))).verdict == "requester"
    assert (await store.apply(s.vote(who="bob"))).verdict == "granted"


async def test_a_grant_falls_when_a_voter_turns_out_to_be_the_requester(store: Any) -> None:
    """The intent of a call compares persons again: a name that becomes known after the vote counts."""
    run = await asked(store, requester="u17")
    assert (await store.apply(s.vote(who="ann"))).verdict == "granted"
    effect = s.effect(run=run, approvals=("apr_1",))
    await store.apply(s.turn(run, version=1, consumed=2, plan=(effect,)))
    await store.apply(s.put_person(s.person("ann", aliases={"support": ("u17",)})))
    assert (await store.apply(s.intent(effect))).verdict == "stale"


# ------------------------------------------------------------------ cases


async def opened(store: Any, **more: Any) -> None:
    await store.apply(s.put_person(s.person("ann")))
    await store.apply(s.put_person(s.person("zoe", ("support",))))
    await store.apply(s.put_person(s.person("old", active=False)))
    assert await store.apply(OpenCases(cases=(s.case(**more),), at=s.T0, actor="scan")) == 1


async def test_a_case_opens_once(store: Any) -> None:
    await opened(store)
    again = OpenCases(cases=(s.case(message="again"), s.case("case_2")), at=s.T0, actor="scan")
    assert await store.apply(again) == 1
    assert [c.message for c in (await store.dump()).cases] == ["it failed", "it failed"]


@pytest.mark.parametrize(
    ("verdict", "change"),
    [
        ("not_found", {"id_": "case_none"}),
        ("choice", {"choice": Choice.WAIVE}),
        ("inactive", {"who": "old"}),
        ("role", {"who": "zoe"}),
        ("role", {"who": "zoe", "choice": Choice.WAIVE}),
    ],
)
async def test_a_decision_that_may_not_be_made_leaves_a_leaf_only(
    store: Any, verdict: str, change: Any
) -> None:
    await opened(store)
    before = await store.dump()
    assert (await store.apply(s.resolve(**change))).verdict == verdict
    who = change.get("who", "ann")
    assert await refused_leaf(store, before) == (None if verdict == "not_found" else ("case_1", who, verdict))


async def test_a_case_is_decided_once_by_its_owner_or_an_administrator(store: Any) -> None:
    await opened(store)
    done = await store.apply(s.resolve(who="zoe", choice=Choice.DISMISS, override=True))
    assert done.verdict == "resolved"
    assert (await store.apply(s.resolve())).verdict == "closed"
    (case,) = (await store.dump()).cases
    assert (case.state, case.resolved_by, case.choice, case.note) == (
        CaseState.RESOLVED,
        "zoe",
        Choice.DISMISS,
        "n",
    )


@pytest.mark.parametrize("choice", [Choice.RETRY, Choice.DISMISS])
async def test_a_held_delivery_is_retried_or_dismissed(store: Any, choice: Choice) -> None:
    await opened(store)
    await store.apply(s.receive(s.receipt()))
    held = s.case("case_r", receipt=1)
    await store.apply(s.admit(1, park=True, cases=(held,)))
    assert await store.todos(10) == []
    await store.apply(s.resolve("case_r", choice=choice))
    assert [t.ref for t in await store.todos(10)] == (["1"] if choice is Choice.RETRY else [])
    assert len((await store.dump()).todos) == (1 if choice is Choice.RETRY else 0)


async def test_a_case_of_a_run_tells_the_run(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.turn(run))
    await opened(store, run=run, path="post")
    await store.apply(s.resolve())
    assert [(i.kind, i.ref) for i in (await store.load(run)).inbox] == [("case", "case_1")]


@pytest.mark.parametrize(("who", "verdict"), [("ann", "resolved"), ("zoe", "role")])
async def test_a_stated_outcome_is_recorded_together_with_the_decision_or_not_at_all(
    store: Any, who: str, verdict: str
) -> None:
    run = await s.born(store)
    e = s.effect(run=run)
    await store.apply(s.turn(run, plan=(e,), send=(s.send(e),)))
    await store.apply(s.conclude(e, EffectState.UNKNOWN, look_at=s.at(9)))
    before = len((await store.load(run)).inbox)
    await opened(store, run=run, path="post", effect=e.id, reason="unknown")
    told = s.conclude(e, EffectState.ABSENT)
    assert (await store.apply(s.resolve(who=who, evidence=told))).verdict == verdict
    said = [(i.kind, i.ref) for i in (await store.load(run)).inbox[before:]]
    (case,) = (await store.dump()).cases
    if verdict == "resolved":
        assert (await store.effect(e.id)).state is EffectState.ABSENT
        assert [kind for kind, _ in said] == ["case", "outcome"]
        assert (case.resolved_by, case.choice) == ("ann", Choice.RETRY)
    else:
        assert (await store.effect(e.id)).state is EffectState.UNKNOWN
        assert said == []


async def test_a_broken_foil_is_waived_by_a_person(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.turn(run, foils=(s.foil(run=run, due=s.at(-1), owner="finance"),)))
    await store.apply(s.put_person(s.person("ann")))
    (case,) = (await store.dump()).cases
    broken = await s.foil_of(store, run)
    assert broken.state is FoilState.BROKEN
    before = await store.dump()
    assert (await store.apply(s.resolve(case.id, choice=Choice.WAIVE))).verdict == "choice"
    assert await refused_leaf(store, before) == (case.id, "ann", "choice")
    assert await store.apply(s.decide(s.waive(broken))) == "done"
    assert (await s.foil_of(store, run)).state is FoilState.WAIVED
    assert {c.state for c in (await store.dump()).cases} == {CaseState.RESOLVED}


async def test_a_waiver_accepts_one_exact_residual(store: Any) -> None:
    """A version with equal legs keeps it; other legs of either side end it."""
    run = await s.born(store)
    await store.apply(s.turn(run, foils=(s.foil(run=run),)))
    await store.apply(s.receive(s.receipt("r2")))
    await store.apply(s.admit(2, events=(s.event("evt_2"),), observations=(s.observation(minor=9000),)))
    assert (await s.foil_of(store, run)).state is FoilState.BROKEN
    assert await store.apply(s.decide(s.waive(await s.foil_of(store, run)))) == "done"
    (match,) = (await store.dump()).matches
    assert match.foils[0].state is FoilState.WAIVED
    assert match.foils[0].residual == {"total": 3000}
    await store.apply(s.receive(s.receipt("r3"), s.receipt("r4")))
    same = s.observation(minor=9000, version=2, event="evt_3")
    await store.apply(s.admit(3, events=(s.event("evt_3"),), observations=(same,)))
    assert (await s.foil_of(store, run)).state is FoilState.WAIVED
    other = s.observation(minor=8999, version=3, event="evt_4")
    await store.apply(s.admit(4, events=(s.event("evt_4"),), observations=(other,)))
    assert (await s.foil_of(store, run)).state is FoilState.BROKEN


# ------------------------------------------------------------------ settings


async def test_the_sessions_and_tokens_of_a_person_end_with_their_account(store: Any) -> None:
    for id_ in ("ann", "bob"):
        await store.apply(s.put_person(s.person(id_)))
        for kind in ("session", "token"):
            row = Token(digest=f"{id_}-{kind}", person=id_, kind=kind, expires=s.at(10))
            await store.apply(PutToken(token=row, at=s.T0))
    await store.apply(s.put_person(s.person("ann", active=False)))
    await store.apply(s.put_person(s.person("ann")))
    assert [await store.token(f"ann-{kind}", s.at(9)) for kind in ("session", "token")] == [None, None]
    assert await store.token("bob-token", s.at(9)) == s.person("bob")


async def test_persons_and_tokens(store: Any) -> None:
    assert await store.apply(s.put_person(s.person("ann"))) is True
    assert await store.apply(s.put_person(s.person("ann", ("controller",), secret="h"))) is False
    ann = s.person("ann", ("controller",), secret="h")
    assert await store.person("ann") == ann
    assert await store.persons() == [ann]
    token = Token(digest="d", person="ann", kind="session", expires=s.at(10))
    assert await store.apply(PutToken(token=token, at=s.T0)) is True
    assert await store.token("d", s.at(9)) == ann
    assert await store.token("d", s.at(10)) is None
    assert await store.token("e", s.at(9)) is None
    await store.apply(s.put_person(s.person("ann", active=False)))
    assert await store.token("d", s.at(9)) is None


# ------------------------------------------------------------------ the log


async def test_leaves_are_sealed_in_order_into_one_tree(store: Any) -> None:
    await store.apply(s.receive(*(s.receipt(str(i)) for i in range(5))))
    first = await store.apply(Seal(at=s.T0, limit=3))
    assert (first.count, first.size) == (3, 3)
    second = await store.apply(Seal(at=s.T0))
    assert (second.count, second.size) == (2, 5)
    leaves = await store.leaves(0, 10)
    assert [index for index, _ in leaves] == [0, 1, 2, 3, 4]
    assert [leaf.subject for _, leaf in leaves] == ["1", "2", "3", "4", "5"]
    assert second.root == tree_root([leaf.hash for _, leaf in leaves])
    assert first.root == tree_root([leaf.hash for _, leaf in leaves[:3]])
    assert (await store.apply(Seal(at=s.T0))).count == 0
    assert (await store.dump()).pending == []
    assert [index for index, _ in await store.leaves(3, 1)] == [3]


async def test_the_checkpoint_is_the_largest(store: Any) -> None:
    assert await store.checkpoint() is None
    for size in (3, 9, 5):
        mark = Checkpoint(size=size, root=bytes([size] * 32), at=s.T0, text=f"log\n{size}\n")
        await store.apply(PutCheckpoint(checkpoint=mark))
    held = await store.checkpoint()
    assert (held.size, held.text) == (9, "log\n9\n")
    assert (await store.checkpoint(5)).root == bytes([5] * 32)
    assert await store.checkpoint(4) is None


async def test_next_due_is_the_earliest_of_all(store: Any) -> None:
    assert await store.next_due() is None
    run = await s.born(store)
    await store.apply(s.turn(run, status=RunStatus.WAITING, due=s.at(500), foils=(s.foil(due=s.at(400)),)))
    assert await store.next_due() == s.at(400)


async def test_a_lone_token_replaces_the_former_one_and_keeps_sessions(store: Any) -> None:
    await store.apply(PutPerson(person=s.person("ann"), at=s.T0, actor="t"))
    for digest, kind in (("old", "token"), ("page", "session")):
        token = Token(digest=digest, person="ann", kind=kind, expires=s.at(10))
        await store.apply(PutToken(token=token, at=s.T0))
    new = Token(digest="new", person="ann", kind="token", expires=s.at(10))
    await store.apply(PutToken(token=new, at=s.T0, alone=True))
    assert await store.token("old", s.at(1)) is None
    assert await store.token("new", s.at(1)) is not None
    assert await store.token("page", s.at(1)) is not None
