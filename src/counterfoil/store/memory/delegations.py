"""Specification of delegations."""

from __future__ import annotations

from msgspec.structs import replace

from counterfoil.core.delegation import Delegation
from counterfoil.store.memory.refusals import refuse
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.delegations import (
    Delegate,
    DelegateResult,
    EndDelegation,
    EndDelegationResult,
)


@memory(Delegate)
def delegate(db: Tables, t: Delegate) -> DelegateResult:
    new = t.delegation
    others = [d for d in db.delegations.values() if d.giver == new.giver]
    refusal = t.refusal(db.persons.get(new.giver), db.persons.get(new.receiver), others)
    if refusal is not None:
        refuse(db, t.refused(refusal))
        return DelegateResult(verdict=refusal)
    db.put(db.delegations, new.id, new)
    db.leaf("delegation.made", new.id, t.at, f"person:{new.giver}", t.body())
    return DelegateResult(verdict="done")


@memory(EndDelegation)
def end_delegation(db: Tables, t: EndDelegation) -> EndDelegationResult:
    row = db.delegations.get(t.delegation)
    if row is None or row.giver != t.giver:
        return EndDelegationResult(verdict="not_found")
    if row.ended_at is not None or row.ends_at <= t.at:
        return EndDelegationResult(verdict="ended")
    db.put(db.delegations, row.id, replace(row, ended_at=t.at))
    db.leaf("delegation.ended", row.id, t.at, f"person:{t.giver}", b"{}")
    return EndDelegationResult(verdict="done")


def delegations(db: Tables, person: str = "") -> list[Delegation]:
    rows = [d for d in db.delegations.values() if not person or person in (d.giver, d.receiver)]
    return sorted(rows, key=lambda d: (d.starts_at, d.id))
