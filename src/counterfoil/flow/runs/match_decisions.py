"""Decisions of persons on documents: pair, unpair and waive, each approved by amount as its reconciliation says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Literal, NamedTuple

from counterfoil.core import wire
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.cases import totals
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.money import Money
from counterfoil.flow.context.lookups import Lookups
from counterfoil.model import Model
from counterfoil.model.compile.policy import compile_approval
from counterfoil.rules import lookup
from counterfoil.rules.approval_matrix import in_currency, tier_for
from counterfoil.store.port.documents import (
    DecideMatch,
    Decision,
    MatchVerdict,
    Pair,
    Unpair,
    Waive,
    covers_of,
    pair_group,
    refused_decision,
    request_id,
    seen_of,
)
from counterfoil.store.port.refusals import RecordRefusal
from counterfoil.store.port.store import Store

EXPIRES = timedelta(days=14)
"""How long a decision without a policy of its own waits for its second person."""


class MatchAnswer(NamedTuple):
    """Result of a decision; with `requested`, the approval that waits for votes."""

    verdict: MatchVerdict | Literal["tier", "mixed"]
    approval: str | None = None


class _Needed(NamedTuple):
    """The persons who must agree to an amount."""

    automatic: bool
    roles: tuple[str, ...]
    quorum: int
    policy: str
    expires: timedelta


async def pair(
    store: Store, model: Model, foil_id: str, observation_id: str, person: str, note: str
) -> MatchAnswer:
    """Pair an unmatched item with a foil of the same reconciliation."""
    foil, observed = await store.foil(foil_id), await store.observation(observation_id)
    if foil is None or observed is None or foil.rule != observed.rule:
        return MatchAnswer("missing")
    content = seen_of(foil, observed)
    decision = Pair(foil=foil.id, observation=observed.id, seen=content, note=note, person=person)
    return await _decide(store, model, foil, decision, observed.money, "pair")


async def pair_several(
    store: Store,
    model: Model,
    foil_ids: Sequence[str],
    observation_ids: Sequence[str],
    person: str,
    note: str,
) -> MatchAnswer:
    """Pair each of these items with each of these foils of one reconciliation, all at once or none.

    The amounts of all items together decide who must agree, without their signs.
    """
    if len(foil_ids) == len(observation_ids) == 1:
        return await pair(store, model, foil_ids[0], observation_ids[0], person, note)
    foils = [await store.foil(id_) for id_ in foil_ids]
    items = [await store.observation(id_) for id_ in observation_ids]
    present, observed = [f for f in foils if f is not None], [o for o in items if o is not None]
    rows: list[Foil | Observation] = [*present, *observed]
    rules = {row.rule for row in rows}
    if len(present) < len(foils) or len(observed) < len(items) or len(rules) != 1:
        return MatchAnswer("missing")
    decision = pair_group(present, observed, note, person)
    money = totals(abs(amount) for item in observed for amount in item.money)
    if len(money) > 1 or len({row.entity for row in rows if row.entity}) > 1:
        return MatchAnswer("mixed")  # one approval has one amount, and the policy of one legal entity
    return await _decide(store, model, present[0], decision, money, "pair")


async def unpair(
    store: Store, model: Model, foil_id: str, observation_id: str, person: str, note: str
) -> MatchAnswer:
    """End a pair that a person made."""
    foil, observed = await store.foil(foil_id), await store.observation(observation_id)
    if foil is None or observed is None:
        return MatchAnswer("missing")
    content = seen_of(foil, observed)
    decision = Unpair(foil=foil.id, observation=observed.id, seen=content, note=note, person=person)
    return await _decide(store, model, foil, decision, observed.money, "pair")


async def waive(store: Store, model: Model, foil_id: str, person: str, note: str) -> MatchAnswer:
    """Accept exactly the difference that a foil has now."""
    foil = await store.foil(foil_id)
    if foil is None:
        return MatchAnswer("missing")
    rule = model.reconciliations.get(foil.rule)
    money = foil.difference
    cap = rule.cap.get(money[0].currency) if rule is not None and money else None
    decision = Waive(foil=foil.id, seen=seen_of(foil), note=note, person=person, cap=cap)
    return await _decide(store, model, foil, decision, money, "waive")


async def _decide(
    store: Store,
    model: Model,
    foil: Foil,
    decision: Decision,
    money: tuple[Money, ...],
    kind: Literal["pair", "waive"],
) -> MatchAnswer:
    now = await store.now()
    needed = await _needed(store, model, foil, money, kind, now)
    if needed is None:
        await store.apply(RecordRefusal(attempt=refused_decision(decision, "tier", now)))
        return MatchAnswer("tier")
    covers = covers_of(decision)
    subject = wire.digest({"decision": covers.decode(), "policy": needed.policy})
    approval = Approval(
        id=await _request_id(store, decision, subject, now),
        run="",
        path=kind,
        policy=needed.policy,
        subject=subject,
        covers=covers,
        amount=money[0] if money else None,
        roles=needed.roles,
        quorum=needed.quorum,
        requester=decision.person,
        expires=now + needed.expires,
        created_at=now,
        automatic=needed.automatic,
        entity=foil.entity,
    )
    verdict = await store.apply(DecideMatch(decision=decision, approval=approval, at=now))
    return MatchAnswer(verdict, approval.id if verdict == "requested" else None)


async def open_request(store: Store, decision: Decision) -> Approval | None:
    """Return the request for this decision that waits for votes, by any person."""
    return await store.approval(await _request_id(store, decision, "", await store.now()))


async def open_waiver(store: Store, foil: Foil) -> Approval | None:
    """Return the request to accept the present difference of a foil that waits for votes."""
    return await open_request(store, Waive(foil=foil.id, seen=seen_of(foil), note="", person=""))


async def _request_id(store: Store, decision: Decision, subject: str, now: datetime) -> str:
    """Return the id of the request for a decision.

    One that waits for votes is joined by any person and for any reason. One that was decided is repeated only by the same
    request; another person or reason makes a new one.
    """
    id_ = request_id(decision)
    while (former := await store.approval(id_)) is not None:
        is_open = former.state is ApprovalState.OPEN
        if (is_open and former.expires > now) or (not is_open and former.subject == subject):
            break
        id_ = request_id(decision, former.id)
    return id_


async def _needed(
    store: Store,
    model: Model,
    foil: Foil,
    money: tuple[Money, ...],
    kind: Literal["pair", "waive"],
    now: datetime,
) -> _Needed | None:
    """Return who must agree, by the policies of the document's legal entity today.

    Without a policy, a second person with the owner's role; None above every tier.
    """
    model = model.at(foil.entity or model.default_entity, now.date())
    rule = model.reconciliations.get(foil.rule)
    name = None if rule is None else rule.waive if kind == "waive" else rule.pair
    policy = model.policies.get(name or "")
    if policy is None or policy.approval is None:
        return _Needed(kind == "pair", (foil.owner,), 1, "", EXPIRES)
    compiled = compile_approval(policy, policy.approval, model.digest)
    minor: int | None = 0
    if not money and kind == "waive":
        # A difference in counts has no amount, so no limit of an automatic tier speaks of it.
        by_person = tuple(t for t in compiled.tiers if not t.automatic)
        compiled = replace(compiled, tiers=by_person or compiled.tiers)
    elif money:
        lookups = Lookups(store, model, now)
        answer = lookup.lookup_in(lookups.answers, "")
        work = partial(in_currency, abs(money[0]), compiled.currency, compiled.rates, answer)
        minor = await lookups.complete(work)
    tier = None if minor is None else tier_for(compiled, minor)
    if tier is None:
        return None
    return _Needed(tier.automatic, tier.roles, tier.quorum, policy.name, timedelta(seconds=compiled.expires))
