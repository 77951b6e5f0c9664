"""Negative amounts: refused unless a policy or a contract allows them, and never smaller than their positive twins."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.core.approval import ApprovalState
from counterfoil.core.case import Choice
from counterfoil.core.money import Money
from counterfoil.model.definition import ApprovalPolicy, ApprovalTier
from counterfoil.rules import approval_matrix as matrix
from counterfoil.rules.amount_signs import negative_amounts
from tests.companies.base import edited
from tests.unit.rules.company import BASE, ask, usd
from tests.unit.rules.driver import Play, model_of

ANY_SIGN = "{type: money, negative: true}"
ISSUE = "name: bills.memo.issue\nsystem: bills\nexecutor: identity\ninput: {id: id, amount: money}"
FLOW = """
kind: workflow
name: flow
owner: finance
failure: careful
start: {event: asked.v1, key: event.data.id}
steps:
  - id: ok
    approve: review
    amount: event.data.amount
    LIMIT
    covers: [event.data.amount]
    outcomes: {rejected: {stop: rejected}}
    becomes: approved
  - {id: memo, call: bills.memo.issue, with: {id: =event.data.id, amount: AMOUNT}}
"""


def play_with(
    approval: bool = True,
    call: bool = True,
    limit: str = "",
    allowed: bool = True,
    amount: str = "=event.data.amount",
) -> Play:
    """Return the company in which the approval, the call or the limit allows negative amounts."""
    text = BASE
    if approval:
        text = edited(text, ("approval:\n  currency: USD", "approval:\n  negative: true\n  currency: USD"))
    if call:
        text = edited(text, (ISSUE, ISSUE.replace("amount: money", f"amount: {ANY_SIGN}")))
    if limit and allowed:
        text = edited(text, ("currency: USD, at_most: 1500", "currency: USD, at_most: 1500, negative: true"))
    flow = FLOW.replace("AMOUNT", amount).replace("LIMIT", f"reserve: {limit}" if limit else "")
    return Play(model_of(text, flow))


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize("minor", [-1, -1_00, -100_000_000])
@pytest.mark.parametrize(
    ("allows", "who"),
    [
        ({"approval": False}, "the policy review"),
        ({"limit": "cap", "allowed": False}, "the policy cap"),
        ({"call": False}, "bills.memo.issue allows no negative amount in amount"),
        ({"call": False, "amount": "{minor: =event.data.amount.minor, currency: USD}"}, "bills.memo.issue"),
    ],
)
async def test_a_negative_amount_is_refused_where_nothing_allows_it(
    minor: int, allows: dict[str, Any], who: str
) -> None:
    play = play_with(**allows)
    for person, role in (("lee", "lead"), ("fay", "finance"), ("fox", "finance")):
        await play.person(person, role)
    amount = Money(minor, "USD")
    if "call" in allows and minor < -500_000:
        amount = Money(-400_000, "USD")  # of the highest tier, so that the call is reached
    await ask(play, amount=amount)
    for person in ("lee", "fay", "fox"):
        if play.approvals(ApprovalState.OPEN):
            await play.vote(play.approval(), person)
    case = play.case("invalid")
    assert f"{amount} is negative" in case.message
    assert who in case.message
    assert Choice.CONTINUE not in case.choices or "call" in allows
    assert not play.bodies("bills.memo.issue")
    assert play.used("cap") == 0


async def test_a_later_negative_amount_is_refused_before_the_first_call() -> None:
    text = edited(BASE, (ISSUE, ISSUE.replace("amount: money", f"amount: {ANY_SIGN}")))
    post = "  - {call: ledger.post, with: {id: =event.data.id, amount: =event.data.amount}}\n"
    first = "steps:\n  - {call: bills.memo.issue, with: {id: =event.data.id, amount: =event.data.amount}}\n"
    play = Play(model_of(text, FLOW[: FLOW.index("steps:")] + first + post))
    await ask(play, amount=usd(-5))
    message = play.case("invalid").message
    assert "ledger.post" in message
    assert "-5.00 USD is negative" in message
    assert not play.systems["bills"].calls


async def test_zero_is_not_negative() -> None:
    play = play_with(approval=False, call=False)
    await ask(play, amount=usd(0))
    assert play.bodies("bills.memo.issue")


@pytest.mark.parametrize(
    ("value", "schema", "places"),
    [
        ({"a": usd(-1)}, {"a": {"x-type": "money"}}, ["a"]),
        ({"a": usd(-1)}, {"a": {"x-type": "money", "x-negative": True}}, []),
        ({"a": usd(1), "b": usd(0)}, {"a": {"x-type": "money"}, "b": {"x-type": "money"}}, []),
        ({"a": {"minor": -1, "currency": "USD"}}, {"a": {"x-type": "money"}}, ["a"]),
        ({"a": [{"n": usd(1)}, {"n": usd(-1)}]},
         {"a": {"type": "array", "items": {"properties": {"n": {"x-type": "money"}}}}}, ["a.1.n"]),
        ({"a": [usd(-1)]}, {"a": {"items": {"x-type": "money"}, "x-negative": True}}, []),
        ({"a": None, "b": "-5"}, {"a": {"x-type": "money"}, "b": {"x-type": "money"}}, []),
        ({"a": -5}, {"a": {"type": "integer"}}, []),
    ],
)  # fmt: skip
def test_negative_amounts_are_found_at_every_depth(value: Any, schema: Any, places: list[str]) -> None:
    found = negative_amounts(value, {"properties": schema})
    assert [".".join(path) for path, _ in found] == places


# ------------------------------------------------------------------ allowed: by magnitude


@pytest.mark.parametrize(
    ("major", "roles"),
    [
        (0, None),
        (1, None),
        (100, None),
        (101, ("lead",)),
        (1000, ("lead",)),
        (1001, ("finance",)),
        (5000, ("finance",)),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
async def test_both_signs_have_the_same_tier(major: int, roles: tuple[str, ...] | None, sign: int) -> None:
    play = play_with()
    await ask(play, amount=usd(sign * major))
    if roles is None:
        assert play.approvals(ApprovalState.GRANTED)[0].automatic
        assert play.bodies("bills.memo.issue")[0]["amount"]["minor"] == sign * major * 100
    else:
        assert play.approval().roles == roles
        assert not play.bodies("bills.memo.issue")


@pytest.mark.parametrize("sign", [1, -1])
async def test_above_every_tier_is_rejected_for_both_signs(sign: int) -> None:
    play = play_with()
    await ask(play, amount=usd(sign * 5001))
    assert play.run().state == "rejected"


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
async def test_a_limit_counts_both_signs(signs: tuple[int, int]) -> None:
    play = play_with(limit="cap")
    await play.person("lee", "lead")
    await ask(play, "a1", amount=usd(signs[0] * 900))
    await play.vote(play.approval(), "lee")
    assert play.used("cap") == 900_00
    await ask(play, "a2", amount=usd(signs[1] * 601))
    assert [run.state for run in play.runs()] == ["approved", "rejected"]
    assert play.used("cap") == 900_00


@pytest.mark.parametrize("sign", [1, -1])
async def test_what_others_used_raises_the_tier_for_both_signs(sign: int) -> None:
    play = play_with(limit="cap")
    await ask(play, "a1", amount=usd(sign * 60))
    await ask(play, "a2", amount=usd(sign * 60))
    assert play.approval().roles == ("lead",)


TIERS = st.lists(st.integers(0, 10**9), unique=True, max_size=5).map(sorted)


@given(ends=TIERS, last=st.booleans(), minor=st.integers(-(10**10), 10**10))
def test_the_tier_is_that_of_the_magnitude(ends: list[int], last: bool, minor: int) -> None:
    tiers = [ApprovalTier(end, False, (str(end),), 1) for end in ends]
    tiers += [ApprovalTier(None, False, ("all",), 1)] if last else []
    policy = matrix_policy(tuple(tiers))
    assert matrix.tier_for(policy, minor) == matrix.tier_for(policy, -minor)
    tier = matrix.tier_for(policy, minor)
    assert all(
        t.up_to is not None and abs(minor) > t.up_to for t in tiers[: tiers.index(tier) if tier else None]
    )


@given(
    minor=st.integers(-(10**12), 10**12),
    rate=st.decimals(min_value="0.0001", max_value="1000", places=6).filter(bool),
    pair=st.sampled_from([("EUR", "USD"), ("JPY", "USD"), ("USD", "KWD"), ("UGX", "USD")]),
)
def test_a_converted_amount_keeps_its_magnitude_and_never_loses_a_part_of_a_unit(
    minor: int, rate: Decimal, pair: tuple[str, str]
) -> None:
    def convert(amount: Money) -> int:
        converted = matrix.in_currency(amount, pair[1], "fx", lambda name, args: str(rate))
        assert converted is not None
        return converted

    amount = Money(minor, pair[0])
    assert convert(-amount) == -convert(amount)
    exact = abs(amount.major()) * rate
    assert abs(Money(convert(amount), pair[1]).major()) >= exact


def matrix_policy(tiers: tuple[ApprovalTier, ...]) -> ApprovalPolicy:
    return dataclasses.replace(play_with().model.workflow("flow").approvals["review"], tiers=tiers)
