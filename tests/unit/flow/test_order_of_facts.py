"""Facts of one second through the door of admission: repeats, revisions, and what the system of record shows in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from counterfoil.connectors import sdk
from counterfoil.core import wire
from counterfoil.core.errors import TryAgain
from counterfoil.core.event import Event
from counterfoil.core.money import Money
from counterfoil.core.run import RunStatus
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.admit import Admitter
from counterfoil.flow.intake.receive import _receipt, receive_events, receive_page
from counterfoil.model import Model
from counterfoil.store.memory import MemoryStore
from counterfoil.store.port.intake import Receive
from tests.companies.base import COMPLETE_POLICY, documents
from tests.unit.rules.driver import MONDAY, Play, System, model_of

SECOND = datetime(2026, 1, 5, 8, tzinfo=UTC)
COMPANY = documents(
    COMPLETE_POLICY,
    """\
{kind: role, name: finance}
---
{kind: system, name: bills, role: billing, connector: external, owner: finance, stamps: seconds}
---
kind: object
name: invoice
system: bills
fields: {status: {type: string, final: [paid, void]}, open: money}
---
kind: event
name: invoice.changed.v1
object: invoice
data: {invoice_id: id, status: string, open: money}
---
{kind: event, name: invoice.seen.v1, object: invoice, produced: http, data: {invoice_id: id, status: string, open: money}}
---
{kind: operation, name: billing.invoice.get, system: bills, repeat: read, input: {id: string}}
---
kind: mapping
name: bills-invoice
from: {system: bills, type: invoice}
FETCH
let: {i: SOURCE}
emit:
  type: invoice.changed.v1
  key: i.id
  version: timestamp(body.created)
  identity: body.id
  data: {invoice_id: "=canon('invoice', i.id)", status: =i.status, open: "=minor(i.open, 'USD')"}
---
kind: workflow
name: copy
owner: finance
failure: careful
start:
  event: invoice.changed.v1
  when: false
  key: event.data.invoice_id
  generation: {event: invoice.changed.v1, where: true}
