"""An operation that another integration carries out: Counterfoil writes the foil and waits for the observation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ruamel.yaml import YAML

from counterfoil.core import wire
from counterfoil.core.clock import JumpDetector
from counterfoil.core.effect import EffectState
from counterfoil.core.event import Event
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.run import RunStatus
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.admit import Admitter
from counterfoil.flow.intake.receive import receive_events
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model
from counterfoil.store.memory import MemoryStore
from tests.companies.base import edited
from tests.companies.external import COMPANY
from tests.patching import replace_attribute

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def event(source: str, type_: str, id_: str) -> Event:
    data = {"sale_id": "s-1", "amount": {"minor": 1200, "currency": "USD"}}
    return Event(id=id_, source=source, type=type_, time=NOW, data=data)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


async def settle(worker: Worker) -> None:
    """Let everything happen that is due now."""
    for _ in range(60):
        await worker.beat_once()
        did = (
            await worker.admit_once()
            + await worker.turn_once()
            + await worker.send_once()
            + await worker.watch_once()
        )
        while worker.tasks.busy:
            await worker.wait_for_work()
        if not did:
            return


async def test_an_external_effect_is_confirmed_by_the_other_half_of_its_counterfoil() -> None:
    model = Model.from_documents(list(YAML(typ="safe").load_all(COMPANY)))
    clock = Clock()
    store = MemoryStore(clock)
    releases = Releases(store, model)
    await releases.publish(NOW, "test")
    worker = Worker(store, releases, {}, "w/1")
    detector = JumpDetector(0.0, here=lambda: clock.now.timestamp())
    replace_attribute(worker.reconciler, "jump_detector", detector)
    await receive_events(store, model, [event("shop", "sale.closed.v1", "e1")], clock())
    await settle(worker)
    (effect,) = (await store.dump()).effects
    (foil,) = (await store.dump()).foils
    assert effect.state is EffectState.ACCEPTED
    assert (foil.state, foil.legs) == (FoilState.PROVISIONAL, {"gross": Money(1200, "USD")})
    clock.now += timedelta(hours=1)
    await settle(worker)
    assert (await store.dump()).effects[0].state is EffectState.ACCEPTED
    await receive_events(store, model, [event("bus", "ledger.shown.v1", "e2")], clock())
    await settle(worker)
    clock.now += timedelta(hours=1)
    await settle(worker)
    dump = await store.dump()
    assert dump.effects[0].state is EffectState.CONFIRMED
    assert dump.foils[0].state is FoilState.MATCHED
    assert [(r.status, r.state) for r in dump.runs] == [(RunStatus.DONE, "reconciled")]
    assert not dump.cases
    proofs = [wire.loads(leaf.body)["evidence"] for _, leaf in dump.leaves if leaf.kind == "confirmed"]
    assert proofs == ["observation"]


async def test_the_present_matrix_decides_for_runs_of_former_releases() -> None:
    documents = list(YAML(typ="safe").load_all(COMPANY))
    former = Model.from_documents(documents)
    strict = list(YAML(typ="safe").load_all(edited(COMPANY, ("[{automatic: true}]", "[{roles: [finance]}]"))))
    clock = Clock()
    store = MemoryStore(clock)
    await Releases(store, former).publish(NOW, "test")
    await receive_events(store, former, [event("shop", "sale.closed.v1", "e1")], clock())
    await Admitter(store, Releases(store, former), {}).admit((await store.todos(1))[0], clock())
    worker = Worker(store, Releases(store, Model.from_documents(strict)), {}, "w/1")
    await settle(worker)
    (approval,) = (await store.dump()).approvals
    assert (approval.automatic, approval.roles) == (False, ("finance",))
