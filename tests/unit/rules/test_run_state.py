"""The state of a Run between turns: what `dump` wrote, `load` reads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from counterfoil.core.money import Money
from counterfoil.rules.workflow.state import RunState, StepState, load

NAMES: dict[str, Any] = {
    "event": {"data": {"amount": Money(1250, "USD"), "lines": [{"net": Money(1, "EUR")}]}},
    "due": datetime(2026, 3, 31, tzinfo=UTC),
}


def state() -> RunState:
    steps = {"0": StepState(phase="waiting"), "1": StepState(items=[{"id": "a"}], item_keys=["a"])}
    return RunState(names=dict(NAMES), steps=steps, results={"eff_1": {"id": 7}}, started=True, round=2)


def test_a_state_is_read_as_it_was_written() -> None:
    loaded = load(state().dump())
    assert (loaded.names, loaded.results, loaded.steps) == (NAMES, {"eff_1": {"id": 7}}, state().steps)
    assert (loaded.started, loaded.round, loaded.dump()) == (True, 2, state().dump())


def test_the_state_of_a_new_run_is_empty() -> None:
    assert load(b"{}") == RunState()
    assert load(RunState().dump()) == RunState()


def test_values_of_the_same_form_are_used_again_and_others_are_not() -> None:
    first = load(state().dump())
    changed = state()
    changed.names["due"] = datetime(2026, 4, 30, tzinfo=UTC)
    again = load(changed.dump(), first.memo)
    assert again.names["event"] is first.names["event"]
    assert again.names["due"] == changed.names["due"]
    assert again.dump() == changed.dump()
    again.names["event"] = None
    again.steps["0"].phase = "done"
    assert (first.names, first.steps["0"].phase) == (NAMES, "waiting")
