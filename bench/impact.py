"""`impact_events`: recorded traffic of a company replayed through two models, against reading the same bodies.

The traffic is real: Acme's deliveries in the forms of its systems, admitted and carried through by the engine on
SQLite, read back as a plan reads it. Three changes are replayed: of nothing that any of it runs through, of a mapping,
and of an approval matrix. The figure is that of the slowest.
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
from counterfoil.model import Model
from counterfoil.replay.impact import impact, recorded
from counterfoil.replay.paths import Paths
from counterfoil.replay.report import Impact
from counterfoil.store.port.recorded import Recorded
from counterfoil.store.sql.sqlite import SqliteStore
from tests.recorded_company import Company, acme, changed

CUSTOMERS = 600
CREDIT_EVERY = 20
TARGET = 20_000


def changes() -> dict[str, Model]:
    """The new model of each case."""
    mapping = "mapping/billing-invoice-finalized"
    return {
        "nothing that it runs through": changed(("event/usage.recorded.v1", '"past":"35d"', '"past":"36d"')),
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


async def played(customers: int) -> list[Recorded]:
    """What a company with so many customers leaves in its store in one round of billing."""
    with tempfile.TemporaryDirectory(prefix="counterfoil-bench-") as folder:
        store = await SqliteStore.open(Path(folder) / "bench.sqlite")
        try:
            company = Company(store, acme())
            async with company.at_work():
                await company.business(customers, range(0, customers, CREDIT_EVERY))
            now, day = await store.now(), timedelta(days=1)
            return [one async for one in recorded(store, Paths(acme(), acme()), now - day, now + day)]
        finally:
            await store.close()


class ImpactEvents:
    """Deliveries replayed through both models. A delivery is what was recorded as received; about half of them become
    a canonical event, and the note tells both rates."""

    unit = "deliveries per second of processor time, both models, the slowest of three changes"
    peer = "one bounded read of the same bodies"
    target = f">= {TARGET:,} per second"

    def __init__(self, customers: int = CUSTOMERS) -> None:
        self._traffic: Sequence[Recorded] = asyncio.run(played(customers))
        self._changes = changes()
        self._rates: dict[str, list[float]] = {name: [] for name in self._changes}
        self._found: dict[str, Impact] = {}
        gc.collect()
        gc.freeze()  # the traffic is there once; to look through it again and again is no part of a replay

    def ours(self) -> float:
        rates = []
        for name, new in self._changes.items():
            began = time.process_time()
            found = impact(acme(), new, self._traffic)
            rates.append(len(self._traffic) / (time.process_time() - began))
            self._rates[name].append(rates[-1])
            self._found[name] = found
            if found.counts.not_comparable or bool(found.counts.changed) == name.startswith("nothing"):
                raise RuntimeError(f"{name}: the figure would be false: {found.counts}")
        return min(rates)

    def against(self) -> float:
        began = time.process_time()
        for one in self._traffic:
            wire.read_json(one.receipt.body)
            for body in one.fetched.values():
                wire.read_json(body)
        return len(self._traffic) / (time.process_time() - began)

    def met(self, ours: float, ratio: float) -> bool:
        return ours >= TARGET

    def note(self) -> str:
        counts = next(iter(self._found.values())).counts
        events = counts.events / len(self._traffic)
        cases = [
            f"{name} changed: {rate:,.0f} deliveries or {rate * events:,.0f} canonical events per second, "
            f"{self._found[name].counts.shortcut / len(self._traffic):.0%} of the deliveries told by digests"
            for name in self._changes
            for rate in (median(self._rates[name]),)
        ]
        return (
            f"{counts.receipts:,} deliveries with {counts.events:,} canonical events and {counts.runs:,} Runs. "
            f"{'; '.join(cases)}. What digests tell is not run; the rest is mapped, judged, routed and decided to its end "
            "and compared, the old side taken from its rows where that very model ran it to its end."
        )

    def close(self) -> None:
        gc.unfreeze()
