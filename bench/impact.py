"""`impact_events`: replay of a company's recorded traffic through two models, relative to reading the same bodies.

The traffic is real: the engine has processed Acme's deliveries on SQLite, and a plan's reader reads them back. Three
changes are replayed: one that no delivery uses, a mapping, and an approval matrix. The figure is the slowest of the three.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from statistics import median

from counterfoil.core import wire
from counterfoil.core.impact import Impact
from counterfoil.model import Model
from counterfoil.replay.impact import impact, recorded
from counterfoil.replay.paths import Paths
from counterfoil.store.port.recorded import RecordedDelivery
from counterfoil.store.sql.sqlite import SqliteStore
from tests.companies.recorded import Company, acme, changed

CUSTOMERS = 600
CUSTOMERS_PER_CREDIT = 20
TARGET_DELIVERIES = 20_000


def changes() -> dict[str, Model]:
    """Return the new model of each case."""
    mapping = "mapping/billing-invoice-finalized"
    return {
        "nothing that the traffic uses": changed(("event/usage.recorded.v1", '"past":"35d"', '"past":"36d"')),
        "a mapping": changed(
            (mapping, "minor(i.total - i.total_excluding_tax, c)", "minor(0, c)"),
            (mapping, '"=minor(i.total, c)"', '"=minor(i.total_excluding_tax, c)"'),
            (
                mapping,
                "sum(data.lines.map(l, l.net)) + sum(data.taxes.map(t, t.amount)) == data.total",
                "true",
            ),
        ),
        "an approval matrix": changed(("policy/invoice-review", '"up_to":25000', '"up_to":100')),
    }


async def record_traffic(customers: int) -> list[RecordedDelivery]:
    """Return the recorded traffic of a company with this number of customers after one round of billing."""
    with tempfile.TemporaryDirectory(prefix="counterfoil-bench-") as folder:
        store = await SqliteStore.open(Path(folder) / "bench.sqlite")
        try:
            company = Company(store, acme())
            async with company.at_work():
                await company.business(customers, range(0, customers, CUSTOMERS_PER_CREDIT))
            now, day = await store.now(), timedelta(days=1)
            return [row async for row in recorded(store, Paths(acme(), acme()), now - day, now + day)]
        finally:
            await store.close()


class ImpactEvents:
    """Deliveries replayed through both models. About half of the recorded deliveries become a canonical event; the note
    has both rates."""

    unit = "deliveries per second of processor time through both models, for the slowest of three changes"
    peer = "one bounded parse of the same bodies"
    target = f">= {TARGET_DELIVERIES:,} per second"

    def __init__(self, customers: int = CUSTOMERS) -> None:
        self._traffic: Sequence[RecordedDelivery] = asyncio.run(record_traffic(customers))
        self._changes = changes()
        self._rates: dict[str, list[float]] = {name: [] for name in self._changes}
        self._impacts: dict[str, Impact] = {}
        gc.collect()
        gc.freeze()  # collections of the recorded traffic are not part of a replay

    def ours(self) -> float:
        rates = []
        for name, new in self._changes.items():
            began = time.process_time()
            result = impact(acme(), new, self._traffic)
            rates.append(len(self._traffic) / (time.process_time() - began))
            self._rates[name].append(rates[-1])
            self._impacts[name] = result
            if result.counts.not_comparable or bool(result.counts.changed) == name.startswith("nothing"):
                raise RuntimeError(f"{name}: the figure would be wrong: {result.counts}")
        return min(rates)

    def against(self) -> float:
        began = time.process_time()
        for row in self._traffic:
            wire.read_json(row.receipt.body)
            for body in row.fetched.values():
                wire.read_json(body)
        return len(self._traffic) / (time.process_time() - began)

    def met(self, ours: float, ratio: float) -> bool:
        return ours >= TARGET_DELIVERIES

    def note(self) -> str:
        counts = next(iter(self._impacts.values())).counts
        events = counts.events / len(self._traffic)
        cases = [
            f"{name} changed: {rate:,.0f} deliveries or {rate * events:,.0f} canonical events per second, "
            f"{self._impacts[name].counts.shortcut / len(self._traffic):.0%} of the deliveries decided by digests"
            for name in self._changes
            for rate in (median(self._rates[name]),)
        ]
        return (
            f"{counts.receipts:,} deliveries with {counts.events:,} canonical events and {counts.runs:,} Runs. "
            f"{'; '.join(cases)}. A delivery decided by digests is not replayed. Every other delivery is mapped, validated, "
            "routed, run to its end and compared; recorded rows replace the old side if the same model wrote them."
        )

    def close(self) -> None:
        gc.unfreeze()
