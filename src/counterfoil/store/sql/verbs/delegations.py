"""Delegations of decisions on approvals."""

from __future__ import annotations

from counterfoil.core.clock import micros
from counterfoil.core.delegation import Delegation
from counterfoil.store.port.delegations import (
    Delegate,
    DelegateResult,
    EndDelegation,
    EndDelegationResult,
)
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.transaction import Tx
from counterfoil.store.sql.verbs.people import person
from counterfoil.store.sql.verbs.refusals import refuse

OF_GIVER = f"{t.DELEGATION.select} where giver = $1 order by id"
LOCK_PERSON = "select 1 from person where id = $1 for update"
END = "update delegation set ended_at = $2 where id = $1"


@sql(Delegate)
async def delegate(x: Tx, d: Delegate) -> DelegateResult:
    """Record a delegation. Two of one giver wait for each other on the row of the giver."""
    new = d.delegation
    await x.rows(LOCK_PERSON, new.giver)
    others = [t.DELEGATION.read(row) for row in await x.rows(OF_GIVER, new.giver)]
    refusal = d.refusal(await person(x, new.giver), await person(x, new.receiver), others)
    if refusal is not None:
        await refuse(x, d.refused(refusal))
        return DelegateResult(verdict=refusal)
    await x.insert(t.DELEGATION, [t.DELEGATION.row(new)])
    x.leaf("delegation.made", new.id, d.at, f"person:{new.giver}", d.body())
    return DelegateResult(verdict="done")


@sql(EndDelegation)
async def end_delegation(x: Tx, e: EndDelegation) -> EndDelegationResult:
    row = await x.one(f"{t.DELEGATION.select} where id = $1 for update", e.delegation)
    delegation: Delegation | None = None if row is None else t.DELEGATION.read(row)
    if delegation is None or delegation.giver != e.giver:
        return EndDelegationResult(verdict="not_found")
    if delegation.ended_at is not None or delegation.ends_at <= e.at:
        return EndDelegationResult(verdict="ended")
    await x.rows(END, delegation.id, micros(e.at))
    x.leaf("delegation.ended", delegation.id, e.at, f"person:{e.giver}", b"{}")
    return EndDelegationResult(verdict="done")
