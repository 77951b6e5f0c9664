"""Requests that are ready together go together, and none waits for company."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from counterfoil.connectors.sdk import (
    Confirmed,
    Connector,
    OperationSpec,
    Outcome,
    Rejected,
    Repeat,
    Request,
    Unknown,
)
from counterfoil.core.errors import ErrorClass
from counterfoil.flow.dispatch.limiter import ConcurrencyLimiter as WorkersGate
from counterfoil.flow.dispatch.limiter import Lane, LimiterClosed
from counterfoil.flow.dispatch.request_batching import (
    LATE,
    LimiterSlotRequest,
    RequestBatcher,
    SlotRequest,
    most_significant,
)
from counterfoil.store.memory import MemoryStore

START = datetime(2026, 3, 31, 12, tzinfo=UTC)
POST = OperationSpec("erp.invoice.post", Repeat.FIND, horizon=60, bulk=4)
SINGLE = OperationSpec("erp.credit.apply", Repeat.FIND, horizon=60)


class Erp:
    """Keeps every call until it is let go; a request named `poisoned` is not confirmed."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.timeouts: list[float] = []
        self.open = asyncio.Event()
        self.answer: Callable[[list[Outcome]], Any] = lambda outcomes: outcomes

    async def send(self, request: Request, timeout: float) -> Outcome:
        (outcome,) = await self.send_many([request], timeout)
        return outcome

    async def send_many(self, requests: Sequence[Request], timeout: float) -> Sequence[Outcome]:
        self.calls.append([request.key for request in requests])
        self.timeouts.append(timeout)
        await self.open.wait()
        return cast(
            Sequence[Outcome], self.answer([Confirmed({"made": request.key}) for request in requests])
        )


class OneByOne:
    """A connector without bulk."""

    def __init__(self, erp: Erp) -> None:
        self.send = erp.send


class Gate:
    """`slots` calls at once; a slot that is free goes to the best lane that waits."""

    def __init__(self, slots: int) -> None:
        self.free = slots
        self.most = 0
        self.inside = 0
        self.given: list[int] = []
        self.waiting: list[tuple[int, asyncio.Future[None]]] = []

    def slot(self, lane: int = 1) -> SlotRequest:
        return _Slot(self, lane)

    def serve(self) -> None:
        self.waiting = [place for place in self.waiting if not place[1].done()]
        while self.free and self.waiting:
            best = min(self.waiting, key=lambda place: place[0])
            self.waiting.remove(best)
            self.free -= 1
            best[1].set_result(None)


