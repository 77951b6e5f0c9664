"""Specification of heartbeats, quotas and caps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec.structs import replace

from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.quota import Quota, WorkerHeartbeat, set_cap
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.workers import (
    Heartbeat,
    HeartbeatResult,
    QuotaGrant,
    RemoveWorker,
    SetCap,
    SetCapResult,
)


@memory(Heartbeat)
def heartbeat(db: Tables, t: Heartbeat) -> HeartbeatResult:
    former, present = db.workers.get(t.worker), WorkerHeartbeat(id=t.worker, until=t.until, at=t.at)
    grants: list[QuotaGrant] = []
    if former is None or present.supersedes(former):
        db.put(db.workers, t.worker, present)
        for worker in [w for w in db.workers.values() if w.until > t.latest]:
            db.put(db.workers, worker.id, replace(worker, until=t.until, at=t.at))
        vanished = [e for e in left_in_flight(db, t.at) if e.call_until is not None and e.call_until > t.at]
        accounts = {want.account for want in t.wants}
        end_quotas(db, lambda q: q.account in accounts and q.until <= t.at)
        for key, quota in list(db.quotas.items()):
            if quota.account in accounts and quota.until > t.latest:
                db.put(db.quotas, key, replace(quota, until=t.until))
        for want in t.wants:
            before = db.quotas.get((want.account, t.worker))
            account = db.accounts.get(want.account) or want.new_account()
            others = [q for q in db.quotas.values() if q.account == want.account and q.worker != t.worker]
            orphaned = sum(e.system == account.system for e in vanished)
            shared, quota, answer = t.share(want, account, before, others, orphaned)
            db.put(db.accounts, want.account, shared)
            db.put(db.quotas, (want.account, t.worker), quota)
            grants.append(answer)
    for worker in list(db.workers.values()):
        if worker.until <= t.at - timedelta(days=1):
            db.drop(db.workers, worker.id)
    alive = sum(w.until > t.at and w.id != t.worker for w in db.workers.values())
    return HeartbeatResult(grants=tuple(grants), others=alive)


@memory(RemoveWorker)
def release_worker(db: Tables, t: RemoveWorker) -> bool:
    name = t.worker.rsplit("/", 1)[0] + "/"
    if t.lives:
        ids = {id_ for id_ in db.workers if id_.startswith(name) and id_ != t.worker}
    else:
        ids = {t.worker}
    end_quotas(db, lambda q: q.worker in ids)
    there = ids & set(db.workers)
    for id_ in there:
        db.drop(db.workers, id_)
    return bool(there)


@memory(SetCap)
def change_cap(db: Tables, t: SetCap) -> SetCapResult:
    account = db.accounts.get(t.account)
    if account is None:
        return SetCapResult(applied=False, cap=0)
    other = set_cap(account, t.expected_cap, t.cap, t.quiet, t.at)
    if other is None:
        return SetCapResult(applied=False, cap=account.aim)
    db.put(db.accounts, t.account, other)
    return SetCapResult(applied=True, cap=other.aim)


def end_quotas(db: Tables, which: Callable[[Quota], bool]) -> None:
    for key, quota in list(db.quotas.items()):
        if which(quota):
            db.drop(db.quotas, key)


def left_in_flight(db: Tables, at: datetime) -> list[Effect]:
    """Return effects that are sending without a live worker."""
    alive = {worker.id for worker in db.workers.values() if worker.until > at}
    return [e for e in db.effects.values() if e.state is EffectState.SENDING and e.worker not in alive]
