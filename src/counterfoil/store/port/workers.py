"""Workers: heartbeats, quotas of shared accounts, and the caps in use.

These transitions change when something happens, never what: they carry no leaf.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from counterfoil.core.clock import latest_end
from counterfoil.core.quota import Quota, SystemAccount, grant
from counterfoil.store.port.transition import ALONE, Transition


class QuotaRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's request to one account."""

    account: str
    cap: int
    """Configured by the worker's Release, over all workers."""
    slots_wanted: int
    in_use: int
    """Slots in use before the answer arrives: calls in flight, or granted slots if more."""

    def new_account(self) -> SystemAccount:
        return SystemAccount(account=self.account, cap=self.cap, aim=self.cap)


class QuotaGrant(msgspec.Struct, frozen=True, kw_only=True):
    account: str
    n: int
    """Calls that the worker may have in flight from now on; calls above it end and are not replaced."""
    counted: int
    """Slots that the account still counts for this worker: more than `n` until it reports fewer."""
    cap: int
    """The cap in use, over all workers."""
    until: datetime


class HeartbeatResult(msgspec.Struct, frozen=True, kw_only=True):
    grants: tuple[QuotaGrant, ...]
    """In order of `wants`; empty when the heartbeat came too late."""
    others: int
    """Other workers alive."""


class Heartbeat(Transition[HeartbeatResult], frozen=True, kw_only=True):
    """Keep a worker alive until `until`, and request quotas.

    In one transaction, on the locked rows of the accounts: quotas of dead workers end, and `core.quota.grant` shares
    each requested account again. A heartbeat older than the worker's last one changes nothing. Workers that have been
    dead for a day are deleted.

    If the clock was ahead and is put right, rows end too late. Each row that ends after `latest` ends at `until` instead:
    a live worker renews it before, and a dead one blocks nothing for longer.
    """

    worker: str
    until: datetime
    wants: tuple[QuotaRequest, ...] = ()
    at: datetime

    def keys(self) -> frozenset[str]:
        return _QUOTAS

    @property
    def latest(self) -> datetime:
        return latest_end(self.at, self.until)

    def share(
        self,
        want: QuotaRequest,
        account: SystemAccount,
        before: Quota | None,
        others: Sequence[Quota],
        orphaned: int,
    ) -> tuple[SystemAccount, Quota, QuotaGrant]:
        """Return the account, this worker's new quota and its grant; `before` is its quota until now."""
        name, until = want.account, self.until
        own = Quota(
            account=name, worker=self.worker, n=0, wanted=want.slots_wanted, cap=want.cap, until=until
        )
        n = 0 if before is None else before.n
        account, quota, may = grant(account, own, n, want.in_use, others, orphaned)
        return account, quota, QuotaGrant(account=name, n=may, counted=quota.n, cap=account.aim, until=until)


class RemoveWorker(Transition[bool], frozen=True, kw_only=True):
    """End a worker that has nothing in flight: its quotas are free at once."""

    worker: str
    at: datetime
    lives: bool = False
    """End the former processes of this worker instead: other ids that are equal up to the last `/`.

    A name belongs to one process, so they have ended.
    """

    def keys(self) -> frozenset[str]:
        return _QUOTAS


class SetCapResult(msgspec.Struct, frozen=True, kw_only=True):
    applied: bool
    cap: int
    """The cap in use now; 0 for an account without users."""


class SetCap(Transition[SetCapResult], frozen=True, kw_only=True):
    """Set the cap in use of an account, for all workers.

    It changes only from `expected_cap`: several workers that learn the same at once change it once. It does not change
    within `quiet` of the last change.
    """

    account: str
    expected_cap: int
    cap: int
    quiet: timedelta = timedelta()
    at: datetime

    def keys(self) -> frozenset[str]:
        return _QUOTAS


_QUOTAS = frozenset(["quotas", ALONE])
"""Every worker locks the accounts' rows, so they are not held for as long as a batch takes."""
