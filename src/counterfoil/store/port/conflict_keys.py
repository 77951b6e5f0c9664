"""What a transition touches, as far as it says itself: two that share a key are kept apart by the group commit.

The locks of the database remain what keeps them right; keys keep one process's committers from waiting for, or
deadlocking with, each other.
"""

from __future__ import annotations

from counterfoil.store.port import transitions as port
from counterfoil.store.port.releases import ApplyPlan, ExpirePlans, MoveRun, PutPlan
from counterfoil.store.port.workers import Heartbeat, ReleaseWorker, SetCap
from counterfoil.store.sql.group_commit import ALONE


def keys(transition: port.Transition) -> frozenset[str]:
    """Run ids, effect ids, match rows, topics, external ids, serials; and ALONE for turns that touch guards."""
    match transition:
        case port.Advance(conclude=conclude, turn=turn):
            return keys(turn) | keys(conclude)
        case port.Turn(run=run, foils=foils, waits=waits, starts=starts):
            return frozenset(
                [
                    run,
                    *([ALONE] if transition.reserve or transition.release else ()),
                    *(f"guard/{r.scope}/{r.key}" for r in transition.reserve),
                    *(f"serial/{serial}" for serial in (*transition.hold, *transition.unhold)),
                    *(f"{foil.rule}/{foil.key}" for foil in foils),
                    *(wait.topic for wait in waits),
                    *(start.run for start in starts),
                    *(effect.id for effect in transition.plan),
                    *(approval.id for approval in transition.approvals),
                    *(id_ for id_, _ in transition.close_approvals),
                ]
            )
        case port.Admit(heads=heads, links=links, posts=posts, starts=starts, foils=foils, observations=seen):
            return frozenset(
                [
                    ":".join(transition.todo),
                    *([transition.wake_topic] if transition.wake_topic else ()),
                    *(f"{head.object}/{head.key}" for head in heads),
                    *(topic for link in links for topic in link.topics),
                    *(topic for post in posts for topic in post.topics),
                    *(start.run for start in starts),
                    *(f"{foil.rule}/{foil.key}" for foil in foils),
                    *(f"{o.rule}/{o.key}" for o in seen),
                ]
            )
        case port.Receive(receipts=receipts, cursor=cursor):
            feed = [] if cursor is None else [f"{cursor[0]}/{cursor[1]}"]
            return frozenset([*feed, *(f"{r.system}/{r.ext_id}" for r in receipts)])
        case port.PlaceCall(call=call, start=start):
            return frozenset(
                [
                    f"call/{call.consumer}/{call.operation}/{call.key}",
                    f"rate/{call.consumer}/{call.operation}",
                    *([start.run] if start is not None else ()),
                ]
            )
        case port.AnswerCall(consumer=consumer, operation=operation, key=key):
            return frozenset([f"call/{consumer}/{operation}/{key}"])
        case port.Conclude(effect=effect, links=links):
            return frozenset([effect, *(topic for link in links for topic in link.topics)])
        case port.LookedUp(effect=effect):
            return frozenset([effect])
        case port.Intent(send=send) | port.Resend(send=send):
            return frozenset([send.effect])
        case port.Decide(approval=approval):
            return frozenset([approval])
        case port.Resolve(case=case, told=told):
            return frozenset([case, *(keys(told) if told is not None else ())])
        case port.Expire(foils=expired):
            return frozenset(expired)
        case port.Claim():
            return frozenset(["claim"])
        case port.Seal() | port.PutCheckpoint():
            return frozenset(["seal"])
        case port.PutPerson() | port.PutToken() | port.PutRelease():
            return frozenset(["settings"])
        case ApplyPlan() | PutPlan() | ExpirePlans():
            return frozenset(["settings", ALONE])
        case MoveRun(run=run):
            return frozenset([run])
        case Heartbeat() | ReleaseWorker() | SetCap():
            # An account's row is locked by every worker: it is not held for as long as a batch takes.
            return frozenset(["quotas", ALONE])
        case _:
            return frozenset()
