"""The backlog of admissions and existing receipts: reads of the intake before it refuses."""

from __future__ import annotations

from typing import Any

from counterfoil.store.port import store as port
from tests.contract.store import samples as s


async def test_the_backlog_is_counted_up_to_a_maximum(store: Any) -> None:
    assert await store.backlog(10, 0) == port.Backlog(waiting=0)
    for n in range(4):
        await store.apply(s.receive(s.receipt(f"r{n}", received_at=s.at(n))))
    assert await store.backlog(10, 0) == port.Backlog(waiting=4, since=s.at(0))
    assert await store.backlog(3, 2) == port.Backlog(waiting=3, since=s.at(2))
    assert await store.backlog(10, 4) == port.Backlog(waiting=4)


async def test_parked_and_fetched_receipts_are_not_in_the_backlog(store: Any) -> None:
    first = await store.apply(s.receive(s.receipt("r1"), s.receipt("f1", door="fetch")))
    assert (await store.backlog(10, 0)).waiting == 1
    await store.apply(s.admit(str(first.numbers[0]), park=True))
    assert await store.backlog(10, 0) == port.Backlog(waiting=0)


async def test_receipts_are_found_by_name(store: Any) -> None:
    received = await store.apply(s.receive(s.receipt("r1", "i1"), s.receipt("r2", "i2", system="erp")))
    names = [("billing", "r1"), ("erp", "r2"), ("erp", "r1"), ("billing", "r9")]
    assert await store.existing_receipts(names) == {
        ("billing", "r1"): (received.numbers[0], "i1"),
        ("erp", "r2"): (received.numbers[1], "i2"),
    }
    assert await store.existing_receipts([]) == {}
