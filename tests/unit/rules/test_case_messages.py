"""Messages of Cases are words: they repeat no formula and no excerpt of one, whatever failed in it."""

from __future__ import annotations

import pytest

from tests.unit.rules.company import ask, company


@pytest.mark.parametrize(
    "steps",
    [
        "{check: event.data.amount.minor == 987654}",
        "{check: 987654 / 0 == 1}",
        "{check: event.data.amount.nothing987654 == 1}",
        "{choose: [{when: 987654 / 0 == 1, then: []}]}",
        "{wait: {until: date('987654')}}",
        "{emit: told.v1, data: {id: =string(987654 / 0)}}",
        "{each: '[987654 / 0]', as: n, do: [{check: 'true'}]}",
    ],
)
async def test_a_case_repeats_no_formula(steps: str) -> None:
    play = company(f"steps: [{steps}]")
    await ask(play)
    (case,) = play.cases()
    assert case.message
    for part in ("987654 ", "== ", "^", "\n", "Traceback", "Error"):
        assert part not in case.message, case.message
