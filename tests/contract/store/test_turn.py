"""Claims and turns, on all stores."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.case import CaseState, Choice
from counterfoil.core.effect import EffectState
from counterfoil.core.matching import FoilState
from counterfoil.core.moves import MoveRefused
from counterfoil.core.run import Direction, RunStatus
from counterfoil.rules.workflow import guards
from counterfoil.rules.workflow.state import RunState
from counterfoil.store.port.effects import SendAttempt
from counterfoil.store.port.records import TopicPost
from counterfoil.store.port.turns import Claim, ConcludeAndTurn, Reserve, TurnResult, WaitOn
from tests.contract.store import samples as s


def claim(worker: str = "a", limit: int = 10, when: Any = s.T0) -> Claim:
    return Claim(worker=worker, limit=limit, lease_until=when + timedelta(seconds=10), at=when)


async def test_due_runs_are_leased_oldest_first_and_not_twice(store: Any) -> None:
    late = await s.born(store, "k1", due=s.at(-1))
    early = await s.born(store, "k2", due=s.at(-2))
    await s.born(store, "k3", due=s.at(60))
    first = await store.apply(claim(limit=1))
    assert [(r.id, r.owner, r.lease_until) for r in first] == [(early, "a", s.at(10))]
    assert [r.id for r in await store.apply(claim("b"))] == [late]
    assert await store.apply(claim("c")) == ()
    assert {r.id for r in await store.apply(claim("d", when=s.at(11)))} == {early, late}


async def test_a_turn_moves_the_run_and_gives_up_the_lease(store: Any) -> None:
    run = await s.born(store)
    await store.apply(claim())
    turned = await store.apply(s.turn(run, due=s.at(50), when=s.at(1)))
    assert turned == TurnResult(verdict="done", version=1, inbox_n=1, due=s.at(50))
    held = await s.run_of(store, run)
    assert (held.version, held.consumed, held.due, held.owner, held.lease_until, held.now) == (
        1,
        1,
        s.at(50),
        None,
        None,
        s.at(1),
    )
    assert (held.status, held.state, held.ctx) == (RunStatus.WAITING, "requested", wire.dumps({"step": 1}))


async def test_a_stale_turn_writes_nothing(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.turn(run))
    before = await store.dump()
    late = s.turn(run, plan=(s.effect(),), cases=(s.case(),), foils=(s.foil(),), hold=("x",))
    assert await store.apply(late) == TurnResult(verdict="stale")
    assert (await store.apply(s.turn("run_nobody"))).verdict == "stale"
    assert await store.dump() == before


async def test_an_item_appended_during_the_turn_makes_the_run_due_at_once(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.receive(s.receipt("more")))
    more = s.start(ref="evt_more")
    await store.apply(s.admit(2, events=(s.event("evt_more"),), starts=(more,)))
    turned = await store.apply(s.turn(run, due=s.at(21 * 86400), when=s.at(5)))
    assert turned.due == s.at(5)
    assert [i.ref for i in (await store.load(run)).inbox] == ["evt_more"]


async def test_a_stimulus_after_the_turn_makes_a_parked_run_due(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.turn(run, due=s.at(21 * 86400)))
    await store.apply(s.receive(s.receipt("more")))
    more = s.start(ref="evt_more")
    await store.apply(s.admit(2, events=(s.event("evt_more"),), starts=(more,), when=s.at(9)))
    assert (await s.run_of(store, run)).due == s.at(9)


async def test_the_run_s_own_time_never_goes_back(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.turn(run, when=s.at(100)))
    await store.apply(s.turn(run, 1, when=s.at(50)))
    assert (await s.run_of(store, run)).now == s.at(100)


async def test_a_finished_run_is_never_due_again(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.turn(run, status=RunStatus.DONE, due=s.at(5)))
    await store.apply(s.receive(s.receipt("more")))
    more = s.start(ref="evt_more")
    await store.apply(s.admit(2, events=(s.event("evt_more"),), starts=(more,)))
    held = await s.run_of(store, run)
    assert (held.due, held.inbox_n, held.consumed) == (None, 2, 1)
    assert await store.apply(claim(when=s.at(99))) == ()


# ------------------------------------------------------------------ effects and foils in a turn


async def test_effects_start_planned_or_sending(store: Any) -> None:
    run = await s.born(store)
    later, now = s.effect("later"), s.effect("now", approvals=("apr_1",))
    granted = s.approval(run=run, state=ApprovalState.GRANTED, automatic=True)
    turned = await store.apply(s.turn(run, approvals=(granted,), plan=(later, now), send=(s.send(now),)))
    assert turned.started == (now.id,)
    loaded = await store.load(run)
    assert [(e.path, e.state, e.attempt) for e in loaded.effects] == [
        ("later", EffectState.PLANNED, 0),
        ("now", EffectState.SENDING, 1),
    ]
    assert loaded.effects[0] == later
    assert loaded.effects[1].request == b"POST /memo"
    assert [e.id for e in await store.effects_planned(10)] == [later.id]
    assert [e.id for e in await store.effects_overdue(s.at(31), 10)] == [now.id]
    assert [e.id for e in await store.effects_sending("a", 10)] == [now.id]
    assert await store.effects_sending("b", 10) == []


async def test_a_refused_effect_is_sent_again_with_its_bytes(store: Any) -> None:
    run = await s.born(store)
    e = s.effect()
    await store.apply(s.turn(run, plan=(e,), send=(s.send(e),)))
    await store.apply(s.conclude(e, EffectState.REFUSED, error_class="transient"))
    again = SendAttempt(**{**_fields(s.send(e, 2)), "request": None})
    await store.apply(s.turn(run, 1, consumed=2, send=(again,)))
    sent = await store.effect(e.id)
    assert (sent.state, sent.attempt, sent.request) == (EffectState.SENDING, 2, b"POST /memo")


def _fields(send: SendAttempt) -> dict[str, Any]:
    return {name: getattr(send, name) for name in send.__struct_fields__}


async def test_a_second_generation_waits_for_the_end_of_the_first(store: Any) -> None:
    run = await s.born(store)
    e = s.effect()
    await store.apply(s.turn(run, plan=(e,), send=(s.send(e),)))
    before = await store.dump()
    with pytest.raises(ValueError, match="live generation"):
        await store.apply(s.turn(run, 1, plan=(s.effect(gen=1),)))
    assert await store.dump() == before
    await store.apply(s.conclude(e, EffectState.UNKNOWN))
    await store.apply(s.conclude(e, EffectState.ABSENT, evidence="look-up"))
    assert (await store.apply(s.turn(run, 1, consumed=3, plan=(s.effect(gen=1),)))).verdict == "done"


async def test_an_effect_that_is_not_planned_is_not_sent_by_a_turn(store: Any) -> None:
    run = await s.born(store)
    e = s.effect()
    await store.apply(s.turn(run, plan=(e,), send=(s.send(e),)))
    with pytest.raises(MoveRefused):
        await store.apply(s.turn(run, 1, send=(s.send(e, 2),)))
    assert (await s.run_of(store, run)).version == 1


async def test_a_dropped_effect_takes_its_provisional_foil_with_it(store: Any) -> None:
    run = await s.born(store)
    e = s.effect()
    f = s.foil(run=run, effect=e.id, state=FoilState.PROVISIONAL)
    await store.apply(s.turn(run, plan=(e,), foils=(f,)))
    await store.apply(s.turn(run, 1, drop=(e.id,)))
    assert (await store.effect(e.id)).state is EffectState.DROPPED
    assert (await s.foil_of(store, run)).state is FoilState.VOID


async def test_a_turn_that_ends_a_run_is_stale_while_a_call_that_it_drops_is_in_flight(store: Any) -> None:
    run = await s.born(store)
    e = s.effect()
    await store.apply(s.turn(run, plan=(e,)))
    await store.apply(s.intent(e))
    end = s.turn(run, 1, status=RunStatus.UNDONE, drop=(e.id,))
    assert (await store.apply(end)).verdict == "stale"
    assert (await s.run_of(store, run)).version == 1
    advanced = await store.apply(
        ConcludeAndTurn(
            conclude=s.conclude(e, EffectState.UNKNOWN),
            turn=s.turn(run, 1, status=RunStatus.UNDONE, consumed=2, drop=(e.id,)),
        )
    )
    assert (advanced.concluded.verdict, advanced.turned.verdict) == ("won", "stale")
    assert (await s.run_of(store, run)).due is not None
    await store.apply(s.conclude(e, EffectState.REFUSED))
    ended = await store.apply(s.turn(run, 1, status=RunStatus.UNDONE, consumed=3, drop=(e.id,)))
    assert ended.verdict == "done"


async def test_a_foil_of_a_turn_matches_earlier_observations(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.receive(s.receipt("o")))
    await store.apply(s.admit(2, events=(s.event("evt_2", "x"),), observations=(s.observation(),)))
    f = s.foil(run=run, state=FoilState.PROVISIONAL)
    turned = await store.apply(s.turn(run, foils=(f,), due=s.at(999), when=s.at(3)))
    assert (await s.foil_of(store, run)).state is FoilState.MATCHED
    loaded = await store.load(run)
    assert [(i.kind, i.ref) for i in loaded.inbox] == [("foil", "foil_1:matched:0")]
    assert turned.due == loaded.run.due == s.at(3)


async def test_undoing_a_cause_reverses_its_foils(store: Any) -> None:
    run = await s.born(store)
    e = s.effect()
    await store.apply(s.turn(run, plan=(e,), foils=(s.foil(run=run, effect=e.id),)))
    await store.apply(s.turn(run, 1, reverse=(e.id,)))
    assert (await s.foil_of(store, run)).state is FoilState.REVERSED


async def test_approvals_open_once_and_close_by_their_table(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.turn(run, approvals=(s.approval(),)))
    assert (await store.load(run)).approvals == (s.approval(),)
    await store.apply(s.turn(run, 1, close_approvals=(("apr_1", ApprovalState.EXPIRED),)))
    assert (await store.load(run)).approvals[0].state is ApprovalState.EXPIRED
    with pytest.raises(MoveRefused):
        await store.apply(s.turn(run, 2, close_approvals=(("apr_1", ApprovalState.GRANTED),)))


async def test_the_case_of_a_step_that_was_left_is_resolved_with_its_note(store: Any) -> None:
    run = await s.born(store)
    await store.apply(
        s.turn(run, cases=(s.case("case_a", run=run, path="p"), s.case("case_b", run=run, path="q")))
    )
    closing = (("case_a", "The Run went on"), ("case_none", "The Run went on"))
    await store.apply(s.turn(run, 1, close_cases=closing, when=s.at(7)))
    left, other = (await store.case("case_a")).case, (await store.case("case_b")).case
    assert (left.state, left.resolved_by, left.note) == (CaseState.RESOLVED, "run", "The Run went on")
    assert (left.resolved_at, left.choice, other.state) == (s.at(7), None, CaseState.OPEN)


async def test_a_case_that_a_person_resolved_keeps_the_decision(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.put_person(s.person("ann", ("finance",))))
    await store.apply(s.turn(run, cases=(s.case("case_a", run=run, path="p", choices=(Choice.RETRY,)),)))
    await store.apply(s.resolve("case_a", "ann", Choice.RETRY))
    await store.apply(s.turn(run, 1, close_cases=(("case_a", "The Run went on"),)))
    case = (await store.case("case_a")).case
    assert (case.resolved_by, case.choice, case.note) == ("ann", Choice.RETRY, "n")


async def test_a_turn_starts_runs_and_emits_events(store: Any) -> None:
    run = await s.born(store)
    child = s.start("child", "evt_c")
    e = s.event("evt_out", "out")
    await store.apply(s.turn(run, starts=(child,), events=(e,), direction=Direction.UNDO))
    assert (await s.run_of(store, child.run)).status is RunStatus.READY
    assert [t.event for t in await store.todos(10)] == [e]


# ------------------------------------------------------------------ waits


async def test_earlier_posts_are_delivered_to_a_run_that_begins_to_wait(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.receive(s.receipt("a"), s.receipt("b")))
    for no, name, when in ((2, "evt_old", 1), (3, "evt_new", 5)):
        post = TopicPost(event=name, topics=("t",), body=wire.dumps({"n": no}))
        await store.apply(s.admit(no, events=(s.event(name, name),), posts=(post,), when=s.at(when)))
    wait = WaitOn(topic="t", since=s.at(5))
    await store.apply(s.turn(run, waits=(wait,), when=s.at(9), due=s.at(500)))
    loaded = await store.load(run)
    assert [(i.kind, i.ref, i.body) for i in loaded.inbox] == [("event", "evt_new", wire.dumps({"n": 3}))]
    assert loaded.run.due == s.at(9)


async def test_a_waiting_run_gets_each_event_once(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.turn(run, waits=(WaitOn(topic="t"),)))
    await store.apply(s.receive(s.receipt("a")))
    post = TopicPost(event="evt_p", topics=("t", "t2"), body=b"{}")
    admitted = await store.apply(s.admit(2, events=(s.event("evt_p", "p"),), posts=(post,)))
    assert admitted.woken == (run,)
    await store.apply(s.turn(run, 1, consumed=2, waits=(WaitOn(topic="t"), WaitOn(topic="t2"))))
    assert (await store.load(run)).inbox == ()


async def test_a_turn_replaces_the_waits_of_the_one_before(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.turn(run, waits=(WaitOn(topic="t"),)))
    await store.apply(s.turn(run, 1, waits=(WaitOn(topic="u"),)))
    assert [w[0] for w in (await store.dump()).waits] == ["u"]
    await store.apply(s.turn(run, 2, status=RunStatus.DONE))
    assert (await store.dump()).waits == []


# ------------------------------------------------------------------ serials


async def test_a_serial_has_one_holder_and_a_queue_in_order_of_arrival(store: Any) -> None:
    first, second, third = [await s.born(store, key) for key in ("k1", "k2", "k3")]
    assert (await store.apply(s.turn(first, hold=("acct",)))).verdict == "done"
    # The later Run asks first: arrival decides, not who asked.
    for run in (third, second):
        assert (await store.apply(s.turn(run, hold=("acct",)))).verdict == "held"
        held = await s.run_of(store, run)
        assert (held.version, held.consumed, held.due) == (0, 0, None)
    turned = await store.apply(s.turn(first, 1, unhold=("acct",), when=s.at(7)))
    assert turned.woken == (second,)
    assert (await s.run_of(store, second)).due == s.at(7)
    assert (await s.run_of(store, third)).due is None
    assert (await store.apply(s.turn(second, hold=("acct",)))).verdict == "done"
    done = await store.apply(s.turn(second, 1, status=RunStatus.DONE, unhold=("acct",), when=s.at(8)))
    assert done.woken == (third,)
    assert (await store.dump()).holds == []


async def test_a_run_does_not_end_while_it_holds_a_serial(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.turn(run, hold=("acct",)))
    with pytest.raises(ValueError, match="acct"):
        await store.apply(s.turn(run, 1, status=RunStatus.DONE))
    assert (await s.run_of(store, run)).version == 1


async def test_all_serials_or_none(store: Any) -> None:
    first, second = [await s.born(store, key) for key in ("k1", "k2")]
    await store.apply(s.turn(first, hold=("b",)))
    assert (await store.apply(s.turn(second, hold=("a", "b", "c")))).verdict == "held"
    dump = await store.dump()
    assert dump.holds == [("b", first)]
    assert [(serial, run) for serial, run, _ in dump.queues] == [("b", second)]
    assert (await store.apply(s.turn(first, 1, hold=("b",)))).verdict == "done"


async def test_a_run_that_goes_on_without_its_serial_lets_the_next_one_through(store: Any) -> None:
    first, second, third = [await s.born(store, key) for key in ("k1", "k2", "k3")]
    await store.apply(s.turn(first, hold=("acct",)))
    for run in (second, third):
        await store.apply(s.turn(run, hold=("acct",)))
    await store.apply(s.turn(first, 1, unhold=("acct",)))
    turned = await store.apply(s.turn(second, direction=Direction.UNDO, when=s.at(3)))
    assert turned.woken == (third,)
    assert (await s.run_of(store, third)).due == s.at(3)
    assert [run for _, run, _ in (await store.dump()).queues] == [third]


# ------------------------------------------------------------------ guards


def reserve(amount: int, limit: int = 100, path: str = "p", **more: Any) -> Reserve:
    return Reserve(scope="credits", key="acme", path=path, amount=amount, limit=limit, **more)


async def test_a_limit_is_never_passed_and_undo_gives_back(store: Any) -> None:
    first, second = [await s.born(store, key) for key in ("k1", "k2")]
    await store.apply(s.turn(first, reserve=(reserve(70),)))
    before = await store.dump()
    refused = await store.apply(s.turn(second, reserve=(reserve(40),), plan=(s.effect(run=second),)))
    assert refused == TurnResult(verdict="limited", used=(("credits", "acme", 70),))
    assert await store.dump() == before
    await store.apply(s.turn(first, 1, release=("p",)))
    assert await store.guard_used("credits", "acme") == 0
    assert (await store.apply(s.turn(second, reserve=(reserve(40),)))).verdict == "done"
    assert await store.guard_used("credits", "acme") == 40


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
async def test_amounts_of_both_signs_use_a_limit(store: Any, signs: tuple[int, int]) -> None:
    verdicts = []
    for n, sign in enumerate(signs):
        context: Any = SimpleNamespace(item=lambda: "", key=lambda step: "p", commands=[], state=RunState())
        step: Any = SimpleNamespace(path="p")
        used = await store.guard_used("credits", "acme")
        guards.reserve(context, step, "credits", "acme", sign * 60, 100, used)
        (command,) = context.commands
        run = await s.born(store, f"k{n}")
        rows = (reserve(command.amount, limit=command.limit, expected_use=command.seen),)
        verdicts.append((await store.apply(s.turn(run, reserve=rows))).verdict)
    assert verdicts == ["done", "limited"]
    assert await store.guard_used("credits", "acme") == 60


async def test_a_turn_decided_on_another_use_is_decided_again(store: Any) -> None:
    first, second = [await s.born(store, key) for key in ("k1", "k2")]
    await store.apply(s.turn(first, reserve=(reserve(10, expected_use=0),)))
    refused = await store.apply(s.turn(second, reserve=(reserve(10, expected_use=0),)))
    assert refused == TurnResult(verdict="limited", used=(("credits", "acme", 10),))
    assert (await store.apply(s.turn(second, reserve=(reserve(10, expected_use=10),)))).verdict == "done"


async def test_a_repeated_reservation_counts_once(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.turn(run, reserve=(reserve(60), reserve(30, path="q"))))
    await store.apply(s.turn(run, 1, reserve=(reserve(60),)))
    assert await store.guard_used("credits", "acme") == 90
    await store.apply(s.turn(run, 2, release=("p", "p")))
    await store.apply(s.turn(run, 3, release=("p",)))
    assert await store.guard_used("credits", "acme") == 30


async def test_a_finished_run_keeps_what_it_consumed(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.turn(run, reserve=(reserve(60),), status=RunStatus.DONE))
    assert await store.guard_used("credits", "acme") == 60


async def test_turn_leaves_number_the_versions(store: Any) -> None:
    run = await s.born(store)
    for version in range(3):
        await store.apply(s.turn(run, version))
    leaves = [leaf for _, leaf in (await store.dump()).leaves if leaf.kind == "turned"]
    assert [(leaf.run, leaf.version) for leaf in leaves] == [(run, 1), (run, 2), (run, 3)]
