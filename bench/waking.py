"""Worker that wakes parked Runs one by one and reports the time of each: `python -m bench.waking LOCATION WAKES`.

The Runs start from webhooks and wait for an approval. A wake is the vote that grants it. Its time runs from the vote's
acknowledgement until the next call leaves the process, after the commits of the turn and of the call's intent.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.expressions import company
from bench.path import LocalSystem, deliver
from bench.w1 import Ask, open_store
from counterfoil.connectors.sdk import Connector, Outcome, Request
from counterfoil.core import wire
from counterfoil.core.people import Person
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.runs.person_decisions import decide_approval
from counterfoil.flow.worker.worker import Worker
from counterfoil.store.port.people import PutPerson

VOTER = "carol"
WARM_UP_WAKES = 5
SETTLE_SECONDS = 1.0
"""Time for the remaining work of the deliveries, before the worker counts as idle."""
IDLE_SECONDS = 4.0
TIMEOUT_SECONDS = 120.0
MEGABYTE_BYTES = 2**20


class TimingSystem(LocalSystem):
    """System that records the time of the call about each credit."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self.called: dict[str, asyncio.Future[float]] = {}

    async def send(self, request: Request, timeout: float) -> Outcome:
        waiting = self.called.get(wire.read_json(request.body)["credit_id"])
        if waiting is not None and not waiting.done():
            waiting.set_result(time.perf_counter())
        return await super().send(request, timeout)


def credit_requests(credits: Sequence[str]) -> list[tuple[str, bytes]]:
    """Return requests for credits that are too large for an automatic approval."""
    return [
        (
            "support",
            wire.write_json(
                {
                    "type": "credit.requested", "credit": name, "revision": 1, "cents": 20_000,
                    "currency": "USD", "customer": f"C-{name}", "agent": "ann",
                }
            ),
        )
        for name in credits
    ]  # fmt: skip


def connectors() -> tuple[dict[str, Connector], TimingSystem]:
    billing = TimingSystem(["billing.credit.issue", "billing.credit.void"])
    return {
        "support": LocalSystem([]),
        "billing": billing,
        "ledger": LocalSystem(["ledger.credit.post"]),
    }, billing


async def approvals(ask: Ask, credits: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the open approval and its subject for each credit. Raises TimeoutError if some are missing."""
    names = ", ".join(f"'{name}'" for name in credits)
    sql = f"""select run.bkey, approval.id, approval.subject from run join approval on approval.run = run.id
        where run.workflow = 'credit-to-ledger' and run.bkey in ({names}) and approval.state = 'open'"""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while len(rows := await ask(sql)) < len(credits):
            await asyncio.sleep(0.05)
    return {credit: (approval, subject) for credit, approval, subject in rows}


async def main(
    location: str, wakes: int, settle: float = SETTLE_SECONDS, idle_for: float = IDLE_SECONDS
) -> dict[str, Any]:
    """Return the `seconds` of each wake, the `idle` share of a core, and the memory in `megabytes` at the end."""
    model = company()
    async with open_store(location) as (store, ask):
        systems, billing = connectors()
        releases = Releases(store, model)
        await releases.publish(await store.now(), "bench")
        person = Person(id=VOTER, name=VOTER, email=f"{VOTER}@example.com", roles=("finance",))
        await store.apply(PutPerson(person=person, at=await store.now(), actor="bench"))
        worker = Worker(store, releases, systems, "bench/1")
        running = asyncio.create_task(worker.run())
        try:
            tag = secrets.token_hex(4)
            credits = [f"W-{tag}-{n}" for n in range(wakes + WARM_UP_WAKES)]
            await deliver(store, model, systems, credit_requests(credits))
            open_ = await approvals(ask, credits)
            await asyncio.sleep(settle)
            spent = time.process_time()
            await asyncio.sleep(idle_for)
            idle = (time.process_time() - spent) / idle_for
            random.Random(0).shuffle(credits)
            loop = asyncio.get_running_loop()
            seconds = []
            for credit in credits:
                billing.called[credit] = called = loop.create_future()
                verdict = await decide_approval(store, model, *open_[credit], VOTER, True, "")
                acknowledged = time.perf_counter()
                if verdict != "granted":
                    raise RuntimeError(f"the vote for {credit} was {verdict}")
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    seconds.append(max(0.0, await called - acknowledged))
        finally:
            worker.stop()
            await running
    return {"seconds": seconds[WARM_UP_WAKES:], "idle": idle, "megabytes": resident()}


def resident() -> float:
    """Return the resident memory of this process in MB."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / MEGABYTE_BYTES
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], int(sys.argv[2])))), flush=True)
