"""desk: what persons decide, made into transitions."""

from __future__ import annotations

from counterfoil.core.case import CaseState, Choice
from counterfoil.core.effect import EffectState
from counterfoil.flow.act import Actor
from counterfoil.store.lists import CaseTarget, Views
from counterfoil.store.store import Store
from counterfoil.store.transitions import Decide, Resolve


async def decide_approval(
    store: Store, approval: str, subject: str, person: str, approve: bool, comment: str
) -> str:
    """A person's vote; the store's verdict."""
    decided = await store.apply(
        Decide(
            approval=approval,
            subject=subject,
            person=person,
            approve=approve,
            comment=comment,
            at=await store.now(),
        )
    )
    return decided.verdict


async def resolve_case(
    store: Store,
    actor: Actor,
    found: CaseTarget | None,
    case: str,
    person: str,
    choice: Choice,
    note: str,
    override: bool,
) -> str:
    """A person's decision on a Case; the store's verdict.

    Where the Case is about an effect of unknown outcome, continue says that it was done and retry that it was
    not: that evidence is recorded first, as the person's.
    """
    now = await store.now()
    resolved = await store.apply(
        Resolve(case=case, person=person, choice=choice, note=note, at=now, override=override)
    )
    if resolved.verdict == "resolved" and found is not None and found.case.effect is not None:
        effect = await store.effect(found.case.effect)
        told = choice in (Choice.CONTINUE, Choice.RETRY)
        if effect is not None and effect.state in (EffectState.UNKNOWN, EffectState.ACCEPTED) and told:
            await actor.conclude_by_person(effect, choice is Choice.CONTINUE, person)
    return resolved.verdict


async def open_case(views: Views, case: str) -> CaseTarget | None:
    """The Case, if it is open; from the lists that pages read."""
    from counterfoil.store.lists import Page

    cursor: str | None = None
    while True:
        rows, cursor = await views.cases(Page(limit=200, state=str(CaseState.OPEN), cursor=cursor))
        for row in rows:
            if row.case.id == case:
                return row
        if cursor is None:
            return None
