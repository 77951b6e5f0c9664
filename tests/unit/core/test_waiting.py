"""What an unfinished Run waits for, in words: the first thing that stops it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from counterfoil.core import wire
from counterfoil.core.approval import Approval
from counterfoil.core.case import Case, Choice
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.money import Money
from counterfoil.core.run import Run, RunStatus
from counterfoil.core.waiting import Obstacles, SerialQueue, waits_for

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=30)


def run(**values: Any) -> Run:
    own = {"status": RunStatus.WAITING, "due": LATER, **values}
    return Run(id="run_1", workflow="w", bkey="K-1", generation=0, pin="p", arrival=1, created_at=NOW, **own)


def case(**values: Any) -> Case:
    return Case(
        id="case_1", reason="invalid", message="m", owner="finance", deadline=LATER, next_action="n",
        choices=(Choice.RETRY,), run="run_1", created_at=NOW, **values,
    )  # fmt: skip


def effect(**values: Any) -> Effect:
    own = {
        "state": EffectState.REFUSED, "attempt": 5, "error": "cannot connect to billing.example: it refuses the connection",
        **values,
    }  # fmt: skip
    return Effect(
        id="eff_1", run="run_1", path="issue", operation="billing.credit.issue", system="billing", repeat="key",
        created_at=NOW, **own,
    )  # fmt: skip


def backoff(phase: str = "backoff") -> Run:
    """Return a Run with a step that is tried again in 7 s."""
    at = wire.time_text(NOW + timedelta(seconds=7))
    ctx = b'{"steps":{"issue":{"phase":"%s","retry_at":"%s","effect":"eff_1","tries":5}}}'
    return run(ctx=ctx % (phase.encode(), at.encode()))


TRIED_AGAIN = (
    "the next try of billing.credit.issue at 2026-11-30 12:00:07 UTC, after 5 attempts: "
    "cannot connect to billing.example: it refuses the connection"
)
APPROVAL = Approval(
    id="appr_1", run="run_1", path="a", policy="p", subject="s", covers=b"", amount=Money(2_706_250, "USD"),
    roles=("lead", "cfo"), quorum=1, requester="ann", expires=LATER, created_at=NOW,
)  # fmt: skip
DECISION = "finance to decide a Case: A value or the request is invalid"


@pytest.mark.parametrize(
    ("waiting", "obstacles", "expected"),
    [
        (run(status=RunStatus.DONE), Obstacles(cases=(case(path="post"),)), ""),
        (run(), Obstacles(approvals=(APPROVAL,), cases=(case(path="post"),)), "approval of 27,062.50 USD by lead or cfo"),
        (run(), Obstacles(queue=SerialQueue("C-1", "K-0")), "Run K-0, which holds C-1"),
        # A Case about a step stops the Run, although its deadline is a time at which it is due.
        (run(), Obstacles(cases=(case(path="post"),)), DECISION),
        (run(due=None), Obstacles(cases=(case(),)), DECISION),
        (run(), Obstacles(cases=(case(foil="foil_1"),)), "2026-12-30 12:00 UTC"),
        (run(due=NOW), Obstacles(cases=(case(path="post"),)), "a worker"),
        (run(), Obstacles(), "2026-12-30 12:00 UTC"),
        (backoff(), Obstacles(effects=(effect(),)), TRIED_AGAIN),
        (backoff("queued"), Obstacles(effects=(effect(),)), TRIED_AGAIN),
        (backoff(), Obstacles(effects=(effect(attempt=1, error=""),)), "the next try of billing.credit.issue at 2026-11-30 12:00:07 UTC, after 1 attempt"),
        # A refusal that the workflow has dealt with is not tried again.
        (backoff("done"), Obstacles(effects=(effect(),)), "2026-12-30 12:00 UTC"),
        (run(), Obstacles(effects=(effect(),)), "2026-12-30 12:00 UTC"),
        (run(due=None), Obstacles(), "a person"),
    ],
)  # fmt: skip
def test_the_first_thing_that_stops_a_run_is_named(waiting: Run, obstacles: Obstacles, expected: str) -> None:
    said = waits_for(waiting, obstacles, NOW)
    assert said.startswith(expected)
    assert bool(said) is bool(expected)
