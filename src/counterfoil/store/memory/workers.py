"""Heartbeats and quotas in plain Python."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.quota import Quota, SystemAccount, WorkerHeartbeat, grant, set_cap
from counterfoil.store.memory.tables import Rows
from counterfoil.store.port.workers import (
    CapSet,
    Heartbeat,
    HeartbeatAnswer,
    QuotaGrant,
    ReleaseWorker,
    SetCap,
)


class Workers(Rows):
    def _heartbeat(self, t: Heartbeat) -> HeartbeatAnswer:
        held = self.workers.get(t.worker)
        grants: list[QuotaGrant] = []
        if held is None or held.at <= t.at:
            self._put(self.workers, t.worker, WorkerHeartbeat(id=t.worker, until=t.until, at=t.at))
            gone = [e for e in self._left_in_flight(t.at) if e.call_until is not None and e.call_until > t.at]
            for want in t.wants:
                self._end_quotas(lambda q, a=want.account: q.account == a and q.until <= t.at)  # type: ignore[misc]
                before = self.quotas.get((want.account, t.worker))
                account = self.accounts.get(want.account) or SystemAccount(
                    account=want.account, cap=want.cap, aim=want.cap
                )
                asked = Quota(
                    account=want.account,
                    worker=t.worker,
                    n=0,
                    wanted=want.wanted,
                    cap=want.cap,
                    until=t.until,
                )
                present, quota, may = grant(
                    account,
                    asked,
                    0 if before is None else before.n,
                    want.held,
                    [q for q in self.quotas.values() if q.account == want.account and q.worker != t.worker],
                    sum(e.system == account.system for e in gone),
                    t.at,
                )
                self._put(self.accounts, want.account, present)
                self._put(self.quotas, (want.account, t.worker), quota)
                grants.append(
                    QuotaGrant(account=want.account, n=may, kept=quota.n, cap=present.aim, until=t.until)
                )
        for worker in list(self.workers.values()):
            if worker.until <= t.at - timedelta(days=1):
                self._drop(self.workers, worker.id)
        others = sum(w.until > t.at and w.id != t.worker for w in self.workers.values())
        return HeartbeatAnswer(grants=tuple(grants), others=others)

    def _releaseworker(self, t: ReleaseWorker) -> bool:
        name = t.worker.rsplit("/", 1)[0] + "/"
        if t.lives:
            ids = {id_ for id_ in self.workers if id_.startswith(name) and id_ != t.worker}
        else:
            ids = {t.worker}
        self._end_quotas(lambda q: q.worker in ids)
        there = ids & set(self.workers)
        for id_ in there:
            self._drop(self.workers, id_)
        return bool(there)

    def _setcap(self, t: SetCap) -> CapSet:
        account = self.accounts.get(t.account)
        if account is None:
            return CapSet(applied=False, cap=0)
        other = set_cap(account, t.seen, t.cap, t.quiet, t.at)
        if other is None:
            return CapSet(applied=False, cap=account.aim)
        self._put(self.accounts, t.account, other)
        return CapSet(applied=True, cap=other.aim)

    def _end_quotas(self, which: Callable[[Quota], bool]) -> None:
        for key, quota in list(self.quotas.items()):
            if which(quota):
                self._drop(self.quotas, key)

    def _left_in_flight(self, at: datetime) -> list[Effect]:
        """Sending, and no live worker says that it does it."""
        alive = {worker.id for worker in self.workers.values() if worker.until > at}
        return [
            e for e in self.effect_rows.values() if e.state is EffectState.SENDING and e.worker not in alive
        ]

    async def effects_of_gone_workers(self, at: datetime, limit: int) -> list[Effect]:
        return sorted(self._left_in_flight(at), key=lambda e: e.id)[:limit]
