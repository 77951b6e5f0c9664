"""Migration of Runs to another Release: a Run moves along its own course, or stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from counterfoil.change.verdicts import verdict
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.money import Money
from counterfoil.core.run import Direction, Run
from counterfoil.model import Model
from counterfoil.model.definition import Approve
from counterfoil.rules.approval_matrix import subject_of
from counterfoil.rules.workflow import abandon, steps
from counterfoil.rules.workflow.commands import LateBoundInput
from counterfoil.rules.workflow.context import DecisionContext
from counterfoil.rules.workflow.decide import decide
from counterfoil.rules.workflow.migration import Movable, NotMovable, move
from counterfoil.rules.workflow.state import BlockFrame, ConfirmedEffect, RunState, StepState, load
from tests.companies.changing import COMPANY
from tests.unit.rules.driver import model_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BEGIN = COMPANY.index("steps:\n")
STEPS = """\
steps:
  - check: event.data.amount.minor > 0
    outcomes: {failed: park}
  - id: agreed
    approve: spending
    amount: event.data.amount
    covers: [event.data.amount, event.data.request_id]
    outcomes: {rejected: {stop: rejected}, expired: park, stale: park}
  - choose:
      - when: event.data.amount.minor > 500000
        then: [{id: warned, wait: {until: +1d}, outcomes: {timeout: continue}}]
  - id: answered
    wait: {event: request.answered.v1, where: event.data.request_id == start.data.request_id, until: +30d}
    outcomes: {timeout: park}
