"""A snapshot after a turn equals the Run's rows, or there is none and the worker loads them."""

from __future__ import annotations

from counterfoil.core.effect import EffectState
from counterfoil.flow.runs.snapshot import RunSnapshot, after_turn, from_rows
from counterfoil.rules.workflow.state import RunState
from counterfoil.store.memory import MemoryStore
from counterfoil.store.port.turns import Turn
from tests.contract.store import samples as s

CALL = s.effect()
OTHER = s.effect("reserve")


async def run_with_planned_calls() -> tuple[MemoryStore, RunSnapshot]:
    store = MemoryStore(lambda: s.T0)
    await s.born(store)
    await store.apply(s.turn(plan=(CALL, OTHER)))
    rows = await store.load(s.RUN)
    assert rows is not None
    return store, from_rows(rows)


async def committed(store: MemoryStore, before: RunSnapshot, turn: Turn) -> RunSnapshot | None:
    return after_turn(before, turn, await store.apply(turn), RunState(), None)


async def test_a_call_that_was_sent_while_its_turn_dropped_it_is_loaded_again() -> None:
    """Else the next turn would count it as not done, and might end the Run while the call is in flight."""
    store, before = await run_with_planned_calls()
    await store.apply(s.intent(CALL))
    assert await committed(store, before, s.turn(version=1, drop=(CALL.id,))) is None
    effect = await store.effect(CALL.id)
    assert effect is not None
    assert effect.state is EffectState.SENDING


async def test_a_turn_that_drops_a_refused_call_goes_on_without_loading() -> None:
    store, _ = await run_with_planned_calls()
    await store.apply(s.intent(CALL))
    await store.apply(s.conclude(CALL, EffectState.REFUSED))
    rows = await store.load(s.RUN)
    assert rows is not None
    after = await committed(store, from_rows(rows), s.turn(version=1, consumed=2, drop=(CALL.id,)))
    loaded = await store.load(s.RUN)
    assert after is not None
    assert loaded is not None
    assert (after.effects, after.foils) == (loaded.effects, loaded.foils)
