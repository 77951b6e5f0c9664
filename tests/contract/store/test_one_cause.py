"""A step that a Run waits at and a counterfoil that breaks from the same cause share one Case, on all stores."""

from __future__ import annotations

from typing import Any

import pytest

from counterfoil.core.case import Case, CaseState, Choice
from counterfoil.core.case_choices import STEP_CHOICES
from counterfoil.core.effect import EffectState
from counterfoil.core.foil import Foil
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.store.port.maintenance import ExpireFoils
from tests.contract.store import samples as s

DIFFERENCE = (Money(9000, "USD"),)


async def owed(store: Any) -> str:
    """A Run whose call owes 120.00."""
    run = await s.born(store)
    e = s.effect(run=run)
    await store.apply(
        s.turn(run, plan=(e,), send=(s.send(e),), foils=(s.foil(effect=e.id, run=run, owner="finance"),))
    )
    await store.apply(s.conclude(e, EffectState.CONFIRMED))
    await store.apply(s.put_person(s.person()))
    return run


async def shows(store: Any, minor: int, version: int = 1) -> None:
    received = await store.apply(s.receive(s.receipt(f"o{version}")))
    events = (s.event(f"evt_o{version}", f"x{version}"),)
    seen = (s.observation(minor=minor, version=version, event=f"evt_o{version}"),)
    await store.apply(s.admit(received.numbers[0], events=events, observations=seen))


async def parks(store: Any, run: str, **more: Any) -> None:
    """The Run waits for a decision on a step, by a Case about the foil."""
    case = s.case(
        "case_step", reason="invalid", run=run, path="apply", foil="foil_1", choices=STEP_CHOICES,
        exposure=(Money(12000, "USD"),), **more,
    )  # fmt: skip
    version = (await s.run_of(store, run)).version
    await store.apply(s.turn(run, version, cases=(case,)))


async def cases(store: Any, state: CaseState = CaseState.OPEN) -> list[Case]:
    found = [c for c in (await store.dump()).cases if c.state is state]
    return sorted(found, key=lambda c: c.id)


async def foil(store: Any) -> Foil:
    row: Foil | None = await store.foil("foil_1")
    assert row is not None
    return row


async def test_the_step_takes_the_difference_of_a_foil_that_breaks_after_it(store: Any) -> None:
    run = await owed(store)
    await parks(store, run)
    await shows(store, 3000)
    assert (await foil(store)).state is FoilState.BROKEN
    (case,) = await cases(store)
    assert (case.id, case.exposure) == ("case_step", DIFFERENCE)


async def test_the_case_of_a_broken_foil_ends_when_the_step_waits_for_the_same(store: Any) -> None:
    run = await owed(store)
    await shows(store, 3000)
    assert [c.reason for c in await cases(store)] == ["foil_broken"]
    await parks(store, run)
    assert [c.id for c in await cases(store)] == ["case_step"]
    (ended,) = await cases(store, CaseState.RESOLVED)
    assert (ended.reason, ended.resolved_by, ended.note) == (
        "foil_broken",
        "matching",
        "one cause with case_step",
    )


@pytest.mark.parametrize("choice", [Choice.RETRY, Choice.CONTINUE, Choice.CLOSE])
async def test_a_foil_that_is_still_broken_after_the_decision_has_its_own_case(
    store: Any, choice: Choice
) -> None:
    run = await owed(store)
    await parks(store, run)
    await shows(store, 3000)
    assert (await store.apply(s.resolve("case_step", choice=choice))).verdict == "resolved"
    (case,) = await cases(store)
    assert (case.reason, case.foil, case.exposure) == ("foil_broken", "foil_1", DIFFERENCE)


async def test_a_foil_that_is_settled_meanwhile_has_none(store: Any) -> None:
    run = await owed(store)
    await parks(store, run)
    await shows(store, 3000)
    await shows(store, 12000, version=2)
    assert (await foil(store)).state is FoilState.MATCHED
    assert [c.id for c in await cases(store)] == ["case_step"]
    await store.apply(s.resolve("case_step"))
    assert await cases(store) == []


async def test_a_dismissed_case_of_a_foil_does_not_come_back(store: Any) -> None:
    await owed(store)
    await shows(store, 3000)
    (case,) = await cases(store)
    await store.apply(s.resolve(case.id, choice=Choice.DISMISS))
    assert await cases(store) == []


async def test_a_missing_half_shares_the_case_of_the_step_that_could_not_send_it(store: Any) -> None:
    run = await owed(store)
    await parks(store, run)
    assert await store.apply(ExpireFoils(foils=("foil_1",), at=s.T0 + s.DAY)) == 1
    assert [(c.id, c.exposure) for c in await cases(store)] == [("case_step", (Money(12000, "USD"),))]


@pytest.mark.parametrize("shown_first", [True, False])
async def test_a_result_that_differs_and_its_document_share_one_case(store: Any, shown_first: bool) -> None:
    run = await owed(store)
    e = s.effect("again", run=run)
    version = (await s.run_of(store, run)).version
    await store.apply(s.turn(run, version, plan=(e,), send=(s.send(e),)))
    if shown_first:
        await shows(store, 3000)
    differs = s.case(
        "case_m", reason="mismatch", run=run, path="again", foil="foil_1", choices=(Choice.DISMISS,)
    )
    await store.apply(s.conclude(e, EffectState.CONFIRMED, cases=(differs,)))
    if not shown_first:
        assert [c.id for c in await cases(store)] == ["case_m"]
        await shows(store, 3000)
    assert [c.reason for c in await cases(store)] == ["foil_broken"]
