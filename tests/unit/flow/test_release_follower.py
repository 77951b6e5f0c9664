"""A running process takes up a Release: connectors before it counts, old ones kept as long as they may be used."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from counterfoil.core import wire
from counterfoil.core.errors import Misconfigured
from counterfoil.core.release import Plan
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.worker import release_follower
from counterfoil.flow.worker.release_follower import ReleaseFollower
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model
from counterfoil.store.memory import MemoryStore
from counterfoil.store.port.releases import ApplyPlan, PutPlan
from tests.contract.store import samples as s
from tests.unit.rules.driver import System, model_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ROLE = "{kind: role, name: ops}\n---\n"
ONE = "{kind: system, name: one, role: erp, connector: http, owner: ops, url: 'https://one.example'}\n"
TWO = "{kind: system, name: two, role: billing, connector: http, owner: ops, url: 'https://two.example', caps: {concurrency: 9}}\n"


class Line(System):
    """A simulated system that says when it was let go of."""

    closed = False

    async def close(self) -> None:
        self.closed = True


class Process:
    """One process over a store in memory."""

    def __init__(self, store: MemoryStore, model: Model) -> None:
        self.store = store
        self.releases = Releases(store, model)
        self.connectors: dict[str, Any] = {}
        self.refuses: set[str] = set()
        self.worker = Worker(store, self.releases, self.connectors, "w/1")
        self.follower = ReleaseFollower(store, self.releases, self.connectors, self.worker, self.build)
        self.connectors.update(self.build(model, model.systems))

    def build(self, model: Model, names: Iterable[str]) -> dict[str, Any]:
        wanted = sorted(names)
        if self.refuses & set(wanted):
            raise Misconfigured("the environment has no TWO_KEY")
        return {name: Line(name) for name in wanted}


async def applied(store: MemoryStore, old: Model, new: Model) -> None:
    digest = wire.digest([old.digest, new.digest])
    plan = Plan(
        digest=digest, base=old.digest, revision=new.digest, requester="pat", created_at=NOW,
        expires=NOW + timedelta(days=1),
    )  # fmt: skip
    await store.apply(PutPlan(plan=plan, model=new.to_json(), at=NOW, actor="test"))
    done = await store.apply(ApplyPlan(plan=digest, person="pat", reason="", at=NOW))
    assert done.verdict == "applied"


@pytest.fixture
async def process() -> Process:
    store = MemoryStore(lambda: NOW)
    process = Process(store, model_of(ROLE + ONE))
    await process.releases.publish(NOW, "up")
    return process


async def test_nothing_happens_while_the_same_is_in_force(process: Process) -> None:
    assert await process.follower.look() is False


async def test_the_release_of_a_folder_holds_no_tests_in_the_process_that_publishes_it() -> None:
    store = MemoryStore(lambda: NOW)
    written = model_of(
        ROLE + ONE + "---\n{kind: test, name: quiet, given: [{after: 1s}], expect: {runs: []}}\n"
    )
    releases = Releases(store, written)
    await releases.publish(NOW, "up")
    later = await Releases(store, written).model(written.digest)
    assert written.document("test", "quiet") is not None
    for model in (releases.present, later, await releases.model(written.digest)):
        assert model.document("test", "quiet") is None
    await releases.take_up(written)
    assert releases.present.document("test", "quiet") is None


async def test_a_new_system_is_connected_and_gets_its_slots(process: Process) -> None:
    one = process.connectors["one"]
    new = model_of(ROLE + ONE + "---\n" + TWO)
    await applied(process.store, process.releases.present, new)
    assert await process.follower.look() is True
    assert process.releases.present.digest == new.digest
    assert process.connectors["one"] is one
    assert set(process.connectors) == {"one", "two"}
    assert process.worker.limiter.state("two").cap == 9


async def test_a_changed_system_is_connected_anew_and_the_old_is_closed_later(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release_follower, "MIN_CLOSE_SECONDS", 0.05)
    old = process.connectors["one"]
    new = model_of(ROLE + ONE.replace("one.example", "other.example"))
    await applied(process.store, process.releases.present, new)
    await process.follower.look()
    await process.follower._clean_up()
    assert process.connectors["one"] is not old
    assert not old.closed
    await asyncio.sleep(0.06)
    await process.follower._clean_up()
    assert old.closed
    assert not process.connectors["one"].closed


async def test_other_slots_make_no_new_connector(process: Process) -> None:
    one = process.connectors["one"]
    new = model_of(ROLE + ONE.replace("owner: ops", "owner: ops, caps: {concurrency: 7}"))
    await applied(process.store, process.releases.present, new)
    await process.follower.look()
    assert process.connectors["one"] is one
    assert process.worker.limiter.state("one").cap == 7


async def test_a_system_that_is_gone_is_kept_for_the_runs_that_may_call_it(process: Process) -> None:
    first = process.releases.present
    run = await s.born(process.store)
    await process.store.apply(s.turn(run, due=NOW + timedelta(days=1)))
    process.store.tables.runs[run] = msgspec.structs.replace(process.store.tables.runs[run], pin=first.digest)
    one = process.connectors["one"]
    await applied(process.store, first, model_of(ROLE + TWO))
    await process.follower.look()
    await process.follower._close_removed()
    assert process.connectors["one"] is one
    again = Process(process.store, process.releases.present)
    await again.follower.connect_pinned()
    assert set(again.connectors) == {"one", "two"}
    assert again.worker.limiter.state("one").cap == 4
    ended = process.store.tables.runs[run]
    await process.store.apply(
        s.turn(run, version=ended.version, status=s.RunStatus.DONE, consumed=ended.inbox_n)
    )
    await process.follower._close_removed()
    assert (set(process.connectors), one.closed) == ({"two"}, True)


async def test_a_process_that_cannot_connect_stops_rather_than_going_on_by_the_former(
    process: Process,
) -> None:
    process.refuses.add("two")
    before = process.releases.present
    await applied(process.store, before, model_of(ROLE + ONE + "---\n" + TWO))
    assert await process.follower.look() is False
    assert process.worker.stopping
    assert "TWO_KEY" in process.follower.failed
