"""The transitions of the port in SQL, each written once for both stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from counterfoil.store import store as port
from counterfoil.store.commit import Outcome
from counterfoil.store.sql import Work
from counterfoil.store.verbs import arrive, effects, people, turn, upkeep
from counterfoil.store.verbs.step import Step

VERBS: dict[type, Callable[[Step, Any], Work[Any]]] = {
    port.Receive: arrive.receive,
    port.Admit: arrive.admit,
    port.Claim: turn.claim,
    port.Turn: turn.turn,
    port.Intent: effects.intent,
    port.Resend: effects.resend,
    port.Conclude: effects.conclude,
    port.LookedUp: effects.looked_up,
    port.Decide: people.decide,
    port.Resolve: people.resolve,
    port.PutPerson: people.put_person,
    port.PutToken: people.put_token,
    port.Expire: upkeep.expire,
    port.OpenCases: upkeep.open_cases,
    port.Seal: upkeep.seal,
    port.PutCheckpoint: upkeep.put_checkpoint,
    port.PutRelease: upkeep.put_release,
}


async def perform(step: Step, transition: port.Transition) -> Any:
    """Do one transition inside the open transaction; its answer holds once that transaction is durable."""
    answer = await VERBS[type(transition)](step, transition)
    await step.write_leaves()
    return answer


_QUIET = (port.Claim, port.Seal, port.LookedUp, port.PutCheckpoint, port.PutToken)


def wakes(transition: port.Transition, outcome: Outcome) -> bool:
    """Whether somebody may have something to do now: a claim or a seal makes no work for others."""
    return outcome.error is None and not isinstance(transition, _QUIET)
