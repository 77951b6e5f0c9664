"""The server is killed while money moves, and each movement is one entry of the ledger in the end.

A round is a payment by card and some of what may follow it: a refund, a refund that fails, a dispute and its end, a payout.
The server is killed at a moment of it that the seed draws, and started again. `CASH_ROUNDS` plays more rounds than the suite
has the time for, as `make campaign CASH=100` does, and `CASH_SEED` other ones.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

import pytest

from counterfoil.core.clock import utc_now
from counterfoil.demo.billing import BillingClient
from counterfoil.model import read
from counterfoil.store import check
from counterfoil.store.sql.sqlite import SqliteStore
from tests.companies.acme import Company, Program
from tests.contract.stripe_twin_process import KEY
from tests.patience import PATIENCE_SECONDS
from tests.scenario.test_cash import Cashier, balances
from tests.scenario.week_play import PACE
from tests.served import until

pytestmark = [pytest.mark.xdist_group("books"), pytest.mark.timeout(3600)]

ROUNDS = int(os.environ.get("CASH_ROUNDS", "3"))
SEED = int(os.environ.get("CASH_SEED", "1"))
MAX_SECONDS_TO_KILL = 4.0


@dataclass
class Moved:
    """What has moved at the processor, in minor units, by the id of its object."""

    charges: list[str] = field(default_factory=list)
    """Charges of which nothing was refunded or disputed."""
    refunds: dict[str, bool] = field(default_factory=dict)
    """Refund -> it has failed."""
    disputes: dict[str, tuple[int, str]] = field(default_factory=dict)
    payouts: list[int] = field(default_factory=list)
    entries: Counter[str] = field(default_factory=Counter)
    """Entries that the ledger must have, by the beginning of their reference; refunds are counted apart."""


class Till:
    """Customers and banks at the processor, whose acts are drawn from a seed."""

    def __init__(self, systems: Company, chance: Random) -> None:
        self.cashier, self.chance, self.moved = Cashier(systems), chance, Moved()

    async def round(self) -> None:
        _, _, charge = await self.cashier.paid(self.chance.randint(20_000, 90_000), "pm_card_bypassPending")
        self.moved.charges.append(charge)
        self.moved.entries["paym"] += 1
        acts = (self._refund, self._fail, self._dispute, self._decide, self._pay_out)
        for act in self.chance.sample(acts, self.chance.randint(1, len(acts))):
            await act()

    async def _refund(self) -> None:
        if self.moved.charges:
            charge = self.moved.charges.pop(0)
            values = {"charge": charge, "amount": self.chance.randint(1_000, 9_000)}
            refund = await asyncio.to_thread(self.cashier.api.refunds.create, values)
            self.moved.refunds[refund.id] = False

    async def _fail(self) -> None:
        for refund, failed in self.moved.refunds.items():
            if not failed:
                await self.cashier.decides(refund, "failed")
                self.moved.refunds[refund] = True
                return

    async def _dispute(self) -> None:
        if self.moved.charges:
            amount = self.chance.randint(5_000, 15_000)
            dispute = await self.cashier.disputes(self.moved.charges.pop(0), amount=amount)
            self.moved.disputes[dispute] = (amount, "open")
            self.moved.entries["disp"] += 1

    async def _decide(self) -> None:
        for dispute, (amount, status) in self.moved.disputes.items():
            if status == "open":
                end = self.chance.choice(("won", "lost"))
                await self.cashier.decides(dispute, end)
                self.moved.disputes[dispute] = (amount, end)
                self.moved.entries["disp"] += 1
                return

    async def _pay_out(self) -> None:
        amount = self.chance.randint(100, 3_000)
        payout = await asyncio.to_thread(
            self.cashier.api.payouts.create, {"amount": amount, "currency": "usd"}
        )
        await self.cashier.decides(payout.id, "paid")
        self.moved.payouts.append(amount)
        self.moved.entries["payo"] += 1


async def test_a_kill_at_any_moment_books_each_movement_once(systems: Company) -> None:
    chance = Random(SEED)
    till, folder, store = Till(systems, chance), systems.governance(PACE), systems.home / "store.sqlite"
    server = Program(
        "server",
        ["-m", "counterfoil.cli.main", "up", str(folder), "--store", f"sqlite:{store}", "--port", str(systems.port)],
        systems.port, systems.home, systems.environment(),
    )  # fmt: skip
    await asyncio.to_thread(server.up)
    try:
        for _ in range(ROUNDS):
            kill = asyncio.create_task(_kill(server, chance.uniform(0, MAX_SECONDS_TO_KILL)))
            await till.round()
            await kill
        await until(
            "an entry for each movement",
            lambda: _booked(systems, till.moved),
            PATIENCE_SECONDS,
            lambda: _report(systems, till.moved, server),
        )
    finally:
        await asyncio.to_thread(server.stop)
    ledger, expected = await balances(systems), await _expected(systems, till.moved)
    assert {name: ledger[name] for name in expected} == expected
    model, _ = read(folder)
    irreversible = {name for name, operation in model.operations.items() if operation.irreversible}
    rows = await SqliteStore.open(store)
    try:
        assert await check.check(rows, utc_now(), irreversible) == []
        # A refund without a credit memo asks a person; nothing else does.
        cases = (await rows.dump()).cases
        assert {case.reason for case in cases if case.state == "open"} <= {"failed"}
    finally:
        await rows.close()


async def _kill(server: Program, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await asyncio.to_thread(server.stop, signal.SIGKILL)
    await asyncio.to_thread(server.up)


async def _booked(systems: Company, moved: Moved) -> bool:
    await asyncio.sleep(1)
    references = await _references(systems)
    # A refund that failed before it was booked has no entry, so the accounts alone tell of refunds.
    del references["refu"]
    return (
        references == moved.entries
        and (await balances(systems)).items() >= (await _expected(systems, moved)).items()
    )


async def _references(systems: Company) -> Counter[str]:
    """Count the posted entries with a reference of ours by its beginning. Raises AssertionError if one has two."""
    domain = [
        ["company", "=", systems.erp_seed["company"]],
        ["state", "=", "posted"],
        ["description", "like", "[%"],
    ]
    async with systems.of_erp() as erp:
        rows = await erp.search("account.move", domain, ["description"])
    references = Counter(row["description"].partition("]")[0][1:] for row in rows)
    assert set(references.values()) <= {1}, references
    return Counter(reference[:4] for reference in references)


async def _expected(systems: Company, moved: Moved) -> Mapping[str, Decimal]:
    async with BillingClient(systems.twin.url, KEY) as billing:
        balance = await billing.get("balance")
    rows = [*balance["available"], *balance["pending"]]
    minor = {
        "clearing": sum(row["amount"] for row in rows if row["currency"] == "usd"),
        "disputes": sum(amount for amount, status in moved.disputes.values() if status == "open"),
        "bad debt": sum(amount for amount, status in moved.disputes.values() if status == "lost"),
        "bank": sum(moved.payouts),
    }
    return {name: Decimal(amount).scaleb(-2) for name, amount in minor.items()}


async def _report(systems: Company, moved: Moved, server: Program) -> str:
    ledger, expected = await balances(systems), await _expected(systems, moved)
    return f"{await _references(systems)} of {moved.entries}\n{ledger}\n{expected}\n{server.output()}"