steps: [{stop: done}]
---
kind: workflow
name: once
owner: finance
failure: careful
start: {event: invoice.seen.v1, key: event.data.invoice_id}
steps: [{stop: done}]
""",
)
FETCH = "fetch: {call: billing.invoice.get, with: {id: =body.object.id}}"
FETCHED = model_of(COMPANY.replace("FETCH", FETCH).replace("SOURCE", "fetched"))
DELIVERED = model_of(COMPANY.replace("FETCH\n", "").replace("SOURCE", "body.object"))


Story: TypeAlias = tuple[list[dict[str, Any]], list[tuple[str, int]], list[tuple[bool, int]]]
NO_CASE: Any = None
"""In the place of a clash: the deliveries of these tests have one identity for one id."""


class Billing(System):
    """A system of record whose invoice changes while others read it."""

    def __init__(self) -> None:
        super().__init__("bills")
        self.history: list[dict[str, Any]] = []
        self.pending: list[dict[str, Any]] = []
        self.tell: Callable[[int], None] = lambda number: None
        """Told of a change that happens while a read is on its way."""
        self.surprises: list[tuple[bool, int]] = []
        """For the next reads: whether a change follows at once, and how long the answer is on its way."""

    def change(self) -> bool:
        if self.pending:
            self.history.append(self.pending.pop(0))
            return True
        return False

    async def read(self, operation: str, arguments: Any, timeout: float) -> Any:
        shown = self.history[-1]
        changes, way_back = self.surprises.pop() if self.surprises else (False, 0)
        if changes and self.change():
            self.tell(len(self.history) - 1)
        for _ in range(way_back):
            await asyncio.sleep(0)
        return shown


class Office:
    """A store with its admission, under a clock that moves with every look at it."""

    def __init__(self, model: Model) -> None:
        self.time = SECOND
        self.store = MemoryStore(clock=self.now)
        self.billing = Billing()
        self.model = model
        self.admission = Admitter(self.store, Releases(self.store, model), {"bills": self.billing})
        self.busy: set[tuple[str, str]] = set()
        self.tasks: list[asyncio.Task[None]] = []

    def now(self) -> datetime:
        self.time += timedelta(milliseconds=1)
        return self.time

    async def deliver(self, number: int, shown: dict[str, Any], content: str = "", ext_id: str = "") -> None:
        body = {"id": f"evt_{number}", "created": SECOND.isoformat(), "object": shown}
        name = ext_id or f"evt_{number}"
        delivery = sdk.Delivery(name, "invoice", name.encode(), body, content=content.encode())
        receipt = _receipt("bills", delivery, "webhook", {}, wire.write_json(body), self.now())
        await self.store.apply(Receive(receipts=(receipt,), clashes=(NO_CASE,), at=self.now(), actor="door"))

    def tell(self, number: int) -> None:
        """Deliver a change and admit it while other admissions are under way."""

        async def both() -> None:
            await self.deliver(number, self.billing.history[number])
            await self.admit()

        self.tasks.append(asyncio.create_task(both()))

    async def admit(self) -> None:
        async def one(todo: Any, name: tuple[str, str]) -> None:
            try:
                await self.admission.admit(todo, self.now())
            except TryAgain:
                self.time += timedelta(milliseconds=50)
            finally:
                self.busy.remove(name)

        todos = {(todo.kind, todo.ref): todo for todo in await self.store.todos(100)}
        idle = todos.keys() - self.busy
        self.busy |= idle
        await asyncio.gather(*(one(todos[name], name) for name in sorted(idle)))


@st.composite
def seconds(draw: st.DrawFn) -> Story:
    """The changes of one invoice in one second, and an order in which they are delivered, repeated and admitted."""
    amounts = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    changes = [{"id": "in_1", "status": "open", "open": 100 * amount} for amount in amounts]
    if draw(st.booleans()):
        changes.append({"id": "in_1", "status": draw(st.sampled_from(["paid", "void"])), "open": 0})
    steps: list[tuple[str, int]] = []
    for number in range(len(changes)):
        steps.append(("change", number))
    for number in range(len(changes)):
        for _ in range(draw(st.integers(1, 2))):
            place = draw(st.integers(steps.index(("change", number)) + 1, len(steps)))
            steps.insert(place, ("deliver", number))
    for _ in range(draw(st.integers(0, 3))):
        steps.insert(draw(st.integers(0, len(steps))), ("admit", 0))
    return changes, steps, draw(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=6))


@settings(max_examples=150, deadline=None)
@given(seconds())
def test_any_order_of_one_second_ends_as_the_system_of_record_shows_it(
    story: Story,
) -> None:
    asyncio.run(_played(*story))


async def _played(
    changes: list[dict[str, Any]], steps: list[tuple[str, int]], surprises: list[tuple[bool, int]]
) -> None:
    office = Office(FETCHED)
    office.billing.pending, office.billing.surprises = list(changes), list(surprises)
    office.billing.tell = office.tell
    for what, number in steps:
        if what == "change" and len(office.billing.history) <= number:
            office.billing.change()
        elif what == "deliver":
            await office.deliver(number, changes[number])
        elif what == "admit":
            await office.admit()
    while office.billing.pending:
        office.billing.change()
    for _ in range(20):
        await office.admit()
        await asyncio.gather(*office.tasks)
    assert await office.store.todos(10) == []
    dump = await office.store.dump()
    (head,) = dump.heads
    last = changes[-1]
    assert head.state == {"status": last["status"], "open": Money(last["open"], "USD")}
    assert [case.reason for case in dump.cases] == []
    assert len(dump.runs) == len(changes), "one Run for each fact, in any order"
    assert len({(run.bkey, run.generation) for run in dump.runs}) == len(changes)


async def test_without_a_fetch_a_contradiction_of_one_second_is_a_case_and_every_order_ends_alike() -> None:
    ends = []
    shown = [{"id": "in_1", "status": "open", "open": n} for n in (100, 60)]
    for order in ((0, 1), (1, 0), (0, 1, 0)):
        office = Office(DELIVERED)
        for number in order:
            await office.deliver(number, shown[number])
            await office.admit()
        dump = await office.store.dump()
        ends.append(dump.heads[0].state)
        (case,) = dump.cases
        assert (case.reason, case.owner, case.exposure) == ("tie", "finance", (Money(40, "USD"),))
    assert ends[0] == ends[1] == ends[2]


async def test_a_final_state_holds_in_its_second_whatever_comes_last() -> None:
    for order in ((0, 1), (1, 0)):
        office = Office(DELIVERED)
        shown = [{"id": "in_1", "status": "open", "open": 100}, {"id": "in_1", "status": "paid", "open": 0}]
        for number in order:
            await office.deliver(number, shown[number])
            await office.admit()
        dump = await office.store.dump()
        assert dump.heads[0].state == {"status": "paid", "open": Money(0, "USD")}
        assert dump.cases == []


async def test_a_delivery_again_with_other_money_is_a_clash_with_both_contents() -> None:
    office = Office(DELIVERED)
    for content in (100, 100, 150, 150):
        await office.deliver(0, {"id": "in_1", "status": "open", "open": content}, content=str(content))
        await office.admit()
    dump = await office.store.dump()
    (case,) = dump.cases
    assert (case.reason, case.owner, case.receipt) == ("clash", "finance", 1)
    assert "open was 1.00 USD, now 1.50 USD" in case.message
    assert len(dump.runs) == len(dump.events) == 1, "nothing follows from the second content"


async def test_a_delivery_again_whose_mapping_reads_no_difference_changes_nothing() -> None:
    office = Office(DELIVERED)
    for attempt in ("1", "2"):
        await office.deliver(
            0, {"id": "in_1", "status": "open", "open": 100, "attempt": attempt}, content=attempt
        )
        await office.admit()
    dump = await office.store.dump()
    assert (dump.cases, len(dump.events), len(dump.receipts)) == ([], 1, 2)


async def test_the_same_fact_under_two_delivery_ids_with_other_money_is_a_clash() -> None:
    office = Office(DELIVERED)
    for ext_id, content in (("callback", 100), ("sweep", 100), ("file", 150)):
        await office.deliver(0, {"id": "in_1", "status": "open", "open": content}, ext_id=ext_id)
        await office.admit()
    dump = await office.store.dump()
    assert [(case.reason, case.receipt) for case in dump.cases] == [("clash", 3)]


async def _seen(play: Play, id_: str, minor: int) -> None:
    event = Event(
        id=id_, source="/bills", type="invoice.seen.v1", time=SECOND, subject="i1",
        data={"invoice_id": "i1", "status": "open", "open": {"minor": minor, "currency": "USD"}},
    )  # fmt: skip
    await receive_events(play.store, play.model, [event], play.now)
    await play.settle()


async def test_a_revision_after_the_end_of_its_run_is_a_case_and_a_repeat_is_none() -> None:
    play = Play(DELIVERED)
    await _seen(play, "e1", 100)
    (run,) = play.store.tables.runs.values()
    assert run.status is RunStatus.DONE
    await _seen(play, "e2", 100)
    assert play.store.tables.cases == {}
    await _seen(play, "e3", 70)
    cases = {case.reason: case for case in play.store.tables.cases.values()}
    assert sorted(cases) == ["generation_clash", "tie"]
    assert cases["generation_clash"].run == run.id
    assert "open was 1.00 USD, now 0.70 USD" in cases["generation_clash"].message


async def test_deliveries_of_one_page_have_times_of_their_own() -> None:
    """Facts without a version are ordered by receipt, and each is a generation of its own."""
    store = MemoryStore(clock=lambda: MONDAY)
    page = [sdk.Delivery(f"d{n}", "invoice", b"%d" % n, {"n": n}) for n in range(3)]
    await receive_page(store, DELIVERED, "bills", "changes", page, "c", MONDAY)
    times = [todo.receipt.received_at for todo in await store.todos(10) if todo.receipt is not None]
    assert times == [MONDAY + timedelta(microseconds=n) for n in range(3)]


async def test_an_answer_that_was_overtaken_on_its_way_is_asked_for_again() -> None:
    office = Office(FETCHED)
    office.billing.pending = [{"id": "in_1", "status": "open", "open": n} for n in (100, 60)]
    office.billing.change()
    office.billing.tell = office.tell
    office.billing.surprises = [(False, 0), (True, 30)]
    await office.deliver(0, office.billing.history[0])
    await office.admit()
    await asyncio.gather(*office.tasks)
    assert len(await office.store.todos(10)) == 1, "the first is admitted again"
    await office.admit()
    dump = await office.store.dump()
    assert dump.heads[0].state["open"] == Money(60, "USD")
    assert (dump.cases, len(dump.runs)) == ([], 2)
