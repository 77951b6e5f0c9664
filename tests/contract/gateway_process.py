"""A server of the gateway's company as a process of its own, to be killed: it serves, and no worker carries a Run."""

from __future__ import annotations

import asyncio
import sys

from counterfoil.bootstrap import open_store
from tests.companies.gateway import offering


async def main(url: str) -> None:
    store = await open_store(url)
    async with offering(store, worker=False) as company:
        print(company.http.base_url, company.tokens["pat"], flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
