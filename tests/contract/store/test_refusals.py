"""Refused attempts of persons leave leaves on every store, within a limit for each person and action."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.money import Money
from counterfoil.store.port.refusals import REFUSAL_LEAVES, REFUSAL_WINDOW, RecordRefusal, RefusedAttempt
from tests.contract.store import samples as s
from tests.contract.store.test_documents import admitted, foil
from tests.contract.store.test_people import asked, opened


def attempt(
    person: str = "ann", action: str = "POST /v1/plans", after: timedelta = timedelta()
) -> RecordRefusal:
    refused = RefusedAttempt(
        kind="request.refused", person=person, action=action, subject=action, verdict="permission",
        at=s.T0 + after, details={"permission": "releases:any:plan"},
    )  # fmt: skip
    return RecordRefusal(attempt=refused)


async def leaves(store: Any) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Return kind, subject, actor and body of the leaves of refusals, in order of time."""
    rows = [leaf for _, leaf in (await store.dump()).leaves if leaf.kind.endswith(".refused")]
    ordered = sorted(rows, key=lambda leaf: (leaf.at, wire.loads(leaf.body)["attempts"]))
    return [(leaf.kind, leaf.subject, leaf.actor, wire.loads(leaf.body)) for leaf in ordered]


async def test_a_refused_request_says_who_what_and_why(store: Any) -> None:
    assert await store.apply(attempt())
    ((kind, subject, actor, body),) = await leaves(store)
    assert (kind, subject, actor) == ("request.refused", "POST /v1/plans", "person:ann")
    assert body == {
        "action": "POST /v1/plans", "verdict": "permission", "attempts": 1, "permission": "releases:any:plan",
    }  # fmt: skip


async def test_repeated_refusals_are_counted_and_the_next_window_has_the_count(store: Any) -> None:
    for number in range(100):
        left = await store.apply(attempt(after=timedelta(milliseconds=number)))
        assert left == (number < REFUSAL_LEAVES)
    assert await store.apply(attempt(after=REFUSAL_WINDOW))
    assert [body["attempts"] for *_, body in await leaves(store)] == [*range(1, REFUSAL_LEAVES + 1), 101]


async def test_each_person_and_each_action_has_a_limit_of_its_own(store: Any) -> None:
    for _ in range(REFUSAL_LEAVES + 1):
        await store.apply(attempt())
    assert await store.apply(attempt("bob"))
    assert await store.apply(attempt(action="POST /v1/releases"))
    assert len(await leaves(store)) == REFUSAL_LEAVES + 2


async def test_refused_votes_and_decisions_share_the_limit_with_nothing_else(store: Any) -> None:
    await asked(store, requester="ann")
    await opened(store)
    for _ in range(REFUSAL_LEAVES + 3):
        assert (await store.apply(s.vote(who="ann"))).verdict == "requester"
        assert (await store.apply(s.resolve(who="zoe"))).verdict == "role"
    actions = [body["action"] for *_, body in await leaves(store)]
    assert (actions.count("vote"), actions.count("resolve")) == (REFUSAL_LEAVES, REFUSAL_LEAVES)


@pytest.mark.parametrize("verdict", ["changed", "settled", "cap", "differs"])
async def test_a_refused_decision_on_a_match_says_who_what_and_why(store: Any, verdict: str) -> None:
    if verdict == "differs":
        shown = s.observation(legs={"total": Money(9000, "EUR")})
        await admitted(store, "e1", foils=(s.foil(),), observations=(shown,))
    else:
        await admitted(store, "e1", foils=(s.foil(),), observations=(s.observation(minor=9000),))
    decision = s.waive(await foil(store), cap=1 if verdict == "cap" else None)
    if verdict == "changed":
        decision = replace(decision, seen="another")
    if verdict == "settled":
        assert await store.apply(s.decide(decision)) == "done"
        decision = s.waive(await foil(store), "bob")
    assert await store.apply(s.decide(decision)) == verdict
    ((kind, subject, actor, body),) = await leaves(store)
    assert (kind, subject, actor) == ("decision.refused", "foil_1", f"person:{decision.person}")
    assert (body["action"], body["verdict"], body["note"]) == ("waive", verdict, "accepted")
