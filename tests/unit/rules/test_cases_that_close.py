"""A Case closes itself, and says so, when the step that waited for its decision is left in another way."""

from __future__ import annotations

import pytest

from counterfoil.connectors.sdk import Confirmed, Rejected
from counterfoil.core.case import Case, CaseState, Choice
from counterfoil.core.errors import ErrorClass
from counterfoil.core.run import RunStatus
from counterfoil.flow.runs.outcomes import load_context
from tests.unit.rules.company import ask, company, usd
from tests.unit.rules.driver import Play

NO = Rejected(ErrorClass.REFUSED, "no")


def refused_call(do: str) -> Play:
    """Return a company whose call is refused once, and whose workflow does this when `stopped.v1` arrives."""
    play = company(
        f"signals: [{{event: stopped.v1, do: [{do}]}}]\n"
        "steps: [{id: post, call: ledger.post, with: {id: =event.data.id, amount: =event.data.amount}}]"
    )
    play.systems["ledger"].script["ledger.post"] = [NO]
    return play


def closed(play: Play, reason: str) -> Case:
    """Return the only Case with this reason, which is closed."""
    (case,) = [c for c in play.store.tables.cases.values() if c.reason == reason]
    assert case.state is CaseState.RESOLVED
    return case


@pytest.mark.parametrize(
    ("do", "note"),
    [
        ("{stop: stopped}", "The Run ended and is stopped"),
        ("{again: {from: post, at_most: 2}}", "The Run went on and is started"),
        ("undo", "The Run ended and is undone"),
    ],
)
async def test_a_signal_that_leads_away_from_the_step(do: str, note: str) -> None:
    play = refused_call(do)
    await ask(play)
    assert play.case("refused")
    await play.event("stopped.v1", id="s")
    case = closed(play, "refused")
    assert (case.resolved_by, case.choice, case.note) == ("run", None, note)
    assert play.run().status is not RunStatus.WAITING


async def test_a_signal_that_goes_on_leaves_the_case_open() -> None:
    play = refused_call("{emit: told.v1, data: {id: =event.data.id}}")
    await ask(play)
    await play.event("stopped.v1", id="s")
    assert play.case("refused")


async def test_a_second_refusal_after_the_way_back_has_a_case_of_its_own() -> None:
    play = refused_call("{again: {from: post, at_most: 2}}")
    play.systems["ledger"].script["ledger.post"] = [NO, NO]
    await ask(play)
    first = play.case("refused")
    await play.event("stopped.v1", id="s")
    assert play.case("refused").id != first.id
    assert play.store.tables.cases[first.id].note == "The Run went on and is started"


async def test_evidence_that_a_refused_call_was_done_after_all() -> None:
    play = refused_call("{stop: stopped}")
    await ask(play)
    (effect,) = play.effects()
    context = await load_context(play.store, play.releases, effect)
    await play.recorder.record(context, effect, 1, Confirmed({"id": "p1"}), "look-up")
    await play.settle()
    assert closed(play, "refused").resolved_by == "run"
    assert play.case().reason == "contradiction"


WAITS = {
    "an event": (
        "{id: pay, wait: {event: paid.v1, where: event.data.id == start.data.id, until: +1d}}",
        "paid.v1",
    ),
    "a match": ("{wait: {foils: all, until: +1d}}", "posted.v1"),
    "either": ("{wait: {event: paid.v1, foils: all, until: +1d}}", "posted.v1"),
}


@pytest.mark.parametrize("what", WAITS)
async def test_what_a_wait_did_not_get_in_time_arrives_later(what: str) -> None:
    wait, event = WAITS[what]
    play = company(
        "steps:\n"
        "  - {id: post, call: ledger.post, with: {id: =event.data.id, amount: =event.data.amount}}\n"
        f"  - {wait}\n"
        "  - {check: 'true', becomes: reconciled}"
    )
    await ask(play)
    await play.advance(days=2)
    assert play.case("timeout")
    await play.event(event, id="other", amount=usd(50))
    assert play.case("timeout")
    await play.event(event, id="a1", amount=usd(50))
    assert (play.run().status, play.run().state) == (RunStatus.DONE, "reconciled")
    assert closed(play, "timeout").note == "The Run ended and is reconciled"


async def test_a_decision_that_ends_the_run_closes_its_other_cases() -> None:
    play = company(
        "deadline: 1d\n"
        "steps: [{id: post, call: ledger.post, with: {id: =event.data.id, amount: =event.data.amount}}]"
    )
    play.systems["ledger"].script["ledger.post"] = [NO]
    await ask(play)
    await play.advance(days=2)
    assert sorted(c.reason for c in play.cases()) == ["deadline", "refused"]
    await play.resolve(play.case("deadline"), Choice.CLOSE)
    assert play.cases() == []
    assert closed(play, "refused").resolved_by == "run"
    assert closed(play, "deadline").choice is Choice.CLOSE


async def test_the_deadline_passes_and_the_run_still_ends() -> None:
    play = company("deadline: 1d\nsteps: [{id: pay, call: ledger.post, with: {id: =event.data.id}}]")
    play.systems["ledger"].script["ledger.post"] = [NO]
    await ask(play)
    await play.advance(days=2)
    await play.resolve(play.case("refused"), Choice.CONTINUE)
    assert play.run().status is RunStatus.DONE
    assert closed(play, "deadline").note == "The Run ended and is started"


async def test_a_case_that_is_resolved_keeps_the_decision() -> None:
    play = refused_call("{stop: stopped}")
    await ask(play)
    case = play.case("refused")
    await play.resolve(case, Choice.RETRY)
    await play.event("stopped.v1", id="s")
    assert play.store.tables.cases[case.id].choice is Choice.RETRY


async def test_a_counterfoil_that_is_still_broken_gets_a_case_of_its_own() -> None:
    play = company(
        "signals: [{event: stopped.v1, do: [{stop: stopped}]}]\n"
        "steps:\n"
        "  - {id: post, call: ledger.post, with: {id: =event.data.id, amount: =event.data.amount}}\n"
        "  - {wait: {foils: all, until: +1d}}"
    )
    await ask(play)
    await play.event("posted.v1", id="a1", amount=usd(40))
    await play.advance(days=2)
    (waiting,) = play.cases()
    assert (waiting.reason, waiting.foil, waiting.exposure) == ("timeout", play.foils()[0].id, (usd(10),))
    await play.event("stopped.v1", id="s")
    assert closed(play, "timeout").note == "The Run ended and is stopped"
    (broken,) = play.cases()
    assert (broken.reason, broken.foil, broken.exposure) == ("foil_broken", waiting.foil, (usd(10),))
