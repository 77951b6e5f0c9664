"""Intents and outcomes, on all stores."""

from __future__ import annotations

from typing import Any

import pytest

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.case import CaseState
from counterfoil.core.effect import EffectState
from counterfoil.core.errors import ErrorClass
from counterfoil.core.matching import FoilState
from counterfoil.store.port.effects import LookAgain, ResendUnknown
from counterfoil.store.port.maintenance import ExpireFoils, OpenCases
from tests.contract.store import samples as s


async def planned(store: Any, **more: Any) -> Any:
    run = await s.born(store)
    e = s.effect(**more)
    f = s.foil(run=run, effect=e.id, state=FoilState.PROVISIONAL)
    await store.apply(s.turn(run, plan=(e,), foils=(f,), approvals=(s.approval(),)))
    return e


async def sending(store: Any, **more: Any) -> Any:
    e = await planned(store, **more)
    assert (await store.apply(s.intent(e))).verdict == "sending"
    return e


async def test_an_intent_is_won_once(store: Any) -> None:
    e = await planned(store)
    assert (await store.apply(s.intent(e))).verdict == "sending"
    assert (await store.apply(s.intent(e))).verdict == "lost"
    assert (await store.apply(s.intent(s.effect("nothing")))).verdict == "lost"
    sent = await store.effect(e.id)
    assert (sent.state, sent.attempt, sent.worker, sent.send_by, sent.call_until, sent.conclude_at) == (
        EffectState.SENDING,
        1,
        "a",
        s.at(5),
        s.at(30),
        s.at(90),
    )


async def test_an_intent_needs_its_approvals_granted(store: Any) -> None:
    e = await planned(store, approvals=("apr_1",))
    assert (await store.apply(s.intent(e))).verdict == "stale"
    assert (await store.effect(e.id)).state is EffectState.DROPPED
    loaded = await store.load(e.run)
    assert [(i.kind, i.ref) for i in loaded.inbox] == [("stale", e.id)]
    assert loaded.foils[0].state is FoilState.VOID


@pytest.mark.parametrize("leaves", [False, True])
async def test_an_inactive_approver_does_not_count_at_the_intent(store: Any, leaves: bool) -> None:
    e = await planned(store, approvals=("apr_1",))
    await store.apply(s.put_person(s.person("ann")))
    assert (await store.apply(s.vote())).verdict == "granted"
    if leaves:
        await store.apply(s.put_person(s.person("ann", active=False)))
    assert (await store.apply(s.intent(e))).verdict == ("stale" if leaves else "sending")


async def test_an_automatic_approval_needs_no_voter(store: Any) -> None:
    run = await s.born(store)
    e = s.effect(approvals=("apr_auto",))
    granted = s.approval("apr_auto", automatic=True, quorum=0, state=ApprovalState.GRANTED)
    await store.apply(s.turn(run, plan=(e,), approvals=(granted,)))
    assert (await store.apply(s.intent(e))).verdict == "sending"


async def test_a_confirmation_opens_the_foil_and_tells_the_run(store: Any) -> None:
    e = await sending(store)
    result = wire.dumps({"id": "m-1"})
    won = await store.apply(s.conclude(e, when=s.at(2), result=result, links=(s.link(),)))
    assert won.verdict == "won"
    loaded = await store.load(e.run)
    assert (loaded.effects[0].state, loaded.effects[0].result, loaded.effects[0].ended_at) == (
        EffectState.CONFIRMED,
        result,
        s.at(2),
    )
    assert loaded.foils[0].state is FoilState.OPEN
    (item,) = loaded.inbox
    assert (item.kind, item.ref) == ("outcome", f"{e.id}:1:confirmed")
    assert wire.loads(item.body)["result"] == {"id": "m-1"}
    assert loaded.run.due == s.at(2)
    assert (await store.link_by_ext("customer", "erp", "42")).canonical == "cust-1"


async def test_an_outcome_counts_once(store: Any) -> None:
    e = await sending(store)
    await store.apply(s.conclude(e))
    before = await store.dump()
    assert (await store.apply(s.conclude(e))).verdict == "late"
    assert (await store.apply(s.conclude(e, EffectState.REFUSED))).verdict == "late"
    assert (await store.apply(s.conclude(s.effect("nothing")))).verdict == "late"
    assert await store.dump() == before


async def test_an_outcome_of_another_attempt_is_late(store: Any) -> None:
    e = await sending(store)
    assert (await store.apply(s.conclude(e, EffectState.REFUSED, attempt=2))).verdict == "late"


async def test_a_refusal_keeps_the_class_and_the_foil_waits(store: Any) -> None:
    e = await sending(store)
    refusal = s.conclude(
        e, EffectState.REFUSED, error_class=ErrorClass.PERIOD_CLOSED, error="March is closed", retry_after=1.5
    )
    await store.apply(refusal)
    loaded = await store.load(e.run)
    held = loaded.effects[0]
    assert (held.error_class, held.error) == (ErrorClass.PERIOD_CLOSED, "March is closed")
    assert loaded.foils[0].state is FoilState.PROVISIONAL
    told = wire.loads(loaded.inbox[0].body)
    assert (told["class"], told["retry_after"]) == ("period_closed", 1500)


