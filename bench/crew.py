"""One of several workers on a PostgreSQL store: `python -m bench.crew ADDRESS NAME PORT`.

Its calls go to the outside system of the benchmark. It runs until SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence

from bench.expressions import company
from bench.outside import client
from bench.path import LocalSystem
from counterfoil.connectors.sdk import Absent, Confirmed, Connector, Finding, Outcome, Request, Unknown
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.worker.worker import Worker
from counterfoil.store.sql.postgres import PostgresStore


class RemoteSystem(LocalSystem):
    """System that is called over the network."""

    def __init__(self, names: Sequence[str], port: int) -> None:
        super().__init__(names)
        self._ask = client(port)

    async def send(self, request: Request, timeout: float) -> Outcome:
        answer = await self._ask("put", request.key)
        return Confirmed({"number": request.key}) if answer else Unknown("no answer")

    async def find(self, request: Request, timeout: float) -> Finding:
        answer = await self._ask("get", request.key)
        return Confirmed({"number": request.key}) if answer == "there" else Absent()


async def main(dsn: str, name: str, port: int) -> None:
    connectors: dict[str, Connector] = {
        "support": LocalSystem([]),
        "billing": RemoteSystem(["billing.order.take"], port),
        "ledger": RemoteSystem(["ledger.order.post"], port),
    }
    store = await PostgresStore.open(dsn)
    try:
        worker = Worker(store, Releases(store, company()), connectors, name)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        print("{}", flush=True)
        await worker.run()
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
