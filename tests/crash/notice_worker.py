"""A process that opens a Case, writes its notices and, with `send`, sends them; until it is killed."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from counterfoil.bootstrap import open_store
from counterfoil.core.delivery import GATHER
from counterfoil.flow.worker.deliveries import deliver_notices
from counterfoil.flow.worker.notices import write_notices
from counterfoil.model import Model
from counterfoil.model.kinds import NoticeChannel
from counterfoil.store.port.maintenance import OpenCases
from tests.companies.base import acme_model
from tests.contract.store import samples as s
from tests.unit.flow.test_deliveries import with_channel

ROLE = "finance-operations"


def model_with_chat() -> Model:
    webhook = {"url": "env:TEST_CHAT_URL", "secret": "env:TEST_CHAT_SECRET", "private": True}
    fields: dict[str, Any] = {"name": "chat", "owner": ROLE, "webhook": webhook, "roles": [ROLE]}
    return with_channel(acme_model(), NoticeChannel.model_validate(fields))


async def main(url: str, sends: bool) -> None:
    store, model = await open_store(url), model_with_chat()
    now = await store.now()
    case = s.case("case_1", owner=ROLE, created_at=now, deadline=now + 30 * s.DAY)
    await store.apply(OpenCases(cases=(case,), at=now, actor="test"))
    await write_notices(store, model, now)
    print("written", flush=True)
    if sends:
        await deliver_notices(store, model, now + GATHER)
    await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] == "send"))