async def test_unknown_is_looked_up_until_it_is_known(store: Any) -> None:
    e = await sending(store)
    await store.apply(s.conclude(e, EffectState.UNKNOWN, look_at=s.at(20)))
    assert await store.effects_to_look_up(s.at(19), 10) == []
    assert [x.id for x in await store.effects_to_look_up(s.at(20), 10)] == [e.id]
    look = LookAgain(effect=e.id, attempt=1, look_at=s.at(40), at=s.at(20))
    assert await store.apply(look) is True
    assert await store.apply(LookAgain(effect=e.id, attempt=2, look_at=s.at(50), at=s.at(20))) is False
    held = await store.effect(e.id)
    assert (held.looks, held.look_at, held.ended_at) == (1, s.at(40), None)
    found = await store.apply(s.conclude(e, EffectState.CONFIRMED, evidence="look-up"))
    assert found.verdict == "won"
    assert await store.effects_to_look_up(s.at(99), 10) == []


async def test_absence_voids_the_foil(store: Any) -> None:
    e = await sending(store)
    await store.apply(s.conclude(e, EffectState.UNKNOWN))
    await store.apply(s.conclude(e, EffectState.ABSENT, evidence="look-up"))
    assert (await s.foil_of(store, e.run)).state is FoilState.VOID


async def test_a_late_confirmation_after_absent_is_recorded_as_contradiction(store: Any) -> None:
    e = await sending(store)
    await store.apply(s.conclude(e, EffectState.UNKNOWN))
    await store.apply(s.conclude(e, EffectState.ABSENT))
    yes = s.conclude(e, contradiction=s.case("case_twice", reason="contradiction"))
    assert (await store.apply(yes)).verdict == "contradiction"
    assert (await store.effect(e.id)).state is EffectState.CONFIRMED
    assert [c.id for c in (await store.dump()).cases] == ["case_twice"]


async def test_a_confirmation_of_a_dropped_effect_opens_a_case_and_moves_nothing(store: Any) -> None:
    e = await planned(store)
    await store.apply(s.turn(e.run, 1, drop=(e.id,)))
    yes = s.conclude(e, attempt=0, contradiction=s.case("case_twice", reason="contradiction"))
    assert (await store.apply(yes)).verdict == "contradiction"
    assert (await store.effect(e.id)).state is EffectState.DROPPED


async def test_an_unknown_effect_is_sent_again_only_where_a_repeat_is_recognised(store: Any) -> None:
    e = await sending(store)
    again = ResendUnknown(send=s.send(e, 2, s.at(60)), at=s.at(60), actor="watch")
    assert (await store.apply(again)).verdict == "lost"
    await store.apply(s.conclude(e, EffectState.UNKNOWN))
    assert (await store.apply(again)).verdict == "sending"
    assert (await store.effect(e.id)).attempt == 2
    blind = s.effect("blind", repeat="blind")
    await store.apply(s.turn(e.run, 1, plan=(blind,), send=(s.send(blind),)))
    await store.apply(s.conclude(blind, EffectState.UNKNOWN))
    with pytest.raises(ValueError, match="may not be sent again"):
        await store.apply(ResendUnknown(send=s.send(blind, 2), at=s.T0, actor="watch"))


async def test_a_confirmed_effect_whose_other_half_came_first_is_matched_at_once(store: Any) -> None:
    e = await sending(store)
    await store.apply(s.receive(s.receipt("o")))
    seen = s.admit(2, events=(s.event("evt_2", "x"),), observations=(s.observation(),))
    await store.apply(seen)
    assert (await s.foil_of(store, e.run)).state is FoilState.MATCHED
    await store.apply(s.conclude(e))
    assert (await s.foil_of(store, e.run)).state is FoilState.MATCHED


async def test_a_foil_past_due_breaks_with_its_case_and_a_late_half_ends_both(store: Any) -> None:
    e = await sending(store)
    await store.apply(s.conclude(e))
    due = s.T0 + s.DAY
    assert await store.foils_past_due(s.at(1), 10) == []
    assert [f.id for f in await store.foils_past_due(due, 10)] == ["foil_1"]
    expire = ExpireFoils(foils=("foil_1", "foil_none"), at=due)
    assert await store.apply(ExpireFoils(foils=("foil_1",), at=s.at(1))) == 0
    assert await store.apply(expire) == 1
    assert await store.apply(expire) == 0
    assert (await s.foil_of(store, e.run)).state is FoilState.BROKEN
    (case,) = (await store.dump()).cases
    assert (case.reason, case.foil, case.state, case.run) == ("foil_broken", "foil_1", CaseState.OPEN, e.run)
    assert case.exposure
    await store.apply(s.receive(s.receipt("o")))
    await store.apply(s.admit(2, events=(s.event("evt_2", "x"),), observations=(s.observation(),)))
    assert (await s.foil_of(store, e.run)).state is FoilState.MATCHED
    assert [c.state for c in (await store.dump()).cases] == [CaseState.RESOLVED]
    kinds = [i.ref for i in (await store.load(e.run)).inbox if i.kind == "foil"]
    assert kinds == ["foil_1:broken:0", "foil_1:matched:1"]


async def test_evidence_answers_the_case_that_asked_a_person(store: Any) -> None:
    e = await sending(store)
    await store.apply(s.conclude(e, state=EffectState.UNKNOWN))
    asked = s.case("case_u", reason="unknown", run=e.run, effect=e.id)
    other = s.case("case_o", reason="mismatch", run=e.run, effect=e.id)
    await store.apply(OpenCases(cases=(asked, other), at=s.T0, actor="t"))
    await store.apply(s.conclude(e))
    states = {c.id: (c.state, c.resolved_by) for c in (await store.dump()).cases}
    assert states == {"case_u": (CaseState.RESOLVED, "evidence"), "case_o": (CaseState.OPEN, None)}
