"""Quotas: the number of calls that each worker may have in flight on an account shared by all workers.

`grant` is pure and runs inside the store's transaction, on the locked row of the account. So the quotas of live workers
and the calls that dead workers left in flight never add up to more than the cap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec


class WorkerHeartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """Sign of life of a worker, and the time until which it counts as alive."""

    id: str
    until: datetime
    at: datetime
    """Time of the heartbeat. A late, older heartbeat changes nothing."""

    def supersedes(self, other: WorkerHeartbeat) -> bool:
        """Return whether this heartbeat replaces an earlier row of the same worker.

        A row from after this heartbeat's own end was not written before it: the clock was ahead then, and is right now.
        """
        return other.at <= self.at or other.at >= self.until


class SystemAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Call limit of an account in an outside system: `system` or `system/account`."""

    account: str
    cap: int
    """Maximum sum of the quotas. A lower cap takes effect as workers release slots."""
    aim: int
    """The part of the cap that throttling leaves to all workers."""
    tuned_at: datetime | None = None

    @property
    def system(self) -> str:
        return self.account.partition("/")[0]


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """Share of one worker in an account."""

    account: str
    worker: str
    n: int
    """Calls that other workers must assume to be in flight."""
    wanted: int
    cap: int
    """The cap in the worker's Release."""
    until: datetime


def fair_shares(room: int, wants: Mapping[str, int]) -> dict[str, int]:
    """Divide `room` by max-min fairness: small requests are met in full, the rest is shared equally."""
    shares = dict.fromkeys(wants, 0)
    waiting = sorted(worker for worker, count in wants.items() if count > 0)
    while room > 0 and waiting:
        level = room // len(waiting)
        if level == 0:
            return shares | {worker: shares[worker] + 1 for worker in waiting[:room]}
        for worker in waiting:
            more = min(level, wants[worker] - shares[worker])
            shares[worker] += more
            room -= more
        waiting = [worker for worker in waiting if shares[worker] < wants[worker]]
    return shares


def share_of(own: Quota, before: int, others: Sequence[Quota], room: int, free: int) -> int:
    """Return the worker's share of `room` slots.

    If more workers request slots than there are, a holder passes its slot on at its next heartbeat, and the first
    worker without a slot takes it. Heartbeats come in turn, so every worker gets its slot within one round of them.
    Holders give slots back as well while they hold more than `room`: the cap was lowered, or dead workers left calls.
    """
    if not others and room > 0:
        return max(0, min(own.wanted, room))
    requesting = [quota for quota in others if quota.wanted > 0]
    if own.wanted > 0 and room <= len(requesting):
        above_room = sum(quota.n for quota in others) + min(before, 1) > room
        if before > 0 and (above_room or any(quota.n == 0 for quota in requesting)):
            return 0
        return min(1, max(free, before))
    wants = {own.worker: own.wanted} | {quota.worker: quota.wanted for quota in others}
    return fair_shares(room, wants)[own.worker]


def grant(
    account: SystemAccount | None,
    own: Quota,
    before: int,
    in_flight: int,
    others: Sequence[Quota],
    orphaned: int,
) -> tuple[SystemAccount, Quota, int]:
    """Return the account, the worker's quota and the number of calls that the worker may make from now on.

    `own` holds the requested number, `before` is the former grant, `in_flight` counts the worker's calls at this moment.
    `others` are the quotas of the other live workers, `orphaned` counts the calls of dead workers. A shrinking quota
    counts in full until its worker reports fewer calls.
    """
    configured = min([own.cap, *(quota.cap for quota in others)])
    aim = configured
    if account is not None and account.aim < account.cap:
        aim = min(account.aim, configured)
    used = sum(quota.n for quota in others)
    free = max(0, aim - orphaned - used)
    may = min(share_of(own, before, others, aim - orphaned, free), max(free, before))
    reserved = max(may, min(in_flight, max(free, before)))
    cap, tuned_at = max(configured, used + reserved), None if account is None else account.tuned_at
    updated = SystemAccount(account=own.account, cap=cap, aim=aim, tuned_at=tuned_at)
    return updated, msgspec.structs.replace(own, n=reserved), may


def set_cap(
    account: SystemAccount, expected: int, cap: int, quiet: timedelta, at: datetime
) -> SystemAccount | None:
    """Return the account with another cap in use. None if another worker changed it first, or within `quiet`."""
    last = account.tuned_at
    # A change after `at` was stamped by a clock that was ahead: it keeps nothing quiet.
    if account.aim != expected or (last is not None and last <= at < last + quiet):
        return None
    return msgspec.structs.replace(account, aim=min(account.cap, max(1, cap)), tuned_at=at)