class _Slot:
    def __init__(self, gate: Gate, lane: int) -> None:
        self.gate, self.lane = gate, lane

    async def take(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gate.waiting.append((self.lane, future))
        self.gate.serve()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.gate.free += 1
                self.gate.serve()
            raise
        self.gate.inside += 1
        self.gate.most = max(self.gate.most, self.gate.inside)

    def give_back(self, outcomes: Sequence[Outcome]) -> None:
        self.gate.given.append(len(outcomes))
        self.gate.inside -= 1
        self.gate.free += 1
        self.gate.serve()


class Desk:
    """One worker with a clock that stands still until it is moved."""

    def __init__(self, slots: int = 1) -> None:
        self.at = START
        self.fails = 0
        self.erp = Erp()
        self.gate = Gate(slots)
        self.bulk = RequestBatcher(self.now)

    async def now(self) -> datetime:
        if self.fails:
            self.fails -= 1
            raise OSError("the store is away")
        return self.at

    def send(
        self,
        key: str,
        spec: OperationSpec = POST,
        connector: object | None = None,
        late_after: float = 30,
        lane: int = 1,
        timeout: float = 30,
    ) -> asyncio.Task[Outcome]:
        return asyncio.create_task(
            self.bulk.send(
                "erp",
                cast(Connector, connector or self.erp),
                spec,
                Request(spec.name, key, b"{}"),
                timeout,
                START + timedelta(seconds=late_after),
                self.gate.slot(lane),
            )
        )


async def settle() -> None:
    """Let everything run that can run."""
    for _ in range(20):
        await asyncio.sleep(0)


def made(*keys: str) -> list[Outcome]:
    return [Confirmed({"made": key}) for key in keys]


async def test_the_first_goes_at_once_and_alone() -> None:
    desk = Desk()
    first = desk.send("a")
    await settle()
    assert desk.erp.calls == [["a"]]
    desk.erp.open.set()
    assert await first == Confirmed({"made": "a"})
    assert (desk.gate.free, desk.gate.given) == (1, [1])


async def test_what_is_ready_while_a_call_is_under_way_goes_together_next() -> None:
    desk = Desk(slots=4)
    sent = [desk.send("a")]
    await settle()
    for key in "bcd":
        sent.append(desk.send(key))
        await settle()
    assert desk.erp.calls == [["a"]]
    desk.erp.open.set()
    assert await asyncio.gather(*sent) == made("a", "b", "c", "d")
    assert desk.erp.calls == [["a"], ["b", "c", "d"]]
    assert (desk.gate.free, desk.gate.most, desk.gate.waiting) == (4, 1, [])


async def test_what_is_ready_at_the_same_moment_goes_in_one_call() -> None:
    desk = Desk(slots=4)
    sent = [desk.send(key) for key in "abc"]
    desk.erp.open.set()
    assert await asyncio.gather(*sent) == made("a", "b", "c")
    assert desk.erp.calls == [["a", "b", "c"]]
    assert desk.gate.given.count(3) == 1
    assert (desk.gate.free, desk.gate.inside) == (4, 0)


async def test_no_call_is_larger_than_the_operation_takes() -> None:
    desk = Desk()
    sent = [desk.send(key) for key in "abcdefghij"]
    desk.erp.open.set()
    assert await asyncio.gather(*sent) == made(*"abcdefghij")
    assert desk.erp.calls == [list("abcd"), list("efgh"), list("ij")]
    assert (desk.gate.free, desk.gate.inside) == (1, 0)


async def test_room_is_what_the_next_call_can_still_take() -> None:
    desk = Desk()
    assert desk.bulk.room("erp", POST) == 4
    sent = [desk.send("a")]
    await settle()
    assert desk.bulk.room("erp", POST) == 4
    sent += [desk.send(key) for key in "bcdef"]
    await settle()
    assert desk.bulk.room("erp", POST) == 0
    desk.erp.open.set()
    await asyncio.gather(*sent)
    assert desk.bulk.room("erp", POST) == 4


async def test_who_is_late_stays_behind_and_takes_no_place() -> None:
    desk = Desk()
    sent = [desk.send("a")]
    await settle()
    sent += [desk.send("late", late_after=5), *(desk.send(key) for key in "bcde")]
    await settle()
    desk.at = START + timedelta(seconds=5)
    desk.erp.open.set()
    outcomes = await asyncio.gather(*sent)
    assert outcomes == [*made("a"), LATE, *made("b", "c", "d", "e")]
    assert desk.erp.calls == [["a"], ["b", "c", "d", "e"]]


async def test_a_slot_in_whose_wait_everybody_grew_late_makes_no_call() -> None:
    desk = Desk(slots=0)
    sent = [desk.send(key, late_after=5) for key in "ab"]
    await settle()
    desk.at = START + timedelta(seconds=6)
    desk.gate.free = 1
    desk.gate.serve()
    assert await asyncio.gather(*sent) == [LATE, LATE]
    assert desk.erp.calls == []
    assert (desk.gate.free, desk.gate.inside) == (1, 0)


async def test_a_good_lane_takes_those_along_that_ask_in_a_bad_one() -> None:
    desk = Desk(slots=0)
    sent = [desk.send("replayed", lane=3)]
    await settle()
    sent.append(desk.send("live", lane=1))
    await settle()
    desk.gate.free = 1
    desk.gate.serve()
    desk.erp.open.set()
    assert await asyncio.gather(*sent) == made("replayed", "live")
    assert desk.erp.calls == [["live", "replayed"]]
    assert desk.gate.waiting == [] or all(future.done() for _, future in desk.gate.waiting)
    assert (desk.gate.free, desk.gate.inside) == (1, 0)


async def test_operations_and_connectors_without_bulk_go_one_by_one_side_by_side() -> None:
    desk = Desk(slots=3)
    sent = [
        desk.send("a", spec=SINGLE),
        desk.send("b", spec=SINGLE),
        desk.send("c", connector=OneByOne(desk.erp)),
    ]
    await settle()
    assert desk.erp.calls == [["a"], ["b"], ["c"]]
    desk.erp.open.set()
    assert await asyncio.gather(*sent) == made("a", "b", "c")
    late = desk.send("d", spec=SINGLE, late_after=0)
    assert await late == LATE
    assert (desk.gate.free, desk.gate.inside) == (3, 0)


async def test_operations_of_one_system_do_not_wait_for_each_other() -> None:
    desk = Desk(slots=2)
    other = OperationSpec("erp.credit_memo.post", Repeat.FIND, horizon=60, bulk=4)
    sent = [desk.send("a"), desk.send("b", spec=other)]
    await settle()
    assert desk.erp.calls == [["a"], ["b"]]
    desk.erp.open.set()
    await asyncio.gather(*sent)


async def test_the_shortest_timeout_of_the_riders_is_kept() -> None:
    desk = Desk()
    sent = [desk.send("a", timeout=30), desk.send("b", timeout=10)]
    desk.erp.open.set()
    await asyncio.gather(*sent)
    assert desk.erp.timeouts == [10]


@pytest.mark.parametrize("short", [[], made("a"), made("a", "b", "c")])
async def test_outcomes_that_cannot_be_told_apart_are_unknown_for_all(short: list[Outcome]) -> None:
    desk = Desk()
    desk.erp.answer = lambda _: short
    sent = [desk.send(key) for key in "ab"]
    desk.erp.open.set()
    assert all(isinstance(outcome, Unknown) for outcome in await asyncio.gather(*sent))


async def test_a_connector_that_raises_leaves_all_unknown_and_the_line_open() -> None:
    desk = Desk()

    def fail(_: list[Outcome]) -> None:
        raise ValueError("a defect")

    desk.erp.answer = fail
    sent = [desk.send(key) for key in "ab"]
    desk.erp.open.set()
    assert all(isinstance(outcome, Unknown) for outcome in await asyncio.gather(*sent))
    desk.erp.answer = lambda outcomes: outcomes
    assert await desk.send("c") == Confirmed({"made": "c"})
    assert (desk.gate.free, desk.gate.inside) == (1, 0)


async def test_who_is_cancelled_before_the_call_is_not_sent() -> None:
    desk = Desk()
    first = desk.send("a")
    await settle()
    gone, stays = desk.send("gone"), desk.send("b")
    await settle()
    gone.cancel()
    await settle()
    desk.erp.open.set()
    assert await asyncio.gather(first, stays) == made("a", "b")
    assert desk.erp.calls == [["a"], ["b"]]


async def test_who_is_cancelled_during_the_call_takes_nobody_down() -> None:
    desk = Desk()
    leader, rider = desk.send("a"), desk.send("b")
    await settle()
    assert desk.erp.calls == [["a", "b"]]
    leader.cancel()
    await settle()
    desk.erp.open.set()
    assert await rider == Confirmed({"made": "b"})
    assert (desk.gate.free, desk.gate.inside) == (1, 0)


async def test_a_gate_that_turns_one_away_turns_away_that_one_alone() -> None:
    desk = Desk(slots=0)

    class Shut:
        async def take(self) -> None:
            raise ConnectionRefusedError("shut")

        def give_back(self, outcomes: Sequence[Outcome]) -> None:
            raise AssertionError("no slot was given")

    stays = desk.send("a")
    await settle()
    request = Request(POST.name, "b", b"{}")
    with pytest.raises(ConnectionRefusedError):
        await desk.bulk.send(
            "erp", cast(Connector, desk.erp), POST, request, 30, START + timedelta(seconds=30), Shut()
        )
    desk.gate.free = 1
    desk.gate.serve()
    desk.erp.open.set()
    assert await stays == Confirmed({"made": "a"})


async def test_a_clock_that_fails_is_told_to_one_and_the_rest_asks_on() -> None:
    desk = Desk()
    desk.erp.open.set()
    desk.fails = 1
    first, second = desk.send("a"), desk.send("b")
    with pytest.raises(OSError, match="the store is away"):
        await first
    assert await second == Confirmed({"made": "b"})
    assert (desk.gate.free, desk.gate.inside) == (1, 0)


async def test_at_the_gate_of_a_worker_a_batch_is_one_call() -> None:
    desk = Desk()
    gate = WorkersGate("w/1", {"erp": ("erp", 1)}, clock=lambda: 0.0)
    await gate.beat(MemoryStore(), START)

    def ask(key: str, lane: Lane) -> asyncio.Task[Outcome]:
        ends = START + timedelta(seconds=30)
        slot = LimiterSlotRequest(gate, "erp", lane)
        request = Request(POST.name, key, b"{}")
        return asyncio.create_task(
            desk.bulk.send("erp", cast(Connector, desk.erp), POST, request, 30, ends, slot)
        )

    reading = await gate.enter("erp", Lane.LIVE)
    sent = [ask("replayed", Lane.REPLAY), ask("live", Lane.LIVE)]
    await settle()
    assert desk.erp.calls == []
    gate.leave(reading, None)
    await settle()
    assert desk.erp.calls == [["live", "replayed"]]
    state = gate.state("erp")
    assert (state.in_flight, sum(state.waiting.values())) == (1, 0)
    sent.append(ask("next", Lane.LIVE))
    await settle()
    desk.erp.open.set()
    assert await asyncio.gather(*sent) == made("replayed", "live", "next")
    assert gate.in_flight == 0
    gate.close()
    with pytest.raises(LimiterClosed):
        await ask("after", Lane.LIVE)


def test_a_batch_tells_the_gate_what_its_call_tells() -> None:
    throttled = Rejected(ErrorClass.THROTTLED, "slower", retry_after=3)
    refused, away = Rejected(ErrorClass.INVALID, "no"), Rejected(ErrorClass.TRANSIENT, "away")
    (done,) = made("a")
    assert most_significant([]) is None
    assert most_significant([away, Unknown("?")]) in (away, Unknown("?"))
    assert most_significant([Unknown("?"), refused, away]) is refused
    assert most_significant([done, away]) is done
    assert most_significant([done, throttled, away]) is throttled
