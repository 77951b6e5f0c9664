"""What persons decide, what time alone does, and what is kept of persons and the audit tree."""

from __future__ import annotations

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState, Vote
from counterfoil.core.case import CaseState, Choice
from counterfoil.core.foil import FoilState
from counterfoil.store.memory.effects import Effects
from counterfoil.store.port import transitions as port


class Persons(Effects):
    def _decide(self, t: port.Decide) -> port.Decided:
        approval = self.approval_rows.get(t.approval)
        person = self.people.get(t.person)
        if approval is None:
            return port.Decided(verdict="not_found")
        if approval.state is not ApprovalState.OPEN:
            return port.Decided(verdict="closed")
        if approval.expires <= t.at:
            return port.Decided(verdict="expired")
        if approval.subject != t.subject:
            return port.Decided(verdict="subject")
        if person is None or not person.active:
            return port.Decided(verdict="inactive")
        if approval.requester in (person.id, person.email):
            return port.Decided(verdict="requester")
        if not set(approval.roles) & set(person.roles):
            return port.Decided(verdict="role")
        if (t.approval, t.person) in self.vote_rows:
            return port.Decided(verdict="voted")
        vote = Vote(approval=t.approval, person=t.person, approve=t.approve, comment=t.comment, at=t.at)
        self._put(self.vote_rows, (t.approval, t.person), vote)
        votes = [v for v in self.vote_rows.values() if v.approval == t.approval and v.approve]
        state: ApprovalState = approval.state
        if not t.approve:
            state = ApprovalState.REJECTED
        elif len(votes) >= approval.quorum:
            state = ApprovalState.GRANTED
        if state is not approval.state:
            self._put(self.approval_rows, approval.id, msgspec.structs.replace(approval, state=state))
            body = wire.dumps(
                {
                    "approval": approval.id,
                    "path": approval.path,
                    "state": str(state),
                    "by": t.person,
                    "comment": t.comment,
                }
            )
            self._append(port.Stimulus(run=approval.run, kind="approval", ref=approval.id, body=body), t.at)
        kept = wire.dumps({"approve": t.approve, "subject": t.subject, "comment": t.comment})
        self._leaf("decided", approval.id, t.at, f"person:{t.person}", kept, run=approval.run)
        return port.Decided(verdict="counted" if state is ApprovalState.OPEN else str(state))

    def _resolve(self, t: port.Resolve) -> port.Resolved:
        case = self.case_rows.get(t.case)
        person = self.people.get(t.person)
        if case is None:
            return port.Resolved(verdict="not_found")
        if case.state is not CaseState.OPEN:
            return port.Resolved(verdict="closed")
        if t.choice not in case.choices:
            return port.Resolved(verdict="choice")
        if person is None or not person.active:
            return port.Resolved(verdict="inactive")
        if case.owner not in person.roles and not t.override:
            return port.Resolved(verdict="role")
        resolved = msgspec.structs.replace(
            case,
            state=CaseState.RESOLVED,
            resolved_at=t.at,
            resolved_by=t.person,
            choice=t.choice,
            note=t.note,
        )
        self._put(self.case_rows, case.id, resolved)
        if case.foil is not None and t.choice is Choice.WAIVE:
            foil = self.foil_rows[case.foil]
            self._move_foil(foil, FoilState.WAIVED, t.note, t.at)
            self._settle(foil.rule, foil.key, t.at)  # what was waived takes nothing any more
        if t.choice is Choice.RETRY and case.receipt is not None:
            self._put_todo("receipt", str(case.receipt))
        elif t.choice is Choice.RETRY and case.event is not None:
            self._put_todo("event", case.event)
        elif case.run is None:
            for kind, ref in (("receipt", case.receipt), ("event", case.event)):
                if ref is not None:
                    self._drop(self.todo, (kind, str(ref)))
        if case.run is not None:
            body = wire.dumps(
                {"case": case.id, "path": case.path, "choice": str(t.choice), "by": t.person, "note": t.note}
            )
            self._append(port.Stimulus(run=case.run, kind="case", ref=case.id, body=body), t.at)
        kept = wire.dumps({"choice": str(t.choice), "note": t.note})
        self._leaf("case.resolved", case.id, t.at, f"person:{t.person}", kept, run=case.run)
        if t.told is not None:
            self._conclude(t.told)
        return port.Resolved(verdict="resolved")

    # ------------------------------------------------------------------ time, audit, settings

    def _expire(self, t: port.Expire) -> int:
        moved = 0
        for id_ in t.foils:
            foil = self.foil_rows.get(id_)
            if foil is None or foil.state not in (FoilState.OPEN, FoilState.PARTLY) or foil.due > t.at:
                continue
            self._settle(foil.rule, foil.key, t.at)
            if self.foil_rows[id_].state is FoilState.BROKEN:
                moved += 1
        return moved

    def _opencases(self, t: port.OpenCases) -> int:
        return sum(self._case(case, t.at, t.actor) for case in t.cases)

    def _seal(self, t: port.Seal) -> port.Sealed:
        count = 0
        for id_ in list(self.pending)[: t.limit]:
            index = self.frontier.append(self.leaf_rows[id_].hash)
            self._put(self.tree, index, id_)
            self._drop(self.pending, id_)
            count += 1
        return port.Sealed(count=count, size=self.frontier.size, root=self.frontier.root())

    def _putcheckpoint(self, t: port.PutCheckpoint) -> bool:
        self._put(self.checkpoints, t.checkpoint.size, t.checkpoint)
        return True

    def _putperson(self, t: port.PutPerson) -> bool:
        new = t.person.id not in self.people
        self._put(self.people, t.person.id, t.person)
        body = wire.dumps({"roles": list(t.person.roles), "active": t.person.active})
        self._leaf("person", t.person.id, t.at, t.actor, body)
        return new

    def _puttoken(self, t: port.PutToken) -> bool:
        for digest, held in list(self.tokens.items()):
            if t.alone and (held.person, held.kind) == (t.token.person, t.token.kind):
                self._drop(self.tokens, digest)
        self._put(self.tokens, t.token.digest, t.token)
        return True
