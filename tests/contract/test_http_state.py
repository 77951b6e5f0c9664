"""`repeat: state` of the http connector, on a small ledger over real HTTP: alone, and as the undo of a Run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ruamel.yaml import YAML

from counterfoil.connectors import openapi
from counterfoil.connectors.openapi.connector import HttpSystem
from counterfoil.connectors.sdk import Absent, Confirmed, Rejected, Request, Unknown
from counterfoil.core.clock import JumpDetector
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.errors import ErrorClass, Misconfigured
from counterfoil.core.event import Event
from counterfoil.core.run import RunStatus
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.receive import receive_events
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model
from counterfoil.model.checks import check
from counterfoil.store.memory import MemoryStore
from tests.contract.ledger_server import Ledger, running_ledger
from tests.contract.test_http_connector import changed
from tests.contract.trial_http import config_of
from tests.patching import replace_attribute

VOID = ("operations", "erp.invoice.void")
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
REQUEST = Request("erp.invoice.void", "cf1", b'{"invoice": "inv1"}')
DONE = Confirmed({"invoice": "inv1"})


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with running_ledger() as ledger:
        ledger.invoices.append({"id": "inv1", "status": "open"})
        yield ledger


@asynccontextmanager
async def connected(ledger: Ledger, **settings: Any) -> AsyncIterator[HttpSystem]:
    connector = openapi.connect(config_of(ledger, **settings))
    try:
        yield connector
    finally:
        await connector.close()


# ------------------------------------------------------------------ the connector


async def test_a_state_that_is_there_is_not_sent_again(ledger: Ledger) -> None:
    async with connected(ledger) as connector:
        assert await connector.find(REQUEST, 5) == Absent()
        assert [await connector.send(REQUEST, 5) for _ in range(3)] == [DONE] * 3
        assert await connector.find(REQUEST, 5) == DONE
    assert ledger.voids == ["inv1"]


async def test_a_lost_answer_is_unknown_and_the_state_concludes_it(ledger: Ledger) -> None:
    async with connected(ledger) as connector:
        ledger.lost.add("void")
        assert isinstance(await connector.send(REQUEST, 5), Unknown)
        assert await connector.find(REQUEST, 5) == DONE
        assert await connector.send(REQUEST, 5) == DONE
    assert ledger.voids == ["inv1"]


async def test_another_state_is_sent(ledger: Ledger) -> None:
    async with connected(ledger) as connector:
        ledger.down.add("void")
        assert isinstance(await connector.send(REQUEST, 5), Unknown)
        assert await connector.find(REQUEST, 5) == Absent()
        ledger.down.clear()
        assert await connector.send(REQUEST, 5) == DONE
    assert ledger.voids == ["inv1"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((500, {}, b""), ErrorClass.TRANSIENT),
        ((200, {}, b'{"id": "inv1"'), ErrorClass.TRANSIENT),
        ((200, {}, b'{"id": "inv1"}'), ErrorClass.TRANSIENT),
        ((200, {}, b'{"id": "inv2", "status": "void"}'), ErrorClass.TRANSIENT),
        ((429, {"Retry-After": "7"}, b""), ErrorClass.THROTTLED),
        ((403, {}, b""), ErrorClass.UNAUTHORIZED),
    ],
)
async def test_a_state_that_cannot_be_read_proves_nothing_and_sends_nothing(
    ledger: Ledger, answer: tuple[int, dict[str, str], bytes], expected: ErrorClass
) -> None:
    ledger.mood += [answer, answer]
    async with connected(ledger) as connector:
        assert isinstance(await connector.find(REQUEST, 5), Unknown)
        outcome = await connector.send(REQUEST, 5)
    assert isinstance(outcome, Rejected)
    assert outcome.error_class is expected
    assert ledger.voids == []


async def test_a_list_shows_the_state_of_the_matching_item(ledger: Ledger) -> None:
    find = {
        "operationId": "listInvoices", "items": "/data", "match": {"/id": "$input.invoice"},
        "state": {"/status": "void"}, "result": {"invoice": "/id"},
    }  # fmt: skip
    ledger.invoices[:] = [{"id": f"inv{n}", "reference": "x", "status": "void"} for n in (0, 2)]
    ledger.invoices.append({"id": "inv1", "reference": "x", "status": "open"})
    async with connected(ledger, **changed(*VOID, "find", value=find)) as connector:
        assert await connector.find(REQUEST, 5) == Absent()
        assert await connector.send(REQUEST, 5) == DONE
        assert await connector.find(REQUEST, 5) == DONE
    assert ledger.voids == ["inv1"]


@pytest.mark.parametrize(
    ("path", "value", "finding"),
    [
        ((*VOID, "find"), None, "repeat state needs a look-up: when an answer is lost, .*`state` with what it shows"),
        ((*VOID, "find", "state"), {}, "compares no state, .*add `state:`"),
        ((*VOID, "find", "state"), {"/state": "void"}, "there is no 'state'"),
        ((*VOID, "find", "state"), {"/status": "$status"}, r"\$status is neither"),
        ((*VOID, "find", "parameters"), {"id": "inv1"}, None),
        ((*VOID, "find", "match"), {}, None),
        ((*VOID, "find"), {"operationId": "getInvoice", "parameters": {"id": "1"}, "one": True,
                           "state": {"/status": "void"}}, "uses neither .key nor .input"),
        ((*VOID, "horizon"), 0, "repeat state needs a horizon"),
        ((*VOID, "repeat"), "find", "only repeat state compares a state"),
        (("operations", "erp.invoice.post", "find"), None,
         "repeat key needs a look-up: when an answer is lost, it asks the API .*`\\$key` in its `parameters`"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_say_what_to_add(
    ledger: Ledger, path: tuple[str, ...], value: Any, finding: str | None
) -> None:
    config = config_of(ledger, **changed(*path, value=value))
    if finding is None:
        openapi.connect(config)
        return
    with pytest.raises(Misconfigured, match=finding):
        openapi.connect(config)


# ------------------------------------------------------------------ the undo of a Run

COMPANY = """
{kind: role, name: finance, may: [cases:own:resolve]}
---
{kind: system, name: shop, role: product, connector: external, owner: finance}
---
{kind: system, name: ledger, role: erp, connector: http, owner: finance}
---
{kind: event, name: sale.closed.v1, produced: http, data: {sale_id: id, total: int}}
---
kind: operation
name: erp.invoice.post
system: ledger
executor: identity
input: {customer: {fields: {id: string}}, total: int}
output: {invoice: string, number: string}
repeat: key
retention: 1d
undo: [{call: erp.invoice.void, with: {invoice: =result.invoice}}]
---
kind: operation
name: erp.invoice.void
system: ledger
executor: identity
input: {invoice: string}
output: {invoice: string}
repeat: state
horizon: 60s
irreversible: a void invoice is replaced by a new one
---
kind: policy
name: careful
failure:
  transient: retry
  throttled: retry
  conflict: retry
  invalid: park
  warning: park
  period_closed: park
  not_found: park
  unauthorized: park
  already_done: continue
  refused: park
  unknown: park
  timeout: park
