"""One server process of the fixture company: store, worker, scripted systems, and the acts of persons and senders.

The worker's loops do not run. Each round is started here, one kind after the other, and the clock moves only in
`advance`. The same script therefore leaves the same rows.
"""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import datetime, timedelta
from typing import Any

from tests.upgrade import engine
from tests.upgrade.systems import Systems

MOST_ROUNDS = 60
SMALLEST_STEP = timedelta(seconds=20)


class Clock:
    """The database's time, moved by hand."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    async def read(self) -> datetime:
        return self.now


class Process:
    """A process named `name`. A process whose name differs only behind the slash is its successor."""

    def __init__(self, store: Any, model: Any, systems: Systems, clock: Clock, name: str) -> None:
        store.now = clock.read
        self.store = store
        self.systems = systems
        self.clock = clock
        self.parts = engine.build(
            store, model, systems.connectors(), name, sign, lambda: clock.now.timestamp()
        )
        self.app = self.parts.app
        self._foreign_tasks = asyncio.all_tasks()

    @property
    def model(self) -> Any:
        """The Release in force."""
        return self.parts.releases.present

    # ------------------------------------------------------------------ worker

    async def start(self) -> None:
        await engine.recover(self.parts, self.clock.now)

    async def settle(self, *kinds: str) -> None:
        """Run rounds until one finds no work. Without `kinds`: those that move Runs."""
        for _ in range(MOST_ROUNDS):
            await self.parts.worker.beat_once()
            count = 0
            for kind in kinds or ("admit", "turn", "send", "watch"):
                count += await engine.run_once(self.parts, kind)
                await self.parts.worker.wait_for_work()
            if not count:
                return
        raise AssertionError(f"the worker still finds work after {MOST_ROUNDS} rounds")

    async def advance(self, **span: float) -> None:
        """Move the clock by a timedelta, in growing detail towards its end, and do the work that falls due."""
        end = self.clock.now + timedelta(**span)
        while self.clock.now < end:
            step = max(SMALLEST_STEP, (end - self.clock.now) / 4)
            self.clock.now = min(end, self.clock.now + step)
            await self.settle()

    async def admit_until_calls_hang(self, count: int) -> None:
        """Admit deliveries and run their Runs until `count` calls hang in all."""
        await self.parts.worker.beat_once()
        await engine.run_once(self.parts, "admit")
        for _ in range(400):
            await asyncio.sleep(0.005)
            if self.systems.hanging >= count:
                break
        await asyncio.sleep(0.1)  # Runs beside them reach the queue for a slot
        assert self.systems.hanging == count, self.systems.hanging

    async def kill(self) -> None:
        """End at once: calls do not return, slots are not given back, and the store learns nothing."""
        tasks = asyncio.all_tasks() - self._foreign_tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ------------------------------------------------------------------ systems

    async def deliver(self, system: str, type_: str, id_: str, version: int = 1, **body: Any) -> None:
        """Send one webhook."""
        content = {"type": type_, "id": id_, "version": version, **body}
        await self.app.receive(system, {}, json.dumps(content).encode())

    async def request_credit(self, id_: str, cents: int, customer: str = "") -> None:
        await self.deliver(
            "desk",
            "credit.requested",
            id_,
            customer=customer or f"cu-{id_}",
            invoice="inv-1",
            cents=cents,
            incident=f"why-{id_}",
            by="ann",
        )

    async def place_order(self, id_: str, cents: int, *items: str) -> None:
        customer = f"cu-{id_}"
        await self.deliver(
            "desk", "order.placed", id_, customer=customer, cents=cents, by="ann", items=list(items)
        )

    async def report_document(self, id_: str, cents: int | None = None) -> None:
        """Send the ledger's webhook for a document; `cents` replaces its amount."""
        amount = self.systems.documents[id_] if cents is None else cents
        await self.deliver("ledger", "document.posted", id_, cents=amount)

    # ------------------------------------------------------------------ persons

    async def vote(self, business_key: str, person: str, approve: bool = True) -> str:
        """Vote on the one open approval of a Run. Return the store's verdict."""
        dump = await self.store.dump()
        runs = {run.id for run in dump.runs if run.bkey == business_key}
        (approval,) = [a for a in dump.approvals if a.run in runs and a.state == "open"]
        return str(await self.app.decide_approval(approval.id, approval.subject, person, approve, "checked"))

    async def resolve(self, name: str, choice: str, person: str = "fay") -> str:
        """Resolve the one open Case of a Run with this business key, else the one with `name` in its message."""
        dump = await self.store.dump()
        runs = {run.id for run in dump.runs if run.bkey == name}
        cases = [case for case in dump.cases if case.state == "open"]
        (case,) = [c for c in cases if (c.run in runs if runs else name in c.message)]
        return str(await self.app.resolve_case(case.id, person, engine.Choice(choice), "checked"))

    # ------------------------------------------------------------------ consumer

    async def call_operation(self, id_: str, cents: int, wait: float | None = None) -> Any:
        """Call the exposed operation; the idempotency key follows from `id_`. Return the gateway's answer."""
        value = {"payment_id": id_, "amount": {"minor": cents, "currency": "USD"}}
        request = engine.OperationRequest(
            consumer="pat",
            roles=("portal",),
            operation="bills.payment.take",
            key=f"key-{id_}",
            input=value,
            body=json.dumps(value).encode(),
            headers={"content-type": "application/json"},
            correlation=f"corr-{id_}",
            wait=wait,
        )
        return await self.app.gateway.call(request, render)


def render(result: Any) -> Any:
    """Turn a gateway result into the stored reply: 200 for the end of a Run, else 202."""
    output = getattr(result, "output", None)
    body = json.dumps({"run": getattr(result, "run", ""), "output": output}).encode()
    return engine.Reply(status=202 if output is None else 200, headers={}, body=body)


def sign(size: int, root: bytes) -> str:
    """Return a checkpoint text without a signature."""
    return f"upgrade.example\n{size}\n{base64.b64encode(root).decode()}\n"