"""
OLD = COMPANY[:BEGIN] + STEPS


def changed(*pairs: tuple[str, str]) -> Model:
    text = OLD
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return model_of(text)


def run(index: int, steps: dict[str, StepState], **more: Any) -> Run:
    """A Run that stands at a step of the main block, having passed those before."""
    state = RunState(frames=[BlockFrame(block="", kind="main", index=index)], steps=steps, started=True)
    for name in ("confirmed", "names", "results", "undo", "back"):
        if name in more:
            setattr(state, name, more.pop(name))
    fields = {"direction": Direction.FORWARD, **more}
    return Run(
        id="run_1", workflow="request", bkey="R-1", generation=0, pin="old", arrival=1, created_at=NOW,
        version=3, ctx=state.dump(), **fields,
    )  # fmt: skip


def waiting(**more: Any) -> Run:
    """Agreed, and waiting for the answer."""
    steps = {
        "check0": StepState(phase="done"),
        "agreed": StepState(phase="done", outcome="granted", approval="appr_1", subject="s"),
        "choose2": StepState(phase="done"),
        "answered": StepState(phase="waiting", until=NOW),
    }
    return run(3, steps, **more)


def moved(new: Model, of: Run) -> RunState:
    result = move(changed(), new, of)
    assert isinstance(result, Movable), result
    return load(result.ctx)


def stays(new: Model, of: Run) -> str:
    result = move(changed(), new, of)
    assert isinstance(result, NotMovable), result
    return result.why


def test_a_run_stays_at_its_step_where_only_other_things_change() -> None:
    state = moved(changed(("until: +30d", "until: +60d")), waiting())
    assert [(f.block, f.index) for f in state.frames] == [("", 3)]
    assert state.steps["answered"].until == NOW


def test_a_step_that_was_put_behind_it_is_still_to_come() -> None:
    last = "    outcomes: {timeout: park}\n"
    more = "  - id: noted\n    wait: {until: +1d}\n    outcomes: {timeout: continue}\n"
    text = OLD.rstrip("\n") + "\n" + more
    assert last in text
    state = moved(model_of(text), waiting())
    assert state.frames[0].index == 3


def test_a_step_that_was_taken_out_before_it_moves_its_place() -> None:
    new = changed(("  - check: event.data.amount.minor > 0\n    outcomes: {failed: park}\n", ""))
    state = moved(new, waiting())
    assert state.frames[0].index == 2
    assert "choose1" in state.steps, list(state.steps)


def test_a_renamed_step_is_found_by_what_moved_says() -> None:
    new = changed(("id: answered", "id: replied"), ("steps:\n", "moved: {answered: replied}\nsteps:\n"))
    state = moved(new, waiting())
    assert state.steps["replied"].phase == "waiting"
    assert "answered" not in state.steps
    assert stays(changed(("id: answered", "id: replied")), waiting()) == (
        "it is at `answered`, which no longer exists"
    )


def test_a_check_or_approval_is_never_passed_by() -> None:
    new = changed(
        (
            "  - id: answered\n",
            "  - check: event.data.amount.minor < 99\n    outcomes: {failed: park}\n  - id: answered\n",
        )
    )
    assert "it would skip" in stays(new, waiting())


def test_an_approval_by_another_policy_was_not_given() -> None:
    more = "kind: policy\nname: strict\napproval: {currency: USD, matrix: [{roles: [controller]}]}\n---\n"
    new = changed(
        ("approve: spending", "approve: strict"),
        ("kind: policy\nname: changes\n", more + "kind: policy\nname: changes\n"),
    )
    assert "asks for approval by strict instead of spending" in stays(new, waiting())


def test_a_check_that_asks_something_else_was_not_passed() -> None:
    assert "`check0`" in stays(changed(("amount.minor > 0\n", "amount.minor > 7\n")), waiting())


def test_what_was_added_inside_of_a_choice_that_it_has_passed_keeps_it() -> None:
    inner = "then: [{id: warned, wait: {until: +1d}, outcomes: {timeout: continue}}]"
    new = changed(
        (inner, inner.replace("[{id", "[{check: event.data.amount.minor < 9, outcomes: {failed: park}}, {id"))
    )
    assert "in which" in stays(new, waiting())


def test_a_step_that_it_has_passed_and_that_comes_later_now_keeps_it() -> None:
    begin, end = OLD.index("  - id: agreed\n"), OLD.index("  - choose:\n")
    agreed = OLD[begin:end]
    text = OLD.replace(agreed, "").rstrip("\n") + "\n" + agreed
    assert "has passed `agreed`, which now comes later" in stays(model_of(text), waiting())


def test_a_step_that_waits_for_something_else_keeps_it_unless_it_has_not_begun() -> None:
    new = changed(("    wait: {event: request.answered.v1,", "    wait: {event: request.asked.v1,"))
    assert "waits for something else" in stays(new, waiting())
    fresh = run(3, {**load(waiting().ctx).steps, "answered": StepState(phase="new")})
    assert moved(new, fresh).frames[0].index == 3


@pytest.mark.parametrize(
    ("more", "why"), [({"direction": Direction.UNDO}, "being undone"), ({"back": "start"}, "new round")]
)
def test_a_run_on_its_way_back_stays(more: dict[str, Any], why: str) -> None:
    assert why in stays(changed(("until: +30d", "until: +60d")), waiting(**more))


def test_a_run_whose_call_is_under_way_stays() -> None:
    steps = {**load(waiting().ctx).steps, "answered": StepState(phase="planned", effect="eff_1")}
    assert "in flight" in stays(changed(("until: +30d", "until: +60d")), run(3, steps))


def test_a_call_that_nothing_would_take_back_keeps_it() -> None:
    done = ConfirmedEffect(
        key="memo", path="memo", item="", effect="eff_1", operation="x.y.z", input="", digest="d"
    )
    why = stays(changed(("until: +30d", "until: +60d")), waiting(confirmed=[done]))
    assert "it could not be undone" in why


def test_a_run_that_has_not_begun_goes_along() -> None:
    of = Run(id="run_1", workflow="request", bkey="R-1", generation=0, pin="old", arrival=1, created_at=NOW)
    assert isinstance(move(changed(), changed(("until: +30d", "until: +60d")), of), Movable)


def test_the_verdicts() -> None:
    old, parked = changed(), waiting()
    steps = {**load(parked.ctx).steps, "answered": StepState(phase="parked", case="case_1")}
    other = changed(("    wait: {event: request.answered.v1,", "    wait: {event: request.asked.v1,"))
    assert verdict(old, changed(), waiting()).word == "unaffected"
    assert verdict(old, changed(("until: +30d", "until: +60d")), waiting()).word == "migratable"
    assert verdict(old, other, waiting()).word == "pinned"
    assert verdict(old, other, run(3, steps)).word == "needs a person"
    assert (
        verdict(old, Model([d for d in changed().documents if d.kind != "workflow"]), waiting()).word
        == "pinned"
    )


# ------------------------------------------------------------------ votes and grants


RENAME = ("id: agreed", "id: allowed"), ("steps:\n", "moved: {agreed: allowed}\nsteps:\n")
EVENT = {"data": {"amount": Money(5_000_00, "USD"), "request_id": "R-1", "requested_by": "olga"}}


def asked(model: Model, *, granted: bool = False, **more: Any) -> tuple[Run, Approval]:
    """A Run whose approval is open, or granted, with the approval as it was requested."""
    policy = model.workflow("request").approvals["spending"]
    covers = {"event.data.amount": EVENT["data"]["amount"], "event.data.request_id": "R-1"}
    subject = subject_of(policy, covers, "agreed")
    steps = {
        "check0": StepState(phase="done"),
        "agreed": StepState(
            phase="done" if granted else "waiting",
            outcome="granted" if granted else "",
            approval="appr_1",
            subject=subject,
            until=NOW + timedelta(days=3),
            asked=1,
        ),
    }
    row = Approval(
        id="appr_1", run="run_1", path="agreed", policy="spending", subject=subject, covers=b"", amount=None,
        roles=("controller",), quorum=2, requester="olga", expires=NOW + timedelta(days=3), created_at=NOW,
        state=ApprovalState.GRANTED if granted else ApprovalState.OPEN,
    )  # fmt: skip
    return run(2 if granted else 1, steps, names={"event": EVENT, "start": EVENT}, **more), row


@pytest.mark.parametrize("granted", [False, True])
@pytest.mark.parametrize(
    "edits",
    [RENAME, (("  - check: event.data.amount.minor > 0\n    outcomes: {failed: park}\n", ""),)],
    ids=["renamed", "step taken out"],
)
def test_an_approval_keeps_its_subject_and_its_votes(edits: Any, granted: bool) -> None:
    new = changed(*edits)
    of, row = asked(changed(), granted=granted)
    definition = new.workflow("request")
    run_there = msgspec.structs.replace(of, ctx=moved(new, of).dump())
    context = DecisionContext(
        definition, run_there, load(run_there.ctx), NOW, LateBoundInput(approvals=(row,))
    )
    assert abandon.in_force(context) if granted else True
    assert steps.first_invalid(context, abandon.in_force(context)) is None
    step = next(s for s in definition.steps.steps if isinstance(s, Approve))
    state = context.state.steps[step.path]
    assert (state.approval, state.subject) == ("appr_1", row.subject)
    assert steps._subject(context, step, state) == row.subject, "the vote is on this subject"
    commands = decide(definition, run_there, (), NOW, LateBoundInput(approvals=(row,))).commands
    assert commands == (), "nothing is closed and nothing is asked again"


def test_a_second_move_keeps_the_subject_too() -> None:
    of, _ = asked(changed())
    once = changed(*RENAME)
    there = msgspec.structs.replace(of, ctx=moved(once, of).dump())
    twice = changed(("id: agreed", "id: signed"), ("steps:\n", "moved: {allowed: signed}\nsteps:\n"))
    result = move(once, twice, there)
    assert isinstance(result, Movable), result
    assert load(result.ctx).steps["signed"].target == "agreed"


@pytest.mark.parametrize("granted", [False, True])
@pytest.mark.parametrize(
    ("edits", "why"),
    [
        ([("covers: [event.data.amount, event.data.request_id]", "covers: [event.data.amount]")], "something else"),
        ([("amount: event.data.amount\n    covers", "amount: -event.data.amount\n    covers")], "something else"),
    ],
)  # fmt: skip
def test_an_approval_of_something_else_keeps_the_run(edits: Any, why: str, granted: bool) -> None:
    of, _ = asked(changed(), granted=granted)
    assert why in stays(changed(*edits), of)


def test_a_vote_under_another_matrix_keeps_the_run_until_it_is_decided() -> None:
    of, _ = asked(changed())
    new = changed(("up_to: 100,", "up_to: 10,"), ("until: +30d", "until: +60d"))
    assert "decide it first" in stays(new, of)


@pytest.mark.parametrize("granted", [False, True])
def test_an_approval_of_values_that_are_read_again_keeps_the_run(granted: bool) -> None:
    old = changed(
        ("steps:\n", "let: {total: event.data.amount}\nsteps:\n"),
        ("covers: [event.data.amount, ", "covers: [event.data.amount, total, "),
    )
    new = changed(
        ("steps:\n", "let: {total: event.data.amount * 2}\nsteps:\n"),
        ("covers: [event.data.amount, ", "covers: [event.data.amount, total, "),
    )
    of, _ = asked(changed(), granted=granted)
    result = move(old, new, of)
    assert isinstance(result, NotMovable)
    assert "covers facts that would be read again" in result.why


def test_facts_that_no_approval_covers_may_change() -> None:
    of, _ = asked(changed())
    assert moved(changed(("steps:\n", "let: {other: event.data.amount}\nsteps:\n")), of).refresh == "all"


def test_a_vote_keeps_the_run_where_only_the_matrix_changed() -> None:
    of, _ = asked(changed())
    result = verdict(changed(), changed(("up_to: 100,", "up_to: 10,")), of)
    assert (result.word, "decide it first" in result.why) == ("pinned", True)
