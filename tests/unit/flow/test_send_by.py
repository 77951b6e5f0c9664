"""No byte leaves after `send_by`, however long the process slept between reading a clock and using it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from counterfoil.connectors.sdk import Confirmed, OperationSpec, Request
from counterfoil.core.effect import Effect
from counterfoil.flow.runs.effects import EffectSender
from counterfoil.flow.runs.outcomes import NOT_SENT, EffectContext
from counterfoil.flow.runs.turn_rows import next_send

NOW = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)


class SlowClock:
    """A store that reads its clock and is heard of only `seconds` later: a process that was paused meanwhile."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def now(self) -> datetime:
        await asyncio.sleep(self.seconds)
        return NOW


class System:
    operations: Mapping[str, OperationSpec] = {}

    def __init__(self) -> None:
        self.sent: list[Request] = []

    async def send(self, request: Request, timeout: float) -> Confirmed:
        self.sent.append(request)
        return Confirmed({})


class Open:
    """A gate whose slots are good."""

    def holds(self, ticket: object) -> bool:
        return True


class Operation:
    executor, writes, timeout = "connector", True, 30.0


async def _called(seconds: float) -> tuple[object, System]:
    system = System()
    sender = EffectSender(
        cast(Any, SlowClock(seconds)),
        cast(Any, None),
        cast(Any, {"erp": system}),
        "w/1",
        cast(Any, Open()),
        cast(Any, None),
    )
    effect = Effect(
        id="eff_1", run="run_1", path="call0", operation="erp.credit.post", system="erp", repeat="find",
        request=b"{}", created_at=NOW,
    )  # fmt: skip
    send = next_send("eff_1", 1, "w/1", NOW - timedelta(seconds=29.9), 30.0, 60.0)
    outcome = await sender.call(
        EffectContext(cast(Any, None), cast(Any, None), cast(Any, Operation()), ""),
        effect,
        send,
        cast(Any, None),
    )
    return outcome, system


async def test_a_send_whose_clock_was_read_long_ago_does_not_leave() -> None:
    outcome, system = await _called(0.15)
    assert outcome is NOT_SENT
    assert system.sent == []


async def test_a_send_in_time_leaves() -> None:
    outcome, system = await _called(0.0)
    assert isinstance(outcome, Confirmed)
    assert [request.key for request in system.sent] == ["eff_1"]
