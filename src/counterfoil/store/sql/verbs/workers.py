"""Heartbeats and quotas: the accounts' rows are locked in order, and one pure function shares each."""

from __future__ import annotations

from datetime import timedelta

from counterfoil.core.clock import micros
from counterfoil.core.quota import Quota, SystemAccount, set_cap
from counterfoil.store.port.workers import (
    Heartbeat,
    HeartbeatResult,
    QuotaGrant,
    RemoveWorker,
    SetCap,
    SetCapResult,
)
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.columns import micros_or_none
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.transaction import Tx

DELETED_AFTER = timedelta(days=1)
"""Time after which a dead worker's row is deleted."""
ALIVE = """
insert into worker (id, until, at) values ($1, $2, $3)
on conflict (id) do update set until = excluded.until, at = excluded.at
where worker.at <= excluded.at or worker.at >= excluded.until
returning id
"""
# Two workers may shorten each other's rows at once.
SHORTEN = """
update worker set until = $2, at = $3
where id in (select id from worker where until > $1 for update skip locked)
"""
SHORTEN_QUOTAS = "update quota set until = $3 where account = any($1::text[]) and until > $2"
ACCOUNTS = f"{t.ACCOUNT.select} where account = any($1::text[]) order by account for update"
QUOTAS = f"{t.QUOTA.select} where account = any($1::text[])"
# Calls of dead workers that may still be in flight.
ORPHANED = """
select effect.system, count(*) from effect
where effect.state = 'sending' and effect.call_until > $2 and effect.system = any($1::text[])
  and not exists (select 1 from worker where worker.id = effect.worker and worker.until > $2)
group by effect.system
"""
ENDED = "delete from quota where account = any($1::text[]) and (worker = $2 or until <= $3)"
SHARED = "update account set cap = $2, aim = $3, tuned_at = $4 where account = $1"
# Other processes may delete the same rows.
FORGET = """
delete from worker where id in (select id from worker where until <= $1 for update skip locked)
"""


@sql(Heartbeat)
async def beat(x: Tx, b: Heartbeat) -> HeartbeatResult:
    alive = await x.one(ALIVE, b.worker, micros(b.until), micros(b.at))
    grants = []
    if alive is not None:
        await x.rows(SHORTEN, micros(b.latest), micros(b.until), micros(b.at))
        grants = await _share(x, b)
    await x.rows(FORGET, micros(b.at - DELETED_AFTER))
    count = await x.one("select count(*) from worker where until > $1 and id <> $2", micros(b.at), b.worker)
    assert count is not None
    return HeartbeatResult(grants=tuple(grants), others=count[0])


async def _share(x: Tx, b: Heartbeat) -> list[QuotaGrant]:
    names = sorted({want.account for want in b.wants})
    if not names:
        return []
    accounts: dict[str, SystemAccount] = await _lock_accounts(x, names)
    new = [name for name in names if name not in accounts]
    if new:
        fresh = {want.account: want.new_account() for want in b.wants}
        await x.insert(t.ACCOUNT, [t.ACCOUNT.row(fresh[name]) for name in new], ignore=True)
        accounts = await _lock_accounts(x, names)
    quotas: list[Quota] = [t.QUOTA.read(row) for row in await x.rows(QUOTAS, names)]
    systems = sorted({account.system for account in accounts.values()})
    orphaned: dict[str, int] = dict(await x.rows(ORPHANED, systems, micros(b.at)))  # type: ignore[arg-type]
    await x.rows(ENDED, names, b.worker, micros(b.at))
    await x.rows(SHORTEN_QUOTAS, names, micros(b.latest), micros(b.until))
    grants, own = [], []
    for want in b.wants:
        account = accounts[want.account]
        live = {q.worker: q for q in quotas if q.account == want.account and q.until > b.at}
        before = live.pop(b.worker, None)
        others, calls = list(live.values()), orphaned.get(account.system, 0)
        present, quota, answer = b.share(want, account, before, others, calls)
        if present != account:
            await x.rows(SHARED, present.account, present.cap, present.aim, micros_or_none(present.tuned_at))
        own.append(t.QUOTA.row(quota))
        grants.append(answer)
    await x.insert(t.QUOTA, own)
    return grants


async def _lock_accounts(x: Tx, names: list[str]) -> dict[str, SystemAccount]:
    accounts = [t.ACCOUNT.read(row) for row in await x.rows(ACCOUNTS, names)]
    return {account.account: account for account in accounts}


@sql(RemoveWorker)
async def leave(x: Tx, l: RemoveWorker) -> bool:  # noqa: E741 - as short as its neighbours
    """Give all quotas back. The accounts are locked first, as in every transition on quotas."""
    ids = [l.worker]
    if l.lives:
        name = l.worker.rsplit("/", 1)[0] + "/"
        rows = await x.rows(
            "select id from worker where substr(id, 1, $1) = $2 and id <> $3", len(name), name, l.worker
        )
        ids = sorted(row[0] for row in rows)
    if not ids:
        return False
    rows = await x.rows("select account from quota where worker = any($1::text[])", ids)
    await _lock_accounts(x, sorted({row[0] for row in rows}))
    await x.rows("delete from quota where worker = any($1::text[])", ids)
    return bool(await x.rows("delete from worker where id = any($1::text[]) returning id", ids))


@sql(SetCap)
async def tune(x: Tx, u: SetCap) -> SetCapResult:
    account = (await _lock_accounts(x, [u.account])).get(u.account)
    if account is None:
        return SetCapResult(applied=False, cap=0)
    other = set_cap(account, u.expected_cap, u.cap, u.quiet, u.at)
    if other is None:
        return SetCapResult(applied=False, cap=account.aim)
    await x.rows(SHARED, other.account, other.cap, other.aim, micros_or_none(other.tuned_at))
    return SetCapResult(applied=True, cap=other.aim)
