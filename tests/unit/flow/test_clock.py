"""A clock that jumps expires nothing in that round, and somebody hears of it."""

from __future__ import annotations

from counterfoil.core.clock import JumpDetector
from counterfoil.flow.pump import Pump
from counterfoil.flow.releases import Releases
from counterfoil.model import Model
from counterfoil.store.memory import MemoryStore


class Jumped(JumpDetector):
    def jumped(self) -> float | None:
        return -3600.0


async def test_a_jump_of_the_clock_is_a_case_of_its_own() -> None:
    roles = [{"kind": "role", "name": "finance"}]
    systems = [
        {"kind": "system", "name": "shop", "role": "billing", "connector": "external", "owner": "finance"}
    ]
    store = MemoryStore()
    pump = Pump(store, Releases(store, Model.from_documents([*roles, *systems])), {}, "w/1")
    assert await pump.watch_once() == 0
    assert not (await store.dump()).cases
    pump.jumps = Jumped()
    await pump.watch_once()
    await pump.watch_once()
    (case,) = (await store.dump()).cases
    assert (case.reason, case.owner) == ("clock_jumped", "finance")
