"""Who asks is a person and not a text; who sends an event counts as one who asks."""

from __future__ import annotations

from typing import Any

import pytest

from counterfoil.core.approval import ApprovalState
from counterfoil.core.case import Choice
from counterfoil.core.people import Person, ambiguous_names, find_person
from counterfoil.core.run import RunStatus
from counterfoil.store.port.people import PutPerson
from tests.unit.rules.company import ask, company, usd
from tests.unit.rules.driver import Play

BOTH = ("agent", "lead")
"""Roles of a person who may ask and, for other requests, decide."""
CALL = "{id: memo, call: bills.memo.issue, with: {id: =event.data.id, amount: =event.data.amount}}"
REVIEW = (
    "{id: ok, approve: review, amount: event.data.amount, covers: [event.data.amount], becomes: approved}"
)
MEMO = "bills.memo.issue"


async def put(play: Play, id_: str, *roles: str, **more: Any) -> None:
    fields: dict[str, Any] = {"name": f"{id_.title()} Agent", "email": f"{id_}@acme.example", **more}
    await play.store.apply(PutPerson(person=Person(id=id_, roles=roles, **fields), at=play.now, actor="test"))


async def approving(*before: str, **ann: Any) -> Play:
    """Return a company in which Ann asks, and could decide by her roles, as Lee can."""
    play = company(f"steps: [{', '.join((*before, REVIEW, CALL))}]")
    await put(play, "ann", *BOTH, **ann)
    await put(play, "lee", *BOTH)
    return play


# ------------------------------------------------------------------ names


@pytest.mark.parametrize(
    "name",
    [
        "ann", "ANN", " ann", "ann\t", "ann@acme.example", "Ann@Acme.Example", "\uff41\uff4e\uff4e",
        "u17", "U17 ", "Ann  Agent (support)",
    ],
)  # fmt: skip
async def test_no_spelling_of_a_name_approves_its_own_request(name: str) -> None:
    play = await approving(aliases={"bills": ("U17", "Ann Agent (Support)")})
    await ask(play, amount=usd(500), by=name)
    assert play.approval().requester == "ann"
    assert await play.vote(play.approval(), "ann") == "requester"
    assert not play.bodies(MEMO)
    assert await play.vote(play.approval(), "lee") == "granted"
    assert play.bodies(MEMO)


@pytest.mark.parametrize("amount", [5, 500])
@pytest.mark.parametrize(
    "name",
    [
        "Ann Agent",
        "user:ann",
        "person:ann",
        "\u0430nn",
        "a nn",
        "ann\u200b",
        "",
        "nobody",
        "u17",
        "system/bills",
    ],
)
async def test_a_name_of_no_person_is_a_case_and_no_approval(name: str, amount: int) -> None:
    """Not even an automatic tier grants it. An alias of another system names nobody here."""
    play = await approving(aliases={"ledger": ("u17",)})
    await ask(play, amount=usd(amount), by=name)
    case = play.case()
    assert case.reason == "requester"
    assert case.exposure
    assert Choice.CONTINUE not in case.choices
    assert list(play.store.tables.approvals) == []
    assert not play.bodies(MEMO)


async def test_a_person_who_may_not_request_is_a_case() -> None:
    play = await approving()
    await put(play, "guest", "finance")
    await ask(play, amount=usd(5), by="guest")
    assert "guest may not request this: review requires agent" in play.case("requester").message


async def test_a_person_who_left_requests_nothing() -> None:
    play = await approving(active=False)
    await ask(play, amount=usd(5), by="ann")
    assert play.case().reason == "requester"


async def test_a_retry_finds_the_name_that_was_put_on_file() -> None:
    play = await approving()
    await play.person("boss", "finance")
    await ask(play, amount=usd(500), by="u17")
    await put(play, "ann", *BOTH, aliases={"bills": ("u17",)})
    await play.resolve(play.case("requester"), Choice.RETRY)
    assert play.approval().requester == "ann"


async def test_a_name_of_two_persons_names_nobody() -> None:
    ann = Person(id="ann", name="", email="a@x", roles=(), aliases={"desk": ("Carl",)})
    carl = Person(id="carl", name="", email="c@x", roles=())
    assert find_person([ann, carl], "desk", "carl") is None
    assert find_person([ann, carl], "bills", "carl") is carl
    assert ambiguous_names([ann, carl]) == ["'carl' in desk names both ann and carl"]
    assert ambiguous_names([carl, Person(id="b", name="", email="C@X", roles=())]) == [
        "'c@x' names both carl and b"
    ]
    assert ambiguous_names([ann]) == []


async def test_a_system_that_requests_by_itself_is_a_constant() -> None:
    constant = REVIEW.replace("covers:", "requester: \"'system/bills'\", covers:")
    play = company(f"steps: [{constant}, {CALL}]")
    await put(play, "lee", "lead")
    await ask(play, amount=usd(500), by="nobody")
    assert play.approval().requester == "system/bills"
    assert await play.vote(play.approval(), "lee") == "granted"


# ------------------------------------------------------------------ senders


async def test_who_sends_a_request_in_the_name_of_another_does_not_decide_it() -> None:
    play = await approving()
    await play.event("asked.v1", id="a1", amount=usd(500), by="ann", senders=("lee",))
    assert play.approval().senders == ("lee",)
    assert await play.vote(play.approval(), "lee") == "sender"
    assert play.approval().state is ApprovalState.OPEN
    await put(play, "max", "lead")
    assert await play.vote(play.approval(), "max") == "granted"
    assert play.run().status is RunStatus.DONE


async def test_who_sends_an_event_that_the_run_waited_for_does_not_decide_either() -> None:
    play = await approving("{wait: {event: paid.v1, where: event.data.id == start.data.id}}")
    await ask(play, amount=usd(500), by="ann")
    await play.event("paid.v1", id="a1", senders=("lee",))
    assert await play.vote(play.approval(), "lee") == "sender"


async def test_an_emitted_event_carries_those_who_stand_behind_it() -> None:
    play = await approving("{emit: told.v1, data: {id: =event.data.id}}")
    await play.event("asked.v1", id="a1", amount=usd(500), by="ann", senders=("lee",))
    assert [event.senders for event in play.emitted("told.v1")] == [("lee",)]
