"""Quotas: how many calls each worker may have in flight on an account that all workers share.

`granted` is pure and runs inside the store's transaction, on the account's locked row, so the quotas of live
workers and what workers that are gone left in flight never add up to more than the cap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

ROTATION = timedelta(seconds=5)
"""How long a worker keeps its only slot while others wait for one."""


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A process that turns Runs, and until when it counts as alive."""

    id: str
    until: datetime
    at: datetime
    """Its last heartbeat; an older one that comes late changes nothing."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account in an outside system: `system` or `system/account`."""

    account: str
    cap: int
    """The most that quotas may add up to. A lowered one comes into force as slots come back."""
    aim: int
    """What throttling left of the cap, for all workers."""
    tuned_at: datetime | None = None

    @property
    def system(self) -> str:
        return self.account.partition("/")[0]


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """One worker's part of an account."""

    account: str
    worker: str
    n: int
    """What it may have in flight, as far as others are concerned."""
    wanted: int
    cap: int
    """As its release configures the account."""
    until: datetime


def shares(room: int, wants: Mapping[str, int], turn: int) -> dict[str, int]:
    """Fair parts of `room`, max-min: who wants little gets it, the rest goes to the others in equal parts. With
    more who want something than room, `turn` says who has one now."""
    given = dict.fromkeys(wants, 0)
    asking = sorted(worker for worker, wanted in wants.items() if wanted > 0)
    if 0 < room < len(asking):
        first = turn * room
        return given | {asking[(first + i) % len(asking)]: 1 for i in range(room)}
    while room > 0 and asking:
        level = room // len(asking)
        if level == 0:
            return given | {worker: given[worker] + 1 for worker in asking[:room]}
        for worker in asking:
            more = min(level, wants[worker] - given[worker])
            given[worker] += more
            room -= more
        asking = [worker for worker in asking if given[worker] < wants[worker]]
    return given


def granted(
    account: Account | None,
    own: Quota,
    before: int,
    held: int,
    others: Sequence[Quota],
    gone: int,
    at: datetime,
) -> tuple[Account, Quota, int]:
    """The account, the worker's quota and what the worker may have from now on.

    `own` says what it wants, `before` what it had until now, `held` what it may have in flight at this moment,
    `others` are the quotas of the other live workers, `gone` what workers that are gone left in flight. A quota
    that is to shrink counts in full until its holder says that it holds less.
    """
    configured = min([own.cap, *(quota.cap for quota in others)])
    aim = configured
    if account is not None and account.aim < account.cap:
        aim = min(account.aim, configured)
    taken = sum(quota.n for quota in others)
    free = max(0, aim - gone - taken)
    wants = {own.worker: own.wanted} | {quota.worker: quota.wanted for quota in others}
    turn = int(at.timestamp() // ROTATION.total_seconds())
    may = min(shares(aim - gone, wants, turn)[own.worker], max(free, before))
    kept = max(may, min(held, max(free, before)))
    present = Account(
        account=own.account,
        cap=max(configured, taken + kept),
        aim=aim,
        tuned_at=None if account is None else account.tuned_at,
    )
    return present, msgspec.structs.replace(own, n=kept), may


def tuned(account: Account, seen: int, cap: int, quiet: timedelta, at: datetime) -> Account | None:
    """The account with another cap in use; None when another worker was there first, or too lately."""
    last = account.tuned_at
    if account.aim != seen or (last is not None and at < last + quiet):
        return None
    return msgspec.structs.replace(account, aim=min(account.cap, max(1, cap)), tuned_at=at)