---
kind: workflow
name: sale
owner: finance
failure: careful
start: {event: sale.closed.v1, key: event.data.sale_id}
serial: {key: event.data.sale_id, hold: effects}
steps:
  - call: erp.invoice.post
    with: {customer: {id: =event.data.sale_id}, total: =event.data.total}
  - check: event.data.total > 100
    outcomes: {failed: undo}
"""


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Undo:
    """A Run that posts an invoice and takes it back, with a worker on the memory store and a real ledger."""

    def __init__(self, clock: Clock, store: MemoryStore, worker: Worker) -> None:
        self.clock, self.store, self.worker = clock, store, worker

    async def settle(self, later: timedelta = timedelta(0)) -> None:
        """Let everything happen that is due, at once or after a while."""
        self.clock.now += later
        did: object = True
        while did:
            await self.worker.beat_once()
            did = (
                await self.worker.admit_once()
                + await self.worker.turn_once()
                + await self.worker.send_once()
                + await self.worker.watch_once()
            )
            while self.worker.tasks.busy:
                await self.worker.wait_for_work()

    async def voids(self) -> list[Effect]:
        effects = (await self.store.dump()).effects
        return [effect for effect in effects if effect.operation == "erp.invoice.void"]

    async def states(self) -> list[EffectState]:
        return [effect.state for effect in await self.voids()]

    async def status(self) -> RunStatus:
        (run,) = (await self.store.dump()).runs
        return run.status


@asynccontextmanager
async def undoing(ledger: Ledger) -> AsyncIterator[Undo]:
    model = Model.from_documents(list(YAML(typ="safe").load_all(COMPANY)))
    assert [finding for finding in check(model) if finding.severity == "error"] == []
    ledger.invoices.clear()
    clock = Clock()
    store = MemoryStore(clock)
    releases = Releases(store, model)
    await releases.publish(NOW, "test")
    async with connected(ledger) as connector:
        worker = Worker(store, releases, {"ledger": connector}, "w/1")
        detector = JumpDetector(0.0, here=lambda: clock.now.timestamp())
        replace_attribute(worker.reconciler, "jump_detector", detector)
        data = {"sale_id": "s-1", "total": 5}
        event = Event(id="e1", source="shop", type="sale.closed.v1", time=NOW, data=data)
        await receive_events(store, model, [event], NOW)
        yield Undo(clock, store, worker)


async def test_an_undo_by_state_is_sent_once(ledger: Ledger) -> None:
    async with undoing(ledger) as undo:
        await undo.settle()
        assert await undo.status() is RunStatus.UNDONE
        assert await undo.states() == [EffectState.CONFIRMED]
    assert ledger.voids == ["inv1"]


async def test_an_undo_is_not_sent_if_a_person_has_already_set_the_state(ledger: Ledger) -> None:
    async with undoing(ledger) as undo:
        ledger.down |= {"inv1", "void"}
        await undo.settle()
        ledger.invoices[0]["status"] = "void"
        ledger.down.clear()
        await undo.settle(timedelta(minutes=10))
        assert await undo.status() is RunStatus.UNDONE
    assert ledger.voids == []


async def test_an_undo_whose_answer_is_lost_is_concluded_from_the_state(ledger: Ledger) -> None:
    async with undoing(ledger) as undo:
        ledger.lost.add("void")
        await undo.settle()
        await undo.settle(timedelta(seconds=5))
        assert await undo.status() is RunStatus.UNDONE
        assert await undo.states() == [EffectState.CONFIRMED]
    assert ledger.voids == ["inv1"]


async def test_an_undo_that_was_not_done_is_sent_again_past_its_horizon(ledger: Ledger) -> None:
    async with undoing(ledger) as undo:
        ledger.down.add("void")
        await undo.settle()
        await undo.settle(timedelta(seconds=10))
        assert await undo.states() == [EffectState.UNKNOWN]
        ledger.down.clear()
        await undo.settle(timedelta(seconds=10))
        assert await undo.states() == [EffectState.UNKNOWN]
        await undo.settle(timedelta(minutes=2))
        await undo.settle(timedelta(minutes=2))
        assert await undo.status() is RunStatus.UNDONE
        assert sorted(await undo.states()) == [EffectState.ABSENT, EffectState.CONFIRMED]
    assert ledger.voids == ["inv1"]


async def test_an_undo_whose_state_cannot_be_read_stays_unknown(ledger: Ledger) -> None:
    async with undoing(ledger) as undo:
        ledger.lost.add("void")
        await undo.settle()
        ledger.down.add("inv1")
        for _ in range(4):
            await undo.settle(timedelta(minutes=2))
            assert await undo.states() == [EffectState.UNKNOWN]
        ledger.down.clear()
        await undo.settle(timedelta(minutes=2))
        assert await undo.status() is RunStatus.UNDONE
        assert await undo.states() == [EffectState.CONFIRMED]
    assert ledger.voids == ["inv1"]
