"""The transitions of the port in SQL, each written once for both stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from counterfoil.store.port import transitions as port
from counterfoil.store.port.releases import ApplyPlan, ExpirePlans, MoveRun, PutPlan
from counterfoil.store.port.stalled import RecordStalled
from counterfoil.store.port.usage import StoreUsage
from counterfoil.store.port.versions import CountUse
from counterfoil.store.port.workers import Heartbeat, ReleaseWorker, SetCap
from counterfoil.store.sql.statements import Work
from counterfoil.store.sql.transaction import Tx, write_leaves
from counterfoil.store.sql.verbs import (
    calls,
    effects,
    intake,
    maintenance,
    people,
    releases,
    stalled,
    turn,
    usage,
    versions,
    workers,
)

VERBS: dict[type, Callable[[Tx, Any], Work[Any]]] = {
    port.Receive: intake.receive,
    StoreUsage: usage.keep_usage,
    port.PlaceCall: calls.place_call,
    port.AnswerCall: calls.answer_call,
    port.Admit: intake.admit,
    port.Claim: turn.claim,
    port.Turn: turn.turn,
    port.Intent: effects.intent,
    port.Resend: effects.resend,
    port.Conclude: effects.conclude,
    port.Advance: turn.advance,
    port.LookedUp: effects.looked_up,
    port.Decide: people.decide,
    port.Resolve: people.resolve,
    port.PutPerson: people.put_person,
    port.PutToken: people.put_token,
    port.Expire: maintenance.expire,
    port.OpenCases: maintenance.open_cases,
    RecordStalled: stalled.tell,
    port.Seal: maintenance.seal,
    port.PutCheckpoint: maintenance.put_checkpoint,
    port.PutRelease: releases.put_release,
    PutPlan: releases.put_plan,
    ApplyPlan: releases.apply_plan,
    ExpirePlans: releases.expire_plans,
    MoveRun: releases.move_run,
    CountUse: versions.tell_use,
    Heartbeat: workers.beat,
    ReleaseWorker: workers.leave,
    SetCap: workers.tune,
}


async def perform(step: Tx, transition: port.Transition) -> Any:
    """Do one transition inside the open transaction; its answer holds once that transaction is durable."""
    answer = await VERBS[type(transition)](step, transition)
    await write_leaves(step.leaves)
    return answer
