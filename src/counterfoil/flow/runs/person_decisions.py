"""Decisions of persons on approvals and Cases, as transitions of the store."""

from __future__ import annotations

from counterfoil.core.case import Case, CaseState, Choice
from counterfoil.core.effect import UNSETTLED
from counterfoil.core.release import is_of_plan
from counterfoil.flow.runs import match_decisions
from counterfoil.flow.runs.reconciler import OutcomeReconciler
from counterfoil.model import Model
from counterfoil.rules.delegations import for_decision, pending_decision
from counterfoil.rules.entities import deciding_roles, idle_roles
from counterfoil.store.port.effects import Conclude
from counterfoil.store.port.people import Decide, DecideVerdict, Resolve, ResolveVerdict
from counterfoil.store.port.store import Store


async def decide_approval(
    store: Store, model: Model, approval: str, subject: str, person: str, approve: bool, comment: str
) -> DecideVerdict:
    """Record a person's vote and return the store's verdict."""
    vote = {"approval": approval, "subject": subject, "person": person, "comment": comment}
    about = await store.approval(approval)
    if about is None:
        return "not_found"
    entity = None if is_of_plan(about.run) else about.entity
    now = await store.now()
    voter = await store.person(person)
    acting = frozenset() if voter is None else deciding_roles(model, voter, about.policy, entity, now.date())
    idle = frozenset() if voter is None else frozenset(voter.roles) - acting
    delegation = ""
    if voter is not None and not acting & set(about.roles):
        givers = {p.id: p for p in await store.persons()}
        received = await store.delegations(person)
        stand_in = for_decision(model, received, givers, voter, pending_decision(about), now)
        if stand_in is not None:
            giver = givers[stand_in.giver]
            delegation = stand_in.id
            idle = frozenset(giver.roles) - deciding_roles(model, giver, about.policy, entity, now.date())
    decision = Decide(**vote, approve=approve, at=now, idle=idle, delegation=delegation)
    return (await store.apply(decision)).verdict


async def resolve_case(
    store: Store,
    model: Model,
    reconciler: OutcomeReconciler,
    case_id: str,
    person: str,
    choice: Choice,
    note: str,
    override: bool,
) -> ResolveVerdict:
    """Record a person's decision on a Case and return the store's verdict.

    To accept the difference of a counterfoil is a decision on its match, approved by amount: the Case ends with it.
    """
    target = await store.case(case_id)
    if target is None:
        return "not_found"
    idle = idle_roles(model, await store.person(person), target.entity)
    if target.case.foil is not None and choice is Choice.WAIVE:
        return await _waive(store, model, target.case, person, note, override, idle)
    resolved = await store.apply(
        Resolve(
            case=case_id,
            person=person,
            choice=choice,
            note=note,
            at=await store.now(),
            idle=idle,
            override=override,
            evidence=await _stated_outcome(store, reconciler, case_id, choice, person),
        )
    )
    return resolved.verdict


async def _waive(
    store: Store, model: Model, case: Case, person_id: str, note: str, override: bool, idle: frozenset[str]
) -> ResolveVerdict:
    person = await store.person(person_id)
    request = Resolve(
        case=case.id,
        person=person_id,
        choice=Choice.WAIVE,
        note=note,
        at=await store.now(),
        idle=idle,
        override=override,
    )
    if request.refusal(case, person) != "choice" or Choice.WAIVE not in case.choices:
        return (await store.apply(request)).verdict  # refused, with a leaf
    answer = await match_decisions.waive(store, model, case.foil or "", person_id, note)
    match answer.verdict:
        case "done":
            return "resolved"
        case "missing" | "shape" | "keys" | "mixed":  # all but the first refuse only groups of pairs
            return "not_found"
        case verdict:
            return verdict


async def _stated_outcome(
    store: Store, reconciler: OutcomeReconciler, case_id: str, choice: Choice, person: str
) -> Conclude | None:
    """Return the outcome that a choice states for the Case's effect, or None.

    If that effect's outcome is unknown, `continue` states that the call was done, and `retry` that it was not. The
    store records this evidence in the same transaction, under the person's name.
    """
    if choice not in (Choice.CONTINUE, Choice.RETRY):
        return None
    target = await store.case(case_id)
    if target is None or target.case.state is not CaseState.OPEN or target.case.effect is None:
        return None
    effect = await store.effect(target.case.effect)
    if effect is None or effect.state not in UNSETTLED:
        return None
    return await reconciler.conclude_by_person(effect, choice is Choice.CONTINUE, person)
