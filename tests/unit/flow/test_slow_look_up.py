"""A look-up that takes long, because the system is slow or all its slots are taken, is no jump of the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from counterfoil.connectors.sdk import Absent, Request
from counterfoil.core.clock import JumpDetector
from counterfoil.core.effect import Effect, EffectState
from counterfoil.flow.runs import reconciler
from counterfoil.flow.runs.outcomes import EffectContext
from counterfoil.flow.runs.reconciler import OutcomeReconciler

NOW = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)
SLOW_SECONDS = 30.0


class Surroundings:
    """Store, connector, limiter and recorder of one look-up that takes `SLOW_SECONDS`."""

    def __init__(self) -> None:
        self.at = NOW
        self.outcomes: list[object] = []

    async def now(self) -> datetime:
        return self.at

    async def find(self, request: Request, timeout: float) -> Absent:
        self.at += timedelta(seconds=SLOW_SECONDS)
        return Absent()

    async def enter(self, system: str, lane: object) -> None:
        return None

    def leave(self, slot: object, finding: object) -> None:
        return None

    async def record(
        self, context: object, effect: Effect, attempt: int, outcome: object, evidence: str
    ) -> None:
        self.outcomes.append(outcome)


class Operation:
    executor, writes, timeout, repeat = "connector", True, 30.0, "find"


async def test_a_slow_look_up_concludes_and_is_no_jump_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    around = Surroundings()

    async def context_of(*_: object) -> EffectContext:
        return EffectContext(cast(Any, None), cast(Any, None), cast(Any, Operation()), "")

    monkeypatch.setattr(reconciler, "load_context", context_of)
    monkeypatch.setattr(reconciler, "request_of", lambda connector, effect: None)
    detector = JumpDetector(settle=180.0, here=lambda: around.at.timestamp())
    assert detector.is_reliable(NOW)
    looks = OutcomeReconciler(
        cast(Any, around), cast(Any, None), cast(Any, {"erp": around}), cast(Any, around), cast(Any, None),
        cast(Any, around), detector,
    )  # fmt: skip
    effect = Effect(
        id="eff_1", run="run_1", path="call0", operation="erp.credit.post", system="erp", repeat="find",
        request=b"{}", created_at=NOW, state=EffectState.UNKNOWN, conclude_at=NOW,
    )  # fmt: skip
    await looks.look_up(effect)
    assert around.outcomes == [Absent()]
    assert detector.take_jump(around.at) is None
