"""A worker that wakes parked Runs one after another and says how long each took: `python -m bench.waking PLACE WAKES`.

The Runs that it wakes come through the front door and wait for an approval. A wake is the vote that grants it; its
time runs from the vote's acknowledgement until the call that follows leaves the process, which is after the turn was
committed and its intent as well.
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
from bench.path import Inside, hand_in
from bench.w1 import Ask, at
from counterfoil.connectors.sdk import Connector, Outcome, Request
from counterfoil.core import wire
from counterfoil.core.people import Person
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.runs.decisions import decide_approval
from counterfoil.flow.worker.worker import Worker
from counterfoil.store.port.people import PutPerson

VOTER = "carol"
WARM = 5
SETTLE = 1.0
"""Seconds for what the deliveries left to do, before the worker counts as idle."""
IDLE = 4.0
PATIENCE = 120.0
MEGABYTE = 2**20


class Noting(Inside):
    """A system that notes when the call about a credit arrives."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self.called: dict[str, asyncio.Future[float]] = {}

    async def send(self, request: Request, timeout: float) -> Outcome:
        waiting = self.called.get(wire.read_json(request.body)["credit_id"])
        if waiting is not None and not waiting.done():
            waiting.set_result(time.perf_counter())
        return await super().send(request, timeout)


def asked(credits: Sequence[str]) -> list[tuple[str, bytes]]:
    """Requests for credits that are too large to be granted without a person."""
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


def connectors() -> tuple[dict[str, Connector], Noting]:
    billing = Noting(["billing.credit.issue", "billing.credit.void"])
    return {"support": Inside([]), "billing": billing, "ledger": Inside(["ledger.credit.post"])}, billing


async def approvals(ask: Ask, credits: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Credit -> its open approval and the subject of it. Raises TimeoutError when they do not come."""
    names = ", ".join(f"'{name}'" for name in credits)
    sql = f"""select run.bkey, approval.id, approval.subject from run join approval on approval.run = run.id
        where run.workflow = 'credit-to-ledger' and run.bkey in ({names}) and approval.state = 'open'"""
    async with asyncio.timeout(PATIENCE):
        while len(rows := await ask(sql)) < len(credits):
            await asyncio.sleep(0.05)
    return {credit: (approval, subject) for credit, approval, subject in rows}


async def main(place: str, wakes: int, settle: float = SETTLE, idle_for: float = IDLE) -> dict[str, Any]:
    """`seconds` of each wake, the share of a core that it took to wait, and the memory held at the end."""
    model = company()
    async with at(place) as (store, ask):
        systems, billing = connectors()
        releases = Releases(store, model)
        await releases.publish(await store.now(), "bench")
        person = Person(id=VOTER, name=VOTER, email=f"{VOTER}@example.com", roles=("finance",))
        await store.apply(PutPerson(person=person, at=await store.now(), actor="bench"))
        pump = Worker(store, releases, systems, "bench/1")
        running = asyncio.create_task(pump.run())
        try:
            tag = secrets.token_hex(4)
            credits = [f"W-{tag}-{n}" for n in range(wakes + WARM)]
            await hand_in(store, model, systems, asked(credits))
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
                verdict = await decide_approval(store, *open_[credit], VOTER, True, "")
                acknowledged = time.perf_counter()
                if verdict != "granted":
                    raise RuntimeError(f"the vote for {credit} was {verdict}")
                async with asyncio.timeout(PATIENCE):
                    seconds.append(max(0.0, await called - acknowledged))
        finally:
            pump.stop()
            await running
    return {"seconds": seconds[WARM:], "idle": idle, "megabytes": resident()}


def resident() -> float:
    """Memory that this process holds now, in MB."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / MEGABYTE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], int(sys.argv[2])))), flush=True)
