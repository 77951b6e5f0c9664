"""desk: what persons decide, made into transitions."""

from __future__ import annotations

from counterfoil.core.case import CaseState, Choice
from counterfoil.core.effect import EffectState
from counterfoil.flow.runs.effects import EffectSender
from counterfoil.store.port.people import Decide, Resolve
from counterfoil.store.port.store import (
    Store,
)
from counterfoil.store.port.views import CaseTarget, Views


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
    actor: EffectSender,
    found: CaseTarget | None,
    case: str,
    person: str,
    choice: Choice,
    note: str,
    override: bool,
) -> str:
    """A person's decision on a Case; the store's verdict.

    Where the Case is about an effect of unknown outcome, continue says that it was done and retry that it was
    not: that evidence is recorded with the decision, as the person's.
    """
    told = None
    if found is not None and found.case.effect is not None and choice in (Choice.CONTINUE, Choice.RETRY):
        effect = await store.effect(found.case.effect)
        if effect is not None and effect.state in (EffectState.UNKNOWN, EffectState.ACCEPTED):
            told = await actor.word_of(effect, choice is Choice.CONTINUE, person)
    resolved = await store.apply(
        Resolve(
            case=case,
            person=person,
            choice=choice,
            note=note,
            at=await store.now(),
            override=override,
            told=told,
        )
    )
    return resolved.verdict


async def open_case(views: Views, case: str) -> CaseTarget | None:
    """The Case, if it is open; from the lists that pages read."""
    from counterfoil.store.port.views import ListFilter

    cursor: str | None = None
    while True:
        rows, cursor = await views.cases(ListFilter(limit=200, state=str(CaseState.OPEN), cursor=cursor))
        for row in rows:
            if row.case.id == case:
                return row
        if cursor is None:
            return None
