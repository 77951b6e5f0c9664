"""Decisions of persons in a proof, on approvals and on Cases."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import msgspec

from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.case import Case, Choice
from counterfoil.core.effect import IN_FLIGHT, UNSETTLED, EffectState
from counterfoil.prove.observations import Observations
from counterfoil.prove.outcomes import PossibleOutcomes
from counterfoil.prove.world import Move, ProofContext, World

REQUESTERS = ("requested_by", "requester", "requested_by_id", "created_by", "submitted_by", "by")
"""Usual names of the start event's field that holds the requester."""


class PossibleDecisions:
    """Yields the decisions of persons. Persons with equal roles count as one. A person who checks a system tells the
    truth."""

    def __init__(
        self, context: ProofContext, outcomes: PossibleOutcomes, observations: Observations, ends: bool
    ) -> None:
        self.context = context
        self.outcomes = outcomes
        self.observations = observations
        self.ends = ends

    def vote(self, w: World, a: Approval) -> Iterator[Move]:
        roles = " or ".join(a.roles) or "any person"
        who = roles if a.quorum == 1 else f"{a.quorum} of {roles}"
        about = f"{a.path} over {a.amount}" if a.amount is not None else a.path
        yield Move("", who, f"approves {about}", partial(self._voted, w, a, ApprovalState.GRANTED))
        yield Move("", who, f"rejects {about}", partial(self._voted, w, a, ApprovalState.REJECTED))
        requester = self._requester(w)
        if requester and requester != a.requester:
            text = f"approves {about} as its requester: the approval names {a.requester} as the requester"
            yield Move("", requester, text, partial(self._voted, w, a, ApprovalState.GRANTED, requester))

    def _requester(self, w: World) -> str:
        data = w.state.names.get("event", {}).get("data", {})
        return next((str(data[n]) for n in REQUESTERS if isinstance(data.get(n), str)), "")

    def _voted(self, w: World, a: Approval, state: ApprovalState, by: str = "") -> World:
        voted = msgspec.structs.replace(a, state=state)
        blame = (
            f"approved-by-requester:{a.path.partition('~')[0].partition('[')[0]}:{by} requested it and approved it"
            if by
            else w.blame
        )
        w = msgspec.structs.replace(
            w, approvals=tuple(voted if x.id == a.id else x for x in w.approvals), blame=blame
        )
        body = {"approval": a.id, "path": a.path, "state": str(state), "by": by, "comment": ""}
        return self.context.turn(w, ("approval", a.id, body))

    def decide(self, w: World, case: Case) -> Iterator[Move]:
        about = case.path or case.reason
        if case.foil is not None:
            yield Move(
                "",
                case.owner,
                f"corrects the cause of {about}; the other system shows it",
                partial(self.observations.settle, w, case),
            )
            return
        e = next((x for x in w.effects if x.id == case.effect), None)
        is_open = e is not None and e.state in UNSETTLED
        for choice in case.choices:
            if choice is Choice.CLOSE and not self.ends and not any(x.state in IN_FLIGHT for x in w.effects):
                continue  # the Run ends as it is, and no invariant checks that end
            if is_open and e is not None and choice in (Choice.RETRY, Choice.CONTINUE):
                done = bool(w.done.get(e.id))
                if (choice is Choice.CONTINUE) is not done:
                    continue  # a person who checks the system tells the truth
                text = f"checks {e.system}: {e.operation} was {'done' if done else 'not done'} ({choice})"
            else:
                text = f"decides on the Case about {about} ({case.reason}): {choice}"
            yield Move("", case.owner or "no owner", text, partial(self._resolve, w, case, choice))

    def _resolve(self, w: World, case: Case, choice: Choice) -> World:
        e = next((x for x in w.effects if x.id == case.effect), None)
        is_open = e is not None and e.state in UNSETTLED
        accepted = {case.path} if choice is Choice.CONTINUE and case.path and not is_open else frozenset()
        w = msgspec.structs.replace(
            w, cases=tuple(k for k in w.cases if k.id != case.id), accepted=w.accepted | accepted
        )
        body = {"case": case.id, "path": case.path, "choice": str(choice), "by": case.owner, "note": ""}
        w = self.context.turn(w, ("case", case.id, body))
        if e is None or choice not in (Choice.RETRY, Choice.CONTINUE):
            return w
        e = next(x for x in w.effects if x.id == e.id)
        if e.state not in UNSETTLED:
            return w
        if choice is Choice.CONTINUE:
            return self.outcomes.confirm(w, e, False)
        return self.context.conclude(w, e, EffectState.ABSENT)
